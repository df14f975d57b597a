"""Writes docs/errors.md from the refusals in the code: `python -m tests.architecture.errors_page`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import adapters
import domain
import server
from domain.kernel import Collision, Refusal
from server.pipeline.errors import CODES, code_of, reason, retry_after

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
HEAD = """\
# Errors

Every refusal is a gRPC status with `google.rpc.ErrorInfo`: `domain` is `ani`, `reason` is one of the names below and never changes,
and `metadata` holds whatever is specific in the message. A field that is wrong is named in `google.rpc.BadRequest`. Where trying
again can help, `google.rpc.RetryInfo` says after how long, and over HTTP `retry-after` does. Over JSON the body is the same
`google.rpc.Status`. Whatever is not in this list is INTERNAL, with a request id to quote.

Refusals of the gateway itself have the same form; their reasons are those of `gateway/replies.py`.

This page is written by `python -m tests.architecture.errors_page`, and a test holds it true.

| reason | status | when | try again |
|---|---|---|---|
"""


def refusals() -> list[type[Refusal]]:
    """Return every refusal that can reach a caller, by reason."""
    for package in (domain, adapters, server):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, ahead = [], [Refusal]
    while ahead:
        kinds = ahead.pop().__subclasses__()
        ahead += kinds
        found += [
            kind for kind in kinds if kind not in CODES and kind.__module__.partition(".")[0] in {"domain", "adapters", "server"}
        ]
    # What a store raises of that kind has a name of its own.
    return sorted(set(found) - {Collision}, key=reason)


def page() -> str:
    return HEAD + "".join(f"{_row(kind)}\n" for kind in refusals())


def _row(kind: type[Refusal]) -> str:
    blank: Any = kind.__new__(kind)
    blank.retry_after = 1.0  # whoever raises one says it
    words = " ".join((inspect.getdoc(kind) or "").split()).partition(". ")[0].rstrip(".").replace("Raised ", "").removesuffix(".")
    again = "yes" if retry_after(blank) is not None else "no"
    return f"| `{reason(kind)}` | {code_of(blank).name} | {words} | {again} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
