"""C5: what /openapi.json says of the API holds for requests that nobody would think of, valid and invalid."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import environment
from tests.stack import Stack

# Left out are three. That every verb gets 405: Envoy takes verbs that it has never heard of for malformed HTTP. That whatever
# breaks the schema is refused: proto3's JSON is more lenient than a schema can say, with numbers for enums and fields that it
# does not know. That whatever fits it is taken: page tokens, genres and time zones are more than their form.
LEFT_OUT = "unsupported_method,negative_data_rejection,positive_data_acceptance"
# A stream never ends.
STREAMS = ":watch$"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: after so many wrong codes nobody's codes are heard from this address for a while."""
    with Stack(tmp_path_factory.mktemp("fuzz") / "a clone's folder", ANI_QUOTA_PER_MINUTE="100000") as stack:
        yield stack


def schemathesis(stack: Stack, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Let strangers' requests loose on the gateway, made from the contract that it shows."""
    argv = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{stack.address}/openapi.json", "--no-color"]
    argv += ["--header", f"Authorization: Bearer {stack.token('editor')}", "--exclude-path-regex", STREAMS]
    argv += ["--exclude-checks", LEFT_OUT, "--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--warnings", "off"]
    # It talks to nobody but the gateway, and leaves nothing where the tests were started.
    quiet = environment(NO_PROXY="*", HOME=str(folder))
    return subprocess.run([*argv, *words], cwd=folder, env=quiet, check=False, capture_output=True, text=True)


def cases(report: str) -> int:
    found = re.search(r"(\d+) generated, (\d+) passed", report)
    return int(found[2]) if found and found[1] == found[2] else 0


class TestContract:
    def test_holds_at_every_limit(self, stack: Stack, tmp_path: Path) -> None:
        done = schemathesis(stack, tmp_path, "--max-examples", "2", "--generation-deterministic", "--max-time", "15")

        assert done.returncode == 0, done.stdout
        assert cases(done.stdout) > 30, done.stdout  # as many as the time allows
        assert "Traceback" not in (stack.data / "logs" / "server-0.log").read_text()

    @pytest.mark.long
    @pytest.mark.timeout(240)
    def test_holds_by_chance(self, stack: Stack, tmp_path: Path) -> None:
        done = schemathesis(stack, tmp_path, "--max-examples", "100", "--max-time", "60")

        assert done.returncode == 0, done.stdout
        assert cases(done.stdout) > 500, done.stdout
