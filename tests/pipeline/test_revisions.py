"""x-revision: what a writer was told lets nobody see less, whichever process answers and whatever became of the publication."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import release_facts_pb2, release_pb2
from domain.kernel import Role, new_id
from server.settings import Settings
from tests.builders import NOON
from tests.pipeline.conftest import Probe, Start, Token
from tests.pipeline.test_cache import Shelf
from tests.platform.conftest import OwnValkey
from tests.serving import Metadata, refusal, with_metadata


async def written(probe: Probe, **fields: Any) -> Metadata:
    """Write, and return the metadata with which a reader asks to see it."""
    _, metadata = await with_metadata(probe("Write", **fields))
    return (("x-revision", str(metadata["x-revision"])),)


class TestRevision:
    async def test_is_told_by_every_write_and_grows(self, probe: Probe, token: Token) -> None:
        """WriteUntagged too: what it wrote may be read where nothing is cached, from a replica one day. A sign of life is not."""
        first = await written(probe)
        created = release_pb2.Release(
            release_id=new_id(at=NOON),
            alias="song",
            titles=[release_facts_pb2.LocalizedTitle(language="en", text="Song")],
            kind=release_pb2.RELEASE_KIND_TV,
            status=release_pb2.RELEASE_STATUS_ONGOING,
            age_rating=release_pb2.AGE_RATING_12,
        )
        request = admin_pb.CreateReleaseRequest(release=created)
        _, metadata = await with_metadata(probe.served.admin.CreateRelease(request, metadata=token(Role.EDITOR)))
        _, untagged = await with_metadata(probe("WriteUntagged"))
        _, undated = await with_metadata(probe("WriteUndated"))
        _, read = await with_metadata(probe("Read"))

        revisions = [int(str(text), 16) for text in (first[0][1], metadata["x-revision"], untagged["x-revision"])]
        assert revisions == sorted(revisions)
        assert revisions[0] < revisions[1]
        assert "x-revision" not in undated
        assert "x-revision" not in read

    async def test_lets_a_reader_see_the_write_although_no_publication_came_through(
        self, start: Start, settings: Settings, own_valkey: OwnValkey
    ) -> None:
        """The reader's process holds the old answer, and so does Valkey, frozen or not."""
        cut = replace(settings, redis_url=own_valkey.url)
        writer, reader = await start(cut), await start(cut)
        shelf = Shelf(writer, reader)
        assert "a 0" == (await reader("Shared", id="a")).text
        own_valkey.freeze()

        seen = await written(writer, id="a")
        answer = await reader("Shared", id="a", metadata=seen)
        again = await reader("Shared", id="a", metadata=seen)
        unasked = await reader("Shared", id="a")
        own_valkey.thaw()

        assert 1 == shelf.versions["a"]
        assert ["a 1"] * 3 == [answer.text, again.text, unasked.text]
        assert 2 == reader.count("Shared")

    async def test_is_not_met_by_joining_a_call_that_may_find_less(
        self, start: Start, settings: Settings, own_valkey: OwnValkey
    ) -> None:
        """Whoever asks for no revision may be given what Valkey holds from before; whoever asks for one may not join in that."""
        cut = replace(settings, redis_url=own_valkey.url)
        writer, keeper, reader = await start(cut), await start(cut), await start(cut)
        Shelf(writer, keeper, reader)
        await keeper("Shared", id="a")
        shared: Any = writer.machinery.cache._shared  # type: ignore[union-attr]
        await shared._valkey._give_up(shared._valkey._connection)  # the writer alone is cut off
        seen = await written(writer, id="a")
        # Of another write the reader has heard, so it knows of a later revision than that of the old answer.
        reader.machinery.cache.heard(("thing/z",), int(seen[0][1], 16))  # type: ignore[union-attr]

        answers = await asyncio.gather(reader("Shared", id="a"), *(reader("Shared", id="a", metadata=seen) for _ in range(3)))

        assert ["a 1"] * 3 == [answer.text for answer in answers[1:]]

    @pytest.mark.parametrize(
        "text", ["", "0x1", "-1", "g", "1" * 17, "+1", " ", "1 2", "1.0", "ffffffffffffffff", "7fffffffffffffff", "A1", "null"]
    )
    async def test_is_refused_if_this_platform_never_gave_it_out(self, probe: Probe, text: str) -> None:
        await probe("Shared", id="a")

        for method in ("Shared", "Read", "Write"):
            refused = await refusal(probe(method, id="a", metadata=(("x-revision", text),)))
            assert (grpc.StatusCode.INVALID_ARGUMENT, "REVISION_UNKNOWN") == (refused.code, refused.reason)
            assert {"x-revision"} == set(refused.fields)
        assert ["Shared"] == [name for name, _, _ in probe.asked]

    async def test_that_was_forged_harms_nobody_else(self, probe: Probe) -> None:
        await refusal(probe("Shared", id="a", metadata=(("x-revision", "7fffffffffffffff"),)))

        await probe("Shared", id="a")
        await probe("Shared", id="a")

        assert 1 == probe.count("Shared")

    async def test_of_long_ago_is_met_by_what_is_kept(self, probe: Probe) -> None:
        seen = await written(probe, id="z")
        await probe("Shared", id="a", metadata=seen)
        await probe("Shared", id="a", metadata=seen)
        await probe("Shared", id="a", metadata=(("x-revision", "1"),))

        assert 1 == probe.count("Shared")

    @pytest.mark.settings(cache=False)
    async def test_is_checked_without_a_cache_too(self, probe: Probe) -> None:
        seen = await written(probe, id="a")
        await probe("Shared", id="a", metadata=seen)

        assert "REVISION_UNKNOWN" == (await refusal(probe("Shared", metadata=(("x-revision", "f" * 16),)))).reason
