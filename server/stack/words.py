"""What of a part's output people should see at once."""

from __future__ import annotations

import json
import re

POSTGRES = re.compile(r"(?:PANIC|FATAL):  (?!terminating|the database system|connection to client).*|.*No space left on device.*")
VALKEY = re.compile(r".*(?:Fatal|No space left on device|MISCONF|Bad file format).*")
ENVOY = re.compile(r"\[(?:error|critical)\].*")
LOUD = {"warning", "error", "critical"}


def notable_in_postgres(line: str) -> str:
    return _found(POSTGRES, line)


def notable_in_valkey(line: str) -> str:
    return _found(VALKEY, line)


def notable_in_envoy(line: str) -> str:
    return _found(ENVOY, line)


def notable_in_json(line: str) -> str:
    """Return the message of a warning or worse; what is no JSON is in the log."""
    if not line.startswith("{"):
        return ""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    level = str(entry.get("level", "")).lower()
    return f"{level}: {entry.get('message', '')}" if level in LOUD else ""


def _found(pattern: re.Pattern[str], line: str) -> str:
    found = pattern.search(line)
    return found.group(0).strip() if found else ""
