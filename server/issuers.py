"""How other issuers are named in settings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
HOST = re.compile(r"[a-z0-9.-]{1,253}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIssuer:
    """An issuer that people may sign in with, and what the platform is there."""

    name: str
    issuer: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    hosts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def is_local(self) -> bool:
        """Whether it is on the same machine, where tests and developers have theirs."""
        return urlsplit(self.issuer).scheme == "http"

    def check(self) -> None:
        """Raises ValueError."""
        parts = urlsplit(self.issuer)
        good_place = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
        whole = parts.hostname and not (parts.query or parts.fragment or parts.username)
        if not (NAME.fullmatch(self.name) and good_place and whole and self.client_id and urlsplit(self.redirect_uri).scheme):
            raise ValueError(self.name)
        if "openid" not in self.scopes or not all(HOST.fullmatch(host) for host in self.hosts):
            raise ValueError(self.name)


def known_issuers(text: str) -> tuple[KnownIssuer, ...]:
    """a JSON list of issuers, each with name, issuer (https://…), client_id and redirect_uri, and maybe scopes and hosts"""
    given = json.loads(text)
    if not isinstance(given, list):
        raise ValueError("no list")
    issuers = tuple(_known(one) for one in given)
    if len({issuer.name for issuer in issuers}) != len(issuers):
        raise ValueError("a name twice")
    return issuers


def issuer_secrets(text: str) -> tuple[tuple[str, str], ...]:
    """a JSON object of client secrets by the names of issuers"""
    given = json.loads(text)
    if not isinstance(given, dict) or not all(isinstance(secret, str) for secret in given.values()):
        raise ValueError("no object of texts")
    return tuple(given.items())


def _known(given: object) -> KnownIssuer:
    if not isinstance(given, dict):
        raise ValueError("no object")
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    if len(texts) + len(lists) != len(given) or not all(isinstance(word, str) for words in lists.values() for word in words):
        raise ValueError("neither texts nor lists of them")
    if lists.keys() - {"scopes", "hosts"} or texts.keys() & {"scopes", "hosts"}:
        raise ValueError("a list where a text belongs")
    values: dict[str, Any] = {**texts, **lists}
    try:
        issuer = KnownIssuer(**values)
    except TypeError as fault:
        raise ValueError("not the fields of an issuer") from fault
    issuer.check()
    return issuer


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
