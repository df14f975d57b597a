"""How Envoy's configuration is written down."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]
KILOBYTE = 1024
MEGABYTE = 1024 * KILOBYTE


def typed(kind: str, /, **fields: Any) -> Config:
    """Return a typed configuration, by the full name of its message."""
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def extension(name: str, kind: str, /, **fields: Any) -> Config:
    """Return a named extension with its typed configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def header(name: str, value: str, *, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Config:
    """Return a header to add, in place of one of that name unless said otherwise."""
    return {"header": {"key": name, "value": value}, "append_action": action}
