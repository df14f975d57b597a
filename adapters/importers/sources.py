"""Files as sources of an import: their rows in portions, from any row on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.importers import bangumi, mal_genres, offline_database
from adapters.importers.files import ImportFile
from domain.catalog.importing import Portion, Row, Unusable

PORTION = 500
# After so many rows others get their turn.
TURN = 100

Reader = Callable[..., Iterator[Row | Unusable]]


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files of one format."""

    read: Reader
    adds: bool

    async def portions(
        self, parameters: Mapping[str, Any], checkpoint: Mapping[str, Any], now: datetime
    ) -> AsyncGenerator[Portion, None]:
        """Yield the rows of the file that the parameters name, after the row of the checkpoint. Raises ImportFileMissing."""
        after = int(checkpoint.get("row", 0))
        with closing(ImportFile(Path(parameters["file"]))) as file:
            rows: list[Row | Unusable] = []
            for number, row in enumerate(_once(self.read(file, now=now)), 1):
                if row.number > after:
                    rows.append(row)
                if len(rows) == PORTION:
                    yield _portion(file, rows)
                    rows = []
                if number % TURN == 0:
                    await asyncio.sleep(0)
            if rows:
                yield _portion(file, rows)


def _portion(file: ImportFile, rows: list[Row | Unusable]) -> Portion:
    return Portion(rows=rows, done=file.position, total=file.size, unit="bytes", checkpoint={"row": rows[-1].number})


def _once(rows: Iterator[Row | Unusable]) -> Iterator[Row | Unusable]:
    """Let a key pass once, for two rows of one key would undo each other; what is remembered of a key is a number."""
    seen: set[int] = set()
    for row in rows:
        if isinstance(row, Row):
            mark = hash(row.facts.key)
            if mark in seen:
                text = "An earlier row has the same key."
                yield Unusable(row.number, row.facts.key, "KEY_REPEATED", text)
                continue
            seen.add(mark)
        yield row


FILES = {
    "bangumi": FileSource(bangumi.read, adds=True),
    "mal-genres": FileSource(mal_genres.read, adds=False),
    "offline-database": FileSource(offline_database.read, adds=True),
}
