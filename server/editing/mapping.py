"""Where editing's messages and dataclasses meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID, uuid5

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from ani.editing.v1 import change_set_pb2, revision_pb2
from domain.editing.model import ChangeSet, Difference, Edit, Outcome, Revision
from domain.kernel import InvalidArgument, new_id

# Reads one of the requests that a change set may hold as the edit that it asks for.
EditReader = Callable[[Any, datetime], Edit]


class FieldNotChangeable(InvalidArgument):
    """Raised when the update mask of a change set names a field that is not there, or not its author's to change."""

    text = "The field {path} of a change set cannot be changed."


def revision_to_pb(revision: Revision) -> revision_pb2.Revision:
    return revision_pb2.Revision(
        item_kind=revision.kind,
        item_id=revision.item_id,
        version=revision.version,
        action=revision.action,  # type: ignore[arg-type]
        fields=revision.fields,
        account_id=revision.author.account_id,
        note=revision.author.note,
        change_set_id=revision.author.change_set_id or "",
        revision_time=revision.time,  # type: ignore[arg-type]
    )


def difference_to_pb(difference: Difference) -> revision_pb2.FieldDifference:
    return revision_pb2.FieldDifference(field=difference.field, before=as_text(difference.before), after=as_text(difference.after))


def outcome_to_pb(outcome: Outcome) -> revision_pb2.EditOutcome:
    return revision_pb2.EditOutcome(
        item_kind=outcome.kind,
        item_id=outcome.item_id,
        action=outcome.action,  # type: ignore[arg-type]
        version=outcome.version,
        differences=map(difference_to_pb, outcome.differences),
        side_effects=outcome.effects,
    )


def change_set_to_pb(change_set: ChangeSet) -> change_set_pb2.ChangeSet:
    message = change_set_pb2.ChangeSet(
        change_set_id=change_set.change_set_id,
        title=change_set.title,
        note=change_set.note,
        summaries=map(_summary, change_set.edits),
        state=change_set.state,  # type: ignore[arg-type]
        author_id=change_set.author_id,
        reviewer_id=change_set.reviewer_id,
        reason=change_set.reason,
        version=change_set.version,
        create_time=change_set.create_time,  # type: ignore[arg-type]
        update_time=change_set.update_time,  # type: ignore[arg-type]
    )
    if change_set.publish_time:
        message.publish_time.FromDatetime(change_set.publish_time)
    return message


def change_set_from_pb(
    message: change_set_pb2.ChangeSet, readers: Mapping[str, EditReader], *, author_id: str, at: datetime
) -> ChangeSet:
    change_set_id = message.change_set_id or new_id(at=at)
    return ChangeSet(
        change_set_id=change_set_id,
        title=message.title,
        note=message.note,
        author_id=author_id,
        edits=edits_from_pb(message.edits, readers, change_set_id=change_set_id, at=at),
        create_time=at,
        update_time=at,
    )


def changes_from_pb(
    message: change_set_pb2.ChangeSet, mask: FieldMask, readers: Mapping[str, EditReader], *, at: datetime
) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises FieldNotChangeable."""
    read: dict[str, Callable[[], Any]] = {
        "title": lambda: message.title,
        "note": lambda: message.note,
        "edits": lambda: edits_from_pb(message.edits, readers, change_set_id=message.change_set_id, at=at),
    }
    for path in mask.paths:
        if path not in read:
            raise FieldNotChangeable(path=path, field="update_mask")
    return {path: read[path]() for path in mask.paths}


def edits_from_pb(
    messages: Iterable[change_set_pb2.Edit], readers: Mapping[str, EditReader], *, change_set_id: str, at: datetime
) -> tuple[Edit, ...]:
    edits = []
    for place, message in enumerate(messages):
        if name := message.WhichOneof("request"):
            request = getattr(message, name)
            if name.startswith("create_"):
                _name(request, name.removeprefix("create_"), str(uuid5(UUID(change_set_id), str(place))))
            edits.append(readers[name](request, at))
    return tuple(edits)


def _name(request: Message, kind: str, item_id: str) -> None:
    """Choose the id of an item that a creation leaves without: the same each time, so that the creation can be repeated."""
    item = getattr(request, kind)
    if not getattr(item, f"{kind}_id"):
        setattr(item, f"{kind}_id", item_id)


def as_text(value: Any) -> str:
    """Write a value of an item as people read it."""
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case Enum():
            text = value.name.lower().replace("_", " ")
        case datetime():
            text = value.isoformat()
        case tuple():
            text = ", ".join(map(as_text, value))
        case _ if dataclasses.is_dataclass(value):
            parts = (as_text(getattr(value, field.name)) for field in dataclasses.fields(value))
            text = " ".join(filter(None, parts))
        case _:
            text = str(value)
    return text


def _summary(edit: Edit) -> change_set_pb2.EditSummary:
    return change_set_pb2.EditSummary(
        item_kind=edit.kind,
        item_id=edit.item_id,
        action=edit.action,  # type: ignore[arg-type]
        fields=sorted(edit.changes),
    )
