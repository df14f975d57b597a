"""Mail: through an SMTP server, or into a folder of .eml files."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import parseaddr
from pathlib import Path
from ssl import SSLContext
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from domain.mail import Mail, MailDeferred, MailRefused, MailUnavailable

# Each answer of the server, and the whole of it.
ANSWER_SECONDS, SEND_SECONDS = 15.0, 45.0
# While the server is away, nobody waits for it: one looks whether it is back, this often.
PAUSE_SECONDS = 5.0
KEPT_FILES = 1000
LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
# Of such mailboxes a server says by 5.1 and 5.2 that there are none; 5.7 means that we may not.
MAILBOX_CODES = frozenset({550, 551, 552, 553, 556})
ENHANCED = re.compile(r"([245])\.(\d{1,3})\.\d{1,3}\b")


class MailUrlRefused(ValueError):
    """Raised when ANI_MAIL_URL is not the address of a mail server or a folder, or would send a password in clear."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where an SMTP server is, and how it is spoken to."""

    host: str
    port: int
    user: str = ""
    # From the first byte, or once both have agreed on it.
    tls: bool = False
    starttls: bool = True


def mail_at(url: str, *, password: str, sender: str, folder: Path) -> SmtpMail | FolderMail:
    """Return what sends mail to a URL, or into the folder when there is none. Raises MailUrlRefused."""
    if url.startswith("file:"):
        return FolderMail(Path(unquote(urlsplit(url).path)), sender=sender)
    if url:
        return SmtpMail(server_at(url), password=password, sender=sender)
    return FolderMail(folder, sender=sender)


def server_at(url: str) -> MailServer:
    """Read smtp://USER@HOST:PORT (STARTTLS), smtps:// (TLS), or smtp://HOST:PORT?starttls=off. Raises MailUrlRefused."""
    parts = urlsplit(url)
    options = parse_qs(parts.query, keep_blank_values=True)
    tls = parts.scheme == "smtps"
    starttls = options.pop("starttls", ["on"])
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/") or options:
        raise MailUrlRefused("it must be smtp://USER@HOST:PORT or smtps://USER@HOST:PORT")
    if parts.password:
        raise MailUrlRefused("the password belongs into ANI_MAIL_PASSWORD")
    if starttls not in (["on"], ["off"]) or (tls and starttls == ["off"]):
        raise MailUrlRefused("starttls is on or off, and nothing for smtps://")
    server = MailServer(
        parts.hostname, parts.port or (465 if tls else 587), unquote(parts.username or ""), tls, not tls and starttls == ["on"]
    )
    if server.user and not (server.tls or server.starttls or _is_loopback(server.host)):
        raise MailUrlRefused("a password is only sent over TLS")
    return server


class SmtpMail:
    """Hands mail to an SMTP server, each in a connection of its own."""

    def __init__(self, server: MailServer, *, password: str, sender: str, trusted: SSLContext | None = None) -> None:
        self._server = server
        self._password = password
        self._sender = sender
        self._trusted = trusted
        self._away_until = 0.0

    async def send(self, mail: Mail) -> None:
        """Raises MailUnavailable, MailDeferred and MailRefused, none of which names the address."""
        message, recipient = written(mail, sender=self._sender), _encoded(mail.address)
        self._demand_there()
        fault: Exception | None = None
        try:
            async with asyncio.timeout(SEND_SECONDS), self._connection() as client:
                await client.send_message(message, sender=_mailbox(self._sender), recipients=[recipient])
        except (aiosmtplib.SMTPException, OSError) as caught:
            fault = judged(caught)
        # Not where it was caught: what caused it names the address.
        if fault is None:
            self._away_until = 0.0
            return
        if isinstance(fault, MailUnavailable):
            self._away_until = time.monotonic() + PAUSE_SECONDS
        raise fault

    async def check(self) -> None:
        """Connect and sign in, and send nothing. Raises aiosmtplib.SMTPException and OSError."""
        async with asyncio.timeout(ANSWER_SECONDS), self._connection():
            pass

    def _demand_there(self) -> None:
        """Raises MailUnavailable for all but one while the server is away."""
        now = time.monotonic()
        if self._away_until > now:
            raise MailUnavailable(retry_after=PAUSE_SECONDS)
        if self._away_until:
            self._away_until = now + PAUSE_SECONDS

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        abort: Callable[[], None] = lambda: None  # noqa: E731 - what there is nothing of yet
        try:
            async with self._client() as client:
                # Not every loop's transports derive from asyncio's.
                abort = getattr(client.transport, "abort", abort)
                if self._server.user:
                    await client.login(self._server.user, self._password)
                yield client
        finally:
            # Both have said good-bye: nobody waits for TLS to do so as well.
            abort()

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            # Not the name of this machine, which is nobody's business.
            local_hostname=_domain(self._sender),
            use_tls=server.tls,
            start_tls=server.starttls,
            tls_context=self._trusted,
            timeout=ANSWER_SECONDS,
        )


class FolderMail:
    """Keeps mail as files, named so that they sort by time; the newest stay."""

    def __init__(self, folder: Path, *, sender: str) -> None:
        self.folder = folder
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Raises MailDeferred when the file cannot be written."""
        try:
            await asyncio.to_thread(self._write, mail)
        except OSError as fault:
            raise MailDeferred(f"the letter cannot be written: {fault.strerror}") from None

    async def check(self) -> None:
        """Raises OSError when letters cannot be kept here."""
        existing = next(folder for folder in (self.folder, *self.folder.resolve().parents) if folder.exists())
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is no folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(f"{existing} cannot be written")

    def _write(self, mail: Mail) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The same letter once more takes the same name.
        path = self.folder / f"{mail.time.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{mail.mail_id}.eml"
        part = self.folder / f".{secrets.token_hex(8)}"
        try:
            part.touch(mode=0o600, exist_ok=False)
            with part.open("wb") as file:
                file.write(written(mail, sender=self._sender).as_bytes(policy=WIRE))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        for old in sorted(self.folder.glob("*.eml"))[:-KEPT_FILES]:
            old.unlink(missing_ok=True)


def written(mail: Mail, *, sender: str) -> EmailMessage:
    """Return a mail as it goes over the wire, the same each time. Raises MailRefused for an address that is none."""
    message = EmailMessage(policy=WIRE.clone(utf8=not _encoded(mail.address).isascii()))
    name, _ = parseaddr(sender)
    message["From"] = Address(name, addr_spec=_mailbox(sender))
    message["To"] = _recipient(mail.address)
    message["Subject"] = mail.subject
    message["Date"] = mail.time
    message["Message-ID"] = f"<{mail.mail_id}@{_domain(sender)}>"
    # No holiday notes, please.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = mail.language  # of the whole, not of its first part
    message.set_boundary(f"=={mail.mail_id}==")
    return message


def judged(fault: Exception) -> Exception:
    """Return what a fault of SMTP comes to, in words that name nobody."""
    if isinstance(fault, aiosmtplib.SMTPRecipientsRefused):
        fault = fault.recipients[0]
    if not isinstance(fault, aiosmtplib.SMTPResponseException):
        # Whoever does not offer TLS, or has the wrong certificate, may be mended: until then it is as if nobody was there.
        return MailRefused("the server cannot write to such an address") if _is_unsendable(fault) else MailUnavailable()
    status = ENHANCED.match(fault.message.strip())
    said = f"{fault.code} {status[0]}" if status else f"{fault.code}"
    if fault.code == 421:  # the server is about to close
        return MailUnavailable()
    # Without an enhanced code, what a server says of a recipient is taken for true of the mailbox.
    about_mailbox = status[2] in {"1", "2"} if status else fault.code in MAILBOX_CODES
    if isinstance(fault, aiosmtplib.SMTPRecipientRefused) and fault.code >= 500 and about_mailbox:
        return MailRefused(f"the server says of the mailbox: {said}")
    step = type(fault).__name__.removeprefix("SMTP")
    return MailDeferred(f"the server says {said} ({step})")


def _is_unsendable(fault: Exception) -> bool:
    """Tell whether a server lacks what an address with letters beyond ASCII needs."""
    return isinstance(fault, aiosmtplib.SMTPNotSupported) and "SMTPUTF8" in str(fault)


def _recipient(address: str) -> Address:
    """Raises MailRefused for what is no address, above all for one that would be several headers or recipients."""
    with contextlib.suppress(ValueError, IndexError):
        encoded = _encoded(address)
        # Looked at as text first: the parser forgives what nobody means to write.
        if not re.search(r"[\s\x00-\x20\x7f,;:<>()\[\]\\\"]", encoded) and encoded.count("@") == 1:
            local, _, domain = encoded.partition("@")
            if local and domain:
                return Address(username=local, domain=domain)
    raise MailRefused("the address is none")


def _encoded(address: str) -> str:
    """Return an address with its domain as DNS has it."""
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    with contextlib.suppress(UnicodeError):
        return f"{local}{at}{domain.encode('idna').decode()}"
    return address


def _mailbox(sender: str) -> str:
    return parseaddr(sender)[1]


def _domain(sender: str) -> str:
    return _mailbox(sender).rpartition("@")[2] or "localhost"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES
