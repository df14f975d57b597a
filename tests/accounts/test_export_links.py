"""Links to exports: followed by whoever has them, while they are fresh, unchanged, and stood for by who made them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from adapters.postgres import Database
from adapters.secret_keys import Seal
from ani.accounts.v1 import own_data_service_pb2 as pb
from ani.accounts.v1 import session_service_pb2 as session_pb
from ani.accounts.v1 import sign_in_pb2
from domain.accounts.export_links import ExportLinkExpired, ExportLinkInvalid, ExportLinks, Link, expiry
from domain.kernel import Role, new_id
from server.settings import Settings
from server.telemetry.redaction import redacted
from tests.accounts.own import Worker, run, unpacked
from tests.accounts.people import People, bearer
from tests.builders import NOON
from tests.serving import Metadata, Served, refusal, with_metadata

MIO = "mio@example.org"
LINK = Link(export_id="export", part=2, account_id="account", session_id="session", expires=int(NOON.timestamp()) + 600)
PREFIX = "/v1/export-files/"

Export = Callable[[], Awaitable[str]]


@pytest.fixture
async def mio(people: People) -> sign_in_pb2.Tokens:
    return await people.register("Mio")


@pytest.fixture
def an_export(served: Served, settings: Settings, database: Database, mio: sign_in_pb2.Tokens) -> Export:
    """Make an export of Mio's that is ready."""
    worker = Worker(settings, database)

    async def make() -> str:
        answer = await served.own_data.StartExport(pb.StartExportRequest(), metadata=bearer(mio))
        await worker.make_exports()
        return answer.operation.operation_id

    return make


async def links(served: Served, tokens: sign_in_pb2.Tokens, export_id: str) -> pb.GetExportLinksResponse:
    return await served.own_data.GetExportLinks(pb.GetExportLinksRequest(export_id=export_id), metadata=bearer(tokens))


async def grant(served: Served, tokens: sign_in_pb2.Tokens, export_id: str) -> str:
    (url,) = (await links(served, tokens, export_id)).urls
    return url.removeprefix(PREFIX)


def followed(served: Served, grant: str, metadata: Metadata = ()) -> Awaitable[pb.GetExportFileResponse]:
    return served.own_data.GetExportFile(pb.GetExportFileRequest(grant=grant), metadata=metadata)


class TestGetExportLinks:
    async def test_returns_a_path_for_each_part_for_ten_minutes(
        self, served: Served, an_export: Export, database: Database, mio: sign_in_pb2.Tokens
    ) -> None:
        export_id = await an_export()
        await run(database, "UPDATE accounts.exports SET keys = keys || keys || keys")
        before = datetime.now(UTC)

        answer = await links(served, mio, export_id)
        parts = [(await followed(served, url.removeprefix(PREFIX))).content for url in answer.urls]

        assert (3, 3) == (len(set(answer.urls)), len(parts))
        assert all(url.startswith(PREFIX) and export_id not in url for url in answer.urls)
        left = answer.expire_time.ToDatetime(UTC) - before
        assert timedelta(minutes=9, seconds=58) < left < timedelta(minutes=10, seconds=20)

    async def test_returns_none_that_outlive_the_export(
        self, served: Served, an_export: Export, database: Database, mio: sign_in_pb2.Tokens
    ) -> None:
        export_id = await an_export()
        await run(database, "UPDATE accounts.exports SET expire_time = now() + interval '1 minute'")

        answer = await links(served, mio, export_id)

        assert answer.expire_time.ToDatetime(UTC) < datetime.now(UTC) + timedelta(minutes=1)

    async def test_needs_a_fresh_proof(
        self, served: Served, an_export: Export, database: Database, mio: sign_in_pb2.Tokens
    ) -> None:
        export_id = await an_export()
        await run(database, "UPDATE accounts.sessions SET proof_time = proof_time - interval '11 minutes'")

        assert "PROOF_TOO_OLD" == (await refusal(links(served, mio, export_id))).reason

    async def test_is_for_owners_who_are_signed_in(
        self, served: Served, an_export: Export, token: Callable[..., Metadata], mio: sign_in_pb2.Tokens
    ) -> None:
        """Neither for tokens that were made by hand, nor for limited profiles, nor for guests."""
        request = pb.GetExportLinksRequest(export_id=await an_export())
        claims: list[dict[str, bool]] = [{}, {"limited": True}, {"guest": True}]
        shown = [token(Role.USER, account_id=mio.account_id, **one) for one in claims]

        refused = [await refusal(served.own_data.GetExportLinks(request, metadata=one)) for one in shown]

        assert ["PROOF_TOO_OLD", "LIMITED_PROFILE_INSUFFICIENT", "GUEST_PASS_INSUFFICIENT"] == [one.reason for one in refused]

    async def test_refuses_what_is_not_there(
        self, served: Served, people: People, an_export: Export, mio: sign_in_pb2.Tokens
    ) -> None:
        export_id = await an_export()
        started = await served.own_data.StartExport(pb.StartExportRequest(), metadata=bearer(mio))

        early = await refusal(links(served, mio, started.operation.operation_id))
        others = await refusal(links(served, await people.register("Rin"), export_id))

        assert ["EXPORT_NOT_READY", "EXPORT_NOT_FOUND"] == [early.reason, others.reason]

    async def test_shows_links_in_no_log(self, served: Served, an_export: Export, mio: sign_in_pb2.Tokens) -> None:
        answer = await links(served, mio, await an_export())

        assert "[redacted]" == redacted(answer)["urls"] == redacted(pb.GetExportFileRequest(grant="1.abc"))["grant"]


class TestGetExportFile:
    async def test_needs_nothing_but_the_link(
        self, served: Served, people: People, an_export: Export, mio: sign_in_pb2.Tokens
    ) -> None:
        text = await grant(served, mio, await an_export())
        rin = bearer(await people.register("Rin"))

        answer, metadata = await with_metadata(followed(served, text))
        again = await followed(served, text, rin)

        assert isinstance(answer, pb.GetExportFileResponse)
        assert MIO == unpacked([answer.content.data])["accounts/accounts.json"][0]["email"]
        assert "application/zip" == answer.content.content_type
        assert 'attachment; filename="export-1-of-1.zip"' == metadata["content-disposition"]
        assert "cache-control" not in metadata
        assert answer == again

    async def test_refuses_what_was_changed(self, served: Served, an_export: Export, mio: sign_in_pb2.Tokens) -> None:
        text = await grant(served, mio, await an_export())
        places = [0, 2, len(text) // 2, len(text.rstrip("=")) - 1]
        changed = [text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :] for place in places]

        refused = [await refusal(followed(served, one)) for one in (*changed, text[:-1], text + "A", "1.", "x")]

        assert {(grpc.StatusCode.PERMISSION_DENIED, "EXPORT_LINK_INVALID")} == {(one.code, one.reason) for one in refused}

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE accounts.sessions SET expire_time = now()",
            "UPDATE accounts.accounts SET ban_reason = 'spam', ban_time = now()",
            "DELETE FROM accounts.accounts",
        ],
        ids=["session over", "banned", "erased"],
    )
    async def test_ends_with_what_stands_for_it(
        self, served: Served, an_export: Export, database: Database, mio: sign_in_pb2.Tokens, statement: str
    ) -> None:
        text = await grant(served, mio, await an_export())
        await run(database, statement)

        refused = await refusal(followed(served, text))

        assert (grpc.StatusCode.PERMISSION_DENIED, "EXPORT_LINK_VOID") == (refused.code, refused.reason)
        assert "spam" not in refused.message

    async def test_ends_with_its_session_and_not_with_others(
        self, served: Served, people: People, an_export: Export, mio: sign_in_pb2.Tokens
    ) -> None:
        other = (await people.sign_in(MIO)).tokens
        export_id = await an_export()
        mine, others = await grant(served, mio, export_id), await grant(served, other, export_id)

        revoke = session_pb.RevokeSessionRequest(session_id=other.session_id)
        await served.sessions.RevokeSession(revoke, metadata=bearer(mio))

        assert "EXPORT_LINK_VOID" == (await refusal(followed(served, others))).reason
        assert (await followed(served, mine)).content.data

    async def test_lasts_until_an_account_that_is_to_go_is_erased(
        self, served: Served, settings: Settings, database: Database, an_export: Export, mio: sign_in_pb2.Tokens
    ) -> None:
        """Whoever leaves takes their data along; erasing begins with ending what is left of their sessions."""
        text = await grant(served, mio, await an_export())
        await served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(mio))
        before = await followed(served, text)
        await run(database, "UPDATE accounts.accounts SET delete_time = now() - interval '15 days'")
        await Worker(settings, database).tick("erase-accounts")

        assert before.content.data
        assert "EXPORT_LINK_VOID" == (await refusal(followed(served, text))).reason

    async def test_ends_when_another_export_is_ready(self, served: Served, an_export: Export, mio: sign_in_pb2.Tokens) -> None:
        text = await grant(served, mio, await an_export())
        await an_export()

        refused = await refusal(followed(served, text))

        assert (grpc.StatusCode.NOT_FOUND, "EXPORT_NOT_FOUND") == (refused.code, refused.reason)

    async def test_refuses_an_expired_link_and_one_to_a_part_that_is_not_there(
        self, served: Served, settings: Settings, an_export: Export, mio: sign_in_pb2.Tokens
    ) -> None:
        """The second one is only ever made by the platform itself."""
        link = Link(
            export_id=await an_export(),
            part=2,
            account_id=mio.account_id,
            session_id=mio.session_id,
            expires=int(datetime.now(UTC).timestamp()) + 60,
        )
        making = ExportLinks(Seal(settings.key_folder, "export links"))
        reasons = [
            (await refusal(followed(served, making.url(one).removeprefix(PREFIX)))).reason
            for one in (
                replace(link, expires=link.expires - 61),
                link,
                replace(link, account_id=new_id(at=NOON)),
                replace(link, session_id=new_id(at=NOON)),
            )
        ]

        assert ["EXPORT_LINK_EXPIRED", "EXPORT_PART_NOT_FOUND", "EXPORT_LINK_VOID", "EXPORT_LINK_VOID"] == reasons

    async def test_takes_what_was_sealed_for_something_else_for_no_link(self, served: Served, settings: Settings) -> None:
        url = ExportLinks(Seal(settings.key_folder, "setups")).url(LINK)

        assert "EXPORT_LINK_INVALID" == (await refusal(followed(served, url.removeprefix(PREFIX)))).reason

    async def test_is_counted_by_address(self, served: Served) -> None:
        """Guessing is not free, whoever guesses."""
        refused = [await refusal(followed(served, "1.guess")) for _ in range(2)]

        assert ["599", "598"] == [one.metadata["x-ratelimit-remaining"] for one in refused]


class TestRead:
    """Links by themselves, at any time."""

    def test_returns_what_the_link_says(self, tmp_path: Path) -> None:
        made = ExportLinks(Seal(tmp_path, "links")).url(LINK).removeprefix(PREFIX)

        assert LINK == ExportLinks(Seal(tmp_path, "links")).read(made, at=NOON)
        assert not any(str(value) in made for value in asdict(LINK).values() if len(str(value)) > 1)

    def test_refuses_from_the_moment_of_expiry_on(self, tmp_path: Path) -> None:
        making, ends = ExportLinks(Seal(tmp_path, "links")), NOON + timedelta(minutes=10)
        made = making.url(LINK).removeprefix(PREFIX)

        assert LINK == making.read(made, at=ends - timedelta(microseconds=1))
        with pytest.raises(ExportLinkExpired):
            making.read(made, at=ends)

    @pytest.mark.parametrize("text", ["[]", "{}", "7", "no JSON", '{"export_id": "e"}'])
    def test_refuses_what_says_something_else(self, tmp_path: Path, text: str) -> None:
        seal = Seal(tmp_path, "links")

        with pytest.raises(ExportLinkInvalid):
            ExportLinks(seal).read(seal.close(text), at=NOON)

    def test_goes_on_while_keys_are_turned_over(self, tmp_path: Path) -> None:
        """Of two servers one has been started again, with a newer key."""
        older = ExportLinks(Seal(tmp_path, "links"))
        (tmp_path / "2.key").write_bytes(b"n" * 32)
        newer = ExportLinks(Seal(tmp_path, "links"))
        before, after = (one.url(LINK).removeprefix(PREFIX) for one in (older, newer))

        assert LINK == newer.read(before, at=NOON) == older.read(after, at=NOON)
        assert ("1.", "2.") == (before[:2], after[:2])

    def test_expires_in_whole_seconds_with_what_it_leads_to(self) -> None:
        soon = NOON + timedelta(minutes=1, microseconds=5)

        assert (NOON + timedelta(minutes=10), NOON + timedelta(minutes=1)) == (
            expiry(at=NOON, over=None),
            expiry(at=NOON, over=soon),
        )
