"""An SMTP server for tests: a real one on loopback, which keeps what it takes and refuses what it is told to."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from domain.mail import Mail
from tests.builders import NOON
from tests.processes import free_port

MAIL_ID = "0191d7a0-0000-7000-8000-0000000000e1"
PASSWORD = "correct horse"


def a_mail(**changed: Any) -> Mail:
    usual = {
        "mail_id": MAIL_ID,
        "time": NOON,
        "address": "mio@example.org",
        "language": "en",
        "subject": "A subject",
        "text": "A text.\n",
        "html": "<p>A text.</p>\n",
    }
    return Mail(**{**usual, **changed})


@dataclass(slots=True)
class PostBox:
    """What an SMTP server does with what comes."""

    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    # What it says instead of yes, to a recipient or to a whole mail.
    refusals: dict[str, str] = field(default_factory=dict)
    refusal: str = ""

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refusal:
            return self.refusal
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        self.recipients += envelope.rcpt_tos
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
        assert isinstance(login, LoginPassword)
        self.users.append(login.login.decode())
        return AuthResult(success=login.password.decode() == PASSWORD, handled=False)


@dataclass(slots=True)
class Server:
    """An SMTP server that can go away and come back."""

    box: PostBox
    port: int
    options: dict[str, Any]
    controller: Controller | None = None

    def start(self) -> None:
        self.controller = Controller(self.box, hostname="127.0.0.1", port=self.port, **self.options)
        self.controller.start()

    def stop(self) -> None:
        if self.controller:
            self.controller.stop()
        self.controller = None


Open = Callable[..., Server]


@pytest.fixture
def smtp_server() -> Iterator[Open]:
    """Start servers, which end with the test."""
    servers = []

    def start(**options: Any) -> Server:
        box = PostBox()
        if "authenticator" in options:
            options["authenticator"] = box.authenticate
        server = Server(box, free_port(), options)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for localhost that nobody else vouches for."""

    path: Path

    @property
    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path)
        return context

    @property
    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.path)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return Certificate(path)
