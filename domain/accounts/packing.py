"""Packing records of all kinds into ZIP archives that any client takes in one message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

CONTENT_TYPE = "application/zip"
# Together they keep a part well below the four megabytes that clients take in one message unless told otherwise.
FILE_BYTES = 1024 * 1024
PART_BYTES = 2 * 1024 * 1024
CONTENTS = "contents.json"


class Packer:
    """Packs records into files of JSON, files into parts, and says in the last part what all of it is."""

    def __init__(self, account_id: str, *, at: datetime) -> None:
        self.record_count = 0
        self._account_id = account_id
        self._time = at
        self._contents: dict[str, dict[str, Any]] = {}
        self._name = ""
        self._lines: list[str] = []
        self._size = 0
        self._open()

    def add(self, name: str, about: str, records: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Take records; return the parts that are full by now."""
        full: list[bytes] = []
        if name != self._name:
            full += self._file_closed()
            self._name = name
        content = self._contents.setdefault(name, {"about": about, "records": 0, "files": []})
        for record in records:
            line = json.dumps(record, ensure_ascii=False)
            self._lines.append(line)
            self._size += len(line.encode())
            content["records"] += 1
            self.record_count += 1
            if self._size >= FILE_BYTES:
                full += self._file_closed()
        return full

    def finish(self) -> bytes:
        """Return the last part."""
        self._write_file()
        whole = {"account_id": self._account_id, "time": self._time.isoformat(), "contents": self._contents}
        self._write(CONTENTS, json.dumps(whole, ensure_ascii=False, indent=1))
        return self._close()

    def _file_closed(self) -> list[bytes]:
        """End the file that is being filled; return the part that it filled."""
        self._write_file()
        if self._buffer.tell() < PART_BYTES:
            return []
        part = self._close()
        self._open()
        return [part]

    def _write_file(self) -> None:
        if not self._lines:
            return
        files = self._contents[self._name]["files"]
        file = f"{self._name}-{len(files) + 1}.json" if files else f"{self._name}.json"
        self._write(file, "[\n" + ",\n".join(self._lines) + "\n]\n")
        files.append(file)
        self._lines, self._size = [], 0

    def _write(self, file: str, text: str) -> None:
        told = self._time.timetuple()
        info = ZipInfo(file, date_time=(told.tm_year, told.tm_mon, told.tm_mday, told.tm_hour, told.tm_min, told.tm_sec))
        info.compress_type = ZIP_DEFLATED
        self._zip.writestr(info, text)

    def _open(self) -> None:
        self._buffer = BytesIO()
        self._zip = ZipFile(self._buffer, "w")

    def _close(self) -> bytes:
        self._zip.close()
        return self._buffer.getvalue()
