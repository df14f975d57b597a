"""Names that look alike are one name, and addresses that look alike one address (CHECKLIST B8)."""

# Letters that are taken for others are what this is about.
# ruff: noqa: RUF001, RUF003

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.accounts.naming import NameMixesScripts, NameUnreadable, check_email, email_key, name_key, tidy_name

ALL = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
TEXTS = st.text(st.one_of(st.sampled_from("aIl10oрсвнАnrv Ωωσςßİıéж\u0301\u0307\u200d"), st.characters()), max_size=12)


class TestNameKey:
    """CHECKLIST B8: one documented fold."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("AniLibria", "ANILIBRIA"),
            ("AniLibria", "АniLibria"),  # a Cyrillic А
            ("AniLibria", "AniIibria"),  # a capital I for the l
            ("AniLibria", "Ani\u200dLibria"),
            ("ВЕРА", "BEPA"),
            ("вера", "BEPA"),
            ("сор", "cop"),
            ("ΝΟΤΕ", "NOTE"),
            ("Team 10", "team lO"),
            ("Modern", "Modem"),
            ("Café", "Cafe"),
            ("Ёлка", "ЕЛКА"),
            ("Ａｎｉ", "Ani"),
            ("カ", "力"),
            ("Straße", "STRASSE"),
            ("ıstanbul", "İstanbul"),
        ],
    )
    def test_is_the_same_for_names_that_look_alike(self, one: str, other: str) -> None:
        assert name_key(one) == name_key(other)

    @pytest.mark.parametrize(("one", "other"), [("Anna", "Ann a"), ("Ани", "Аня"), ("か", "が"), ("Team 2", "Team 3")])
    def test_differs_for_names_that_can_be_told_apart(self, one: str, other: str) -> None:
        assert name_key(one) != name_key(other)

    def test_knows_no_case_and_is_its_own_key_for_every_character(self) -> None:
        wrong = [
            one for one in ALL if not name_key(name_key(one)) == name_key(one.upper()) == name_key(one.lower()) == name_key(one)
        ]

        assert wrong == []

    @given(TEXTS)
    def test_is_its_own_key(self, text: str) -> None:
        assert name_key(name_key(text)) == name_key(text)


class TestEmailKey:
    """CHECKLIST B8, 2: an address is never taken for another that only looks like it."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Mike@GitHub.com", "mike@github.com"),
            ("mıke@gıthub.com", "mike@github.com"),
            ("mike@gitһub.com", "mike@github.com"),
            ("ike@münchen.de", "ike@XN--mnchen-3ya.de"),
            ("ike@example.com.", "ike@example.com"),
            ("іке@example.com", "ike@example.com"),
        ],
    )
    def test_is_the_same_for_addresses_that_look_alike(self, one: str, other: str) -> None:
        assert email_key(one) == email_key(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [("bob1@x.org", "bobl@x.org"), ("müller@x.org", "muller@x.org"), ("a.b@x.org", "ab@x.org"), ("rn@x", "m@x")],
    )
    def test_differs_for_what_are_two_mailboxes(self, one: str, other: str) -> None:
        assert email_key(one) != email_key(other)

    @given(TEXTS, TEXTS)
    def test_is_its_own_key(self, local: str, domain: str) -> None:
        key = email_key(f"{local}@{domain}")

        assert email_key(key) == key


class TestTidyName:
    """What may be a name."""

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("  Ani   Libria ", "Ani Libria"),
            ("Студия Band", "Студия Band"),
            ("ニュース Team", "ニュース Team"),
            ("Cafe\u0301", "Café"),
        ],
    )
    def test_gives_it_composed_and_with_single_spaces(self, text: str, name: str) -> None:
        assert tidy_name(text) == name

    @pytest.mark.parametrize("text", ["", "  ", "★", "\u200d", "\u202eani", "a\x00b", "a\u200bb", "\u3164", "z" + "\u0301" * 6])
    def test_refuses_what_cannot_be_read(self, text: str) -> None:
        with pytest.raises(NameUnreadable):
            tidy_name(text)

    @pytest.mark.parametrize("text", ["Аnime", "ΑniLibria Band", "Team Oнe"])
    def test_refuses_two_scripts_in_a_word(self, text: str) -> None:
        with pytest.raises(NameMixesScripts):
            tidy_name(text)

    @given(TEXTS)
    def test_leaves_what_it_gave_as_it_is(self, text: str) -> None:
        try:
            name = tidy_name(text)
        except (NameUnreadable, NameMixesScripts):
            name = "refused"

        assert tidy_name(name) == name


class TestCheckEmail:
    """What may be an address."""

    @pytest.mark.parametrize("text", ["ike@example.com", "müller@xn--mnchen-3ya.de", "ика@пример.рф"])
    def test_lets_through_what_can_be_read(self, text: str) -> None:
        check_email(text)

        assert email_key(text)

    @pytest.mark.parametrize(
        ("text", "refusal"), [("i\u200dke@x.org", NameUnreadable), ("i ke@x.org", NameUnreadable), ("іke@x.org", NameMixesScripts)]
    )
    def test_refuses_the_rest(self, text: str, refusal: type[Exception]) -> None:
        with pytest.raises(refusal):
            check_email(text)
