"""`ani up` as people run it: start, memory, and how two servers share the calls of one connection."""

from __future__ import annotations


def measure() -> str:
    raise SystemExit("not yet")
