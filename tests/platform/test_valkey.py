"""The client of Valkey: quick while it is there, and nobody waits for it while it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from redis import DataError, Redis

from adapters.redis import PATIENCE_SECONDS, Script, Valkey, ValkeyDown
from tests.platform.conftest import OwnValkey

Eventually = Callable[..., Coroutine[Any, Any, None]]
# A timer and two processes on a busy machine.
LATE = 0.5


class TestRun:
    async def test_returns_the_reply(self, client: Valkey) -> None:
        await client.run("SET", "answer", b"\x00\xff")

        assert await client.run("GET", "answer") == b"\x00\xff"
        assert await client.run("GET", "nothing") is None

    async def test_serves_a_thousand_callers_on_one_connection(self, own_valkey: OwnValkey) -> None:
        client = await Valkey.connect(own_valkey.url, patience=20.0)
        replies = await asyncio.gather(*(client.run("ECHO", str(number)) for number in range(1000)))

        assert replies == [str(number).encode() for number in range(1000)]
        with Redis.from_url(own_valkey.url) as other:
            assert len(other.client_list()) == 2
        await client.close()

    async def test_tells_a_refused_command_from_a_lost_connection(self, client: Valkey) -> None:
        await client.run("SET", "text", "x")

        with pytest.raises(ValkeyDown, match="WRONGTYPE"):
            await client.run("LPUSH", "text", "y")

        assert client.up
        assert await client.run("GET", "text") == b"x"

    async def test_leaves_others_alone_when_one_goes_away(self, client: Valkey) -> None:
        gone = asyncio.create_task(client.run("ECHO", "gone"))
        there = asyncio.create_task(client.run("ECHO", "there"))
        await asyncio.sleep(0)
        gone.cancel()

        assert await there == b"there"
        assert await client.run("ECHO", "next") == b"next"

    async def test_lets_nobody_else_suffer_for_what_cannot_be_sent(self, client: Valkey) -> None:
        there = asyncio.create_task(client.run("ECHO", "there"))
        await asyncio.sleep(0)
        with pytest.raises(DataError):
            await client.run("ECHO", None)  # type: ignore[arg-type]

        assert await there == b"there"
        assert client.up

    async def test_does_not_take_everything_for_valkey(self) -> None:
        async def chatter(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(chatter, "127.0.0.1", 0) as server:
            client = await Valkey.connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            with pytest.raises(ValkeyDown):
                await client.run("PING")
            await client.close()

    async def test_works_over_tcp(self, own_valkey: OwnValkey) -> None:
        with Redis.from_url(own_valkey.url) as other:
            for port in range(16_380, 16_480):
                if other.execute_command("CONFIG", "SET", "port", str(port)):
                    break
        client = await Valkey.connect(f"redis://127.0.0.1:{port}/1")
        try:
            assert await client.run("PING") == b"PONG"
        finally:
            await client.close()


class TestPipeline:
    async def test_returns_all_replies_in_order(self, client: Valkey) -> None:
        assert await client.pipeline([("SET", "n", 1), ("INCR", "n"), ("GET", "n")]) == [b"OK", 2, b"2"]

    async def test_reads_every_reply_although_one_is_a_refusal(self, client: Valkey) -> None:
        refused, fine = await asyncio.gather(
            client.pipeline([("SET", "text", "x"), ("INCR", "text"), ("ECHO", "rest")]),
            client.run("ECHO", "fine"),
            return_exceptions=True,
        )

        assert isinstance(refused, ValkeyDown)
        assert fine == b"fine"
        assert await client.run("ECHO", "next") == b"next"


class TestScript:
    async def test_runs_one_that_valkey_has_never_seen_or_forgot(self, client: Valkey) -> None:
        script = Script("return {KEYS[1], ARGV[1]}")

        first = await client.script(script, ["a"], ["b"])
        await client.run("SCRIPT", "FLUSH")
        second = await client.script(script, ["a"], ["c"])

        assert (first, second) == ([b"a", b"b"], [b"a", b"c"])

    async def test_tells_what_is_wrong_with_it(self, client: Valkey) -> None:
        with pytest.raises(ValkeyDown, match="no way"):
            await client.script(Script("return redis.error_reply('no way')"), [], [])


class TestAway:
    async def test_is_known_before_the_first_call(self, tmp_path: Path) -> None:
        client = await Valkey.connect(f"unix://{tmp_path}/nobody.sock")
        try:
            assert not client.up
            with pytest.raises(ValkeyDown):
                await client.run("PING")
        finally:
            await client.close()

    async def test_fails_at_once_after_a_kill_and_works_again_after_a_restart(
        self, client: Valkey, own_valkey: OwnValkey, eventually: Eventually
    ) -> None:
        own_valkey.kill()
        began = time.perf_counter()
        for _ in range(200):
            with pytest.raises(ValkeyDown):
                await client.run("PING")
        took = time.perf_counter() - began
        own_valkey.begin()
        await eventually(lambda: client.up)

        assert took < LATE
        assert await client.run("PING") == b"PONG"

    async def test_is_noticed_although_nobody_calls(self, client: Valkey, own_valkey: OwnValkey, eventually: Eventually) -> None:
        own_valkey.kill()
        await eventually(lambda: not client.up)
        own_valkey.begin()
        await eventually(lambda: client.up)

        assert await client.run("PING") == b"PONG"

    async def test_waits_once_for_one_that_hangs(self, client: Valkey, own_valkey: OwnValkey, eventually: Eventually) -> None:
        own_valkey.freeze()
        began = time.perf_counter()
        many = await asyncio.gather(*(client.run("PING") for _ in range(50)), return_exceptions=True)
        first = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(50):
            with pytest.raises(ValkeyDown):
                await client.run("PING")
        then = time.perf_counter() - began
        own_valkey.thaw()
        await eventually(lambda: client.up)

        assert {type(one) for one in many} == {ValkeyDown}
        assert PATIENCE_SECONDS * 0.9 < first < PATIENCE_SECONDS + LATE
        assert then < LATE
        assert await client.run("PING") == b"PONG"

    async def test_is_given_up_when_it_hangs_on(self, client: Valkey, own_valkey: OwnValkey, eventually: Eventually) -> None:
        own_valkey.freeze()
        with pytest.raises(ValkeyDown):
            await client.run("PING")
        await eventually(lambda: client._connection is None)
        own_valkey.thaw()
        await eventually(lambda: client.up)

        assert await client.run("PING") == b"PONG"

    async def test_is_not_blamed_for_a_loop_that_was_held_up(self, client: Valkey) -> None:
        asked = asyncio.create_task(client.run("ECHO", "late"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(3 * PATIENCE_SECONDS)  # noqa: ASYNC251 - it is the loop that must be held up

        assert await asked == b"late"
        assert client.up


class TestSubscribe:
    async def test_hears_what_is_published_and_says_when_it_missed_some(
        self, client: Valkey, own_valkey: OwnValkey, eventually: Eventually
    ) -> None:
        told: list[str] = []
        subscription = client.subscribe(
            ["drops", "other"],
            lambda channel, payload: told.append(f"{channel} {payload.decode()}"),
            connected=lambda: told.append("connected"),
            lost=lambda: told.append("lost"),
        )
        await eventually(lambda: told)
        await client.run("PUBLISH", "drops", "one")
        await eventually(lambda: len(told) == 2)
        own_valkey.kill()
        await eventually(lambda: len(told) == 3)
        own_valkey.begin()
        await eventually(lambda: len(told) == 4)
        with Redis.from_url(own_valkey.url) as other:
            other.publish("other", "two")
        await eventually(lambda: len(told) == 5)
        await subscription.close()

        assert told == ["connected", "drops one", "lost", "connected", "other two", "lost"]

    async def test_says_so_when_it_cannot_begin(self, tmp_path: Path, eventually: Eventually) -> None:
        told: list[str] = []
        client = await Valkey.connect(f"unix://{tmp_path}/nobody.sock")
        client.subscribe(["drops"], lambda *_: None, connected=lambda: told.append("connected"), lost=lambda: told.append("lost"))
        await eventually(lambda: told)
        await client.close()

        assert told == ["lost"]

    async def test_survives_a_message_that_nobody_understands(self, client: Valkey, eventually: Eventually) -> None:
        told: list[int] = []
        client.subscribe(
            ["numbers"], lambda _, payload: told.append(int(payload)), connected=lambda: told.append(0), lost=lambda: None
        )
        await eventually(lambda: told)
        await client.run("PUBLISH", "numbers", "seven")
        await client.run("PUBLISH", "numbers", "7")
        await eventually(lambda: len(told) == 2)

        assert told == [0, 7]

    async def test_notices_a_peer_that_vanished_without_a_word(
        self, client: Valkey, own_valkey: OwnValkey, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("adapters.redis.SILENCE_SECONDS", 0.1)
        told: list[str] = []
        client.subscribe(["drops"], lambda *_: None, connected=lambda: told.append("connected"), lost=lambda: told.append("lost"))
        await eventually(lambda: told)
        own_valkey.freeze()
        await eventually(lambda: "lost" in told)
        own_valkey.thaw()
        await eventually(lambda: told.count("connected") == 2)

        assert told == ["connected", "lost", "connected"]
