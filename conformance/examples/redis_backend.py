"""An edge backend on Redis: a list for the items, a hash for the totals, and a script for each change.

Redis runs one script at a time, so what a script does is one step for everybody. Only merging needs Python in the middle; it is
done again if somebody changed the edge meanwhile.

    MERIDIAN_REDIS_URL=unix:///run/redis.sock meridian-conform run redis_backend:Backend
"""

import base64
import json
import os
import uuid

import redis

from meridian_conformance.contract import EMPTY, LOSSES, POLICIES

PUT = """
local items, state = KEYS[1], KEYS[2]
local policy, capacity, item = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if redis.call('HEXISTS', state, 'closed') == 1 then return {'CLOSED'} end
local full = redis.call('LLEN', items) >= capacity
if full and policy == 'block' then return {'BLOCKED'} end
if full and policy == 'coalesce' then
  return {'MERGE', redis.call('LINDEX', items, -1), redis.call('HGET', state, 'changes')}
end
redis.call('HINCRBY', state, 'accepted', 1)
if full and policy == 'drop' then
  redis.call('HINCRBY', state, 'dropped', 1)
  return {'DROPPED'}
end
if full then
  redis.call('LPOP', items)
  redis.call('HINCRBY', state, 'replaced', 1)
end
redis.call('RPUSH', items, item)
redis.call('HINCRBY', state, 'changes', 1)
return {full and 'REPLACED' or 'OK'}
"""

MERGE = """
local items, state = KEYS[1], KEYS[2]
local changes, merged, counter = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HEXISTS', state, 'closed') == 1 or redis.call('HGET', state, 'changes') ~= changes then return 0 end
redis.call('LSET', items, -1, merged)
redis.call('HINCRBY', state, 'accepted', 1)
redis.call('HINCRBY', state, counter, 1)
redis.call('HINCRBY', state, 'changes', 1)
return 1
"""

GET = """
local items, state = KEYS[1], KEYS[2]
local item = redis.call('LPOP', items)
if item then
  redis.call('HINCRBY', state, 'delivered', 1)
  redis.call('HINCRBY', state, 'changes', 1)
end
return item
"""


def to_json(item):
    """JSON knows neither tuples nor bytes, and keys are text: a tag says what it was."""
    if isinstance(item, bytes):
        return {"bytes": base64.b64encode(item).decode()}
    if isinstance(item, tuple):
        return {"tuple": [to_json(each) for each in item]}
    if isinstance(item, dict):
        return {"dict": [[to_json(key), to_json(value)] for key, value in item.items()]}
    if isinstance(item, list):
        return [to_json(each) for each in item]
    return item


def from_json(data):
    """What `to_json` made, as it was."""
    if isinstance(data, list):
        return [from_json(each) for each in data]
    if not isinstance(data, dict):
        return data
    ((kind, value),) = data.items()
    if kind == "bytes":
        return base64.b64decode(value)
    if kind == "tuple":
        return tuple(from_json(each) for each in value)
    return {from_json(key): from_json(each) for key, each in value}


def packed(item):
    """An item as text."""
    return json.dumps(to_json(item))


def unpacked(text):
    """The item again."""
    return from_json(json.loads(text))


class RedisEdge:
    """One edge: two keys of its own."""

    def __init__(self, backend, spec):
        self.spec = spec
        self.client = backend.client
        self.scripts = backend.scripts
        name = f"meridian:{uuid.uuid4()}"
        self.keys = [f"{name}:items", f"{name}:state"]

    def put(self, item):
        text = packed(item)
        while True:
            result, *newest = self.scripts["put"](self.keys, [self.spec.policy, self.spec.capacity, text])
            if result != b"MERGE":
                return result.decode()
            old, changes = newest
            try:
                merged, counter = packed(self.spec.merge(unpacked(old), item)), "merged"
            except Exception:  # noqa: BLE001 - whatever a user's function raises, the newer item wins
                merged, counter = text, "coalesce_error"
            if self.scripts["merge"](self.keys, [changes, merged, counter]):
                return "COALESCED"

    def get(self):
        text = self.scripts["get"](self.keys)
        return EMPTY if text is None else unpacked(text)

    def depth(self):
        return self.client.llen(self.keys[0])

    def counters(self):
        state = {name.decode(): int(n) for name, n in self.client.hgetall(self.keys[1]).items()}
        totals = {name: state.get(name, 0) for name in ("accepted", "delivered", "merged")}
        return {**totals, "lost": {cause: state[cause] for cause in LOSSES if cause in state}}

    def close(self):
        self.client.hset(self.keys[1], "closed", 1)


class Backend:
    """Opens edges in the Redis that ``MERIDIAN_REDIS_URL`` names."""

    capabilities = frozenset({"serialises", "threads"})

    def __init__(self, url=None):
        self.client = redis.Redis.from_url(
            url or os.environ.get("MERIDIAN_REDIS_URL", "redis://127.0.0.1:6379")
        )
        self.scripts = {
            name: self.client.register_script(text)
            for name, text in (("put", PUT), ("merge", MERGE), ("get", GET))
        }

    def open(self, spec):
        if spec.capacity < 1 or spec.policy not in POLICIES:
            raise ValueError("an edge needs a capacity of at least 1 and a known policy")
        return RedisEdge(self, spec)

    def raw_items(self, edge):
        return [unpacked(text) for text in self.client.lrange(edge.keys[0], 0, -1)]

    def discard(self, edge):
        self.client.delete(*edge.keys)
