"""Settings are refused by name, and the example tells of each of them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

import pytest

from server.settings import Settings, SettingsRefused, example

ROOT = Path(__file__).resolve().parents[2]


class TestExample:
    def test_is_what_the_settings_say(self) -> None:
        assert (ROOT / ".env.example").read_text(encoding="utf-8") == example()

    def test_is_accepted_with_every_line_in_force(self) -> None:
        lines = [line.removeprefix("# ") for line in example().splitlines()]
        known = {setting.metadata["variable"] for setting in fields(Settings)}
        environment = dict(line.split("=", 1) for line in lines if line.partition("=")[0] in known)

        assert set(environment) == known
        assert Settings.read(environment) == Settings()


class TestRead:
    def test_names_every_fault_at_once(self) -> None:
        environment = {"ANI_PROT": "8080", "ANI_SERVERS": "none", "DATABASE_URL": "mysql://x", "PATH": "/bin"}

        with pytest.raises(SettingsRefused) as refused:
            Settings.read(environment)

        assert str(refused.value).splitlines() == [
            "ANI_PROT is not a setting of Ani",
            "ANI_SERVERS must be a whole number from 1 to 64",
            "DATABASE_URL must be postgresql://… or postgres://…",
        ]

    @pytest.mark.parametrize(
        ("variable", "wrong", "right"),
        [
            ("ANI_LISTEN", "x", "0.0.0.0:50051"),
            ("ANI_UPSTREAMS", "one:50051,two", "one:50051,[::1]:50052,unix:/run/ani.sock"),
            ("ANI_CORS_ORIGINS", "https://a.example,b", "https://a.example,http://localhost:3000"),
            ("ANI_COUNTRY_HEADER", "bad header", "cf-ipcountry"),
        ],
    )
    def test_refuses_what_could_not_be_used(self, variable: str, wrong: str, right: str) -> None:
        with pytest.raises(SettingsRefused, match=f"{variable} must be"):
            Settings.read({variable: wrong})
        Settings.read({variable: right})

    def test_wants_production_to_be_safe(self) -> None:
        with pytest.raises(SettingsRefused, match="ANI_REFLECTION must be off in production"):
            Settings.read({"ANI_ENVIRONMENT": "production"})

    @pytest.mark.parametrize(
        ("url", "known", "refused"),
        [
            ("postgresql://db/ani", {}, True),
            ("postgresql://ani@db/ani", {}, False),
            ("postgresql://db/ani?user=ani", {}, False),
            ("postgresql://db/ani", {"PGUSER": "ani"}, False),
        ],
    )
    def test_asks_for_a_user_where_the_process_has_no_name(
        self, monkeypatch: pytest.MonkeyPatch, url: str, known: dict[str, str], refused: bool
    ) -> None:
        monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)

        with pytest.raises(SettingsRefused, match="DATABASE_URL must name a user") if refused else nullcontext():
            Settings.read({"DATABASE_URL": url, **known})

    def test_asks_the_gateway_for_no_database_and_no_keys(self) -> None:
        settings = Settings.read({"ANI_ENVIRONMENT": "production", "ANI_REFLECTION": "off"}, stores=False)

        assert not settings.database_url
