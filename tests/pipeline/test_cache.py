"""Answers kept and used again: between whom, for how long, and never once they are untrue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from domain.catalog.model import ReleaseNotFound
from domain.kernel import Role
from server.pipeline.call import Call
from server.pipeline.unary import VARIES
from tests.pipeline.conftest import Eventually, Probe, Start, Token
from tests.serving import Metadata, refusal, with_metadata

OTHER = "0191d7a0-0000-7000-8000-0000000000bb"


class Shelf:
    """Things that ProbeService shows and changes: what the methods say is how often a thing was changed."""

    def __init__(self, *probes: Probe) -> None:
        self.versions: dict[str, int] = {}
        for probe in probes:
            for method in ("Shared", "Private", "SharedByStaff"):
                probe.does[method] = self._showing(probe)
            probe.does["Write"] = self._writing(probe)

    def _showing(self, probe: Probe) -> Callable[[Any, Call], Any]:
        async def show(request: Any, call: Call) -> Any:
            return probe.Response(text=f"{request.id} {self.versions.get(request.id, 0)}", things=request.things)

        return show

    def _writing(self, probe: Probe) -> Callable[[Any, Call], Any]:
        async def write(request: Any, call: Call) -> Any:
            for name in (request.id, *(thing.thing_id for thing in request.things)):
                self.versions[name] = self.versions.get(name, 0) + (not request.validate_only)
            return probe.Response(things=request.things)

        return write


class TestShared:
    async def test_is_given_again_to_everyone_of_the_segment(self, probe: Probe, token: Token) -> None:
        Shelf(probe)

        answers = [await probe("Shared", id="a", metadata=metadata) for metadata in ((), (), token(), token(Role.MODERATOR))]

        assert ["a 0"] * 4 == [answer.text for answer in answers]
        assert 1 == probe.count("Shared")
        assert 3 == probe.machinery.cache.local_hits  # type: ignore[union-attr]

    async def test_is_kept_apart_by_request_and_by_all_that_an_answer_may_depend_on(self, probe: Probe, token: Token) -> None:
        """B6."""
        Shelf(probe)
        japan = (("x-ani-country", "JP"),)
        segments: list[Metadata] = [(), japan, (*japan, *token(maturity=12)), token(maturity=12), token(Role.EDITOR)]

        for _ in range(2):
            for metadata in segments:
                await probe("Shared", id="a", metadata=metadata)
                await probe("Shared", id="a", number=1, metadata=metadata)

        assert 2 * len(segments) == probe.count("Shared")

    async def test_is_made_for_a_viewer_reduced_to_the_segment(self, probe: Probe, token: Token) -> None:
        """B6: what is not in the key is not shown to the method, so the answer cannot depend on it."""
        metadata = (*token(Role.ADMIN, permissions=["a.b"], maturity=16), ("x-ani-country", "JP"))

        await probe("Shared", metadata=metadata)

        call = probe.asked[0][2]
        assert ("", Role.EDITOR, frozenset(), "JP", 16) == (
            call.viewer.account_id,
            call.viewer.role,
            call.viewer.permissions,
            call.viewer.country,
            call.viewer.maturity,
        )
        assert () == call.standings()

    async def test_tells_browsers_and_proxies_how_long_it_lasts_if_it_is_for_everyone(self, probe: Probe, token: Token) -> None:
        _, first = await with_metadata(probe("Shared"))
        _, again = await with_metadata(probe("Shared"))
        _, signed_in = await with_metadata(probe("Shared", metadata=token()))
        _, private = await with_metadata(probe("Private"))
        _, uncached = await with_metadata(probe("Read"))

        assert "public, max-age=599" == first["cache-control"] == again["cache-control"]
        assert (first["etag"], VARIES) == (again["etag"], again["vary"])
        for metadata in (signed_in, private, uncached):
            assert not {"cache-control", "etag"} & set(metadata)

    async def test_is_not_given_to_whom_the_method_is_shut(self, probe: Probe, token: Token) -> None:
        await probe("SharedByStaff", metadata=token(Role.MODERATOR))

        assert grpc.StatusCode.UNAUTHENTICATED is (await refusal(probe("SharedByStaff"))).code
        assert grpc.StatusCode.PERMISSION_DENIED is (await refusal(probe("SharedByStaff", metadata=token()))).code

    async def test_is_made_once_for_a_thousand_who_ask_at_once(self, probe: Probe, eventually: Eventually) -> None:
        """F10."""
        asked = asyncio.Event()

        async def show(request: Any, call: Call) -> Any:
            await asked.wait()
            return probe.Response(text="a")

        probe.does["Shared"] = show
        calls = [probe("Shared", id="a") for _ in range(1000)]
        cache: Any = probe.machinery.cache
        await eventually(lambda: [1000] == [flight.waiting for flight in cache._flights.values()])
        asked.set()

        assert {"a"} == {answer.text for answer in await asyncio.gather(*calls)}
        assert 1 == probe.count("Shared")

    async def test_is_kept_of_no_refusal(self, probe: Probe) -> None:
        async def refuse(request: Any, call: Call) -> Any:
            raise ReleaseNotFound(release=request.id)

        probe.does["Shared"] = refuse
        refused = await refusal(probe("Shared", id="a"))
        del probe.does["Shared"]

        assert grpc.StatusCode.NOT_FOUND is refused.code
        assert "a" == (await probe("Shared", id="a")).text

    async def test_is_found_by_another_process(self, probe: Probe, start: Start) -> None:
        second = await start()
        shelf = Shelf(probe, second)
        await probe("Shared", id="a")
        shelf.versions["a"] = 7  # nobody dropped the answer, so it is true

        answer = await second("Shared", id="a")

        assert "a 0" == answer.text
        assert 0 == second.count("Shared")
        assert 1 == second.machinery.cache.shared_hits  # type: ignore[union-attr]


class TestPrivate:
    async def test_is_given_again_to_the_account_alone(self, probe: Probe, token: Token) -> None:
        for metadata in (token(), token(), token(account_id=OTHER), ()):
            await probe("Private", id="a", metadata=metadata)

        assert ["0191d7a0-0000-7000-8000-0000000000aa", OTHER, ""] == [call.viewer.account_id for _, _, call in probe.asked]

    async def test_is_made_anew_when_the_account_comes_as_somebody_else(self, probe: Probe, token: Token) -> None:
        """B6: from another country, with another profile's limit, another role or other permissions."""
        japan = (("x-ani-country", "JP"),)
        for metadata in (
            token(),
            (*token(), *japan),
            token(maturity=12),
            token(Role.MODERATOR),
            token(permissions=["a.b"]),
            token(permissions=["a.b", "c.d"]),
        ):
            await probe("Private", id="a", metadata=metadata)
            await probe("Private", id="a", metadata=metadata)

        assert 6 == probe.count("Private")

    async def test_is_never_shared_between_guests_of_different_addresses(self, probe: Probe) -> None:
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            await probe("Private", id="a", metadata=(("x-forwarded-for", address),))

        assert 2 == probe.count("Private")


class TestDrop:
    async def test_is_seen_at_once_in_the_writers_process(self, probe: Probe) -> None:
        Shelf(probe)
        before = await probe("Shared", id="a")
        listed = await probe("Shared", id="list", things=[probe.Thing(thing_id="a"), probe.Thing(thing_id="b")])
        other = await probe("Shared", id="c")

        await probe("Write", id="a")
        after = await probe("Shared", id="a")
        await probe("Shared", id="list", things=[probe.Thing(thing_id="a"), probe.Thing(thing_id="b")])
        await probe("Shared", id="c")

        assert ("a 0", "list 0", "c 0", "a 1") == (before.text, listed.text, other.text, after.text)
        assert 5 == probe.count("Shared")

    async def test_names_what_is_found_in_the_answer_as_well(self, probe: Probe) -> None:
        Shelf(probe)
        await probe("Shared", id="b")

        await probe("Write", id="a", things=[probe.Thing(thing_id="b")])

        assert "b 1" == (await probe("Shared", id="b")).text

    async def test_does_not_follow_a_rehearsal(self, probe: Probe) -> None:
        Shelf(probe)
        await probe("Shared", id="a")

        _, metadata = await with_metadata(probe("Write", id="a", validate_only=True))
        await probe("Shared", id="a")

        assert 1 == probe.count("Shared")
        assert "x-revision" not in metadata

    async def test_is_heard_by_every_process(self, probe: Probe, start: Start, eventually: Eventually) -> None:
        """F11: the bound is what a publication takes."""
        second = await start()
        shelf = Shelf(probe, second)
        for round_ in range(10):
            assert f"a {round_}" == (await second("Shared", id="a")).text

            await probe("Write", id="a")
            await eventually(lambda: "thing/a" not in second.machinery.cache._by_tag)  # type: ignore[union-attr]
        assert 10 == shelf.versions["a"]

    @pytest.mark.parametrize("method", ["Write", "WriteUntagged"])
    async def test_of_nothing_disturbs_nobody(self, probe: Probe, method: str) -> None:
        """Loads are kept although something else is written meanwhile."""
        loading, written = asyncio.Event(), asyncio.Event()

        async def show(request: Any, call: Call) -> Any:
            loading.set()
            await written.wait()
            return probe.Response()

        probe.does["Shared"] = show
        reading = asyncio.ensure_future(probe("Shared", id="a"))
        await loading.wait()
        await probe(method, id="other")
        written.set()
        await reading
        await probe("Shared", id="a")

        assert 1 == probe.count("Shared")


class TestDoubtfulWrite:
    """D2: nobody knows whether a write that broke off was kept, so what it may have changed is read again."""

    async def test_of_a_caller_who_left_is_seen_by_the_next(self, probe: Probe) -> None:
        shelf, kept = Shelf(probe), asyncio.Event()

        async def write_and_linger(request: Any, call: Call) -> Any:
            shelf.versions[request.id] = 1
            kept.set()
            await asyncio.Event().wait()

        probe.does["Write"] = write_and_linger
        await probe("Shared", id="a")
        call = probe("Write", id="a")
        await kept.wait()
        call.cancel()

        await _until_text(probe, "a 1")

    async def test_that_failed_is_seen_by_the_next(self, probe: Probe, start: Start, eventually: Eventually) -> None:
        second = await start()
        shelf = Shelf(probe, second)

        async def write_and_fail(request: Any, call: Call) -> Any:
            shelf.versions[request.id] = 1
            raise OSError("the answer to the commit was lost")

        probe.does["Write"] = write_and_fail
        for one in (probe, second):
            await one("Shared", id="a")

        refused = await refusal(probe("Write", id="a"))
        here = await probe("Shared", id="a")
        await _until_text(second, "a 1")

        assert grpc.StatusCode.INTERNAL is refused.code
        assert "a 1" == here.text


async def _until_text(probe: Probe, text: str) -> None:
    async with asyncio.timeout(5):
        while (await probe("Shared", id="a")).text != text:
            pass
