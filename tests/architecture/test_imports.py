"""Imports go one way, each technology stays in its place, and modules and functions stay small."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("domain", "adapters", "server", "gateway", "migrations")
# Put parts together: a server or worker process, the stack of one machine, commands that end by themselves.
COMPOSITION_ROOTS = {
    "server.wiring",
    "server.workshop",
    "server.commands",
    "server.imports",
    "server.stack.embedded",
}
WIRE = {"ani", "buf", "google", "grpc", "grpc_health", "grpc_reflection", "protovalidate"}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 40


@dataclass(frozen=True)
class Module:
    """One module of ours, parsed."""

    name: str
    tree: ast.Module
    lines: int

    @property
    def ring(self) -> str:
        return self.name.partition(".")[0]

    @property
    def imports(self) -> set[str]:
        """Every module it imports, inside functions as well."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return found

    @property
    def roots(self) -> set[str]:
        return {name.partition(".")[0] for name in self.imports}

    def within(self, *packages: str) -> bool:
        return any(self.name == package or self.name.startswith(package + ".") for package in packages)


def modules() -> Iterator[Module]:
    for ring in OURS:
        for path in sorted((ROOT / ring).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Module(name, ast.parse(text), text.count("\n"))


MODULES = list(modules())
CONTEXTS = sorted(path.name for path in (ROOT / "domain").iterdir() if (path / "service.py").exists())


def each(*rings: str, but: Iterable[str] = ()) -> pytest.MarkDecorator:
    """Ask a test of each module in these rings, but for those within the named ones."""
    asked = [module for module in MODULES if module.ring in rings and not module.within(*but)]
    return pytest.mark.parametrize("module", asked, ids=lambda module: module.name)


class TestRings:
    def test_are_all_there(self) -> None:
        assert {module.ring for module in MODULES} == set(OURS)
        assert "catalog" in CONTEXTS

    @each(*OURS)
    def test_point_inwards(self, module: Module) -> None:
        outward = {
            "domain": {"adapters", "server", "gateway", "migrations"},
            "adapters": {"server", "gateway"},
            "gateway": {"server", "adapters", "migrations"},
            "migrations": {"server", "gateway"},
        }

        assert module.roots.isdisjoint(outward.get(module.ring, set()))

    @each("domain")
    def test_leave_the_domain_with_the_standard_library(self, module: Module) -> None:
        assert module.roots <= {"domain", *sys.stdlib_module_names}

    @each("server", but=COMPOSITION_ROOTS)
    def test_meet_where_parts_are_put_together(self, module: Module) -> None:
        assert "adapters" not in module.roots


class TestTechnologies:
    @each("domain", "adapters", "migrations")
    def test_keep_the_wire_out_of_the_core(self, module: Module) -> None:
        assert module.roots.isdisjoint(WIRE)

    @each(*OURS, but=["adapters.postgres", "migrations"])
    def test_keep_sqlalchemy_with_the_database(self, module: Module) -> None:
        assert module.roots.isdisjoint({"sqlalchemy", "alembic", "asyncpg"})

    @each(*OURS, but=["adapters"])
    def test_keep_redis_behind_its_adapters(self, module: Module) -> None:
        assert module.roots.isdisjoint({"redis", "valkey"})


class TestContexts:
    @pytest.mark.parametrize("ring", ["domain", "server"])
    @pytest.mark.parametrize("context", CONTEXTS)
    def test_do_not_know_each_other(self, ring: str, context: str) -> None:
        others = {f"{ring}.{other}" for other in CONTEXTS if other != context}
        known = {name for module in MODULES if module.within(f"{ring}.{context}") for name in module.imports}

        assert not [name for name in known if any(name == other or name.startswith(other + ".") for other in others)]


class TestSizes:
    @each(*OURS)
    def test_keep_modules_readable_in_one_sitting(self, module: Module) -> None:
        assert module.lines <= LONGEST_MODULE

    @each(*OURS)
    def test_keep_functions_on_one_screen(self, module: Module) -> None:
        functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        long = {node.name: length for node in functions if (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION}

        assert long == {}
