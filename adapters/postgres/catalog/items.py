"""Where the catalog's items are kept, for editors."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, update

from adapters.postgres import Connection
from adapters.postgres.catalog.episodes import KeptEpisodes
from adapters.postgres.catalog.groups import GENRES, TAGS, Franchises
from adapters.postgres.catalog.schedule import KeptSchedule
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.catalog.tables import releases
from adapters.postgres.editing.store import Kept
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.catalog.episodes import Episode
from domain.catalog.franchises import Franchise, GenreEntry, TagEntry
from domain.catalog.model import Release
from domain.catalog.schedule import ScheduleEntry

UNDELETE_RELEASE = Statement(
    update(releases)
    .where(releases.c.release_id == bindparam("release_id", type_=Id))
    .values(delete_time=None, update_time=bindparam("at", type_=Moment))
)


class Releases:
    """Releases; whatever is done to one is noted in the change feed."""

    async def find(self, connection: Connection, item_id: str) -> Release | None:
        return await PostgresCatalog(connection).release(item_id)

    async def lock(self, connection: Connection, item_id: str) -> Release | None:
        return await PostgresCatalog(connection).release_to_change(item_id)

    async def add(self, connection: Connection, item: Release) -> bool:
        return await PostgresCatalog(connection).add_release(item)

    async def save(self, connection: Connection, item: Release) -> None:
        await PostgresCatalog(connection).save_release(item)

    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await PostgresCatalog(connection).delete_release(item_id, at=at)

    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await UNDELETE_RELEASE.execute(connection, release_id=item_id, at=at)


ITEMS = {
    "release": Kept(Release, Releases()),
    "genre": Kept(GenreEntry, GENRES),
    "tag": Kept(TagEntry, TAGS),
    "franchise": Kept(Franchise, Franchises()),
    "episode": Kept(Episode, KeptEpisodes()),
    "schedule_entry": Kept(ScheduleEntry, KeptSchedule()),
}
