"""Builds gen/ before hatchling packs or links the project, so that no step can be forgotten."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

import build


class ContractHook(BuildHookInterface[Any]):
    """Called by hatchling: `build.py` does nothing when no file of the contract changed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build.main()
        if version == "standard":
            # Packed copies in a linked installation would hide gen/ and grow stale.
            sets = {f"gen/{name}.binpb": f"gen/{name}.binpb" for name in ("descriptor", "image")}
            build_data["force_include"] = {"gen/ani": "ani", "gen/buf": "buf", **sets}
