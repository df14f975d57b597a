"""Log lines: they cannot be forged, hold no secrets, and none is lost where processes share a file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from server.pipeline import front
from server.telemetry import REQUEST_ID, bind_request_id, new_request_id
from server.telemetry.logs import JsonLines, Sink
from server.telemetry.redaction import REDACTED
from tests.platform.conftest import run_python


@dataclass
class Lines:
    """A logger of its own, and what it wrote."""

    logger: logging.Logger
    path: Path

    @property
    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    path = tmp_path / "ani.log"
    sink = Sink(path)
    logger = logging.Logger("ani.test")  # noqa: LOG001 - one that shares nothing with the others
    logger.addHandler(JsonLines(sink, process="server-0", request_id=REQUEST_ID.get))
    yield Lines(logger, path)
    sink.close()


class TestJsonLines:
    def test_says_when_who_and_what(self, lines: Lines) -> None:
        before = datetime.now(UTC)
        with bind_request_id("req-12345678"):
            lines.logger.warning("%d releases", 3, extra={"release_id": "r1", "seconds": 0.5, "tags": ["a", "b"]})
        lines.logger.info("outside")
        first, second = lines.written

        assert first["time"].endswith("Z")
        assert abs((datetime.fromisoformat(first.pop("time")) - before).total_seconds()) < 5
        assert first == {
            "level": "warning",
            "logger": "ani.test",
            "process": "server-0",
            "message": "3 releases",
            "request_id": "req-12345678",
            "release_id": "r1",
            "seconds": 0.5,
            "tags": ["a", "b"],
        }
        assert "request_id" not in second

    def test_lets_no_text_forge_a_line_or_steer_a_terminal(self, lines: Lines) -> None:
        evil = 'x\n{"level":"info"}\r\x1b[2J\x7f\u202e\u2028\x85\0"'
        lines.logger.info("title %s", evil, extra={"title": evil})
        raw = lines.path.read_bytes()

        assert raw.count(b"\n") == 1
        assert all(32 <= byte < 127 for byte in raw[:-1])
        assert lines.written[0]["message"] == f"title {evil}"
        assert lines.written[0]["title"] == evil

    @pytest.mark.parametrize(
        ("text", "secret"),
        [
            ("Authorization: Bearer abcdef123456.xyz", "abcdef123456"),
            ("token was eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln", "eyJ"),
            ("connect postgresql://ani:hunter2@db/ani failed", "hunter2"),
            ("password=hunter2 for ann", "hunter2"),
            ('{"refresh_token": "hunter2", "a": 1}', "hunter2"),
            ("https://x.example/login?api_key=hunter2&next=/", "hunter2"),
        ],
    )
    def test_blanks_what_looks_like_a_secret(self, lines: Lines, text: str, secret: str) -> None:
        lines.logger.info(text)
        lines.logger.info("as a field", extra={"detail": text})
        try:
            raise ValueError(text)
        except ValueError:
            lines.logger.exception("as a fault")

        assert secret not in lines.path.read_text()
        assert lines.path.read_text().count(REDACTED) >= 3

    def test_blanks_fields_with_a_secrets_name_at_any_depth(self, lines: Lines) -> None:
        headers = {"Authorization": "x1", "cookie": "x1", "accept": "json", "nested": [{"api_key": "x1", "page": 2}]}
        lines.logger.info("called", extra={"headers": headers, "access_token": "x1"})

        assert lines.written[0]["headers"]["accept"] == "json"
        assert lines.written[0]["headers"]["nested"][0]["page"] == 2
        assert "x1" not in lines.path.read_text()

    def test_keeps_the_end_of_a_trace_that_is_too_long(self, lines: Lines) -> None:
        try:
            raise ValueError("y" * 100_000 + "the end")
        except ValueError:
            lines.logger.exception("x" * 100_000)

        assert len(lines.path.read_bytes()) < 40_000
        assert lines.written[0]["exception"].endswith("the end")

    def test_survives_a_message_that_cannot_be_made(self, lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
        lines.logger.info("%d", "no number")
        lines.logger.info("next", extra={"odd": float("nan"), "set": {1}, "path": Path("a")})

        assert "no number" in capsys.readouterr().err
        assert lines.written[0]["odd"] == "nan"
        assert lines.written[0]["path"] == "a"


class TestSetUp:
    def test_makes_a_whole_process_speak_json(self) -> None:
        process = run_python(
            "import warnings, logging\n"
            "from server import telemetry\n"
            "from server.settings import Settings\n"
            "telemetry.set_up(Settings(), process='worker')\n"
            "logging.getLogger('some.library').error('from a library')\n"
            "logging.getLogger('ani').debug('not asked for')\n"
            "warnings.warn('old')\n"
            "raise RuntimeError('password=hunter2')\n"
        )
        _, error = process.communicate(timeout=20)
        written = [json.loads(line) for line in error.splitlines()]

        assert [(one["level"], one["process"]) for one in written] == [
            ("error", "worker"),
            ("warning", "worker"),
            ("critical", "worker"),
        ]
        assert "RuntimeError" in written[2]["exception"]
        assert b"hunter2" not in error


class TestSink:
    def test_turns_a_full_file_over_and_keeps_so_many(self, tmp_path: Path) -> None:
        sink = Sink(tmp_path / "logs" / "ani.log", largest=100, kept=2)
        for number in range(40):
            sink.write(f"line {number:03d}\n".encode())
        sink.close()
        names = sorted(path.name for path in (tmp_path / "logs").iterdir())

        assert names == ["ani.log", "ani.log.1", "ani.log.2"]
        assert all(path.stat().st_size <= 100 for path in (tmp_path / "logs").iterdir())
        assert (tmp_path / "logs" / "ani.log").read_text().endswith("line 039\n")
        assert (tmp_path / "logs" / "ani.log").stat().st_mode & 0o777 == 0o600

    def test_loses_no_line_when_processes_share_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "ani.log"
        source = (
            "import sys\nfrom pathlib import Path\nfrom server.telemetry.logs import Sink\n"
            "sink = Sink(Path(sys.argv[1]), largest=20_000, kept=9)\n"
            "for number in range(1500):\n    sink.write(f'{sys.argv[2]}-{number:05d} {\"x\" * 20}\\n'.encode())\n"
            "assert not sink.lost\n"
        )
        writers = [run_python(source, str(path), name) for name in ("a", "b", "c")]
        for writer in writers:
            _, error = writer.communicate(timeout=30)
            assert writer.returncode == 0, error
        kept = sorted(line for file in tmp_path.iterdir() for line in file.read_text().splitlines())

        assert kept == sorted(f"{name}-{number:05d} {'x' * 20}" for name in "abc" for number in range(1500))
        assert len(list(tmp_path.iterdir())) > 5

    def test_follows_a_file_that_somebody_else_moved(self, tmp_path: Path) -> None:
        path = tmp_path / "ani.log"
        sink = Sink(path)
        sink.write(b"one\n")
        path.rename(tmp_path / "moved.log")
        sink.write(b"two\n")
        sink.close()

        assert path.read_text() == "two\n"

    def test_counts_what_a_full_disk_loses(self) -> None:
        sink = Sink(Path("/dev/full"))
        sink.write(b"one\ntwo\n")
        sink.close()

        assert sink.lost == 2


class TestNewRequestId:
    def test_makes_ids_that_differ_and_that_callers_may_send_back(self) -> None:
        made = {new_request_id() for _ in range(10_000)}

        assert len(made) == 10_000
        assert all(front.REQUEST_ID.fullmatch(one) for one in made)
