"""What is done with promos besides editing them: one method for each RPC, and for each timed job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from domain.kernel import Begin, Page, Viewer
from domain.media.promos import (
    LONGEST_STATISTICS_DAYS,
    Hosts,
    Promo,
    PromoCount,
    PromoFormat,
    PromoNotFound,
    PromoOccurrence,
    PromoPlacement,
    PromoStore,
    StatisticsTooLong,
)
from domain.media.vast import MOST_ADS, vast
from domain.paging import page_place, page_token

MOST_SHOWN = 50
REMEMBERED = timedelta(days=30)
USUAL_STATISTICS = timedelta(days=30)


class Promos:
    """Promos, for viewers and for those who count."""

    def __init__(
        self,
        *,
        begin: Begin[PromoStore],
        read: Begin[PromoStore],
        hosts: Hosts,
        serves_vast: bool,
        write: Callable[[Sequence[PromoOccurrence]], Awaitable[list[bool | None]]] | None = None,
    ) -> None:
        self._begin = begin
        self._read = read
        self._hosts = hosts
        self._serves_vast = serves_vast
        # What puts the writes of many callers together.
        self._write = write or self.write_occurrences

    async def list_promos(self, placement: PromoPlacement, *, viewer: Viewer, at: datetime) -> list[Promo]:
        return (await self._shown(PromoFormat.BANNER, placement, viewer, at))[:MOST_SHOWN]

    async def get_vast(self, placement: PromoPlacement, *, viewer: Viewer, at: datetime) -> str:
        tags = await self._shown(PromoFormat.VAST, placement, viewer, at) if self._serves_vast else []
        return vast(tags[:MOST_ADS])

    async def record_promo_events(self, occurrences: Sequence[PromoOccurrence]) -> tuple[int, list[str]]:
        """Return how many were counted now, and which promos do not exist. Raises PromoEventsBusy."""
        counted = await self._write(occurrences)
        pairs = list(zip(occurrences, counted, strict=True))
        missing = dict.fromkeys(one.promo_id for one, is_new in pairs if is_new is None)
        fresh = {one.event_id for one, is_new in pairs if is_new}
        return len(fresh), list(missing)

    async def write_occurrences(self, occurrences: Sequence[PromoOccurrence]) -> list[bool | None]:
        """Return of each whether it was counted now, None where its promo does not exist."""
        async with self._begin() as store:
            known = await store.count(occurrences)
        return [known.get(one.event_id) for one in occurrences]

    async def get_promo(self, promo_id: str) -> Promo:
        """Raises PromoNotFound."""
        async with self._read() as store:
            promo = await store.promo(promo_id)
        if promo is None:
            raise PromoNotFound(promo=promo_id)
        return promo

    async def list_managed_promos(self, page: Page) -> tuple[list[Promo], str]:
        after = page_place(page.token, binding="promos")
        async with self._read() as store:
            promos = await store.promos(after=after, limit=page.size + 1)
        shown = promos[: page.size]
        more = len(promos) > page.size
        return shown, page_token(shown[-1].create_time, shown[-1].promo_id, binding="promos") if more else ""

    async def get_promo_statistics(
        self, promo_id: str, *, since: datetime | None, until: datetime | None, at: datetime
    ) -> list[PromoCount]:
        """Raises PromoNotFound and StatisticsTooLong."""
        last = until or at
        first = since or last - USUAL_STATISTICS
        if not 0 <= (last.date() - first.date()).days < LONGEST_STATISTICS_DAYS:
            raise StatisticsTooLong(most=LONGEST_STATISTICS_DAYS, field="from_time")
        await self.get_promo(promo_id)
        async with self._read() as store:
            return await store.counts(promo_id, first=first.date(), last=last.date())

    async def forget_occurrences(self, *, at: datetime) -> int:
        """Forget which events were counted, once they cannot come again."""
        async with self._begin() as store:
            return await store.forget_occurrences(before=at - REMEMBERED)

    async def _shown(self, kind: PromoFormat, placement: PromoPlacement, viewer: Viewer, at: datetime) -> list[Promo]:
        async with self._read() as store:
            running = await store.running(kind, placement, viewer.country, at=at)
        return [one.promo for one in running if one.shown_to(viewer, self._hosts)]
