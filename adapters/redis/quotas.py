"""The ledger of allowances that all processes share, kept in Valkey by Valkey's own clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adapters.redis import Script, Valkey, ValkeyDown

# A key holds when the allowance will be whole, in microseconds of the server's clock, and lives no longer than that.
# Numbers are written with %.0f: Lua's own conversion keeps only 14 digits. The braces keep one exchange on one node of a cluster.
KEY = "{{quota}}:{name}:{caller}"

ADD = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local debts = {}
for i, key in ipairs(KEYS) do
  local calls, known = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local debt = math.max((tonumber(redis.call('GET', key) or 0)) - now, 0) + calls * interval
  debt = math.min(math.max(debt, known), most)
  if debt > 0 then
    redis.call('SET', key, string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000) + 1)
  end
  debts[i] = math.floor(debt)
end
return debts
""")

TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, window, known = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local debt = math.max((tonumber(redis.call('GET', KEYS[1]) or 0)) - now, known)
local wait = debt + interval - window
if wait > 1 then
  return {math.floor(debt), math.ceil(wait)}
end
debt = debt + interval
redis.call('SET', KEYS[1], string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000) + 1)
return {math.floor(debt), 0}
""")

MICRO = 1_000_000
# What processes granted before they heard of each other is paid back, but nobody is shut out for longer than a window.
LONGEST_DEBT_WINDOWS = 2


class Allowance(Protocol):
    """So many calls at once, growing back one every interval."""

    @property
    def name(self) -> str: ...
    @property
    def window(self) -> float: ...
    @property
    def interval(self) -> float: ...


class ValkeyQuotas:
    """Books what is spent; out of reach it answers None."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def add(self, allowance: Allowance, spent: Sequence[tuple[str, int, float]]) -> list[float] | None:
        """Book calls that were granted already, each with what the caller was known to owe; return what is owed by now."""
        keys = [KEY.format(name=allowance.name, caller=caller) for caller, _, _ in spent]
        arguments: list[float] = [allowance.interval * MICRO, allowance.window * MICRO * LONGEST_DEBT_WINDOWS]
        for _, calls, debt in spent:
            arguments += (calls, debt * MICRO)
        try:
            debts = await self._valkey.script(ADD, keys, arguments)
        except ValkeyDown:
            return None
        return [debt / MICRO for debt in debts]

    async def take(self, allowance: Allowance, caller: str, debt: float) -> tuple[float, float] | None:
        """Grant a call or not, in one step for all processes; return what is owed then, and the wait if it was refused."""
        key = KEY.format(name=allowance.name, caller=caller)
        arguments = (allowance.interval * MICRO, allowance.window * MICRO, debt * MICRO)
        try:
            owed, wait = await self._valkey.script(TAKE, (key,), arguments)
        except ValkeyDown:
            return None
        return owed / MICRO, wait / MICRO
