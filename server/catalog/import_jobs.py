"""Imports as operations: rows read piece by piece, each piece brought in by a step of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

from domain.catalog.episode_imports import EpisodeImports
from domain.catalog.importing import ParserJobCompleted, ParserJobStarted, Portion, Row, Unusable
from domain.catalog.imports import Imports
from domain.catalog.redirects import Line, Redirect
from domain.kernel import FailedPrecondition
from domain.operations.model import Operation, Problem, Report
from domain.operations.ports import Step

log = logging.getLogger("ani.imports")

KIND = "import"
RELATIONS = "import-relations"
COUNTED = ("added", "changed", "unchanged", "skipped", "problems")


class SourceNotConfigured(FailedPrecondition):
    """Raised when something is to be imported from a source that is not set up here."""

    text = "Importing from {source} is not set up here."


class Source(Protocol):
    """Where facts come from."""

    @property
    def adds(self) -> bool:
        """Tell whether it adds releases that are not there; otherwise it only tells more of those that are."""

    def portions(
        self, parameters: Mapping[str, Any], checkpoint: Mapping[str, Any], now: datetime
    ) -> AsyncGenerator[Portion, None]:
        """Yield what follows a checkpoint."""


class ImportJob:
    """Does operations that import into the catalog."""

    def __init__(
        self, imports: Imports, episodes: EpisodeImports, sources: Mapping[str, Source], clock: Callable[[], datetime]
    ) -> None:
        self._imports = imports
        self._episodes = episodes
        self._sources = sources
        self._clock = clock

    async def steps(self, operation: Operation) -> AsyncGenerator[Step, None]:
        parameters = operation.parameters
        name = str(parameters["source"])
        if name not in self._sources:
            raise SourceNotConfigured(source=name)
        source = self._sources[name]
        progress = _Progress(operation)
        if not operation.checkpoint:
            yield self._begun(operation)
        # Whatever depends on the time is told as of the beginning, so that one import is of one piece.
        now = operation.start_time or self._clock()
        async with aclosing(source.portions(parameters, operation.checkpoint, now)) as portions:
            async for portion in portions:
                yield self._brought_in(name, portion, progress, adds=source.adds, publish=bool(parameters.get("publish", True)))
                await asyncio.sleep(0)
        yield self._completed(operation, progress)

    def _begun(self, operation: Operation) -> Step:
        async def step() -> Report:
            event = ParserJobStarted(
                time=self._clock(), source=str(operation.parameters["source"]), operation_id=operation.operation_id
            )
            await self._imports.begun(event)
            return Report(done=0, checkpoint={"begun": True}, counts=dict.fromkeys(COUNTED, 0))

        return step

    def _brought_in(self, name: str, portion: Portion, progress: _Progress, *, adds: bool, publish: bool) -> Step:
        rows = [one for one in portion.rows if isinstance(one, Row)]
        unread = [one for one in portion.rows if isinstance(one, Unusable)]

        async def step() -> Report:
            outcome = await self._imports.bring_in(name, rows, adds=adds, publish=publish, at=self._clock())
            brought = await self._episodes.bring_in(name, outcome.offers, at=self._clock())
            problems = sorted([*unread, *outcome.problems, *brought.problems], key=lambda one: one.number)
            counts = {
                "added": len(outcome.added),
                "changed": len(outcome.changed),
                "unchanged": outcome.unchanged,
                "skipped": len(unread) + outcome.skipped,
                "problems": len(problems),
            }
            told = {"unmatched": outcome.unmatched, "episodes_added": brought.added, "episodes_released": brought.released}
            told |= {f"videos_{name}": count for name, count in asdict(brought.videos).items()}
            # Of sources that tell of no videos, these say nothing.
            counts |= {name: count for name, count in told.items() if count}
            report = Report(
                done=portion.done,
                total=portion.total,
                unit=portion.unit,
                counts=counts,
                problems=tuple(Problem(one.number, one.key, one.reason, one.text) for one in problems),
                checkpoint={"begun": True, **portion.checkpoint},
                result=portion.result,
            )
            progress.reported(report)
            return report

        return step

    def _completed(self, operation: Operation, progress: _Progress) -> Step:
        async def step() -> Report:
            counts = progress.counts
            event = ParserJobCompleted(
                time=self._clock(),
                source=str(operation.parameters["source"]),
                operation_id=operation.operation_id,
                added=counts.get("added", 0),
                changed=counts.get("changed", 0),
                unchanged=counts.get("unchanged", 0),
                skipped=counts.get("skipped", 0),
            )
            await self._imports.completed(event)
            return progress.whole()

        return step


class _Progress:
    """What the steps of one run have come to; a step that is repeated counts once."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._settled = dict(operation.counts)
        self._last: Report | None = None

    def reported(self, report: Report) -> None:
        if self._last is not None and self._last.checkpoint != report.checkpoint:
            self._settled = self.counts
        self._last = report

    @property
    def counts(self) -> dict[str, int]:
        last = self._last.counts if self._last else {}
        return {name: self._settled.get(name, 0) + last.get(name, 0) for name in COUNTED}

    def whole(self) -> Report:
        """Return a report of everything read."""
        if self._last is None:
            there = self._operation
            return Report(done=there.done, total=there.total, unit=there.unit, checkpoint=dict(there.checkpoint))
        last = self._last
        done = last.done if last.total is None else last.total
        return Report(done=done, total=done, unit=last.unit, checkpoint=last.checkpoint)


class Replaced(Protocol):
    """What a new set of rules changed."""

    @property
    def added(self) -> int: ...
    @property
    def removed(self) -> int: ...
    @property
    def kept(self) -> int: ...


class RelationsJob:
    """Replaces the rules of episode numbers by those of a file, all of them in one step."""

    def __init__(self, read: Callable[[str], Iterator[Line]], replace: Callable[[list[Redirect]], Awaitable[Replaced]]) -> None:
        self._read = read
        self._replace = replace

    async def steps(self, operation: Operation) -> AsyncGenerator[Step, None]:
        if operation.checkpoint:
            return
        lines = list(self._read(str(operation.parameters["file"])))
        broken = tuple(Problem(one.number, one.text[:200], "RULE_UNREADABLE", one.problem) for one in lines if one.problem)

        async def step() -> Report:
            replaced = await self._replace([redirect for line in lines for redirect in line.redirects])
            counts = {
                "added": replaced.added,
                "removed": replaced.removed,
                "unchanged": replaced.kept,
                "skipped": len(broken),
                "problems": len(broken),
            }
            return Report(
                done=len(lines), total=len(lines), unit="rules", counts=counts, problems=broken, checkpoint={"done": True}
            )

        yield step
