"""What a process says of itself: log lines, metrics and traces. This part is what every process begins with."""

from __future__ import annotations

import faulthandler
import logging
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType

from server.settings import Settings
from server.telemetry import logs

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
# Ids must differ, not surprise: the system's own source of randomness would cost more.
_ids = random.Random()  # noqa: S311


def set_up(settings: Settings, *, process: str) -> None:
    """Let this process log as its settings say: JSON lines, to standard error or a file that is turned over."""
    logs.SINK.open(settings.log_file if settings.log_file != Path() else None)
    handler = logs.JsonLines(logs.SINK, process=process, request_id=REQUEST_ID.get)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _last_words
    if not faulthandler.is_enabled():
        faulthandler.enable()


def new_request_id() -> str:
    """Return an id for a call that brought none."""
    return f"{_ids.getrandbits(96):024x}"


@contextmanager
def bind_request_id(request_id: str) -> Iterator[None]:
    """Let what is logged within carry the id of a call."""
    token = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)


def _last_words(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("ani").critical("the process ends: %s", fault, exc_info=(kind, fault, trace))
