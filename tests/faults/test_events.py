"""Events while everything that carries them is killed again and again."""

from __future__ import annotations

import time

import pytest

from tests.waiting import until
from tests.workers import Yard, havoc


class TestDelivery:
    @pytest.mark.long
    @pytest.mark.timeout(180)
    async def test_e3_every_write_has_one_effect(self, yard: Yard) -> None:
        yard.start("worker")
        yard.start("worker-2")

        acknowledged = await havoc(yard, seconds=40.0, pause=1.5)
        began = time.monotonic()
        await until(yard.is_done, seconds=40)

        written = await yard.numbers("writes")
        print(f"{len(acknowledged)} acknowledged, {len(written)} written, drained in {time.monotonic() - began:.1f} s")
        assert acknowledged <= set(written)
        assert written == await yard.numbers("effects")
        assert len(acknowledged) > 200
