"""Mail through a real SMTP server, and into a folder."""

from __future__ import annotations

import stat
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from adapters.mail import FolderMail, MailServer, MailUrlRefused, SmtpMail, mail_at, server_at
from domain.mail import MailDeferred, Mailer, MailRefused, MailUnavailable
from tests.builders import NOON
from tests.mail.conftest import MAIL_ID, PASSWORD, Certificate, Open, a_mail
from tests.processes import free_port

SENDER = "Ani <no-reply@ani.example>"


def through(port: int, *, query: str = "?starttls=off", password: str = "", certificate: Certificate | None = None) -> SmtpMail:
    trusted = certificate.trusted if certificate else None
    return SmtpMail(server_at(f"smtp://127.0.0.1:{port}{query}"), password=password, sender=SENDER, trusted=trusted)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


class TestSmtp:
    async def test_hands_a_mail_over_as_text_and_html(self, smtp_server: Open) -> None:
        server = smtp_server()

        await through(server.port).send(a_mail(subject="Код для входа", text="Код: 123456\n", html="<p>Код: 123456</p>\n"))

        (mail,) = server.box.mails
        plain, rich = mail.get_body(("plain",)), mail.get_body(("html",))
        assert plain is not None
        assert rich is not None
        assert ("Код для входа", "Код: 123456\r\n", "<p>Код: 123456</p>\r\n") == (
            mail["Subject"],
            plain.get_content(),
            rich.get_content(),
        )
        assert ("Ani <no-reply@ani.example>", "mio@example.org", "en") == (mail["From"], mail["To"], mail["Content-Language"])
        assert NOON == mail["Date"].datetime
        assert "auto-generated" == mail["Auto-Submitted"]

    async def test_e5_says_by_its_id_that_it_is_the_same_mail_again(self, smtp_server: Open) -> None:
        server = smtp_server()
        mailer = through(server.port)

        await mailer.send(a_mail())
        await mailer.send(a_mail())

        first, again = server.box.mails
        assert f"<{MAIL_ID}@ani.example>" == first["Message-ID"] == again["Message-ID"]
        assert first.as_bytes() == again.as_bytes()

    async def test_says_that_there_is_no_such_mailbox(self, smtp_server: Open) -> None:
        server = smtp_server()
        server.box.refusals = {"mio@example.org": "550 5.1.1 <mio@example.org>: no such user"}

        with pytest.raises(MailRefused) as caught:
            await through(server.port).send(a_mail())

        assert "550 5.1.1" in str(caught.value)
        assert "mio" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"

    @pytest.mark.parametrize(
        "answer",
        [
            "450 4.2.0 <mio@example.org>: greylisted",
            "451 try again",
            "554 5.7.1 <mio@example.org>: relay access denied",
            "552 5.7.0 no",
        ],
    )
    async def test_has_a_mail_tried_again_that_may_be_taken_later(self, smtp_server: Open, answer: str) -> None:
        server = smtp_server()
        server.box.refusals = {"mio@example.org": answer}
        mailer = through(server.port)

        with pytest.raises(MailDeferred) as caught:
            await mailer.send(a_mail())
        server.box.refusals = {}
        await mailer.send(a_mail())

        assert "mio" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
        assert ["mio@example.org"] == server.box.recipients

    async def test_has_a_mail_tried_again_whose_content_was_refused(self, smtp_server: Open) -> None:
        server = smtp_server()
        server.box.refusal = "554 5.7.1 looks like spam"

        with pytest.raises(MailDeferred, match=r"554 5\.7\.1"):
            await through(server.port).send(a_mail())

    async def test_waits_for_a_server_that_is_away(self, smtp_server: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.mail.PAUSE_SECONDS", 0.0)
        server = smtp_server()
        server.stop()
        mailer = through(server.port)

        with pytest.raises(MailUnavailable):
            await mailer.send(a_mail())
        server.start()
        await mailer.send(a_mail())

        assert ["mio@example.org"] == server.box.recipients

    async def test_asks_a_server_that_is_away_once_in_a_while(self, smtp_server: Open) -> None:
        server = smtp_server()
        server.stop()
        mailer = through(server.port)
        with pytest.raises(MailUnavailable):
            await mailer.send(a_mail())
        server.start()

        with pytest.raises(MailUnavailable):
            await mailer.send(a_mail())

        assert [] == server.box.mails

    async def test_signs_in_over_starttls(self, smtp_server: Open, certificate: Certificate) -> None:
        server = smtp_server(tls_context=certificate.server, require_starttls=True, authenticator=True, auth_required=True)
        where = server_at(f"smtp://ani%40example@127.0.0.1:{server.port}")

        await SmtpMail(where, password=PASSWORD, sender=SENDER, trusted=certificate.trusted).send(a_mail())

        assert (["ani@example"], [True]) == (server.box.users, server.box.encrypted)

    async def test_speaks_tls_from_the_first_byte(self, smtp_server: Open, certificate: Certificate) -> None:
        server = smtp_server(ssl_context=certificate.server)
        where = server_at(f"smtps://127.0.0.1:{server.port}")

        await SmtpMail(where, password="", sender=SENDER, trusted=certificate.trusted).send(a_mail())

        assert ["mio@example.org"] == server.box.recipients

    async def test_sends_nothing_to_whom_it_cannot_be_sure_of(self, smtp_server: Open, certificate: Certificate) -> None:
        server = smtp_server(tls_context=certificate.server)

        with pytest.raises(MailUnavailable):
            await through(server.port, query="").send(a_mail())

        assert [] == server.box.mails

    async def test_sends_nothing_in_clear_unless_told_to(self, smtp_server: Open) -> None:
        server = smtp_server()

        with pytest.raises(MailUnavailable):
            await through(server.port, query="").send(a_mail())

        assert [] == server.box.mails

    async def test_has_a_wrong_password_mended(self, smtp_server: Open, certificate: Certificate) -> None:
        server = smtp_server(tls_context=certificate.server, authenticator=True, auth_required=True)
        where = server_at(f"smtp://ani@127.0.0.1:{server.port}")

        with pytest.raises(MailDeferred, match="535"):
            await SmtpMail(where, password="wrong", sender=SENDER, trusted=certificate.trusted).send(a_mail())

    async def test_writes_to_domains_of_other_scripts(self, smtp_server: Open) -> None:
        server = smtp_server()

        await through(server.port).send(a_mail(address="mio@пример.example"))

        assert ["mio@xn--e1afmkfd.example"] == server.box.recipients

    async def test_writes_to_mailboxes_of_other_scripts_where_the_server_can(self, smtp_server: Open) -> None:
        able, unable = smtp_server(enable_SMTPUTF8=True), smtp_server(enable_SMTPUTF8=False)

        await through(able.port).send(a_mail(address="мио@example.org"))
        with pytest.raises(MailRefused):
            await through(unable.port).send(a_mail(address="мио@example.org"))

        assert ["мио@example.org"] == able.box.recipients

    async def test_checks_whether_it_could_send(self, smtp_server: Open) -> None:
        server = smtp_server()
        mailer = through(server.port)

        await mailer.check()
        server.stop()
        with pytest.raises(OSError, match=r"."):
            await mailer.check()

        assert [] == server.box.mails


@pytest.mark.parametrize(
    "address",
    [
        "mio@example.org\r\nBcc: all@example.org",
        "mio@example.org, all@example.org",
        "Mio <mio@example.org>",
        "mio@example.org>\r\nRCPT TO:<all@example.org",
        "mio",
        "@example.org",
        "mio@",
        "a@b@example.org",
        '"a b"@example.org',
        "",
    ],
)
class TestAddress:
    async def test_is_never_more_than_one_mailbox(self, smtp_server: Open, tmp_path: Path, address: str) -> None:
        server = smtp_server()

        for mailer in (through(server.port), FolderMail(tmp_path, sender=SENDER)):
            with pytest.raises(MailRefused):
                await mailer.send(a_mail(address=address))

        assert ([], []) == (server.box.recipients, files(tmp_path))


class TestSubject:
    async def test_is_never_more_than_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"newline|linefeed"):
            await FolderMail(tmp_path, sender=SENDER).send(a_mail(subject="A\r\nBcc: all@example.org"))


class TestFolder:
    async def test_keeps_mails_as_files_in_the_order_of_their_times(self, tmp_path: Path) -> None:
        folder = FolderMail(tmp_path / "mail", sender=SENDER)

        for number, minutes in ((2, 5), (1, 0), (3, 10)):
            mail_id = f"0191d7a0-0000-7000-8000-00000000000{number}"
            await folder.send(a_mail(mail_id=mail_id, time=NOON + timedelta(minutes=minutes), subject=f"Mail {number}"))

        paths = files(tmp_path / "mail")
        subjects = [message_from_bytes(path.read_bytes(), policy=default)["Subject"] for path in paths]
        assert ["Mail 1", "Mail 2", "Mail 3"] == subjects
        assert {".eml"} == {path.suffix for path in paths}
        assert 0o700 == stat.S_IMODE((tmp_path / "mail").stat().st_mode)
        assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in paths}

    async def test_e5_keeps_a_mail_that_comes_again_once(self, tmp_path: Path) -> None:
        folder = FolderMail(tmp_path, sender=SENDER)

        await folder.send(a_mail())
        await folder.send(a_mail())

        assert 1 == len(files(tmp_path))

    async def test_keeps_the_newest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.mail.KEPT_FILES", 3)
        folder = FolderMail(tmp_path, sender=SENDER)

        for minutes in range(5):
            await folder.send(a_mail(time=NOON + timedelta(minutes=minutes)))

        assert ["T1202", "T1203", "T1204"] == [path.name[8:13] for path in files(tmp_path)]

    async def test_has_a_mail_tried_again_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "mail").write_text("no folder")
        folder = FolderMail(tmp_path / "mail" / "in", sender=SENDER)

        with pytest.raises(MailDeferred):
            await folder.send(a_mail())

        assert "no folder" == (tmp_path / "mail").read_text()


class TestUrl:
    def test_leads_to_a_server_or_a_folder(self, tmp_path: Path) -> None:
        def at(url: str) -> Mailer:
            return mail_at(url, password="", sender=SENDER, folder=tmp_path / "mail")

        default_folder, folder = at(""), at("file:///var/mail%20box")

        assert isinstance(default_folder, FolderMail)
        assert isinstance(folder, FolderMail)
        assert (tmp_path / "mail", Path("/var/mail box")) == (default_folder.folder, folder.folder)
        assert isinstance(at("smtp://relay.example"), SmtpMail)

    @pytest.mark.parametrize(
        ("url", "server"),
        [
            ("smtp://ani@relay.example", MailServer("relay.example", 587, "ani", tls=False, starttls=True)),
            ("smtp://relay.example:25", MailServer("relay.example", 25, "", tls=False, starttls=True)),
            ("smtps://ani@relay.example", MailServer("relay.example", 465, "ani", tls=True, starttls=False)),
            ("smtp://relay:25?starttls=off", MailServer("relay", 25, "", tls=False, starttls=False)),
            ("smtp://ani@[::1]:25?starttls=off", MailServer("::1", 25, "ani", tls=False, starttls=False)),
        ],
    )
    def test_says_how_a_server_is_spoken_to(self, url: str, server: MailServer) -> None:
        assert server == server_at(url)

    @pytest.mark.parametrize(
        "url",
        [
            "smtp://ani:secret@relay.example",
            "smtp://ani@relay.example?starttls=off",
            "smtp://relay.example?starttls=maybe",
            "smtps://relay.example?starttls=off",
            "smtp://relay.example?tls=on",
            "smtp://relay.example/path",
            "http://relay.example",
            "smtp://",
        ],
    )
    def test_is_refused_where_it_cannot_be_meant(self, url: str) -> None:
        with pytest.raises(MailUrlRefused) as caught:
            server_at(url)

        assert "secret" not in str(caught.value)


async def test_no_port_is_no_server() -> None:
    with pytest.raises(MailUnavailable):
        await through(free_port()).send(a_mail())
