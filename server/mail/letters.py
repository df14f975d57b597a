"""Writes letters: templates in three languages, whose text and HTML say the same."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from domain.mail import KINDS, SILENCE, TIMES, Letter, Mail

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("en", "ru", "ja")
# Where on the site each kind of letter leads, for those that lead anywhere. What is behind # is never sent to a server, so that
# it stands in nobody's log.
LINKS = {
    "magic_link": "/sign-in/link#token=$link_token",
    "already_registered": "/sign-in",
    "password_changed": "/reset-password",
    "new_sign_in": "/account/sessions",
    "account_locked": "/unlock#token=$unlock_token",
    "email_changed": "/support",
    "second_factor_changed": "/account/security",
    "account_deletion": "/account/deletion",
    "export_ready": "/account/export",
    "ban": "/support",
}
NOT_KNOWN = "?"
# Others' words: mail programs would make links of what looks like an address.
DOT = re.compile(r"(?<=\w)\.(?=\w)|(?<=:)//")
CODE_STYLE = "font:600 32px/1.4 ui-monospace,monospace;letter-spacing:6px;margin:24px 0"


@dataclass(frozen=True, slots=True)
class Words:
    """What letters of one language share."""

    greeting: str
    footer: str
    moment: str
    months: list[str]
    unknown: str
    forever: str
    what: dict[str, str]

    def moment_of(self, time: datetime) -> str:
        time = time.astimezone(UTC)
        parts = {"day": time.day, "month": self.months[time.month - 1], "year": time.year, "clock": f"{time:%H:%M}"}
        return Template(self.moment).substitute(parts)


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes letters for one site."""

    # Without a slash at its end.
    site_url: str
    platform: str = "Ani"

    def write(self, letter: Letter, *, mail_id: str, time: datetime) -> Mail:
        """Return a letter in its language, or in English where it is in none of ours."""
        language = best_language(letter.language)
        subject, *paragraphs = template(letter.kind, language)
        words = words_in(language)
        values = self._values(letter, words)
        if letter.name and not KINDS[letter.kind].unproven:
            paragraphs = [words.greeting, *paragraphs]
        text = "\n\n".join(Template(paragraph).substitute(values) for paragraph in paragraphs)
        escaped = {name: html.escape(value) for name, value in values.items()}
        subject = Template(subject).substitute(values)
        layout = {
            "language": language,
            "subject": html.escape(subject),
            "body": "\n".join(_as_html(paragraph, escaped) for paragraph in paragraphs),
            "footer": html.escape(words.footer),
        }
        return Mail(
            mail_id=mail_id,
            time=time,
            address=letter.address,
            language=language,
            subject=subject,
            text=f"{text}\n\n{words.footer}\n",
            html=Template(_read("layout.html")).substitute(layout),
        )

    def _values(self, letter: Letter, words: Words) -> dict[str, str]:
        values = {name: _plain(fact) for name, fact in letter.facts.items()}
        for name in TIMES & values.keys():
            values[name] = words.moment_of(datetime.fromisoformat(values[name])) if values[name] else words.forever
        for name in ("device", "country"):
            if name in values:
                values[name] = words.unknown if values[name] == NOT_KNOWN else _unlinked(values[name])
        if "what" in values:
            values["what"] = words.what[values["what"]]
        tokens = {name: quote(fact, safe="") for name, fact in letter.facts.items()}
        link = self.site_url + Template(LINKS.get(letter.kind, "")).substitute(tokens)
        return values | {"platform": self.platform, "link": link, "name": _unlinked(_plain(letter.name))}


def best_language(tag: str) -> str:
    """Return the language that letters are written in for a BCP 47 tag."""
    language = re.split(r"[-_]", tag, maxsplit=1)[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


@cache
def template(kind: str, language: str) -> tuple[str, ...]:
    """Return the subject and the paragraphs of a kind of letter."""
    return tuple(part.strip() for part in re.split(r"\n{2,}", _read(f"{language}/{kind}.txt").strip()))


@cache
def words_in(language: str) -> Words:
    values: dict[str, Any] = json.loads(_read(f"{language}/words.json"))
    return Words(**values)


@cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _as_html(paragraph: str, escaped: dict[str, str]) -> str:
    """Return a paragraph as HTML: a code large, a link to be pressed, and all else as it stands."""
    if paragraph == "$code":
        return f'<p style="{CODE_STYLE}">{escaped["code"]}</p>'
    if paragraph == "$link":
        link = escaped["link"]
        return f'<p><a href="{link}" target="_blank" rel="noopener noreferrer" style="word-break:break-all">{link}</a></p>'
    return f"<p>{Template(html.escape(paragraph)).substitute(escaped)}</p>".replace("\n", "<br>\n")


def _plain(text: str) -> str:
    """Return a text on one line, without what nobody sees or what turns others' words around."""
    spaced = " ".join(text.split())
    return "".join(letter for letter in spaced if unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _unlinked(text: str) -> str:
    """Return others' words so that no mail program makes a link of them: nothing is seen of what is put in."""
    return DOT.sub(lambda found: f"\u200b{found[0]}\u200b", text)


def kinds_written() -> list[str]:
    """Return the kinds of letters that are sent."""
    return [kind for kind in KINDS if kind != SILENCE]
