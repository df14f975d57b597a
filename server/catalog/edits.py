"""The catalog's edits in change sets: the requests of the services for editors, read as what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from domain.catalog.episodes import EPISODE
from domain.catalog.kinds import FRANCHISE, GENRE, RELEASE, TAG
from domain.catalog.schedule import SCHEDULE_ENTRY
from domain.editing.model import Action, Edit
from domain.items import Item, Kind
from server.catalog.episode_mapping import episode_changes_from_pb, episode_from_pb
from server.catalog.group_mapping import (
    franchise_changes_from_pb,
    franchise_from_pb,
    genre_entry_from_pb,
    name_change_from_pb,
    tag_entry_from_pb,
)
from server.catalog.mapping import changes_from_pb, draft_from_pb
from server.catalog.schedule_mapping import entry_changes_from_pb, entry_from_pb


def _created(kind: Kind[Any], draft: Item) -> Edit:
    return Edit(kind=kind.name, item_id=kind.key(draft), action=Action.CREATE, changes=kind.decided(draft))


def _updated(kind: Kind[Any], message: Any, changes: dict[str, Any]) -> Edit:
    item_id = getattr(message, f"{kind.name}_id")
    return Edit(kind=kind.name, item_id=item_id, action=Action.UPDATE, changes=changes, version=message.version)


def _deleted(kind: Kind[Any], request: Any) -> Edit:
    item_id = getattr(request, f"{kind.name}_id")
    return Edit(kind=kind.name, item_id=item_id, action=Action.DELETE, version=request.version)


# By the names that they have in ani.editing.v1.Edit.
EDITS: dict[str, Callable[[Any, datetime], Edit]] = {
    "create_release": lambda request, at: _created(RELEASE, draft_from_pb(request.release, at=at)),
    "update_release": lambda r, _at: _updated(RELEASE, r.release, changes_from_pb(r.release, r.update_mask)),
    "delete_release": lambda request, _at: _deleted(RELEASE, request),
    "create_genre": lambda request, at: _created(GENRE, genre_entry_from_pb(request.genre, at=at)),
    "update_genre": lambda r, _at: _updated(GENRE, r.genre, name_change_from_pb(r.genre, r.update_mask)),
    "delete_genre": lambda request, _at: _deleted(GENRE, request),
    "create_tag": lambda request, at: _created(TAG, tag_entry_from_pb(request.tag, at=at)),
    "update_tag": lambda r, _at: _updated(TAG, r.tag, name_change_from_pb(r.tag, r.update_mask)),
    "delete_tag": lambda request, _at: _deleted(TAG, request),
    "create_franchise": lambda request, at: _created(FRANCHISE, franchise_from_pb(request.franchise, at=at)),
    "update_franchise": lambda r, _at: _updated(FRANCHISE, r.franchise, franchise_changes_from_pb(r.franchise, r.update_mask)),
    "delete_franchise": lambda request, _at: _deleted(FRANCHISE, request),
    "create_episode": lambda request, at: _created(EPISODE, episode_from_pb(request.episode, at=at)),
    "update_episode": lambda r, _at: _updated(EPISODE, r.episode, episode_changes_from_pb(r.episode, r.update_mask)),
    "delete_episode": lambda request, _at: _deleted(EPISODE, request),
    "create_schedule_entry": lambda request, at: _created(SCHEDULE_ENTRY, entry_from_pb(request.schedule_entry, at=at)),
    "update_schedule_entry": lambda r, _at: _updated(
        SCHEDULE_ENTRY, r.schedule_entry, entry_changes_from_pb(r.schedule_entry, r.update_mask)
    ),
    "delete_schedule_entry": lambda request, _at: _deleted(SCHEDULE_ENTRY, request),
}
