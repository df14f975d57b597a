"""What only the wire shows of CatalogService: mapping, statuses, access, caching, paging, streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import genre_pb2, release_facts_pb2, release_list_pb2, release_pb2
from domain.kernel import Role, new_id
from tests.builders import NOON
from tests.serving import Metadata, Served, refusal, with_metadata

Token = Callable[..., Metadata]


@pytest.fixture(autouse=True)
async def genres(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO catalog.genres (genre_id, name) VALUES ('drama', 'Drama')")
    await connection.close()


def a_message(**over: object) -> release_pb2.Release:
    release_id = new_id(at=NOON)
    facts: dict[str, object] = {
        "release_id": release_id,
        "alias": f"release-{release_id[-12:]}",
        "titles": [release_facts_pb2.LocalizedTitle(language="en", text="Song of the Wind")],
        "synopsis": "A girl writes down what the wind says.",
        "kind": release_pb2.RELEASE_KIND_TV,
        "status": release_pb2.RELEASE_STATUS_ONGOING,
        "season": release_pb2.SEASON_SPRING,
        "year": 2026,
        "age_rating": release_pb2.AGE_RATING_12,
        "genres": [genre_pb2.Genre(genre_id="drama")],
        "planned_episode_count": 12,
        "weekly_slot": release_facts_pb2.WeeklySlot(weekday=6, minute=1410, zone="Asia/Tokyo"),
        "blocked_countries": ["DE", "AT"],
        "publication": release_pb2.PUBLICATION_PUBLISHED,
    }
    return release_pb2.Release(**facts | over)  # type: ignore[arg-type]


async def created(served: Served, token: Token, **over: object) -> release_pb2.Release:
    answer = await served.admin.CreateRelease(admin_pb.CreateReleaseRequest(release=a_message(**over)), metadata=token(Role.EDITOR))
    return answer.release


class TestGetRelease:
    async def test_shows_what_was_created(self, served: Served, token: Token) -> None:
        wanted = a_message()
        await served.admin.CreateRelease(admin_pb.CreateReleaseRequest(release=wanted), metadata=token(Role.EDITOR))

        shown = (await served.catalog.GetRelease(pb.GetReleaseRequest(release=wanted.alias))).release

        assert "Drama" == shown.genres[0].name
        assert ["AT", "DE"] == list(shown.blocked_countries)
        assert shown.HasField("publish_time")
        for field in ("release_id", "titles", "synopsis", "kind", "status", "season", "year", "age_rating", "weekly_slot"):
            assert getattr(wanted, field) == getattr(shown, field)

    async def test_says_not_found_with_a_reason(self, served: Served) -> None:
        refused = await refusal(served.catalog.GetRelease(pb.GetReleaseRequest(release="no-such-release")))

        assert (grpc.StatusCode.NOT_FOUND, "RELEASE_NOT_FOUND") == (refused.code, refused.reason)
        assert {"release": "no-such-release"} == dict(refused.info.metadata)
        assert "ani" == refused.info.domain

    async def test_names_the_field_that_is_wrong(self, served: Served) -> None:
        refused = await refusal(served.catalog.GetRelease(pb.GetReleaseRequest(release="Not An Alias")))

        assert grpc.StatusCode.INVALID_ARGUMENT is refused.code
        assert {"release"} == set(refused.fields)

    async def test_lets_proxies_keep_what_is_public_and_nothing_else(self, served: Served, token: Token) -> None:
        release = await created(served, token)
        request = pb.GetReleaseRequest(release=release.alias)

        _, public = await with_metadata(served.catalog.GetRelease(request))
        _, private = await with_metadata(served.catalog.GetRelease(request, metadata=token()))

        assert str(public["cache-control"]).startswith("public, max-age=")
        assert public["etag"]
        assert "cache-control" not in private

    async def test_shows_a_draft_to_editors_only_whoever_asked_before(self, served: Served, token: Token) -> None:
        """B6: what an answer depends on is in the cache's key."""
        draft = await created(served, token, publication=release_pb2.PUBLICATION_DRAFT)
        request = pb.GetReleaseRequest(release=draft.release_id)

        await served.catalog.GetRelease(request, metadata=token(Role.EDITOR))
        refused = await refusal(served.catalog.GetRelease(request, metadata=token(Role.MODERATOR)))

        assert grpc.StatusCode.NOT_FOUND is refused.code

    async def test_heeds_the_country_and_the_maturity_limit_of_each_caller(self, served: Served, token: Token) -> None:
        release = await created(served, token, age_rating=release_pb2.AGE_RATING_16)
        request = pb.GetReleaseRequest(release=release.alias)
        abroad = (("x-ani-country", "DE"), ("x-forwarded-for", "192.0.2.1"))

        await served.catalog.GetRelease(request)
        blocked = await refusal(served.catalog.GetRelease(request, metadata=abroad))
        too_young = await refusal(served.catalog.GetRelease(request, metadata=token(maturity=12)))

        assert (grpc.StatusCode.PERMISSION_DENIED, "RELEASE_BLOCKED") == (blocked.code, blocked.reason)
        assert (grpc.StatusCode.NOT_FOUND, "RELEASE_NOT_FOUND") == (too_young.code, too_young.reason)


class TestBatchGetReleases:
    async def test_takes_ids_as_others_write_them(self, served: Served, token: Token) -> None:
        release = await created(served, token)

        answer = await served.catalog.BatchGetReleases(pb.BatchGetReleasesRequest(release_ids=[release.release_id.upper()]))

        assert [release.release_id] == [found.release_id for found in answer.releases]

    async def test_names_what_is_missing(self, served: Served, token: Token) -> None:
        release, unknown = await created(served, token), new_id(at=NOON)

        answer = await served.catalog.BatchGetReleases(pb.BatchGetReleasesRequest(release_ids=[unknown, release.release_id]))

        assert [release.release_id] == [found.release_id for found in answer.releases]
        assert [unknown] == list(answer.missing_release_ids)


class TestListReleases:
    async def test_walks_the_pages(self, served: Served, token: Token) -> None:
        made = [(await created(served, token)).release_id for _ in range(5)]
        seen: list[str] = []
        request = release_list_pb2.ListReleasesRequest(page_size=2, genres=["drama"])

        while True:
            page = await served.catalog.ListReleases(request)
            seen += [release.release_id for release in page.releases]
            request.page_token = page.next_page_token
            if not request.page_token:
                break

        assert list(reversed(made)) == seen

    async def test_refuses_a_token_of_another_list(self, served: Served, token: Token) -> None:
        for _ in range(2):
            await created(served, token)
        page = await served.catalog.ListReleases(release_list_pb2.ListReleasesRequest(page_size=1))

        refused = await refusal(
            served.catalog.ListReleases(release_list_pb2.ListReleasesRequest(page_token=page.next_page_token, year_from=2000))
        )

        assert (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID") == (refused.code, refused.reason)
        assert {"page_token"} == set(refused.fields)


class TestCreateRelease:
    async def test_is_for_editors(self, served: Served, token: Token) -> None:
        request = admin_pb.CreateReleaseRequest(release=a_message())

        guest = await refusal(served.admin.CreateRelease(request))
        moderator = await refusal(served.admin.CreateRelease(request, metadata=token(Role.MODERATOR)))

        assert (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING") == (guest.code, guest.reason)
        assert (grpc.StatusCode.PERMISSION_DENIED, "ROLE_TOO_LOW") == (moderator.code, moderator.reason)

    async def test_asks_who_calls_before_what_they_want(self, served: Served) -> None:
        refused = await refusal(served.admin.CreateRelease(admin_pb.CreateReleaseRequest()))

        assert grpc.StatusCode.UNAUTHENTICATED is refused.code

    async def test_names_every_field_that_is_wrong(self, served: Served, token: Token) -> None:
        titles = [release_facts_pb2.LocalizedTitle(language="english")]
        request = admin_pb.CreateReleaseRequest(release=release_pb2.Release(alias="A", titles=titles))

        refused = await refusal(served.admin.CreateRelease(request, metadata=token(Role.EDITOR)))

        wrong = {"release.alias", "release.titles[0].language", "release.titles[0].text", "release.kind", "release.status"}
        assert wrong <= set(refused.fields)

    async def test_takes_no_text_that_cannot_be_kept_and_still_keeps_the_try(
        self, served: Served, token: Token, database_url: str
    ) -> None:
        """C3: PostgreSQL keeps no U+0000, whatever a field's own rules allow."""
        titles = [
            release_facts_pb2.LocalizedTitle(language="en", text="Wind"),
            release_facts_pb2.LocalizedTitle(language="ja", text="\0"),
        ]
        release = a_message(titles=titles, synopsis="wind\0", genres=[genre_pb2.Genre(genre_id="drama", name="\0")])

        request = admin_pb.CreateReleaseRequest(release=release)
        refused = await refusal(served.admin.CreateRelease(request, metadata=token(Role.EDITOR)))

        connection = await asyncpg.connect(database_url)
        assert "INVALID_ARGUMENT" == await connection.fetchval("SELECT code FROM platform.audit_log")
        await connection.close()
        assert {"release.titles[1].text", "release.synopsis", "release.genres[0].name"} == set(refused.fields)

    async def test_has_one_effect_however_often_it_is_sent(self, served: Served, token: Token, database_url: str) -> None:
        """E4: fifty at once, one release, one answer."""
        request = admin_pb.CreateReleaseRequest(release=a_message())

        answers = await asyncio.gather(*(served.admin.CreateRelease(request, metadata=token(Role.EDITOR)) for _ in range(50)))

        connection = await asyncpg.connect(database_url)
        assert 1 == await connection.fetchval("SELECT count(*) FROM catalog.releases")
        assert 2 == await connection.fetchval("SELECT count(*) FROM platform.events")
        await connection.close()
        assert 1 == len({answer.release.SerializeToString(deterministic=True) for answer in answers})

    async def test_writes_every_try_to_the_audit_log(self, served: Served, token: Token, database_url: str) -> None:
        await created(served, token)
        await refusal(served.admin.CreateRelease(admin_pb.CreateReleaseRequest(), metadata=token(Role.USER)))

        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch("SELECT method, role, code, reason FROM platform.audit_log ORDER BY entry_id")
        await connection.close()

        method = "/ani.catalog.v1.CatalogAdminService/CreateRelease"
        assert [(method, "EDITOR", "OK", ""), (method, "USER", "PERMISSION_DENIED", "ROLE_TOO_LOW")] == [tuple(row) for row in rows]


class TestUpdateRelease:
    @pytest.mark.parametrize(("seconds", "nanos"), [(2**60, 0), (-(2**60), 0), (0, -1), (0, 2_000_000_000)])
    async def test_refuses_times_that_are_none(self, served: Served, token: Token, seconds: int, nanos: int) -> None:
        release = await created(served, token)
        change = release_pb2.Release(release_id=release.release_id.upper())
        change.premiere_time.seconds, change.premiere_time.nanos = seconds, nanos
        request = admin_pb.UpdateReleaseRequest(release=change, update_mask=FieldMask(paths=["premiere_time"]))

        refused = await refusal(served.admin.UpdateRelease(request, metadata=token(Role.EDITOR)))

        assert ("REQUEST_INVALID", {"release.premiere_time"}) == (refused.reason, set(refused.fields))

    async def test_reads_only_what_the_mask_names(self, served: Served, token: Token) -> None:
        release = await created(served, token)
        change = release_pb2.Release(release_id=release.release_id, synopsis="New.", alias="Not read, so not refused")

        answer = await served.admin.UpdateRelease(
            admin_pb.UpdateReleaseRequest(release=change, update_mask=FieldMask(paths=["synopsis"])), metadata=token(Role.EDITOR)
        )

        assert ("New.", release.alias, 2) == (answer.release.synopsis, answer.release.alias, answer.release.version)
        assert ["synopsis"] == list(answer.changed_fields.paths)

    @pytest.mark.parametrize("path", ["version", "create_time", "episode_count", "no_such_field", "weekly_slot.minute"])
    async def test_refuses_to_change_what_is_not_the_callers_to_change(self, served: Served, token: Token, path: str) -> None:
        """B4: output-only fields."""
        release = await created(served, token)

        refused = await refusal(
            served.admin.UpdateRelease(
                admin_pb.UpdateReleaseRequest(release=release, update_mask=FieldMask(paths=[path])), metadata=token(Role.EDITOR)
            )
        )

        assert (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_NOT_WRITABLE") == (refused.code, refused.reason)

    async def test_is_seen_at_once_by_who_reads_next(self, served: Served, token: Token) -> None:
        release = await created(served, token)
        request = pb.GetReleaseRequest(release=release.alias)
        await served.catalog.GetRelease(request)
        change = release_pb2.Release(release_id=release.release_id, synopsis="New.")

        _, metadata = await with_metadata(
            served.admin.UpdateRelease(
                admin_pb.UpdateReleaseRequest(release=change, update_mask=FieldMask(paths=["synopsis"])),
                metadata=token(Role.EDITOR),
            )
        )
        shown = await served.catalog.GetRelease(request)

        assert "New." == shown.release.synopsis
        assert int(str(metadata["x-revision"]), 16)

    async def test_loses_none_of_a_hundred_changes_at_once(self, served: Served, token: Token) -> None:
        """D7: each is kept, or refused with ABORTED and tried again."""
        release = await created(served, token, planned_episode_count=0)
        editor = token(Role.EDITOR)

        async def add_one() -> None:
            while True:
                present = await served.catalog.GetRelease(pb.GetReleaseRequest(release=release.release_id), metadata=editor)
                change = release_pb2.Release(
                    release_id=release.release_id,
                    planned_episode_count=present.release.planned_episode_count + 1,
                    version=present.release.version,
                )
                mask = FieldMask(paths=["planned_episode_count"])
                call = served.admin.UpdateRelease(admin_pb.UpdateReleaseRequest(release=change, update_mask=mask), metadata=editor)
                code = await call.code()
                assert code in {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}
                if code is grpc.StatusCode.OK:
                    return

        for _ in range(10):
            await asyncio.gather(*(add_one() for _ in range(10)))

        shown = await served.catalog.GetRelease(pb.GetReleaseRequest(release=release.release_id), metadata=editor)
        assert 100 == shown.release.planned_episode_count


class TestDeleteRelease:
    async def test_takes_it_out_of_every_list(self, served: Served, token: Token) -> None:
        release = await created(served, token)
        await served.catalog.ListReleases(release_list_pb2.ListReleasesRequest())

        await served.admin.DeleteRelease(admin_pb.DeleteReleaseRequest(release_id=release.release_id), metadata=token(Role.EDITOR))

        assert 0 == len((await served.catalog.ListReleases(release_list_pb2.ListReleasesRequest())).releases)


class TestListGenres:
    async def test_counts_what_is_published(self, served: Served, token: Token) -> None:
        await created(served, token)

        answer = await served.catalog.ListGenres(pb.ListGenresRequest())

        assert [("drama", "Drama", 1)] == [(genre.genre_id, genre.name, genre.release_count) for genre in answer.genres]


class TestWatchReleases:
    async def test_tells_of_a_change_and_goes_on_from_its_cursor(self, served: Served, token: Token) -> None:
        """D6: nothing is left out between two streams, and nothing comes twice."""
        watch = served.catalog.WatchReleases(pb.WatchReleasesRequest())
        beginning = await _next(watch)
        first = await created(served, token)
        told = await _next_change(watch)
        watch.cancel()
        second = await created(served, token)

        again = served.catalog.WatchReleases(pb.WatchReleasesRequest(cursor=told.cursor))
        missed = await _next_change(again)
        again.cancel()

        assert "heartbeat" == beginning.WhichOneof("event")
        assert first.release_id == told.change.release.release_id
        assert second.release_id == missed.change.release.release_id

    async def test_says_in_the_stream_why_it_ends(self, served: Served) -> None:
        watch = served.catalog.WatchReleases(pb.WatchReleasesRequest())
        beginning = await _next(watch)

        served.application.draining.set()
        last = await _next(watch)

        assert beginning.cursor
        assert grpc.StatusCode.UNAVAILABLE.value[0] == last.status.code
        assert grpc.StatusCode.UNAVAILABLE is await watch.code()

    async def test_refuses_a_foreign_cursor(self, served: Served) -> None:
        watch = served.catalog.WatchReleases(pb.WatchReleasesRequest(cursor="of somebody else"))

        assert grpc.StatusCode.INVALID_ARGUMENT is await watch.code()


async def _next_change(stream: AsyncIterable[pb.WatchReleasesResponse]) -> pb.WatchReleasesResponse:
    """Return what comes after heartbeats: a change is held back while anything older is under way, be it in another database."""
    while (message := await _next(stream)).WhichOneof("event") == "heartbeat":
        pass
    return message


async def _next(watch: AsyncIterable[pb.WatchReleasesResponse]) -> pb.WatchReleasesResponse:
    async with asyncio.timeout(10):
        return await anext(aiter(watch))
