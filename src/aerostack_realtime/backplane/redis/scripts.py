"""The steps that run inside Redis, and the keys they work on.

`{ae:NAME}:log` is a stream. The id of an entry is the position of its first item, followed by `-0`. Fields, in
this order: `g` generation, `p` the position before it, `n` how many positions it takes, `a` the journal's time in
µs, `b` the batch (msgpack, backplane.items.Batch). The entry that opens a generation has n = 0 and an empty batch,
and is itself a position. In an entry that was also published the last field is called `B`; nodes of earlier
versions do not look at the names.

An append publishes its entry on the channel `{ae:NAME}:entries:DATABASE`: position, g, p, n, a and the batch, with
spaces between them; without the batch where that is large.

`{ae:NAME}:head` is a hash: `g` generation, `l` last position, `a` the journal's time, `c` the server's clock when
`a` was computed, `f` floor, `r` run_id of the server, `i` the cluster.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

from msgspec import Struct


class Keys(Struct, frozen=True):
    """The keys of one journal. One hash slot, so that a script may touch both."""

    log: str
    head: str
    entries: str
    """A channel: unlike keys, the databases of a server share theirs, so it names its database."""

    @classmethod
    def of(cls, name: str, database: int = 0) -> Keys:
        prefix = f"{{ae:{name}}}"
        return cls(f"{prefix}:log", f"{prefix}:head", f"{prefix}:entries:{database}")


class Script(Struct, frozen=True):
    source: str
    digest: str

    @classmethod
    def of(cls, source: str) -> Script:
        return cls(source, sha1(source.encode()).hexdigest())


GENERATION: Final = "GENERATION"
"""The head is not of this generation: nothing was written."""
MARK: Final = "MARK"
"""The positions would reach above the high-water mark: nothing was written."""
CLUSTER: Final = "CLUSTER"
"""The journal belongs to another cluster: nothing was written."""

# The journal's time follows the server's clock and never goes back. After the clock was set back, or on a server
# whose clock is behind, it runs at half speed until the clock has caught up: what waits for time still ends.
_TIME: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function time(before, seen)
  if now >= before then return now end
  if now > seen then return before + math.floor((now - seen) / 2) end
  return before
end
local function text(number) return string.format('%.0f', number) end
"""

PUBLISHED_BYTES: Final = 16 * 1024
"""A larger batch is only announced: what is published waits in the server's memory for a node that is slow."""

# Trimming comes first: a server out of memory refuses writes that need memory, unless the script made room before.
# Publishing comes last, and cannot fail the append: only what is in the log may be published. What is needed
# rarely is asked for and formatted then only: it was a sixth of an append.
APPEND: Final = Script.of(
    f"local largest = {PUBLISHED_BYTES}"
    + """
-- KEYS log head  ARGV generation count blob mark headroom floor channel
-- The floor is 0 when the log was trimmed to it before, the channel is empty when nobody may publish.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local head = redis.call('HMGET', KEYS[2], 'g', 'l', 'a')
if head[1] ~= ARGV[1] then return redis.error_reply('GENERATION ' .. tostring(head[1])) end
local last, count, mark = tonumber(head[2]), tonumber(ARGV[2]), tonumber(ARGV[4])
local position = now
if now <= last or now > mark - tonumber(ARGV[5]) then position = last + 1 end
if position + count > mark then return redis.error_reply('MARK ' .. ARGV[4]) end
if ARGV[6] ~= '0' and tonumber(ARGV[6]) > tonumber(redis.call('HGET', KEYS[2], 'f')) then
  redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[6])
  redis.call('HSET', KEYS[2], 'f', ARGV[6])
end
local format = string.format
local first = format('%.0f', position)
local wall = position == now and first or format('%.0f', now)
local at, before = wall, tonumber(head[3])
if now < before then
  local slower = math.floor((now - tonumber(redis.call('HGET', KEYS[2], 'c'))) / 2)
  at = format('%.0f', before + math.max(slower, 0))
end
redis.call('XADD', KEYS[1], first .. '-0',
  'g', ARGV[1], 'p', head[2], 'n', ARGV[2], 'a', at, ARGV[7] == '' and 'b' or 'B', ARGV[3])
local newest = count == 1 and first or format('%.0f', position + count - 1)
redis.call('HSET', KEYS[2], 'l', newest, 'a', at, 'c', wall)
if ARGV[7] ~= '' then
  local batch = #ARGV[3] <= largest and ARGV[3] or ''
  redis.pcall('PUBLISH', ARGV[7],
    first .. ' ' .. ARGV[1] .. ' ' .. head[2] .. ' ' .. ARGV[2] .. ' ' .. at .. ' ' .. batch)
end
return position
"""
)

# Called by every node that comes to this generation; the first one writes. It also completes an opening that ended
# between the arbiter and Redis. Trimming to the known floor comes first: then a server that is out of memory takes
# the opening, too. It is small, and nodes can make room only in a generation that has begun.
OPEN: Final = Script.of(
    _TIME
    + """
-- KEYS log head  ARGV generation start run_id cluster
local head = redis.call('HMGET', KEYS[2], 'g', 'l', 'a', 'c', 'r', 'i', 'f')
if head[6] and head[6] ~= ARGV[4] then return redis.error_reply('CLUSTER ' .. head[6]) end
if head[1] == ARGV[1] and head[5] == ARGV[3] then return 0 end
if head[1] and tonumber(head[1]) > tonumber(ARGV[1]) then
  return redis.error_reply('GENERATION ' .. head[1])
end
local before = tonumber(head[2] or '0')
local top = before
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for field = 1, #info, 2 do
    if info[field] == 'last-generated-id' then
      top = math.max(top, tonumber(string.match(info[field + 1], '^%d+')))
    end
  end
end
redis.call('XTRIM', KEYS[1], 'MINID', '~', head[7] or '0')
local position = math.max(tonumber(ARGV[2]), top + 1)
local at = text(time(tonumber(head[3] or '0'), tonumber(head[4] or '0')))
redis.call('XADD', KEYS[1], text(position) .. '-0',
  'g', ARGV[1], 'p', text(before), 'n', '0', 'a', at, 'b', '')
redis.call('HSET', KEYS[2], 'g', ARGV[1], 'l', text(position), 'a', at, 'c', text(now),
  'r', ARGV[3], 'i', ARGV[4], 'f', head[7] or '0')
return position
"""
)
