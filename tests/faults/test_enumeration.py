"""Whether there is an account is not to be told from how long an answer takes (A4)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from math import erfc, sqrt

import grpc
import pytest

from ani.accounts.v1 import accounts_service_pb2 as pb
from server.settings import Settings
from tests.accounts.people import PASSWORD, Kind, People, PostOffice
from tests.faults.conftest import Findings
from tests.serving import Metadata, Served

SAMPLES = 120
LEAST_P = 0.01
MOST_DIFFERENCE = 0.05
NUMBERS = count()


def somewhere() -> Metadata:
    """Return the metadata of a call from a place of its own: how often one may try is not what this is about."""
    number = next(NUMBERS)
    return (("x-forwarded-for", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"),)


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    with suppress(grpc.aio.AioRpcError):
        await work()
    return time.perf_counter() - began


def likeness(one: list[float], other: list[float]) -> float:
    """Return how likely it is that two samples differ so much by chance: Mann and Whitney's test, by its normal form."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which == 0)
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    z = abs(u - n * m / 2) / sqrt(n * m * (n + m + 1) / 12)
    return erfc(z / sqrt(2))


async def sign_in(people: People, address: str) -> None:
    place = somewhere()
    step = (await people.served.accounts.BeginSignIn(pb.BeginSignInRequest(email=address), metadata=place)).step
    request = pb.ContinueSignInRequest(sign_in=step.sign_in, kind=Kind.CHALLENGE_KIND_PASSWORD, answer="not the password")
    await people.served.accounts.ContinueSignIn(request, metadata=place)


async def reset(people: People, address: str) -> None:
    await people.served.accounts.BeginPasswordReset(pb.BeginPasswordResetRequest(email=address), metadata=somewhere())


async def register(people: People, address: str) -> None:
    request = pb.RegisterRequest(email=address, password=PASSWORD, name=f"Viewer {next(NUMBERS) * 7919}")
    await people.served.accounts.Register(request, metadata=somewhere())


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ask", [sign_in, reset, register], ids=lambda ask: ask.__name__)
async def test_known_and_unknown_addresses_take_as_long(
    served: Served, settings: Settings, findings: Findings, ask: Callable[[People, str], Awaitable[None]]
) -> None:
    people = People(served, PostOffice(settings))
    known = [f"known{number}@example.org" for number in range(20)]
    for number, address in enumerate(known):
        await people.register(f"Known {number * 7919}", email=address)
    times: tuple[list[float], list[float]] = ([], [])

    # In turns, so that the machine's moods are the same for both; what is tried often is made to wait, known or not.
    for number in range(SAMPLES):
        times[0].append(await seconds(lambda: ask(people, known[number % len(known)])))  # noqa: B023
        times[1].append(await seconds(lambda: ask(people, f"nobody{number % len(known)}@example.org")))  # noqa: B023

    medians = [statistics.median(found) for found in times]
    findings(f"{ask.__name__}: {medians[0] * 1000:.2f} ms for a known address, {medians[1] * 1000:.2f} ms for an unknown one")
    assert likeness(*times) > LEAST_P or abs(medians[0] - medians[1]) < MOST_DIFFERENCE * max(medians)
