"""A bounded ring: where one edge keeps its items, and what it does when it is full.

**Two lanes.** CONTROL messages wait in a lane of their own that is served first; everything else is data. Each lane is
first in, first out. The capacity bounds both together, so depth never exceeds it. No policy ever loses a CONTROL
message: on a full ring it is refused, whatever the policy says about data.

**Accounting.** Only what can't be derived is counted: items taken, lost by cause, merged. Accepted is their sum plus the
depth, so that ``accepted = delivered + depth + lost + merged`` costs nothing per message and holds at every instant.

**Threads.** One thread runs the engine and moves batches, so it must not pay for a lock; any other thread may put or get
through `Edge` at any time, and the capacity is to hold all the same. Both sides raise a flag and then look at the other's
(Dekker's algorithm): the engine thread sets ``busy``, and steps back if ``foreign`` is up; other threads queue behind a
lock, set ``foreign``, and wait until ``busy`` is down. Sections of the engine thread are a few bytecodes and run no user
code but a coalesce function or a custom policy, so that wait is short.

**Timing.** While somebody wants to know how long items spend here, ``foreign`` stays up, so that each section comes by
`Ring.let_foreign_finish` or `Ring._enter`, where it is noted; see `hops`. Else timing costs nothing.
"""

from __future__ import annotations

import time
from _thread import RLock, get_ident
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Any, cast

from meridian.core.message import CONTROL, Message, header, rewrap, with_header
from meridian.core.policies import Block, Coalesce, Drop, Latest, Policy, PutResult
from meridian.engine.hops import Hops
from meridian.observability import traceparent
from meridian.redaction import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meridian.core.schema import Check
    from meridian.engine.kernel import PythonEngine
    from meridian.engine.ready import Turn

OK, BLOCKED, DROPPED, REPLACED, COALESCED = PutResult

_BUILT_IN: dict[type, int] = {Block: 0, Drop: 1, Latest: 2, Coalesce: 3}
BLOCK, DROP, LATEST, COALESCE, CUSTOM = range(5)


class Ring:
    """One edge's items.

    Attributes:
        id: The edge's id, for errors.
        items: The data lane, oldest first.
        control: The control lane, or ``None`` until the first CONTROL message.
        capacity: Most items that both lanes may hold together.
        space: ``capacity`` less the control lane and less what a running batch may still put back; room for data is
            ``space - len(items)``.
        mixed: At least one item was a `Message`; until then all are raw payloads.
        taken: Items that left through `take` so far.
        taken_control: Those of them that were CONTROL messages.
        merged: Items that a coalesce function merged into another one.
        lost: Items lost so far, by cause.
        check: What data must satisfy, or ``None``.
        waiters: Turns that wait for room.
        waits: How often a turn began to wait for room.
        inside: The thread that is in user code of this ring (a coalesce function, a policy), or 0.
        foreign: How many other threads are in a section or wait for one, and one more while hops are timed.
        hops: How long items spent here since it was attached, or ``None`` until somebody looks.
        timing: ``foreign`` is up for the sake of ``hops``.
    """

    __slots__ = (
        "_lock",
        "blocked_ns",
        "busy",
        "capacity",
        "check",
        "control",
        "control_turn",
        "engine",
        "foreign",
        "hops",
        "id",
        "inside",
        "items",
        "kind",
        "lost",
        "low",
        "merged",
        "mixed",
        "node",
        "on_loss",
        "owner",
        "policy",
        "port",
        "space",
        "taken",
        "taken_control",
        "timing",
        "turn",
        "waiters",
        "waits",
    )

    limited = False

    def __init__(self, id: str, capacity: int, policy: Policy, check: Check | None = None) -> None:
        self.id = id
        self.items: deque[Any] = deque()
        self.control: deque[Any] | None = None
        self.capacity = self.space = capacity
        self.policy = policy
        self.kind = _BUILT_IN.get(type(policy), CUSTOM)
        self.low = self._low()
        self.check = check
        self.mixed = False
        self.taken = self.taken_control = self.merged = self.waits = self.blocked_ns = 0
        self.lost: dict[str, int] | None = None
        self.waiters: list[Turn] | None = None
        self.turn: Turn | None = None
        self.control_turn: Turn | None = None
        self.engine: PythonEngine | None = None
        self.node = -1
        self.port = ""
        self.on_loss: Callable[[str, str, int, BaseException | None], None] | None = None
        self._lock = RLock()
        self.busy = False
        self.inside = 0
        self.foreign = 0
        self.hops: Hops | None = None
        self.timing = False
        self.owner = 0

    # ---- reading ---------------------------------------------------------------------------------------------

    def depth(self) -> int:
        """Return how many items wait, in both lanes."""
        return len(self.items) + (len(self.control) if self.control else 0)

    def room(self) -> int:
        """Return how many more data items fit now; never negative."""
        room = self.space - len(self.items)
        return room if room > 0 else 0  # noqa: FURB136 - max() would double what this costs

    def fits(self, item: Any) -> bool:
        """Say whether a data item would find room now."""
        del item
        return self.room() > 0

    def weigh(self, item: Any) -> int | None:
        """Return how many bytes ``item`` counts for; ``None`` if it alone is larger than the limits, or nobody can tell."""
        del item
        return 0

    def accepted(self) -> int:
        """Return how many items this ring took responsibility for."""
        return self.taken + self.depth() + self.merged + (sum(self.lost.values()) if self.lost else 0)

    # ---- one item, any thread --------------------------------------------------------------------------------

    def put(self, item: Any, policy: Policy | None = None, weight: int | None = None) -> PutResult:
        """Put one item and say exactly what became of it. Never waits.

        Args:
            item: A raw payload or a `Message`, already checked against the schema.
            policy: Overrules the ring's own policy for this item.
            weight: What `weigh` returned for it, if it was asked; else it is asked now.

        Raises:
            RuntimeError: called from within this ring's own coalesce function or policy.
            ValueError: a custom policy answered something that can't be done.
        """
        own = self._enter()
        try:
            was_empty = not self.items
            result = self._put(item, self.policy if policy is None else policy, weight)
            wake = was_empty and bool(self.items)
        finally:
            self._leave(own)
        engine = self.engine
        if engine is not None:
            if wake:
                engine.wake(self, own)
            if self.control:
                engine.wake_control(self, own)
        return result

    def put_many(
        self, items: Sequence[Any], policy: Policy | None = None, weights: Sequence[int] | None = None
    ) -> int:
        """Put items in order until one is refused; return how many weren't. See `put`.

        Raises:
            As `put`; the items before the one at fault were put.
        """
        own = self._enter()
        was_empty = not self.items
        n = 0
        try:
            for item in items:
                weight = None if weights is None else weights[n]
                if self._put(item, self.policy if policy is None else policy, weight) is BLOCKED:
                    break
                n += 1
        finally:
            wake = was_empty and bool(self.items)
            self._leave(own)
            engine = self.engine
            if engine is not None:
                if wake:
                    engine.wake(self, own)
                if self.control:
                    engine.wake_control(self, own)
        return n

    def take_many(self, n: int) -> list[Any]:
        """Take up to ``n`` items, CONTROL first, from any thread."""
        own = self._enter()
        taken: list[Any] = []
        try:
            while len(taken) < n and self.control:
                taken.append(self.control.popleft())
                self.space += 1
                self.taken += 1
                self.taken_control += 1
            while len(taken) < n and self.items:
                try:
                    taken.append(self._pop())
                except IndexError:  # what there was had expired
                    break
        finally:
            self._leave(own)
        if taken and self.waiters:
            self.release(own)
        return taken

    def get(self) -> Any:
        """Take the next item, CONTROL first; raises ``IndexError`` when there is none."""
        own = self._enter()
        try:
            if self.control:
                item = self.control.popleft()
                self.space += 1
                self.taken += 1
                self.taken_control += 1
            else:
                item = self._pop()
        finally:
            self._leave(own)
        if self.waiters:
            self.release(own)
        return item

    def _pop(self) -> Any:
        item = self.items.popleft()
        self.taken += 1
        return item

    def _put(self, item: Any, policy: Policy, weight: int | None = None) -> PutResult:
        items = self.items
        size = self.depth()
        if isinstance(item, Message):
            self.mixed = True
            if item.type is CONTROL:
                if size >= self.capacity or len(items) >= self.space:
                    return BLOCKED
                if self.control is None:
                    self.control = deque()
                self.control.append(item)
                self.space -= 1
                return OK
        full = self._is_full(weight, size)
        shown = max(size, self.capacity) if full else size
        if type(policy) in _BUILT_IN:
            result = policy.on_enqueue(self.capacity, shown, item)
        else:
            self.inside = get_ident()
            try:
                result = policy.on_enqueue(self.capacity, shown, item)
            finally:
                self.inside = 0
        if result is OK and not full:
            self._append(item, weight)
        elif result is BLOCKED:
            pass
        elif result is DROPPED:
            self.lose("dropped", 1)
        elif result is REPLACED:
            gone = []  # they die when all is done: an end of theirs may come back to this ring
            while self.items and self._is_full(weight, self.depth()):
                gone.append(self._evict("replaced"))
            if self._is_full(
                weight, self.depth()
            ):  # nothing left that could make room (capacity 0, or all CONTROL)
                self.lose("dropped", 1)
                return DROPPED
            self._append(item, weight)
        elif result is COALESCED and isinstance(policy, Coalesce):
            if not items or not self._merge(item, policy, weight):
                self.lose("dropped", 1)
                return DROPPED
        else:
            raise ValueError(
                f"policy {type(policy).__name__} answered {result!r} for edge {self.id} at size {size} of "
                f"{self.capacity}: a full edge can't take it, and only a Coalesce can answer COALESCED"
            )
        return result

    def _is_full(self, weight: int | None, size: int) -> bool:
        del weight
        return size >= self.capacity or len(self.items) >= self.space

    def _append(self, item: Any, weight: int | None) -> None:
        del weight
        self.items.append(item)

    def _evict(self, cause: str) -> Any:
        item = self.items.popleft()
        self.lose(cause, 1)
        return item

    def _replace_newest(self, item: Any, weight: int | None) -> None:
        del weight
        self.items[-1] = item

    def _merge(self, item: Any, policy: Coalesce, weight: int | None) -> bool:
        """Merge ``item`` into the newest one; ``False`` if neither the result nor ``item`` itself may take its place."""
        error: Exception | None = None
        self.inside = get_ident()
        try:
            merged = self._merged(policy, self.items[-1], item)
        except Exception as raised:
            merged, error = item, raised
        finally:
            self.inside = 0
        failed = error is not None
        if not failed:
            merged_weight = self.weigh(merged)
            if self._may_replace_newest(merged_weight):
                weight = merged_weight
            else:
                merged, failed = item, True  # the newer one alone may still fit
        if failed and not self._may_replace_newest(weight):
            return False
        self._replace_newest(merged, weight)
        if failed:
            self.lose("coalesce_error", 1, error)
        else:
            self.merged += 1
        if isinstance(merged, Message):
            self.mixed = True
        return True

    def _merged(self, policy: Coalesce, old: Any, new: Any) -> Any:
        return coalesced(policy, old, new)

    def _may_replace_newest(self, weight: int | None) -> bool:
        del weight
        return True

    def lose(self, cause: str, n: int, error: BaseException | None = None) -> None:
        """Count ``n`` items as lost by ``cause``."""
        if self.lost is None:
            self.lost = {}
        self.lost[cause] = self.lost.get(cause, 0) + n
        if self.on_loss is not None and cause != "replaced":  # replacing is what a latest edge is for
            self.on_loss(self.id, cause, n, error)

    def refuse(self, cause: str, n: int = 1) -> None:
        """Count ``n`` items as lost that never got here; from outside a section."""
        own = self._enter()
        self.lose(cause, n)
        self._leave(own)

    # ---- batches, engine thread only -------------------------------------------------------------------------

    def offer(self, items: list[Any]) -> int:
        """Put ``items`` in order, as many as the policy takes, and wake the consumer; return how many were taken.

        Fewer than all only when a blocking ring is full (or a custom policy blocks). The items are data: CONTROL
        messages go through `put`.
        """
        self.busy = True
        if self.foreign:
            self.let_foreign_finish()
        q = self.items
        have = len(q)
        n = len(items)
        room = self.space - have
        if room >= n and self.kind != CUSTOM:
            q.extend(items)
        else:
            n = self._offer_full(items, n, room)
        self.busy = False
        if not have and q:
            turn = self.turn
            if turn is None:
                self.engine.wake(self, True)  # type: ignore[union-attr]  # offered to only while attached
            elif not turn.queued:
                turn.queued = True
                turn.line.append(turn)
        return n

    def offer_one(self, item: Any) -> bool:
        """Put one item on a blocking ring and wake the consumer; say whether there was room. For sparse traffic."""
        self.busy = True
        if self.foreign:
            self.let_foreign_finish()
        q = self.items
        have = len(q)
        if have >= self.space:
            self.busy = False
            return False
        q.append(item)
        self.busy = False
        if not have:
            turn = self.turn
            if turn is None:
                self.engine.wake(self, True)  # type: ignore[union-attr]  # offered to only while attached
            elif not turn.queued:
                turn.queued = True
                turn.line.append(turn)
        return True

    def _offer_full(self, items: list[Any], n: int, room: int) -> int:
        kind = self.kind
        if kind == BLOCK:
            if room > 0:
                self.items.extend(items[:room])
                return room
            return 0
        if kind == DROP:
            if room > 0:
                self.items.extend(items[:room])
            self.lose("dropped", n - max(room, 0))
            return n
        try:
            for i, item in enumerate(items):
                if self._put(item, self.policy) is BLOCKED:
                    return i
        except BaseException:
            self.busy = False
            raise
        return n

    def take(self, k: int, put_back: bool = False) -> list[Any]:
        """Take up to ``k`` data items, oldest first.

        Args:
            k: Most items to take, at least 1.
            put_back: Keep room for all but the first of them, in case `settle` brings them back.
        """
        self.busy = True
        if self.foreign:
            self.let_foreign_finish()
        q = self.items
        if k == 1 and q:
            xs = [q.popleft()]
        elif k >= len(q):
            xs = list(q)
            q.clear()
            k = len(xs)
        else:
            pop = q.popleft
            xs = [pop() for _ in repeat(None, k)]
        self.taken += k
        if put_back and k:
            self.space -= k - 1
        self.busy = False
        if self.waiters and len(q) <= self.low:
            self.release(True)
        return xs

    def settle(self, k: int, rest: Sequence[Any]) -> None:
        """End a batch of ``k`` items that was taken with ``put_back``: ``rest`` wasn't handled and comes back.

        With a ``k`` of 0 it was taken for good, but comes back all the same: even where others have taken its room meanwhile,
        so that nothing is lost.
        """
        self.busy = True
        if self.foreign:
            self.let_foreign_finish()
        if k:
            self.space += k - 1
        if rest:
            self.items.extendleft(reversed(rest))
            self.taken -= len(rest)
        self.busy = False
        if self.waiters and len(self.items) <= self.low:
            self.release(True)

    def take_control(self, k: int) -> list[Any]:
        """Take up to ``k`` CONTROL messages."""
        own = self._enter()
        lane = self.control
        xs = [lane.popleft() for _ in range(min(k, len(lane)))] if lane else []
        self.taken += len(xs)
        self.taken_control += len(xs)
        self.space += len(xs)
        self._leave(own)
        if xs and self.waiters:
            self.release(True)
        return xs

    # ---- waiting for room ------------------------------------------------------------------------------------

    def wait(self, turn: Turn) -> None:
        """Let ``turn`` run again when there is room. It counts as queued meanwhile."""
        turn.queued = True
        self.waits += 1
        turn.waits_for = self
        turn.since = self.engine.now  # type: ignore[union-attr]  # nobody waits on a ring that isn't attached
        if not self.waiters:  # none yet, or an empty list that a cancelled wait left behind
            self.waiters = [turn]
            self.engine.waited.add(self)  # type: ignore[union-attr]  # as above
        else:
            self.waiters.append(turn)

    def forget(self, turn: Turn) -> None:
        """Let ``turn`` wait no more."""
        if self.waiters is not None and turn in self.waiters:
            self.waiters.remove(turn)

    def release(self, own: bool) -> None:
        """Let every turn that waits for room try again, in the order in which they came."""
        engine = self.engine
        if engine is None:
            return
        if not own:
            engine.knock(self)
            return
        waiters, self.waiters = self.waiters, None
        now = engine.now if engine.running else engine.clock()
        for turn in waiters or ():
            turn.waits_for = None
            self.blocked_ns += now - turn.since
            turn.line.append(turn)
        if not engine.running:
            engine.arm()

    def blocked_s(self, now: int) -> float:
        """Return the seconds that producers waited for room here; waits that are still open count up to ``now``."""
        still = sum(now - turn.since for turn in list(self.waiters or ()))  # a copy: other threads ask too
        return (self.blocked_ns + still) / 1e9

    # ---- timing ----------------------------------------------------------------------------------------------

    def time_hops(self, clock: Callable[[], int]) -> int | None:
        """Time what comes next, for a while; see `hops` for what was timed. From any thread, and never waits.

        Returns:
            Since when, at least, the oldest data has waited, on ``clock``; ``None`` if there is none, or nobody knows.
        """
        if not self._lock.acquire(blocking=False):
            return None  # another thread is in a section; the next look will do
        self.foreign += 1  # as another thread: from here on the engine's own begins no section
        begun = False
        try:
            if self.busy or self.inside:
                return None
            if self.hops is None:
                self.hops = Hops(clock)
            since = self.hops.look(*self._passed())
            begun = not self.timing
            return since
        finally:
            if begun:
                self.timing = True
            else:
                self.foreign -= 1
            self._lock.release()

    def _passed(self) -> tuple[int, int, int, int]:
        """Return how many items came to the data lane, left it, were lost on it, and may come back."""
        gone = 0
        if self.lost:
            gone = self.lost.get("replaced", 0) + self.lost.get("expired", 0)
        left = self.taken - self.taken_control + gone
        kept = self.capacity - self.space - (len(self.control) if self.control else 0)
        return left + len(self.items), left, gone, kept

    def _note(self) -> None:
        if self.hops is None or not self.hops.note(*self._passed()):
            self.timing = False
            self.foreign -= 1

    # ---- settings --------------------------------------------------------------------------------------------

    def set_capacity(self, capacity: int) -> None:
        """Change the capacity. What is above a smaller one stays until it is taken."""
        own = self._enter()
        self.space += capacity - self.capacity
        self.capacity = capacity
        self.low = self._low()
        self._leave(own)
        if self.waiters and self.room():
            self.release(own)

    def take_over(self, other: Ring) -> None:
        """Take all that ``other`` holds, and its counts; nothing is lost, even where it is more than the limits allow."""
        for item in other.items:
            self._keep(item)
        if other.control:
            self.control = deque(other.control)
            self.space -= len(other.control)
        self.mixed, self.taken, self.merged, self.lost = other.mixed, other.taken, other.merged, other.lost
        self.taken_control = other.taken_control

    def _keep(self, item: Any) -> None:
        self.items.append(item)

    def set_policy(self, policy: Policy) -> None:
        """Change what a full ring does."""
        self.policy = policy
        self.kind = _BUILT_IN.get(type(policy), CUSTOM)
        self.low = self._low()
        if self.waiters:
            self.release(self.owner == get_ident())

    def use(self, budget: Budget | None, clock: Callable[[], int]) -> None:
        """Count for another budget, and tell ages by another clock, from now on."""
        del budget, clock

    def attach(self, engine: PythonEngine, node: int, port: str, owner: int) -> None:
        """Lead to input ``port`` of ``node`` from now on, served by ``engine`` on the thread ``owner``."""
        self.node, self.port, self.engine, self.owner = node, port, engine, owner
        self.turn = self.control_turn = self.waiters = None
        self.busy = False

    def detach(self) -> None:
        """Be served by no engine any more; what the ring holds stays. Its counts begin anew: they are in the report."""
        self.engine = self.turn = self.control_turn = self.waiters = None
        self.owner = 0
        self.taken = self.taken_control = self.merged = self.blocked_ns = 0
        self.lost = None
        self.hops = None

    def _low(self) -> int:
        """Depth at which waiting producers are let on: half full, so that they get a batch each time.

        A custom policy may block at any depth, so there every item that leaves lets them try.
        """
        return self.capacity if self.kind == CUSTOM else self.capacity >> 1

    # ---- keeping threads apart -------------------------------------------------------------------------------

    def _enter(self) -> bool:
        """Begin a section; return whether this is the engine's thread."""
        me = get_ident()
        if self.inside == me:
            raise RuntimeError(
                f"a coalesce function or policy must not put on or take from its own edge, {self.id}"
            )
        if self.owner == me:
            self.busy = True
            if self.foreign:
                self.let_foreign_finish()
            return True
        self._lock.acquire()
        self.foreign += 1
        while self.busy:
            time.sleep(0)  # gives the engine's thread the interpreter; its section is a few bytecodes
        if self.timing:
            self._note()
        return False

    def _leave(self, own: bool) -> None:
        if own:
            self.busy = False
        else:
            self.foreign -= 1
            self._lock.release()

    def let_foreign_finish(self) -> None:
        """Step back until no other thread is in a section of this ring, then begin one."""
        self.busy = False
        with self._lock:
            self.busy = True
            if self.timing:
                self._note()

    def __len__(self) -> int:
        return self.depth()


class LimitedRing(Ring):
    """A ring that also bounds the bytes it holds and the age of what it delivers.

    Attributes:
        max_bytes: Most bytes that queued data may have together, or ``None``.
        max_age_ns: Data that waited longer is not delivered but lost, cause ``expired``; or ``None``.
        budget: Bytes shared with the other edges of a graph, or ``None``.
        budget_share: How much of it may be in use for this ring to take more; see `Budget`.
        size: Tells the bytes of one payload.
        clock: Nanoseconds, for ages.
    """

    __slots__ = (
        "_kept",
        "_notes",
        "budget",
        "bytes",
        "budget_share",
        "clock",
        "max_age_ns",
        "max_bytes",
        "size",
    )

    limited = True

    def __init__(
        self,
        id: str,
        capacity: int,
        policy: Policy,
        check: Check | None = None,
        *,
        max_bytes: int | None = None,
        max_age_ns: int | None = None,
        budget: Budget | None = None,
        size: Callable[[Any], int],
        clock: Callable[[], int],
    ) -> None:
        super().__init__(id, capacity, policy, check)
        self.max_bytes = max_bytes
        self.max_age_ns = max_age_ns
        self.budget = budget
        self.budget_share = 0
        self.size = size
        self.clock = clock
        self.bytes = 0
        self._notes: deque[tuple[int, int]] = deque()  # (bytes, time of entry) of each item of the data lane
        self._kept: list[tuple[int, int]] = []  # those of a running batch that may still come back

    def room(self) -> int:
        """Return how many more data items fit by count; 0 also when no byte is left."""
        if self.max_age_ns is not None:
            own = self._enter()
            self._expire()
            self._leave(own)
        if self.max_bytes is not None and self.bytes >= self.max_bytes:
            return 0
        if self.budget is not None and self.budget.used >= (self.budget_share or self.budget.limit):
            return 0
        return super().room()

    def fits(self, item: Any) -> bool:
        own = self._enter()
        try:
            weight = self.weigh(item)
            return weight is None or not self._is_full(weight, self.depth())
        finally:
            self._leave(own)

    def _size_of(self, item: Any) -> int:
        n: Any = self.size(item.payload if isinstance(item, Message) else item)
        if not isinstance(n, int) or n < 0:
            raise ValueError(
                f"size of edge {self.id} answered {type_name(n)}: it has to tell a number of bytes"
            )
        return n

    def _put(self, item: Any, policy: Policy, weight: int | None = None) -> PutResult:
        if self.max_age_ns is not None:
            self._expire()
        if weight is None:
            weight = self.weigh(item)
        if weight is None:
            self.lose("invalid", 1)
            return DROPPED
        return super()._put(item, policy, weight)

    def _is_full(self, weight: int | None, size: int) -> bool:
        if self.max_age_ns is not None:
            self._expire()
            size = self.depth()
        return super()._is_full(weight, size) or self._exceeds(weight or 0)

    def _exceeds(self, n: int) -> bool:
        budget = self.budget
        return (self.max_bytes is not None and self.bytes + n > self.max_bytes) or (
            budget is not None and not budget.admits(n, self.budget_share)
        )

    def weigh(self, item: Any) -> int | None:
        if isinstance(item, Message) and item.type is CONTROL:  # limits are for data
            return 0
        try:
            n = self._size_of(item)
        except Exception:
            return None
        never_fits = (self.max_bytes is not None and n > self.max_bytes) or (
            self.budget is not None and n > self.budget.limit
        )
        return None if never_fits else n

    def _merged(self, policy: Coalesce, old: Any, new: Any) -> Any:
        if self.budget is None:
            return super()._merged(policy, old, new)
        self.budget.lock.release()  # user code runs without it, lest two edges wait for each other
        try:
            return super()._merged(policy, old, new)
        finally:
            self.budget.lock.acquire()

    def _may_replace_newest(self, weight: int | None) -> bool:
        return weight is not None and not self._exceeds(weight - self._notes[-1][0])

    def _charge(self, n: int) -> None:
        self.bytes += n
        if self.budget is not None:
            self.budget.charge(n)

    def _append(self, item: Any, weight: int | None) -> None:
        n = weight or 0
        self._charge(n)
        self.items.append(item)
        self._notes.append((n, self.clock()))

    def _evict(self, cause: str) -> Any:
        self._charge(-self._notes.popleft()[0])
        return super()._evict(cause)

    def _replace_newest(self, item: Any, weight: int | None) -> None:
        n, entered = self._notes.pop()
        new = weight or 0
        self._charge(new - n)
        self._notes.append((new, entered))
        self.items[-1] = item

    def _expire(self) -> None:
        oldest = self.clock() - (self.max_age_ns or 0)
        n = 0
        while self._notes and self._notes[0][1] < oldest:
            self._charge(-self._notes.popleft()[0])
            self.items.popleft()
            n += 1
        if n:
            self.lose("expired", n)

    def _pop(self) -> Any:
        if self.max_age_ns is not None:
            self._expire()
        item = super()._pop()
        self._charge(-self._notes.popleft()[0])
        return item

    def offer(self, items: list[Any]) -> int:
        for i, item in enumerate(items):
            if self.put(item) is BLOCKED:
                return i
        return len(items)

    def take(self, k: int, put_back: bool = False) -> list[Any]:
        own = self._enter()
        if self.max_age_ns is not None:
            self._expire()
        k = min(k, len(self.items))
        xs = [self.items.popleft() for _ in range(k)]
        notes = [self._notes.popleft() for _ in range(k)]
        self.taken += k
        if put_back and k:
            self.space -= k - 1
            self._kept = notes[1:]  # their bytes stay charged until it is known that they don't come back
            notes = notes[:1]
        self._charge(-sum(n for n, _ in notes))
        self._leave(own)
        if self.waiters and self.room():
            self.release(True)
        return xs

    def settle(self, k: int, rest: Sequence[Any]) -> None:
        own = self._enter()
        if k:
            self.space += k - 1
            kept, self._kept = self._kept, []
        else:
            now = self.clock() if rest else 0
            kept = [(self._bytes_of(item), now) for item in rest]
            self._charge(sum(n for n, _ in kept))
        gone = len(kept) - len(rest)
        self._charge(-sum(n for n, _ in kept[:gone]))
        self.items.extendleft(reversed(rest))
        self._notes.extendleft(reversed(kept[gone:]))
        self.taken -= len(rest)
        self._leave(own)
        if self.waiters and self.room():
            self.release(True)

    def _enter(self) -> bool:
        own = super()._enter()
        if self.budget is not None:
            self.budget.lock.acquire()
        return own

    def _leave(self, own: bool) -> None:
        if self.budget is not None:
            self.budget.lock.release()
        super()._leave(own)

    def use(self, budget: Budget | None, clock: Callable[[], int]) -> None:
        own = super()._enter()
        now, then = clock(), self.clock()
        if now != then:
            self._notes = deque((n, entered + now - then) for n, entered in self._notes)
        self.clock = clock
        if self.budget is not None:
            self.budget.charge(-self.bytes)
        self.budget = budget
        if budget is not None:
            with budget.lock:
                budget.charge(self.bytes)
        super()._leave(own)

    def _bytes_of(self, item: Any) -> int:
        try:
            return self._size_of(item)
        except Exception:  # what nobody can tell the size of counts for nothing
            return 0

    def _keep(self, item: Any) -> None:
        n = self._bytes_of(item)
        self._charge(n)
        self.items.append(item)
        self._notes.append((n, self.clock()))

    def head_age_ns(self) -> int:
        """Return how long the oldest data item has waited, 0 when there is none."""
        return self.clock() - self._notes[0][1] if self._notes else 0


class Budget:
    """Bytes that all limited rings of one graph share.

    What is queued near the sources must not take the bytes that its own results will need, or nothing could move any
    more. So a ring takes more only while no more than its share is in use by all of them together: the whole limit for
    the rings nearest to the sinks, less and less towards the sources, in equal steps. The last stretch to the sinks always
    has a step for itself, so it drains; then the stretch before it does. That holds for items up to one step in size; larger
    ones are taken while nothing else is queued, which may be never in a graph that is busy.

    Source: the ordering of resources by which deadlock is avoided (Havender); differs in that all draw from one pool.

    Attributes:
        limit: Most bytes that may be queued.
        used: Bytes that are queued now.
        lock: Held by whoever is in a section of any of the rings.
    """

    __slots__ = ("limit", "lock", "rings", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.lock = RLock()
        self.rings: list[LimitedRing] = []

    def add(self, ring: LimitedRing, share: int) -> None:
        """Count what ``ring`` holds, which takes more only while no more than ``share`` is in use."""
        self.rings.append(ring)
        ring.budget_share = share

    def admits(self, n: int, share: int) -> bool:
        """Say whether a ring with that share (0 for all of it) may take ``n`` bytes more."""
        used = self.used + n
        return used <= self.limit and (not share or used <= share or not self.used)

    def charge(self, n: int) -> None:
        """Take ``n`` bytes, or give them back if negative; then whoever waited for room on any edge may try again."""
        self.used += n
        if n < 0:
            for ring in self.rings:
                if ring.waiters and ring.engine is not None:
                    ring.release(ring.owner == get_ident())


def short_of_bytes(rings: Sequence[Ring], item: Any) -> Ring | None:
    """Return a blocking ring whose budget has no room for ``item`` on all of ``rings`` together; or ``None``.

    On each of them alone it would find room. What is larger on all together than a ring's share may never find that; it
    goes to one after the other.
    """
    if isinstance(item, Message) and item.type is CONTROL:
        return None
    limited = [ring for ring in cast("Sequence[LimitedRing]", rings) if ring.limited and ring.budget]
    for ring in limited:
        budget = ring.budget
        if ring.kind == BLOCK and budget is not None:
            n = sum(each.weigh(item) or 0 for each in limited if each.budget is budget)
            if n <= (ring.budget_share or budget.limit) and not budget.admits(n, ring.budget_share):
                return ring
    return None


def coalesced(policy: Coalesce, old: Any, new: Any) -> Any:
    """Merge two items as ``policy`` says; see `Coalesce`."""
    old_is, new_is = isinstance(old, Message), isinstance(new, Message)
    if not (old_is or new_is):
        return policy.fn(old, new)
    if policy.on == "message":
        merged = policy.fn(old, new)
        return _remembering(merged, old) if old_is and isinstance(merged, Message) else merged
    envelope = new if new_is else old
    try:
        merged = policy.fn(old.payload if old_is else old, new.payload if new_is else new)
    except Exception:
        if not (old_is and new_is):
            raise
        merged = policy.fn(old, new)
    if not isinstance(merged, Message):
        merged = rewrap(envelope, merged)
    return _remembering(merged, old) if old_is else merged


def _remembering(merged: Message[Any], old: Message[Any]) -> Message[Any]:
    """Note in ``merged``, whose trace is the newer one's, that ``old`` is in it too, if it is traced."""
    came_from = header(old, traceparent.HEADER)
    if came_from is None or came_from == header(merged, traceparent.HEADER):
        return merged
    others = (*(header(old, traceparent.MERGED) or ()), came_from)
    return with_header(merged, traceparent.MERGED, others[-traceparent.MOST_MERGED :])
