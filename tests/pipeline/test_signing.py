"""Calls that must be signed: what is refused, on all servers, and with Valkey gone."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as some

from adapters.postgres import Database
from ani.accounts.v1 import api_keys_service_pb2 as keys_pb
from domain.kernel import Role, Unauthenticated
from server.pipeline import signing
from server.pipeline.signing import SignatureReplayed, SignatureWrong, Signing, signature
from server.settings import Settings
from tests.accounts.staff import Office
from tests.pipeline.conftest import Probe, Start
from tests.platform.conftest import OwnValkey
from tests.serving import Metadata, Served, refusal

SERVICE = "/ani.probe.v1.ProbeService/"
NAMES = ("x-ani-signature", "x-ani-timestamp", "x-ani-nonce")


def signed(
    key: keys_pb.CreateApiKeyResponse, path: str, message: bytes, *, at: float | None = None, nonce: str = "", secret: str = ""
) -> Metadata:
    """Sign a call as a client does that has read the contract and nothing else."""
    timestamp, nonce = str(int(time.time() if at is None else at)), nonce or secrets.token_urlsafe(16)
    text = "\n".join([path, timestamp, nonce, hashlib.sha256(message).hexdigest()])
    mark = hmac.new((secret or key.signing_secret).encode(), text.encode(), "sha256").hexdigest()
    return (("authorization", f"Bearer {key.key}"), *zip(NAMES, (mark, timestamp, nonce), strict=True))


def without(metadata: Metadata, name: str) -> Metadata:
    return tuple(pair for pair in metadata if pair[0] != name)


@pytest.fixture
async def key(served: Served, database: Database, token: Callable[..., Metadata]) -> keys_pb.CreateApiKeyResponse:
    """An API key whose calls must be signed."""
    return await (await Office(served, database, token).hire(Role.ADMIN)).create_key("accounts.read", signed=True)


Key = keys_pb.CreateApiKeyResponse


class TestSignedCalls:
    async def test_are_answered_time_and_again(self, probe: Probe, key: Key) -> None:
        message = probe.Request(id="a").SerializeToString()

        answers = [await probe("Read", message, metadata=signed(key, f"{SERVICE}Read", message)) for _ in range(3)]

        assert ["a"] * 3 == [answer.text for answer in answers]

    async def test_with_an_empty_message_are_signed_too(self, probe: Probe, key: Key) -> None:
        assert "" == (await probe("Read", b"", metadata=signed(key, f"{SERVICE}Read", b""))).text

    async def test_open_a_stream(self, probe: Probe, key: Key) -> None:
        message = probe.Request(id="a").SerializeToString()
        call = probe("Follow", message, metadata=signed(key, f"{SERVICE}Follow", message))

        assert "a" == (await anext(aiter(call))).text
        call.cancel()

    @pytest.mark.parametrize("late", [-290, 290])
    async def test_may_come_five_minutes_early_or_late(self, probe: Probe, key: Key, late: int) -> None:
        answer = await probe("Read", b"", metadata=signed(key, f"{SERVICE}Read", b"", at=time.time() + late))

        assert "" == answer.text

    @pytest.mark.parametrize("late", [-3600, -302, 302, 3600, 10**11])
    async def test_of_another_time_are_refused(self, probe: Probe, key: Key, late: int) -> None:
        refused = await refusal(probe("Read", b"", metadata=signed(key, f"{SERVICE}Read", b"", at=time.time() + late)))

        assert (grpc.StatusCode.UNAUTHENTICATED, "SIGNATURE_OUTDATED") == (refused.code, refused.reason)

    async def test_for_another_method_are_refused(self, probe: Probe, key: Key) -> None:
        refused = await refusal(probe("Write", b"", metadata=signed(key, f"{SERVICE}Read", b"")))

        assert "SIGNATURE_WRONG" == refused.reason
        assert 0 == probe.count("Write")

    async def test_with_another_message_are_refused(self, probe: Probe, key: Key) -> None:
        metadata = signed(key, f"{SERVICE}Write", probe.Request(id="a").SerializeToString())

        assert "SIGNATURE_WRONG" == (await refusal(probe("Write", id="b", metadata=metadata))).reason
        assert "SIGNATURE_WRONG" == (await refusal(probe("Write", b"", metadata=metadata))).reason
        assert 0 == probe.count("Write")

    @pytest.mark.parametrize("changed", NAMES)
    async def test_with_any_header_changed_are_refused(self, probe: Probe, key: Key, changed: str) -> None:
        metadata = dict(signed(key, f"{SERVICE}Write", b""))
        other = {NAMES[0]: "0" * 64, NAMES[1]: str(int(metadata[NAMES[1]]) + 1), NAMES[2]: secrets.token_urlsafe(16)}

        refused = await refusal(probe("Write", b"", metadata=tuple((metadata | {changed: other[changed]}).items())))

        assert "SIGNATURE_WRONG" == refused.reason

    @pytest.mark.parametrize("missing", NAMES)
    async def test_without_one_of_the_headers_are_refused_by_its_name(self, probe: Probe, key: Key, missing: str) -> None:
        refused = await refusal(probe("Write", b"", metadata=without(signed(key, f"{SERVICE}Write", b""), missing)))

        assert ("SIGNATURE_MISSING", missing) == (refused.reason, refused.info.metadata["header"])

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (NAMES[0], "A" * 64),
            (NAMES[0], "ab"),
            (NAMES[1], "-1"),
            (NAMES[1], "1e9"),
            (NAMES[1], "9" * 400),
            (NAMES[1], "now"),
            (NAMES[2], "short"),
            (NAMES[2], "n" * 65),
            (NAMES[2], "with space and more"),
        ],
    )
    async def test_with_headers_in_no_form_are_refused(self, probe: Probe, key: Key, name: str, value: str) -> None:
        metadata = dict(signed(key, f"{SERVICE}Write", b"")) | {name: value}

        refused = await refusal(probe("Write", b"", metadata=tuple(metadata.items())))

        assert ("SIGNATURE_MALFORMED", name) == (refused.reason, refused.info.metadata["header"])

    async def test_with_another_secret_are_refused(self, served: Served, probe: Probe, key: Key) -> None:
        """That of another key is no better than none; the key itself is no secret to sign with either."""
        for secret in ("ani_sign_" + "0" * 32, key.key, key.signing_secret.lower()):
            refused = await refusal(probe("Write", b"", metadata=signed(key, f"{SERVICE}Write", b"", secret=secret)))
            assert "SIGNATURE_WRONG" == refused.reason

    async def test_by_a_key_that_need_not_are_answered_without(
        self, served: Served, probe: Probe, database: Database, token: Callable[..., Metadata]
    ) -> None:
        plain = await (await Office(served, database, token).hire(Role.ADMIN)).create_key("accounts.read")

        assert "a" == (await probe("Read", id="a", metadata=(("authorization", f"Bearer {plain.key}"),))).text
        assert "" == plain.signing_secret

    async def test_that_came_from_json_or_send_a_stream_are_refused_as_impossible(self, probe: Probe, key: Key) -> None:
        json = (*signed(key, f"{SERVICE}Write", b""), ("x-envoy-original-path", "/v1/probe"))

        refused = await refusal(probe("Write", b"", metadata=json))
        stream = await refusal(probe("Collect", [b""], metadata=signed(key, f"{SERVICE}Collect", b"")))

        assert [(grpc.StatusCode.PERMISSION_DENIED, "SIGNING_IMPOSSIBLE")] * 2 == [(r.code, r.reason) for r in (refused, stream)]

    @pytest.mark.settings(quota_per_minute=4)
    async def test_that_are_forged_use_up_the_forgers_allowance(self, probe: Probe, key: Key) -> None:
        """Of whoever has the key without its secret."""
        bad = without(signed(key, f"{SERVICE}Read", b""), NAMES[0])
        reasons = [(await refusal(probe("Read", b"", metadata=(*bad, ("x-forwarded-for", "192.0.2.1"))))).reason for _ in range(6)]
        good = await probe("Read", b"", metadata=(*signed(key, f"{SERVICE}Read", b""), ("x-forwarded-for", "192.0.2.2")))

        assert "QUOTA_USED_UP" == reasons[-1]
        assert "" == good.text


class TestReplayedCalls:
    async def test_are_refused(self, probe: Probe, key: Key) -> None:
        metadata = signed(key, f"{SERVICE}Write", b"")
        await probe("Write", b"", metadata=metadata)

        refused = await refusal(probe("Write", b"", metadata=metadata))

        assert (grpc.StatusCode.UNAUTHENTICATED, "SIGNATURE_REPLAYED") == (refused.code, refused.reason)
        assert 1 == probe.count("Write")

    async def test_are_refused_for_a_nonce_that_was_used_for_another_call(self, probe: Probe, key: Key) -> None:
        nonce = secrets.token_urlsafe(16)
        await probe("Read", b"", metadata=signed(key, f"{SERVICE}Read", b"", nonce=nonce))

        refused = await refusal(probe("Write", b"", metadata=signed(key, f"{SERVICE}Write", b"", nonce=nonce)))

        assert "SIGNATURE_REPLAYED" == refused.reason

    async def test_are_refused_by_every_server(self, probe: Probe, start: Start, key: Key) -> None:
        other = await start()
        metadata = signed(key, f"{SERVICE}Write", b"")
        await probe("Write", b"", metadata=metadata)

        assert "SIGNATURE_REPLAYED" == (await refusal(other("Write", b"", metadata=metadata))).reason

    async def test_are_let_in_once_when_they_come_at_once(self, probe: Probe, start: Start, key: Key) -> None:
        servers, metadata = [probe, await start()], signed(key, f"{SERVICE}Write", b"")

        codes = await asyncio.gather(*(servers[n % 2]("Write", b"", metadata=metadata).code() for n in range(30)))

        assert 1 == codes.count(grpc.StatusCode.OK)
        assert 1 == sum(server.count("Write") for server in servers)

    async def test_are_refused_by_the_same_server_without_valkey(
        self, start: Start, settings: Settings, own_valkey: OwnValkey, key: Key
    ) -> None:
        probe = await start(replace(settings, redis_url=own_valkey.url))
        metadata = signed(key, f"{SERVICE}Write", b"")
        own_valkey.kill()

        await probe("Write", b"", metadata=metadata)

        assert "SIGNATURE_REPLAYED" == (await refusal(probe("Write", b"", metadata=metadata))).reason

    async def test_are_no_way_to_use_up_the_nonces_of_others(self, probe: Probe, key: Key) -> None:
        """Whoever cannot sign leaves nothing behind."""
        nonce = secrets.token_urlsafe(16)
        await refusal(probe("Write", b"", metadata=signed(key, f"{SERVICE}Write", b"", nonce=nonce, secret="x")))

        assert "" == (await probe("Write", b"", metadata=signed(key, f"{SERVICE}Write", b"", nonce=nonce))).text


class Alone:
    """Nobody to ask."""

    async def first(self, key_id: str, nonce: str, *, seconds: int) -> bool | None:
        return None


class TestSigning:
    @pytest.fixture
    def clock(self) -> list[float]:
        return [1_700_000_000.0]

    async def verify(
        self, signing: Signing, clock: list[float], nonce: str, *, shift: float = 0.0, other: dict[str, str] | None = None
    ) -> None:
        timestamp = str(int(clock[0] + shift))
        mark = signature("secret", "/a/B", timestamp, nonce, b"m")
        metadata = dict(zip(NAMES, (mark, timestamp, nonce), strict=True))
        await signing.verify("/a/B", b"m", metadata | (other or {}), key_id="k", secret="secret")

    async def test_remembers_a_nonce_for_as_long_as_its_call_is_good(self, clock: list[float]) -> None:
        alone = Signing(Alone(), clock=lambda: clock[0])
        await self.verify(alone, clock, "a" * 16, shift=300)
        clock[0] += 600

        with pytest.raises(SignatureReplayed):
            await self.verify(alone, clock, "a" * 16, shift=-300)

        clock[0] += signing.SLACK_SECONDS + 1
        await self.verify(alone, clock, "a" * 16)

    async def test_holds_a_bounded_number_of_nonces(self, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.pipeline.signing.REMEMBERED_NONCES", 10)
        alone = Signing(Alone(), clock=lambda: clock[0])

        for number in range(25):
            await self.verify(alone, clock, f"nonce-number-{number:06}")

        assert 10 == len(alone._own)

    @given(some.sampled_from(["secret", "method", "message", "timestamp", "nonce"]), some.data())
    def test_differs_when_anything_of_a_call_does(self, what: str, data: some.DataObject) -> None:
        text = some.text("0123456789/ab", max_size=6)
        call = {"secret": data.draw(text), "method": data.draw(text), "timestamp": "17", "nonce": data.draw(text)}
        message = data.draw(some.binary(max_size=8))
        other, another = dict(call), message
        if what == "message":
            another = data.draw(some.binary(max_size=8).filter(lambda given: given != message))
        else:
            other[what] = data.draw(text.filter(lambda given: given != call[what]))

        assert signature(**call, message=message) != signature(**other, message=another)

    async def test_tells_only_that_a_signature_is_wrong(self, clock: list[float]) -> None:
        with pytest.raises(SignatureWrong) as caught:
            await self.verify(Signing(Alone(), clock=lambda: clock[0]), clock, "a" * 16, other={NAMES[0]: "0" * 64})

        assert isinstance(caught.value, Unauthenticated)
        assert {} == caught.value.details


class TestDocumentation:
    async def test_shows_how_a_tool_signs(self, probe: Probe, key: Key) -> None:
        """The code in docs/clients.md, as it stands there."""
        text = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
        (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "x-ani-signature" in block]
        names: dict[str, Any] = {}
        exec(code, names)
        message = probe.Request(id="a").SerializeToString()

        metadata = names["signed"](key.key, key.signing_secret, f"{SERVICE}Read", message)

        assert "a" == (await probe("Read", message, metadata=metadata)).text
