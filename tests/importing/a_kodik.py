"""A server that answers as Kodik does, on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, str], bytes]


def said(content: object, status: int = 200, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(content).encode()


def a_record(number: int, shikimori_id: str = "20", **over: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": f"serial-{number}",
        "type": "anime-serial",
        "link": f"//kodik.info/serial/{number}/cd5cb18078eb1d1a96abe338b2ffeb16/720p",
        "title": "Наруто [ТВ-1]",  # noqa: RUF001 - as Kodik writes it
        "title_orig": "Naruto",
        "translation": {"id": number, "title": f"Team {number}", "type": "voice"},
        "year": 2002,
        "shikimori_id": shikimori_id,
        "blocked_countries": [],
        "updated_at": f"2024-01-{number:02d}T00:00:00Z",
    }
    return facts | over


@dataclass
class AKodik:
    """Answers a call after another as it is told to, and remembers what it was asked."""

    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    # Answers whatever stands in no list.
    otherwise: Callable[[dict[str, str]], Answer] = lambda _: said({"results": []})

    def paged(self, *pages: list[dict[str, Any]]) -> None:
        """Answer /list with pages, linked by addresses that hold the token as Kodik's do."""

        def answer(query: dict[str, str]) -> Answer:
            number = int(query.get("next", "c0")[1:])
            more = number + 1 < len(pages)
            following = f"{self.url}/list?token={query['token']}&next=c{number + 1}" if more else None
            total = sum(map(len, pages))
            return said({"time": "1ms", "total": total, "prev_page": None, "next_page": following, "results": pages[number]})

        self.otherwise = answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        address = urlsplit(head.split(b" ", 2)[1].decode())
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.asked.append((address.path, query))
        status, headers, body = self.answers.pop(0) if self.answers else self.otherwise(query)
        lines = [f"HTTP/1.1 {status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
        lines += [f"content-length: {len(body)}", "connection: close", "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def a_kodik() -> AsyncIterator[AKodik]:
    kodik = AKodik()
    server = await asyncio.start_server(kodik._serve, "127.0.0.1", 0)
    kodik.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield kodik
