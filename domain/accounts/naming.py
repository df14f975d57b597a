"""Names and addresses: which may be read at all, and which look too much alike to belong to two.

What is compared is the *key* of a name: its compatibility form (NFKC) without case, accents and what nobody sees, with every
letter replaced by the one it is mistaken for. The table follows the confusables of Unicode's report 39, cut down to the scripts
that people here write in, and closed under case: since names are compared without it, letters are alike as soon as they are
in one of the cases, save that for a Greek letter its capital decides. An address is compared more narrowly, since two
mailboxes may well differ by an accent or by a digit.
"""

# Letters that are taken for others are what this is about.
# ruff: noqa: RUF001

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

from domain.kernel import InvalidArgument

# Of letters that are alike only one script is written with in a word; all others go together, as in Japanese.
ALIKE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "COPTIC", "ARMENIAN", "CHEROKEE"})
# Letters and symbols by their category, and yet nothing is to be seen of them.
BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# Emoji and Persian are written with these; keys go without them.
JOINERS = frozenset("\u200c\u200d")
MOST_MARKS = 4
ROUNDS = 4

# What is read for something else whoever writes it: other scripts' letters, and forms of Latin ones.
LETTERS = str.maketrans(
    dict(
        zip(
            "авгеҽєкмһнопрстухѕіјԁԛԝѡѵӏԍԏпαβγεζηικμνοπρστυχωɑɡɩıȷʋᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢꜰ",
            "abreeekmhhonpctyxsijdqwwvlgtnabrezhikmnonpotyxwagiijvabcdeghijklmnoprstuvwyzf",
            strict=True,
        )
    )
    | {"ь": "b", "λ": "л", "δ": "д", "φ": "ф", "θ": "ө", "ӕ": "æ", "’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'"}
    | dict.fromkeys("‐‑‒–—―−", "-")
)
# What only in a name may not make a difference.
ALSO_IN_NAMES = str.maketrans(
    {
        "0": "o",
        "1": "l",
        "i": "l",
        "|": "l",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ł": "l",
        "ħ": "h",
        "ŧ": "t",
        "з": "3",
        "б": "6",
    }
    | dict(zip("ニロカハエタトーへべぺり", "二口力八工夕卜一ヘベペリ", strict=True))
)
ACCENTS = re.compile("[\u0300-\u036f]")
DOTTED = re.compile("(?<=[ij])\u0307")
IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)


class NameUnreadable(InvalidArgument):
    """Raised when a name has nothing to be read, or something that nobody can see."""

    text = "A name needs a letter or a digit, and nothing that cannot be seen."


class NameMixesScripts(InvalidArgument):
    """Raised when a word is written in letters of two scripts that are mistaken for each other."""

    text = "The word {word} mixes letters of {scripts}."


def name_key(text: str) -> str:
    """Return what two names have in common that are too much alike."""
    for _ in range(ROUNDS):  # a replacement may bring together what composes anew
        bare = ACCENTS.sub("", unicodedata.normalize("NFD", _fold(text)))
        folded = unicodedata.normalize("NFC", bare).translate(LETTERS).translate(ALSO_IN_NAMES)
        folded = folded.replace("rn", "m").replace("vv", "w")
        folded = " ".join(folded.split())
        if folded == text:
            break
        text = folded
    return text


def email_key(text: str) -> str:
    """Return what two addresses have in common that may not belong to two accounts."""
    local, at, domain = text.rpartition("@")
    for _ in range(ROUNDS):
        folded = DOTTED.sub("", _fold(local)).translate(LETTERS)
        if folded == local:
            break
        local = folded
    return f"{local}{at}{_domain_key(domain)}"


def masked(email: str) -> str:
    """Return what of an address its owner knows it by, and nobody else: what is kept for ever must not name people."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}…@{domain[:1]}….{domain.rpartition('.')[2]}"


def tidy_name(text: str, *, field: str = "name") -> str:
    """Return a name composed, and with single spaces.

    Raises NameUnreadable, NameMixesScripts.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not any(character.isalnum() for character in name_key(name)) or not _is_seen(name):
        raise NameUnreadable(field=field)
    for word in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFKC", name)):
        _demand_one_script(word, field=field)
    return name


def check_email(text: str, *, field: str = "email") -> None:
    """Raises NameUnreadable, NameMixesScripts; whether it is an address at all the contract tells."""
    if not _is_seen(text) or any(character in JOINERS or character.isspace() for character in text):
        raise NameUnreadable(field=field)
    for part in re.split(r"[@.]", unicodedata.normalize("NFKC", text)):
        _demand_one_script("".join(filter(str.isalpha, _decoded(part))), field=field)


def _fold(text: str) -> str:
    seen = IGNORED.sub("", text)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())


def _domain_key(domain: str) -> str:
    """Return a domain by its letters, whether it was written with them or encoded."""
    labels = [_decoded(label) for label in unicodedata.normalize("NFKC", domain).casefold().rstrip(".").split(".")]
    return DOTTED.sub("", _fold(".".join(labels))).translate(LETTERS)


def _decoded(label: str) -> str:
    if not label.lower().startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label


def _is_seen(text: str) -> bool:
    if any(character in BLANK or (unicodedata.category(character) in UNSEEN and character not in JOINERS) for character in text):
        return False
    marks = groupby(unicodedata.normalize("NFD", text), key=lambda character: unicodedata.category(character) in {"Mn", "Me"})
    return all(not is_mark or sum(1 for _ in run) <= MOST_MARKS for is_mark, run in marks)


def _demand_one_script(word: str, *, field: str) -> None:
    """Raises NameMixesScripts."""
    scripts = {unicodedata.name(character, "").partition(" ")[0] for character in word} & ALIKE_SCRIPTS
    if len(scripts) > 1:
        raise NameMixesScripts(word=word, scripts=" and ".join(map(str.title, sorted(scripts))), field=field)
