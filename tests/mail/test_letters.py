"""Letters: every kind in every language, and nothing of what others wrote is more than text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from string import Template
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.mail import KINDS, SECOND_FACTOR_CHANGES, Letter, LetterIncomplete
from server.mail.letters import LANGUAGES, LINKS, TEMPLATES, Writer, best_language, kinds_written, template, words_in
from tests.mail.conftest import MAIL_ID

FACTS = {
    "code": "042517",
    "link_token": "abc.d-_e=",
    "unlock_token": "x/y+z==",
    "device": "Pixel 8",
    "country": "JP",
    "time": "2026-04-05T18:30:00+02:00",
    "until": "",
    "new_address": "new@example.org",
    "what": "totp_added",
    "reason": "Spoilers",
}
WRITER = Writer("https://ani.example/app", "Ani")
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def a_letter(kind: str, language: str = "en", *, name: str = "Mio", **facts: str) -> Letter:
    return Letter(kind, "mio@example.org", language, name, {fact: FACTS[fact] for fact in KINDS[kind].facts} | facts)


def placeholders(kind: str, language: str) -> set[str]:
    return {name for part in template(kind, language) for name in Template(part).get_identifiers()}


class Tags(HTMLParser):
    """Gathers what an HTML document is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


class TestTemplates:
    @pytest.mark.parametrize("kind", kinds_written())
    def test_say_the_same_in_every_language(self, kind: str) -> None:
        shapes = {
            language: (placeholders(kind, language), len(template(kind, language)), _shown(kind, language))
            for language in LANGUAGES
        }

        assert shapes["en"] == shapes["ru"] == shapes["ja"]

    @pytest.mark.parametrize("kind", kinds_written())
    def test_use_every_fact_and_nothing_else(self, kind: str) -> None:
        in_link = set(Template(LINKS.get(kind, "")).get_identifiers())
        used = placeholders(kind, "en")

        assert KINDS[kind].facts == (used | in_link) - {"platform", "link"}
        assert ("link" in used) == (kind in LINKS)

    def test_are_there_for_known_kinds_alone(self) -> None:
        for language in LANGUAGES:
            assert sorted(kinds_written()) == sorted(path.stem for path in (TEMPLATES / language).glob("*.txt"))

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_have_words_for_everything(self, language: str) -> None:
        words = words_in(language)

        assert set(words.what) == SECOND_FACTOR_CHANGES
        assert len(words.months) == 12
        assert all([words.greeting, words.footer, words.moment, words.unknown, words.forever])


class TestWrite:
    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("kind", kinds_written())
    def test_leaves_no_placeholder(self, kind: str, language: str) -> None:
        mail = WRITER.write(a_letter(kind, language), mail_id=MAIL_ID, time=NOON)

        assert language == mail.language
        assert "$" not in mail.subject + mail.text + mail.html
        assert "\n" not in mail.subject
        assert f'lang="{language}"' in mail.html

    @pytest.mark.parametrize(
        ("tag", "language"),
        [("ja-JP", "ja"), ("RU", "ru"), ("ru_RU", "ru"), ("en-GB", "en"), ("de", "en"), ("", "en"), ("jav", "en")],
    )
    def test_falls_back_to_english(self, tag: str, language: str) -> None:
        assert language == best_language(tag)

    def test_shows_a_code_that_can_be_read_and_copied(self) -> None:
        mail = WRITER.write(a_letter("sign_in_code"), mail_id=MAIL_ID, time=NOON)

        assert "\n\n042517\n\n" in mail.text
        assert ">042517</p>" in mail.html
        assert "042517" not in mail.subject

    def test_keeps_tokens_behind_the_part_of_a_link_that_servers_see(self) -> None:
        mail = WRITER.write(a_letter("account_locked"), mail_id=MAIL_ID, time=NOON)

        assert "https://ani.example/app/unlock#token=x%2Fy%2Bz%3D%3D\n" in mail.text

    @pytest.mark.parametrize(
        ("language", "text"),
        [("en", "5 April 2026, 16:30 UTC"), ("ru", "5 апреля 2026 г., 16:30 UTC"), ("ja", "2026年4月5日 16:30 UTC")],  # noqa: RUF001
    )
    def test_tells_times_as_people_do(self, language: str, text: str) -> None:
        assert text in WRITER.write(a_letter("account_deletion", language), mail_id=MAIL_ID, time=NOON).text

    def test_tells_what_is_not_known_and_what_does_not_end(self) -> None:
        unknown = WRITER.write(a_letter("new_sign_in", device="?", country="?"), mail_id=MAIL_ID, time=NOON)
        ban = WRITER.write(a_letter("ban", until=""), mail_id=MAIL_ID, time=NOON)

        assert "Device: unknown\nCountry: unknown\n" in unknown.text
        assert "Until: no end is set" in ban.text

    def test_passes_on_no_words_to_somebody_who_may_never_have_asked(self) -> None:
        """Whoever registers with somebody else's address must not be able to write to them."""
        name = "Prizes at evil.example"

        claimed = WRITER.write(a_letter("verify_email", name=name), mail_id=MAIL_ID, time=NOON)
        own = WRITER.write(a_letter("password_changed", name="Mio"), mail_id=MAIL_ID, time=NOON)

        assert "evil" not in claimed.text + claimed.html
        assert own.text.startswith("Hello Mio,\n\n")

    @pytest.mark.parametrize("words", ["evil.example/win", "http://evil", "a\r\nBcc: b@example.org", "\u202egnorw", "\x00\x07x"])
    def test_makes_no_link_and_no_line_of_others_words(self, words: str) -> None:
        mail = WRITER.write(a_letter("new_sign_in", device=words), mail_id=MAIL_ID, time=NOON)

        line = next(line for line in mail.text.splitlines() if line.startswith("Device: "))
        assert not re.search(r"\w\.\w|:/|[\x00-\x1f\u202e]", line)
        assert len(mail.text.splitlines()) == len(
            WRITER.write(a_letter("new_sign_in"), mail_id=MAIL_ID, time=NOON).text.splitlines()
        )

    @given(st.text(min_size=1, max_size=60), st.text(max_size=30), st.sampled_from(LANGUAGES))
    def test_escapes_everything(self, words: str, name: str, language: str) -> None:
        mail = WRITER.write(
            a_letter("new_sign_in", language, name=name, device=f"<img src=x onerror=1>{words}"), mail_id=MAIL_ID, time=NOON
        )

        tags = Tags(mail.html).found
        assert {tag for tag, _ in tags} <= {"html", "head", "meta", "title", "body", "main", "p", "a", "br"}
        assert {attributes["href"] for tag, attributes in tags if tag == "a"} == {"https://ani.example/app/account/sessions"}


class TestLetter:
    @pytest.mark.parametrize(
        ("kind", "facts"),
        [
            ("sign_in_cod", {"code": "1"}),
            ("sign_in_code", {}),
            ("sign_in_code", {"code": ""}),
            ("sign_in_code", {"code": "1", "link": "x"}),
            ("sign_in_code", {"cod": "1"}),
            ("account_deletion", {"time": "tomorrow"}),
            ("account_deletion", {"time": "2026-04-05T12:00:00"}),
            ("second_factor_changed", {"what": "everything"}),
            ("ban", {"reason": "x" * 2001, "until": ""}),
        ],
    )
    def test_is_refused_where_it_is_ordered(self, kind: str, facts: dict[str, str]) -> None:
        with pytest.raises(LetterIncomplete) as caught:
            Letter(kind, "mio@example.org", "en", facts=facts)

        assert "mio" not in str(caught.value)

    def test_cannot_be_given_other_kinds(self) -> None:
        kinds: Any = KINDS

        with pytest.raises(TypeError):
            kinds["spam"] = KINDS["ban"]

    def test_is_of_use_as_long_as_its_code(self) -> None:
        codes = {kind for kind, known in KINDS.items() if known.facts & {"code", "link_token"}}

        assert {KINDS[kind].useful for kind in codes} == {timedelta(minutes=10)}


def _shown(kind: str, language: str) -> list[str]:
    """Return which paragraphs are codes, links and lists, in their order."""
    return [part if part in {"$code", "$link"} else "text" + "\n" * part.count("\n") for part in template(kind, language)[1:]]
