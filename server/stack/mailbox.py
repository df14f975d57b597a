"""The letters of a folder as a page, for whoever develops: on this machine alone, and nothing in them is more than is shown."""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from hashlib import sha256
from html import escape
from http import HTTPStatus
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

PLACE = "/mail"
MOST_SHOWN = 100
MOST_BYTES = 1024 * 1024
# As the mailer names them. Whatever else lies in the folder is none of ours.
NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f-]{1,64}", re.ASCII)
ASKED = re.compile(rf"{PLACE}/(?P<name>{NAME.pattern})(?P<html>/html)?", re.ASCII)
LINK = re.compile(r"(https?://[^\s<>\"']+)")
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .8rem .3rem 0; overflow-wrap: anywhere }
time { white-space: nowrap }
pre, iframe { border: 1px solid #8886; border-radius: 6px; padding: 1rem; white-space: pre-wrap }
iframe { width: 100%; height: 30rem; padding: 0; background: #fff }
"""
HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'"
OURS = f"{NOTHING}; style-src 'sha256-{HASH}'; frame-src 'self'; frame-ancestors 'none'"
# No script, nothing from elsewhere, and an origin of its own: a letter may hold what strangers wrote.
THEIRS = f"{NOTHING}; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    html: str
    policy: str = OURS
    status: HTTPStatus = HTTPStatus.OK


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Mailbox:
    """Answers below /mail, beside another application."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def beside(self, other: WSGIApplication) -> WSGIApplication:
        def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "")
            if path != PLACE and not path.startswith(f"{PLACE}/"):
                return other(environ, start)
            page = self._page(environ, path)
            body = page.html.encode("utf-8", "replace")
            sized = [("Content-Security-Policy", page.policy), ("Content-Length", str(len(body)))]
            start(f"{page.status.value} {page.status.phrase}", [*HEADERS, *sized])
            return [body]

        return answer

    def _page(self, environ: WSGIEnvironment, path: str) -> Page:
        if not (is_loopback(environ.get("REMOTE_ADDR", "")) and is_loopback(_host(environ.get("HTTP_HOST", "")))):
            # A site may have its own name lead to this machine, and would read letters by it.
            return _refusal(HTTPStatus.FORBIDDEN, "This page is for this machine alone.")
        if environ["REQUEST_METHOD"] != "GET":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "This page is only read.")
        if path in {PLACE, f"{PLACE}/"}:
            return Page(_list(self._letters()))
        asked = ASKED.fullmatch(path)
        message = _read(self._names().get(asked["name"])) if asked else None
        if asked is None or message is None:
            return _refusal(HTTPStatus.NOT_FOUND, "There is no such letter.")
        return Page(_body(message, "html"), THEIRS) if asked["html"] else Page(_letter(asked["name"], message))

    def _names(self) -> dict[str, Path]:
        """Return what may be shown: a path is never made of what somebody asks for."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            files = [Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]
            return {path.stem: path for path in files if path.suffix == ".eml" and NAME.fullmatch(path.stem)}
        return {}

    def _letters(self) -> Iterator[tuple[str, EmailMessage]]:
        names = self._names()
        for name in sorted(names, reverse=True)[:MOST_SHOWN]:
            if message := _read(names[name]):
                yield name, message


def _host(header: str) -> str:
    """Return the host of a Host header without its port."""
    return header.rpartition("]")[0].removeprefix("[") if header.startswith("[") else header.partition(":")[0]


def _read(path: Path | None) -> EmailMessage | None:
    """Return a letter; None for one that was removed meanwhile."""
    if path is None:
        return None
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return message_from_bytes(file.read(MOST_BYTES), policy=default)
    except OSError:
        return None


def _body(message: EmailMessage, kind: str) -> str:
    try:
        part = message.get_body((kind,))
        return str(part.get_content()) if part else ""
    except (LookupError, ValueError, AttributeError):  # what is no letter of ours may be broken in any way
        return ""


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message[name] or "")
    except (LookupError, ValueError, AttributeError, IndexError):
        return ""


def _time(name: str) -> str:
    """Return when a letter was written, as the name of its file tells."""
    return f"{name[:4]}-{name[4:6]}-{name[6:8]} {name[9:11]}:{name[11:13]}:{name[13:15]} UTC"


def _list(letters: Iterable[tuple[str, EmailMessage]]) -> str:
    rows = "\n".join(
        f"<tr><td><time>{_time(name)}</time><td>{escape(_header(message, 'To'))}"
        f'<td><a href="{PLACE}/{name}">{escape(_header(message, "Subject")) or "(no subject)"}</a>'
        for name, message in letters
    )
    table = f"<table><tr><th>Time<th>To<th>Subject\n{rows}</table>" if rows else "<p>No letters yet."
    return _document("Letters", f"<h1>Letters</h1>\n{table}", again=True)


def _letter(name: str, message: EmailMessage) -> str:
    heads = "\n".join(f"<tr><th>{head}<td>{escape(_header(message, head))}" for head in ("From", "To", "Date", "Content-Language"))
    text = "".join(
        f'<a href="{escape(piece)}" rel="noreferrer noopener" target="_blank">{escape(piece)}</a>' if is_link else escape(piece)
        for piece, is_link in _pieces(_body(message, "plain"))
    )
    subject = _header(message, "Subject")
    shown = f"<h1>{escape(subject)}</h1>\n<table>{heads}</table>\n<h2>Text</h2>\n<pre>{text}</pre>"
    html = f'<h2>HTML (<a href="{PLACE}/{name}/html">by itself</a>)</h2>\n<iframe sandbox src="{PLACE}/{name}/html"></iframe>'
    return _document(subject, f'<p><a href="{PLACE}">All letters</a></p>\n{shown}\n{html}')


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    for number, piece in enumerate(LINK.split(text)):
        yield piece, number % 2 == 1


def _refusal(status: HTTPStatus, words: str) -> Page:
    return Page(_document(status.phrase, f"<p>{words}"), status=status)


def _document(title: str, body: str, *, again: bool = False) -> str:
    refresh = '<meta http-equiv="refresh" content="5">' if again else ""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{refresh}'
    return f'<!doctype html>\n<html lang="en">{head}<title>{escape(title)}</title><style>{STYLE}</style>\n{body}\n</html>\n'
