"""A real server for tests: the whole application on a unix socket, in the test's own event loop."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from ani.accounts.v1 import (
    accounts_admin_service_pb2_grpc,
    accounts_service_pb2_grpc,
    api_keys_service_pb2_grpc,
    device_login_service_pb2_grpc,
    guest_pass_service_pb2_grpc,
    own_account_service_pb2_grpc,
    own_data_service_pb2_grpc,
    profiles_service_pb2_grpc,
    session_service_pb2_grpc,
)
from ani.catalog.v1 import (
    catalog_admin_service_pb2_grpc,
    catalog_service_pb2_grpc,
    episode_admin_service_pb2_grpc,
    episode_service_pb2_grpc,
    import_service_pb2_grpc,
    schedule_admin_service_pb2_grpc,
    schedule_service_pb2_grpc,
)
from ani.media.v1 import (
    attachment_service_pb2_grpc,
    media_service_pb2_grpc,
    player_settings_service_pb2_grpc,
    promo_admin_service_pb2_grpc,
    promo_service_pb2_grpc,
    upload_service_pb2_grpc,
    video_source_admin_service_pb2_grpc,
)
from ani.operations.v1 import operation_service_pb2_grpc
from ani.system.v1 import system_service_pb2_grpc
from domain.kernel import Role
from server import serve
from server.pipeline.errors import DETAILS_KEY
from server.settings import Settings
from server.wiring import application, tokens

Metadata = tuple[tuple[str, str], ...]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "settings(**values): run the test's server with these settings")


@dataclass(frozen=True, slots=True)
class Served:
    """A running server, and a channel to it."""

    application: application.Application
    server: grpc.aio.Server
    channel: grpc.aio.Channel
    address: str

    @property
    def accounts(self) -> accounts_service_pb2_grpc.AccountsServiceAsyncStub:
        return accounts_service_pb2_grpc.AccountsServiceStub(self.channel)

    @property
    def own_account(self) -> own_account_service_pb2_grpc.OwnAccountServiceAsyncStub:
        return own_account_service_pb2_grpc.OwnAccountServiceStub(self.channel)

    @property
    def own_data(self) -> own_data_service_pb2_grpc.OwnDataServiceAsyncStub:
        return own_data_service_pb2_grpc.OwnDataServiceStub(self.channel)

    @property
    def profiles(self) -> profiles_service_pb2_grpc.ProfilesServiceAsyncStub:
        return profiles_service_pb2_grpc.ProfilesServiceStub(self.channel)

    @property
    def accounts_admin(self) -> accounts_admin_service_pb2_grpc.AccountsAdminServiceAsyncStub:
        return accounts_admin_service_pb2_grpc.AccountsAdminServiceStub(self.channel)

    @property
    def api_keys(self) -> api_keys_service_pb2_grpc.ApiKeysServiceAsyncStub:
        return api_keys_service_pb2_grpc.ApiKeysServiceStub(self.channel)

    @property
    def device_logins(self) -> device_login_service_pb2_grpc.DeviceLoginServiceAsyncStub:
        return device_login_service_pb2_grpc.DeviceLoginServiceStub(self.channel)

    @property
    def guest_passes(self) -> guest_pass_service_pb2_grpc.GuestPassServiceAsyncStub:
        return guest_pass_service_pb2_grpc.GuestPassServiceStub(self.channel)

    @property
    def sessions(self) -> session_service_pb2_grpc.SessionServiceAsyncStub:
        return session_service_pb2_grpc.SessionServiceStub(self.channel)

    @property
    def catalog(self) -> catalog_service_pb2_grpc.CatalogServiceAsyncStub:
        return catalog_service_pb2_grpc.CatalogServiceStub(self.channel)

    @property
    def admin(self) -> catalog_admin_service_pb2_grpc.CatalogAdminServiceAsyncStub:
        return catalog_admin_service_pb2_grpc.CatalogAdminServiceStub(self.channel)

    @property
    def episodes(self) -> episode_service_pb2_grpc.EpisodeServiceAsyncStub:
        return episode_service_pb2_grpc.EpisodeServiceStub(self.channel)

    @property
    def episode_admin(self) -> episode_admin_service_pb2_grpc.EpisodeAdminServiceAsyncStub:
        return episode_admin_service_pb2_grpc.EpisodeAdminServiceStub(self.channel)

    @property
    def schedule(self) -> schedule_service_pb2_grpc.ScheduleServiceAsyncStub:
        return schedule_service_pb2_grpc.ScheduleServiceStub(self.channel)

    @property
    def schedule_admin(self) -> schedule_admin_service_pb2_grpc.ScheduleAdminServiceAsyncStub:
        return schedule_admin_service_pb2_grpc.ScheduleAdminServiceStub(self.channel)

    @property
    def uploads(self) -> upload_service_pb2_grpc.UploadServiceAsyncStub:
        return upload_service_pb2_grpc.UploadServiceStub(self.channel)

    @property
    def attachments(self) -> attachment_service_pb2_grpc.AttachmentServiceAsyncStub:
        return attachment_service_pb2_grpc.AttachmentServiceStub(self.channel)

    @property
    def imports(self) -> import_service_pb2_grpc.ImportServiceAsyncStub:
        return import_service_pb2_grpc.ImportServiceStub(self.channel)

    @property
    def operations(self) -> operation_service_pb2_grpc.OperationServiceAsyncStub:
        return operation_service_pb2_grpc.OperationServiceStub(self.channel)

    @property
    def media(self) -> media_service_pb2_grpc.MediaServiceAsyncStub:
        return media_service_pb2_grpc.MediaServiceStub(self.channel)

    @property
    def player_settings(self) -> player_settings_service_pb2_grpc.PlayerSettingsServiceAsyncStub:
        return player_settings_service_pb2_grpc.PlayerSettingsServiceStub(self.channel)

    @property
    def sources(self) -> video_source_admin_service_pb2_grpc.VideoSourceAdminServiceAsyncStub:
        return video_source_admin_service_pb2_grpc.VideoSourceAdminServiceStub(self.channel)

    @property
    def promos(self) -> promo_service_pb2_grpc.PromoServiceAsyncStub:
        return promo_service_pb2_grpc.PromoServiceStub(self.channel)

    @property
    def promo_admin(self) -> promo_admin_service_pb2_grpc.PromoAdminServiceAsyncStub:
        return promo_admin_service_pb2_grpc.PromoAdminServiceStub(self.channel)

    @property
    def system(self) -> system_service_pb2_grpc.SystemServiceAsyncStub:
        return system_service_pb2_grpc.SystemServiceStub(self.channel)


@pytest.fixture
def settings(request: pytest.FixtureRequest, database_url: str, valkey_url: str, broker_url: str, tmp_path: Path) -> Settings:
    """Settings of the test's own; `@pytest.mark.settings(name=value)` changes some."""
    marker = request.node.get_closest_marker("settings")
    base = Settings(
        data=tmp_path,
        database_url=database_url,
        redis_url=valkey_url,
        broker_url=broker_url,
        quota_per_minute=0,
        drain_seconds=0,
    )
    return replace(base, **marker.kwargs) if marker else base


@pytest.fixture
async def served(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with serving(settings, f"unix:{tmp_path_factory.mktemp('s')}/s") as running:
        yield running


class serving:  # noqa: N801 - used like a function
    """Runs a server for the length of a block."""

    def __init__(self, settings: Settings, address: str) -> None:
        self._application = application.application(settings)
        self._address = address

    async def __aenter__(self) -> Served:
        application = await self._application.__aenter__()
        server = await serve.start(application, self._address)
        self._served = Served(application, server, grpc.aio.insecure_channel(self._address), self._address)
        return self._served

    async def __aexit__(self, *fault: object) -> None:
        await self._served.channel.close()
        self._served.application.draining.set()
        await self._served.server.stop(None)
        await self._application.__aexit__(*fault)  # type: ignore[arg-type]


@pytest.fixture
def token(settings: Settings) -> Callable[..., Metadata]:
    """Make the metadata of a signed-in caller."""
    issuer = tokens.AccessTokens.of(settings).issuer

    def make(role: Role = Role.USER, account_id: str = "0191d7a0-0000-7000-8000-0000000000aa", **claims: Any) -> Metadata:
        at = claims.pop("at", datetime.now(UTC))
        lifetime = claims.pop("lifetime", timedelta(minutes=15))
        return (("authorization", f"Bearer {issuer.issue(account_id, role, at=at, lifetime=lifetime, **claims)}"),)

    return make


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal as a client sees it."""

    code: grpc.StatusCode
    message: str
    info: error_details_pb2.ErrorInfo
    fields: dict[str, str]
    retry_after: float | None
    metadata: dict[str, str | bytes]

    @property
    def reason(self) -> str:
        return str(self.info.reason)


async def refusal(call: Any) -> Refused:
    """Await a call that is to be refused, and take the refusal apart."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return taken_apart(caught.value)


def taken_apart(fault: grpc.aio.AioRpcError) -> Refused:
    metadata = dict(list(fault.trailing_metadata() or ()))
    status = status_pb2.Status.FromString(metadata.get(DETAILS_KEY, b""))
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    given = [any(detail.Unpack(into) for detail in status.details) for into in (info, bad, retry)]
    return Refused(
        code=fault.code(),
        message=fault.details() or "",
        info=info,
        fields={violation.field: violation.description for violation in bad.field_violations},
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if given[2] else None,
        metadata=metadata,
    )


async def with_metadata(call: Any) -> tuple[Message, dict[str, str | bytes]]:
    """Await a call and return its answer with the metadata it carries."""
    answer = await call
    return answer, dict(list(await call.trailing_metadata()))


def as_json(data: bytes) -> Any:
    return json.loads(data)
