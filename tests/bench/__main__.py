"""Runs the measurements named in the arguments, or all, and writes what they found to docs/performance.md."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from tests.bench import accounts, cold, hot, importing, listing, playing, soak, stack
from tests.bench.machine import ROOT, describe

SECTIONS = {
    "hot": hot.measure,
    "cold": cold.measure,
    "listing": listing.measure,
    "importing": importing.measure,
    "playing": playing.measure,
    "accounts": accounts.measure,
    "stack": stack.measure,
    "soak": soak.measure,
}
# Takes minutes, and is only run when it is named.
LONG = {"soak"}
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- {}: written by make bench -->", "<!-- end of {} -->"


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - set(SECTIONS)
    if unknown:
        print(f"there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    for name in wanted or [name for name in SECTIONS if name not in LONG]:
        print(f"measuring: {name}", flush=True)
        text = SECTIONS[name]()
        print(text, flush=True)
        _write(name, f"Measured {datetime.now(UTC):%Y-%m-%d} on {describe()}.\n\n{text}")
    return 0


def _write(name: str, text: str) -> None:
    """Replace a section of the page."""
    begin, end = BEGIN.format(name), END.format(name)
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
