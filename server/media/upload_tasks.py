"""What the worker does about uploaded files: thumbnails, and what is left of files that are gone."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

from domain.media.files import MediaDeleted, MediaUploaded
from domain.media.uploads import Uploads
from server.events.deliveries import Reaction
from server.events.scheduler import Job

log = logging.getLogger("ani.media")

# Four images of the largest size, each made from all pixels, and perhaps others before them.
SECONDS = 120.0


def reactions(uploads: Uploads, forget: Callable[[Iterable[str]], Awaitable[None]]) -> list[Reaction]:
    async def make_thumbnails(event: MediaUploaded, _event_id: str) -> None:
        owners = await uploads.make_thumbnails(event.file_id)
        await forget([f"file/{event.file_id}", *(f"attachments/{owner}" for owner in owners)])

    async def forget_content(event: MediaDeleted, _event_id: str) -> None:
        await uploads.forget_content(event.keys)
        await forget([f"file/{event.file_id}"])

    return [
        Reaction("media.thumbnails", MediaUploaded, make_thumbnails, seconds=SECONDS),
        Reaction("media.content", MediaDeleted, forget_content),
    ]


def jobs(uploads: Uploads, clock: Callable[[], datetime]) -> list[Job]:
    async def sweep(_tick: datetime) -> None:
        unused, left_over = await uploads.sweep(at=clock())
        if unused or left_over:
            log.info("deleted %d images that nothing used, and %d files that uploads had left over", unused, left_over)

    return [Job("media-sweep", sweep, every=timedelta(days=1), offset=timedelta(hours=4))]
