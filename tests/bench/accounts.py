"""What it costs to know who calls: tokens, refreshes, and calls beside people who sign in with a password."""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import jwt

from adapters.postgres import Database
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.token_keys import TokenKeys
from adapters.tokens import ALGORITHM, TokenVerifier
from ani.accounts.v1 import accounts_service_pb2 as pb
from ani.accounts.v1 import accounts_service_pb2_grpc, session_service_pb2, session_service_pb2_grpc, sign_in_pb2
from ani.catalog.v1 import catalog_service_pb2
from domain.accounts.model import Account, Device
from domain.kernel import Role, new_id
from server.pipeline.viewer import Identification
from server.settings import Settings
from server.wiring import accounts as accounts_wiring
from server.wiring.tokens import AccessTokens
from tests.bench.engines import engines
from tests.bench.hot import application, empty
from tests.bench.machine import load

ROUNDS = 5
PEOPLE = 64
SIGN_INS = 50
PASSWORD = "seven geese over the lake"
HOT = "/ani.catalog.v1.CatalogService/GetRelease"
UNHEARD = {"ANI_QUOTA_PER_MINUTE": "0"}


def measure() -> str:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ani-bench-")))
        running = stack.enter_context(engines(folder))
        _, served = stack.enter_context(application(running, folder, **UNHEARD)())
        pid, nothing = stack.enter_context(empty(Path(sys.executable), folder / "empty.sock")())
        call = load(pid, nothing, HOT, b"").cpu
        lines = asyncio.run(_measured(running.settings, served, nothing, call))
    return "\n".join(lines)


async def _measured(settings: Settings, served: str, nothing: str, call: float) -> list[str]:
    tokens = await _signed_in(settings)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(grpc.aio.insecure_channel(served))
        theirs = await stack.enter_async_context(grpc.aio.insecure_channel(nothing))
        base, refreshes, statements = await _refreshes(settings, ours, theirs, tokens)
        alone, beside, looked_at = await _beside_sign_ins(ours)
    seen, new, beyond = _tokens(settings)
    return [
        "| what | measured | bar |",
        "|---|---|---|",
        f"| a token seen before | {seen:.2f} µs, **{seen / call:.1%}** of an empty handler's call | 5 % |",
        f"| a new token | {new:.0f} µs, **{beyond:.2f}** of a bare PyJWT decode | 1.2 |",
        f"| RefreshTokens | {refreshes:,.0f} calls/s, **{refreshes / base:.2f}** of the empty handler's | 0.06 |",
        f"| transactions a refresh, with whatever else the database did | **{statements:.2f}** | 3 |",
        f"| p99 of a cached read while {SIGN_INS} people sign in | {beside:.1f} ms, **{beside / alone:.1f}** of that alone | 2 |",
        "",
        f"Meanwhile {looked_at:.0f} passwords a second were looked at.",
    ]


def _tokens(settings: Settings) -> tuple[float, float, float]:
    """Return the microseconds for a token that was seen before and for a new one, and what share of a bare decode this is."""
    at = datetime.now(UTC)
    issuer, keys = AccessTokens.of(settings).issuer, TokenKeys.open(settings.key_folder)
    claims = {"sid": new_id(at=at), "profile": new_id(at=at), "maturity": 18}
    many = [issuer.issue(new_id(at=at), Role.USER, at=at, lifetime=timedelta(minutes=15), **claims) for _ in range(2000)]
    verifier = TokenVerifier(keys, issuer=settings.token_issuer, audience=settings.token_audience)
    identification = Identification(verifier)
    key = keys.public(keys.kids[0])
    heads = [{"authorization": f"Bearer {token}", "x-forwarded-for": "192.0.2.1"} for token in many]

    def bare(token: str) -> None:
        jwt.decode(token, key, algorithms=[ALGORITHM], issuer=settings.token_issuer, audience=settings.token_audience)  # type: ignore[arg-type]

    def spent(work: Callable[[Any], object], over: list[Any]) -> float:
        began = time.perf_counter()
        for one in over:
            work(one)
        return (time.perf_counter() - began) / len(over) * 1e6

    def identify(head: dict[str, str]) -> None:
        identification.identify(head, str)

    spent(identify, heads[:100])
    rest = range(100, len(many), 100)
    # Side by side, for a machine is not as fast at all times.
    pairs = [(spent(identify, heads[n : n + 100]), spent(bare, many[n : n + 100])) for n in rest]
    seen = [spent(identify, heads * 10) for _ in range(ROUNDS)]
    new = statistics.median(one for one, _ in pairs)
    return statistics.median(seen), new, statistics.median(one / other for one, other in pairs)


async def _refreshes(settings: Settings, ours: Any, theirs: Any, tokens: list[str]) -> tuple[float, float, float]:
    """Return the calls a second of an empty handler and of refreshes, and the statements for each of these."""
    service = session_service_pb2_grpc.SessionServiceStub(ours)
    nothing = theirs.unary_unary(HOT)

    async def refresh(number: int) -> None:
        request = session_service_pb2.RefreshTokensRequest(refresh_token=tokens[number])
        tokens[number] = (await service.RefreshTokens(request)).tokens.refresh_token

    empties, rates = [], []
    before = await _commits(settings)
    for _ in range(ROUNDS):
        empties.append(await _rate(lambda _: nothing(b""), 40))
        rates.append(await _rate(refresh, 20))
    statements = (await _commits(settings) - before) / (ROUNDS * PEOPLE * 20)
    return statistics.median(empties), statistics.median(rates), statements


async def _rate(ask: Callable[[int], Awaitable[object]], times: int) -> float:
    async def caller(number: int) -> None:
        for _ in range(times):
            await ask(number)

    began = time.perf_counter()
    await asyncio.gather(*map(caller, range(PEOPLE)))
    return PEOPLE * times / (time.perf_counter() - began)


async def _beside_sign_ins(ours: Any) -> tuple[float, float, float]:
    """Return the p99 in milliseconds of a cached read, alone and beside people who sign in, and how many of these were answered."""
    service = accounts_service_pb2_grpc.AccountsServiceStub(ours)
    hot = ours.unary_unary(HOT)
    request = catalog_service_pb2.GetReleaseRequest(release="cowboy-bebop").SerializeToString()
    answers: Counter[grpc.StatusCode] = Counter()

    async def sign_in(number: int, until: asyncio.Event) -> None:
        while not until.is_set():
            address = f"nobody-{number}-{secrets.token_hex(4)}@example.org"
            # Each from somewhere else: how often one may try is not what this is about.
            place = (("x-forwarded-for", ".".join(str(byte) for byte in (10, *secrets.token_bytes(3)))),)
            try:
                step = (await service.BeginSignIn(pb.BeginSignInRequest(email=address), metadata=place)).step
                answer = pb.ContinueSignInRequest(
                    sign_in=step.sign_in, kind=sign_in_pb2.CHALLENGE_KIND_PASSWORD, answer="not the password"
                )
                await service.ContinueSignIn(answer, metadata=place)
            except grpc.aio.AioRpcError as refusal:
                answers[refusal.code()] += 1
                if refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    # As a client does: the answer says when to come back.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(until.wait(), random.uniform(1, 2))

    async def p99() -> float:
        times = []
        for _ in range(1500):
            began = time.perf_counter()
            await hot(request)
            times.append(time.perf_counter() - began)
        return statistics.quantiles(times, n=100)[98] * 1000

    alone, beside, seconds = [], [], 0.0
    for _ in range(3):
        alone.append(await p99())
        until, began = asyncio.Event(), time.perf_counter()
        async with asyncio.TaskGroup() as people:
            for number in range(SIGN_INS):
                people.create_task(sign_in(number, until))
            await asyncio.sleep(0.5)
            beside.append(await p99())
            until.set()
        seconds += time.perf_counter() - began
    # Whoever is refused for a reason of another kind waits for no password, and measures nothing.
    assert set(answers) <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}, answers
    return statistics.median(alone), statistics.median(beside), answers[grpc.StatusCode.UNAUTHENTICATED] / seconds


async def _signed_in(settings: Settings) -> list[str]:
    """Open accounts, sign them in, and return their refresh tokens."""
    database = await Database.connect(settings.database_url, size=2, application="ani-bench")
    at = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        with ExitStack() as inner:
            issuer = AccessTokens.of(settings).issuer
            desk = accounts_wiring.desk(settings, database, issuer, stack)
            inner.callback(desk.passwords.close)
            tokens = []
            for number in range(PEOPLE):
                account = Account(
                    account_id=new_id(at=at),
                    email=f"p{number}@example.org",
                    name=f"Person {number * 7919}",
                    create_time=at,
                    update_time=at,
                )
                async with database.begins(PostgresAccounts)() as store:
                    assert await store.add_account(account)
                    tokens.append((await desk.sessions.open(store, account, device=Device(), at=at)).refresh_token)
    return tokens


async def _commits(settings: Settings) -> int:
    connection = await asyncpg.connect(settings.database_url)
    try:
        # What a connection did is told when it has been idle for ten seconds.
        await asyncio.sleep(11)
        return int(await connection.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"))
    finally:
        await connection.close()
