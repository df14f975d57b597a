"""Letters on their way: ordered with what they tell of, sealed in the database, sent by the worker."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from adapters.envelopes import SealedEnvelopes
from adapters.mail import FolderMail
from adapters.postgres import Database, bare, outbox
from adapters.postgres.everything import TABLES
from ani.accounts.v1 import accounts_service_pb2 as accounts
from ani.accounts.v1 import sign_in_pb2
from domain.mail import SILENCE, Letter, LetterOrdered, MailRefused
from server.mail.letters import Writer
from server.mail.tasks import disguised, reactions
from server.settings import Settings
from server.worker import work
from server.workshop import workshop
from tests.builders import NOON
from tests.mail.conftest import MAIL_ID, Open
from tests.serving import Served
from tests.waiting import until

ADDRESS = "mio@example.org"


def a_letter(kind: str = "sign_in_code", **facts: str) -> Letter:
    return Letter(kind, ADDRESS, "ja", "Mio", facts or {"code": "042517"})


async def order(database: Database, settings: Settings, *letters: Letter, at: datetime | None = None) -> None:
    envelopes = SealedEnvelopes(settings.key_folder)
    async with database.begins(bare)() as connection:
        for letter in letters:
            await outbox.record(connection, LetterOrdered(time=at or datetime.now(UTC), sealed=envelopes.close(letter)))


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """Run a worker."""
    stopping = asyncio.Event()
    async with workshop(settings) as shop:
        task = asyncio.create_task(work(shop, threads=2, stopping=stopping))
        yield
        stopping.set()
        await task


async def idle(database: Database) -> None:
    async def nothing_pending() -> bool:
        return (await outbox.PostgresOutbox(database).depth()).pending == 0

    await until(nothing_pending)


def letters_in(folder: Path) -> list[EmailMessage]:
    return [message_from_bytes(path.read_bytes(), policy=default) for path in sorted(folder.glob("*.eml"))]


async def dump(database: Database) -> str:
    """Return everything that the database holds, as text and with binary columns also as what they encode."""
    async with database.reads(bare)() as connection:
        rows = [
            str(row["text"])
            for table in TABLES
            for row in await connection.fetch(f"SELECT CAST(t AS text) AS text FROM {table.fullname} AS t")
        ]
    return "\n".join(rows)


class TestWorker:
    async def test_writes_into_the_folder_by_default(self, settings: Settings, database: Database) -> None:
        async with working(settings):
            await order(database, settings, a_letter())
            await idle(database)

        (mail,) = letters_in(settings.data / "mail")
        text = mail.get_body(("plain",))
        assert text is not None
        assert "042517" in text.get_content()
        assert ("mio@example.org", "ログインコード") == (mail["To"], mail["Subject"])

    async def test_sends_when_the_server_is_back(
        self, settings: Settings, database: Database, smtp_server: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("adapters.mail.PAUSE_SECONDS", 0.0)
        monkeypatch.setattr("server.events.deliveries.OUTAGE_PAUSE", timedelta(seconds=0.2))
        server = smtp_server()
        server.stop()
        settings = replace(settings, mail_url=f"smtp://127.0.0.1:{server.port}?starttls=off")

        async def tried() -> bool:
            async with database.reads(bare)() as connection:
                return bool(await connection.fetchval("SELECT true FROM platform.deliveries WHERE fault IS NOT NULL"))

        async with working(settings):
            await order(database, settings, a_letter())
            await until(tried)
            server.start()
            await idle(database)

        assert [ADDRESS] == server.box.recipients

    async def test_gives_up_a_mailbox_that_is_not_there(self, settings: Settings, database: Database, smtp_server: Open) -> None:
        server = smtp_server()
        server.box.refusals = {ADDRESS: f"550 5.1.1 <{ADDRESS}>: no such user"}
        settings = replace(settings, mail_url=f"smtp://127.0.0.1:{server.port}?starttls=off")

        async with working(settings):
            await order(database, settings, a_letter())
            await idle(database)

        assert ADDRESS not in await dump(database)
        assert (0, []) == ((await outbox.PostgresOutbox(database).depth()).dead, server.box.mails)


class TestSend:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> FolderMail:
        return FolderMail(tmp_path / "out", sender="Ani <no-reply@ani.example>")

    @pytest.fixture
    def envelopes(self, tmp_path: Path) -> SealedEnvelopes:
        return SealedEnvelopes(tmp_path / "keys")

    async def send(self, envelopes: SealedEnvelopes, folder: FolderMail, letter: Letter, *, after: timedelta = timedelta()) -> None:
        (reaction,) = reactions(envelopes, folder, Writer("https://ani.example"), lambda: NOON + after)
        await reaction.act(LetterOrdered(time=NOON, sealed=envelopes.close(letter)), MAIL_ID)

    async def test_makes_the_id_of_the_event_that_of_the_mail(self, envelopes: SealedEnvelopes, folder: FolderMail) -> None:
        """E5: whoever gets a mail twice because a worker died can tell."""
        for _ in range(2):
            await self.send(envelopes, folder, a_letter())

        (mail,) = letters_in(folder.folder)
        assert f"<{MAIL_ID}@ani.example>" == mail["Message-ID"]

    @pytest.mark.parametrize(
        ("letter", "minutes", "sent"),
        [
            (a_letter(), 10, 1),
            (a_letter(), 11, 0),
            (a_letter("account_locked", unlock_token="t"), 59, 1),
            (a_letter("account_locked", unlock_token="t"), 61, 0),
            (a_letter("email_changed", new_address="new@example.org"), 60 * 24 * 7, 1),
        ],
    )
    async def test_passes_over_what_is_of_no_use_any_more(
        self, envelopes: SealedEnvelopes, folder: FolderMail, letter: Letter, minutes: int, sent: int
    ) -> None:
        await self.send(envelopes, folder, letter, after=timedelta(minutes=minutes))

        assert sent == len(letters_in(folder.folder))

    async def test_sends_nothing_that_was_ordered_for_nobody(self, envelopes: SealedEnvelopes, folder: FolderMail) -> None:
        await self.send(envelopes, folder, Letter(SILENCE, ADDRESS, "en"))

        assert [] == letters_in(folder.folder)

    async def test_names_no_address_where_it_is_logged(
        self, envelopes: SealedEnvelopes, folder: FolderMail, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            await self.send(envelopes, folder, replace(a_letter(), address="mio, yui@example.org"))

        assert "was refused" in caplog.text
        assert "mio" not in caplog.text
        assert disguised("mio, yui@example.org") in caplog.text

    async def test_opens_what_was_sealed_by_a_key_that_came_later(
        self, envelopes: SealedEnvelopes, folder: FolderMail, tmp_path: Path
    ) -> None:
        (tmp_path / "keys" / "2.key").write_bytes(b"n" * 32)
        sealed = SealedEnvelopes(tmp_path / "keys").close(a_letter())
        (reaction,) = reactions(envelopes, folder, Writer("https://ani.example"), lambda: NOON)

        await reaction.act(LetterOrdered(time=NOON, sealed=sealed), MAIL_ID)

        assert sealed.startswith("2.")
        assert 1 == len(letters_in(folder.folder))

    async def test_says_that_it_was_not_sealed_here(self, envelopes: SealedEnvelopes, folder: FolderMail, tmp_path: Path) -> None:
        sealed = SealedEnvelopes(tmp_path / "others").close(a_letter())
        (reaction,) = reactions(envelopes, folder, Writer("https://ani.example"), lambda: NOON)

        with pytest.raises(ValueError, match="not sealed here"):
            await reaction.act(LetterOrdered(time=NOON, sealed=sealed), MAIL_ID)

    def test_tells_addresses_apart_by_what_is_logged(self) -> None:
        assert disguised("Mio@example.org").rpartition("@")[0] == disguised("mio@example.org").rpartition("@")[0]
        assert disguised("mio@example.org") != disguised("yui@example.org")
        assert not issubclass(MailRefused, OSError)


class TestDump:
    @pytest.mark.parametrize("encode", [str, lambda code: hashlib.sha256(code.encode()).hexdigest()], ids=["clear", "hashed"])
    async def test_a8_shows_no_code(
        self, served: Served, settings: Settings, database: Database, encode: Callable[[str], str]
    ) -> None:
        """Whoever has the database alone learns no code, neither while a letter waits nor after it was sent."""
        request = accounts.RegisterRequest(
            email=ADDRESS, password="seven geese over the lake", name="Mio", device=sign_in_pb2.Device()
        )
        await served.accounts.Register(request)
        await order(database, settings, a_letter("magic_link", link_token="a-secret-token"))
        before = await dump(database)

        async with working(settings):
            await idle(database)
        after = await dump(database)

        texts = [body.get_content() for mail in letters_in(settings.data / "mail") if (body := mail.get_body(("plain",)))]
        code = next(line.strip() for text in texts for line in text.splitlines() if line.strip().isdigit())
        assert 6 == len(code)
        for secret in (code, "a-secret-token"):
            for shown in (before, after):
                assert encode(secret) not in shown
                assert base64.b64encode(encode(secret).encode()).decode() not in shown
                assert encode(secret).encode().hex() not in shown
