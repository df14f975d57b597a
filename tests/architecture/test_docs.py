"""What the documents name exists: settings, metrics, and the pages they point to."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from server.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")])
SETTINGS = {setting.metadata["variable"] for setting in fields(Settings)}
SOURCES = "\n".join(path.read_text("utf-8") for path in (ROOT / "server").glob("**/*.py"))
METRICS = set(re.findall(r'"(ani_[a-z_]+)"', SOURCES))
LINK = re.compile(r"\]\(([^)#]+)?(#[^)]+)?\)")


def _anchor(heading: str) -> str:
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    return {_anchor(heading) for heading in re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
class TestPage:
    def test_names_only_settings_that_exist(self, page: Path) -> None:
        named = set(re.findall(r"\bANI_[A-Z_]+[A-Z]\b|\b(?:DATABASE|REDIS|BROKER)_URL\b", page.read_text("utf-8")))

        assert named - {"ANI_SERVER_PORT"} <= SETTINGS

    def test_names_only_metrics_that_exist(self, page: Path) -> None:
        named = set(re.findall(r"\bani_[a-z_]+\b", page.read_text("utf-8")))

        assert {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in named} <= METRICS

    def test_points_only_to_what_exists(self, page: Path) -> None:
        links = [(target, anchor) for target, anchor in LINK.findall(page.read_text("utf-8")) if "://" not in target]
        pages = {(page.parent / target if target else page): anchor for target, anchor in links}

        assert [target for target in pages if not target.exists()] == []
        assert [anchor for target, anchor in pages.items() if anchor and anchor not in _anchors(target)] == []
