"""`ani doctor` finds out whether letters can leave."""

from __future__ import annotations

from pathlib import Path

from server.commands.doctor import look_at_mail
from server.settings import Settings
from tests.mail.conftest import PASSWORD, Open
from tests.processes import free_port


class TestMail:
    async def test_is_well_with_a_server_that_answers(self, smtp_server: Open) -> None:
        server = smtp_server()

        found = await look_at_mail(Settings(mail_url=f"smtp://127.0.0.1:{server.port}?starttls=off"))

        assert (found.fine, found.text) == (True, "the mail server takes letters")
        assert server.box.mails == []

    async def test_is_wrong_without_one(self) -> None:
        found = await look_at_mail(Settings(mail_url=f"smtp://127.0.0.1:{free_port()}?starttls=off"))

        assert found.fine is False
        assert found.text.startswith("letters cannot be sent: ")
        assert "ANI_MAIL_URL" in found.mend

    async def test_is_wrong_with_a_password_that_is_not_taken(self, smtp_server: Open) -> None:
        server = smtp_server(authenticator=True, auth_require_tls=False)
        url = f"smtp://mio@127.0.0.1:{server.port}?starttls=off"

        right = await look_at_mail(Settings(mail_url=url, mail_password=PASSWORD))
        wrong = await look_at_mail(Settings(mail_url=url, mail_password="another"))

        assert (right.fine, wrong.fine) == (True, False)
        assert "another" not in str(wrong)

    async def test_is_well_with_a_folder_that_can_be_made(self, tmp_path: Path) -> None:
        found = await look_at_mail(Settings(data=tmp_path / "not yet"))

        assert (found.fine, found.text) == (True, f"letters are kept in {tmp_path}/not yet/mail, and sent nowhere")
        assert not (tmp_path / "not yet").exists()

    async def test_is_wrong_with_a_folder_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "mail").touch()

        found = await look_at_mail(Settings(data=tmp_path))

        assert found.fine is False
        assert found.text == f"letters cannot be sent: {tmp_path}/mail is no folder"
