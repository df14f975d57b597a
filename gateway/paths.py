"""URL templates of the contract as regular expressions, and the methods that behave alike at the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ani.options.v1 import policy_pb2
from gateway.contract import Method

# What a unary call may take when its policy does not say.
USUAL_SECONDS = 10.0
# Beyond the time that the server itself gives a call: the gateway's own bound only ends calls of a server that hangs.
MARGIN_SECONDS = 2.0
SLASH = r"(?:[/\\]|%2f|%5c)"
WILDCARDS = {"*": "[^/]+", "**": ".+"}


@dataclass(frozen=True, slots=True)
class Behavior:
    """What the gateway must know of a call to send it on."""

    streaming: bool
    repeatable: bool
    seconds: float
    critical: bool = False
    # Whether many messages go up and one answer comes down.
    upload: bool = False

    @property
    def name(self) -> str:
        """Name it for the access log."""
        words = ["upload" if self.upload else "stream" if self.streaming else "unary", "repeatable" if self.repeatable else "once"]
        words += [f"{self.seconds:g} s"] if self.seconds else []
        return " ".join([*words, *(["critical"] if self.critical else [])])


@dataclass(frozen=True, slots=True)
class Address:
    """One way to reach a method over HTTP."""

    verb: str
    pattern: str
    behavior: Behavior
    shareable: bool


def behavior(method: Method) -> Behavior:
    """Return how the gateway treats a method's calls."""
    policy = method.policy or policy_pb2.Policy()
    if policy.HasField("timeout"):
        seconds = policy.timeout.ToTimedelta().total_seconds() + MARGIN_SECONDS
    else:
        seconds = 0.0 if method.streaming else USUAL_SECONDS + MARGIN_SECONDS
    return Behavior(
        streaming=method.streaming,
        repeatable=method.repeatable and not method.client_streaming,
        seconds=seconds,
        critical=policy.criticality == policy_pb2.CRITICALITY_CRITICAL,
        upload=method.client_streaming and not method.server_streaming,
    )


def addresses(methods: Iterable[Method]) -> Iterator[Address]:
    """List every verb and path of the contract; those that end in a custom verb come first, for they are the narrower ones."""
    found = [(binding, method) for method in methods for binding in method.bindings]
    for binding, method in sorted(found, key=lambda one: ":" not in one[0].path.rpartition("/")[2]):
        policy = method.policy or policy_pb2.Policy()
        shareable = (
            binding.verb == "GET"
            and not method.streaming
            and policy.access.public
            and policy.cache.scope == policy_pb2.CACHE_SCOPE_SHARED
        )
        yield Address(binding.verb, pattern(binding.path), behavior(method), shareable)


def secret_addresses(methods: Iterable[Method]) -> Iterator[tuple[str, str]]:
    """List what addresses that hold a secret look like without it, each with the expression of the paths that may hold it."""
    for method in methods:
        for binding in method.bindings:
            named = re.search(rf"\{{({either(method.secrets)})[=}}]", binding.path) if method.secrets else None
            if named:
                before = binding.path[: named.start()]
                word = _however(before.rstrip("/").rpartition("/")[2])
                # What a custom verb follows is another address.
                yield f"{before}{{{named[1]}}}", rf"(?is:[^?]*{SLASH}{word}[^a-z0-9._:-].*)"
            elif method.secrets and not binding.body:
                yield binding.path, rf"(?is:{_however(binding.path)}(?:{SLASH}|;[^?]*)*\?.*)"


def pattern(template: str) -> str:
    """Return the regular expression of the paths that a template such as /v1/releases/{release} stands for."""
    parts = re.split(r"(\{[^}]*\}|\*\*|\*)", template)
    return "".join(_part(part) for part in parts)


def either(patterns: Iterable[str]) -> str:
    """Return one expression for several: it is matched in one pass, however many there are."""
    return "|".join(dict.fromkeys(patterns))


def _however(text: str) -> str:
    """Return the expression of a text however it is written: a path that is written oddly is refused as it came, and logged so."""
    return "".join(f"{SLASH}+" if letter == "/" else f"(?:{re.escape(letter)}|{_escaped(letter)})" for letter in text)


def _escaped(letter: str) -> str:
    return "|".join(f"%{ord(one):02x}" for one in {letter, letter.swapcase()})


def _part(part: str) -> str:
    if part in WILDCARDS:
        return WILDCARDS[part]
    if part.startswith("{"):
        return pattern(part[1:-1].partition("=")[2] or "*")
    return re.escape(part)
