"""The Python engine: rings, turns, and the loop that runs slices.

Everything here runs on one thread, the one that calls `PythonEngine.run`. Other threads reach it through rings (which
guard themselves), through `PythonEngine.knock`, and through a node's inbox.
"""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from typing import TYPE_CHECKING, Any

from meridian.engine.node import NO_LIMIT, NodeState
from meridian.engine.ready import NORMAL_BAND, ReadyQueue, Turn
from meridian.engine.ring import BLOCK, CUSTOM, Budget, LimitedRing, Ring
from meridian.engine.step import PAUSED, To, compile_control_step, compile_source, compile_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from meridian.core.message import Scope

SLICE_CAP_NS = 200_000
"""A slice that took longer makes the next one of the same turn smaller, down to a single message."""

SLOW_NS = 100_000_000
"""A turn that took so long is told: for all that time nothing else on the loop got on."""


class PythonEngine:
    """The reference engine.

    Args:
        scope: Where the message in hand is noted.
        clock: Nanoseconds.
        weights: Shares of the CONTROL, HIGH and NORMAL bands.
        max_batch: Most messages of one slice.
        random: Draws the order of turns within a band, for tests; first in, first out without it.

    Attributes:
        now: When the turn before this one ended, in nanoseconds.
        resumed: The node whose asynchronous code, which waited, goes on just now, outside of turns; or ``None``.
        resumed_at: When it went on, in nanoseconds; later by as long as turns took that were run from within it.
        waited: Rings that somebody waits for, or did.
        failures: What counts as a failure of a node's code; anything else ends the run.
        ring_type: What its rings are made of; `limited_ring_type` and `budget_type` are for limits besides the count.
    """

    sweep: Callable[[Any, Iterator[Any], list[Any]], Any] | None = None
    """Awaits a handler for raw items without a loop in Python, where the engine can do that; see `BatchWorker`."""
    node_type = NodeState
    queue_type = ReadyQueue
    turn_type = Turn
    ring_type = Ring
    limited_ring_type = LimitedRing
    budget_type = Budget

    def __init__(
        self,
        scope: Scope,
        clock: Callable[[], int],
        *,
        weights: tuple[int, int, int] = (4, 2, 1),
        max_batch: int = 64,
        random: Random | None = None,
    ) -> None:
        self.scope = scope
        self.clock = clock
        self.max_batch = max_batch
        self.queue = self.queue_type(weights, random)
        self.nodes: dict[int, NodeState] = {}
        self.rings: list[Ring] = []
        self.running = False
        self.owner = get_ident()
        self.knocks: deque[Ring | NodeState] = deque()
        self.now = 0
        self.resumed: NodeState | None = None
        self.resumed_at = 0
        self.waited: set[Ring] = set()
        self.failures: tuple[type[BaseException], ...] = (Exception,)
        self.arm: Callable[[], None] = _nothing
        self.arm_from_thread: Callable[[], None] = _nothing
        self.on_error: Callable[[int, str, BaseException, Any, str], To | None] = _nothing
        self.on_invalid: Callable[[str], None] = _nothing
        self.declares: Callable[[int, str], bool] = _no
        self.on_finished: Callable[[int], None] = _nothing
        self.on_slow: Callable[[int, int], None] = _nothing
        self.make_node: Callable[[int], NodeState] = self.nodes.__getitem__

    # ---- building --------------------------------------------------------------------------------------------

    def add_node(self, id: int, name: str, kind: str, fn: Any, ports: dict[str, list[Ring]]) -> NodeState:
        """Add node ``id``; ``ports`` maps each output to the rings that leave it."""
        node = self.node_type(self, id, name, kind, fn, ports)
        for rings in ports.values():
            node.rings += rings
        self.nodes[id] = node
        return node

    def node(self, id: int) -> NodeState:
        """Return node ``id``; one that isn't there yet is asked for."""
        made = self.nodes.get(id)
        return self.make_node(id) if made is None else made

    def attach(self, ring: Ring, node: int, port: str, band: int) -> None:
        """Let ``ring`` lead to input ``port`` of ``node``, served in ``band``."""
        ring.attach(self, node, port, self.owner)
        if band != NORMAL_BAND:
            ring.turn = self.turn(node, band)
            ring.turn.ring = ring
            ring.turn.run = _Compile(self, ring)
        self.rings.append(ring)

    def detach(self) -> None:
        """Let go of all rings; what they hold stays on them."""
        for ring in self.rings:
            ring.detach()

    def turn(self, node: int, band: int) -> Turn:
        """Make a turn in the line of ``band``."""
        turn = self.turn_type(node, band)
        turn.line = self.queue.lines[band]
        return turn

    def compile_step(self, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
        """Make the step that serves ``ring`` to ``node``."""
        return compile_step(self, node, ring, turn)

    def compile_source(self, node: NodeState, items: Iterator[Any], turn: Turn) -> Callable[[], int]:
        """Make the step of a plain source."""
        return compile_source(self, node, items, turn)

    def start_source(self, node: NodeState, items: Iterator[Any]) -> None:
        """Let ``node`` pull from ``items`` whenever there is room downstream."""
        turn = node.source_turn = self.turn(node.id, NORMAL_BAND)
        turn.run = self.compile_source(node, items, turn)
        self.ready(turn)

    def add_tick(self, node: NodeState, tick: Callable[[], None]) -> Turn:
        """Make the turn that runs ``tick``; queue it with `ready` when it is due."""
        turn = node.tick_turn = self.turn(node.id, NORMAL_BAND)
        scope = self.scope

        def step() -> int:
            if node.held & ~PAUSED:
                return node.put_off(turn)
            node.quota = min((ring.room() for ring in node.rings if ring.kind == BLOCK), default=NO_LIMIT)
            scope.node = node.name
            try:
                tick()
            except self.failures as error:
                node.fail("on_tick", error)
            finally:  # also what was emitted before the end of the run: it was accepted
                scope.node = None
                node.flush()
            return 1

        turn.run = step
        return turn

    # ---- waking ----------------------------------------------------------------------------------------------

    def wake(self, ring: Ring, own: bool) -> None:
        """Data came to an empty ring: queue its turn, compiling it on first use."""
        if not own:
            self.knock(ring)
            return
        turn = ring.turn
        if turn is None:
            turn = ring.turn = self.turn(ring.node, NORMAL_BAND)
            turn.ring = ring
            turn.run = self.compile_step(self.node(ring.node), ring, turn)
        if not turn.queued:
            self.ready(turn)

    def wake_control(self, ring: Ring, own: bool) -> None:
        """A CONTROL message came: queue the ring's control turn in the CONTROL band."""
        if not own:
            self.knock(ring)
            return
        turn = ring.control_turn
        if turn is None:
            turn = ring.control_turn = self.turn(ring.node, 0)
            turn.run = compile_control_step(self, self.node(ring.node), ring, turn)
        if not turn.queued:
            self.ready(turn)

    def ready(self, turn: Turn) -> None:
        """Put ``turn`` in its line."""
        turn.queued = True
        turn.line.append(turn)
        if not self.running:
            self.arm()

    def knock(self, who: Ring | NodeState) -> None:
        """Another thread did something to ``who``: look at it on the engine's own thread, soon."""
        self.knocks.append(who)
        self.arm_from_thread()

    def arm_if_idle(self) -> None:
        """Ask for a slice if there is work and none is running."""
        if not self.running and len(self.queue):
            self.arm()

    def _answer_knocks(self) -> None:
        knocks = self.knocks
        while knocks:
            who = knocks.popleft()
            if isinstance(who, NodeState):
                flush = who._flush()
                if not flush.queued:
                    self.ready(flush)
                continue
            if who.engine is not self:
                continue
            if who.items:
                self.wake(who, True)
            if who.control:
                self.wake_control(who, True)
            if who.waiters and who.room():
                who.release(True)

    # ---- running ---------------------------------------------------------------------------------------------

    def run(self, messages: int, nanoseconds: int) -> bool:
        """Run turns until about ``messages`` are handled or ``nanoseconds`` have passed, or nothing is due.

        Returns:
            Whether something is still due.

        Raises:
            RuntimeError: called from within a slice.
        """
        if self.running:
            raise RuntimeError("the engine runs a slice already")
        if self.knocks:
            self._answer_knocks()
        queue = self.queue
        control, high, normal = queue.lines
        clock, most = self.clock, self.max_batch
        plain_order = queue.random is None
        self.running = True
        now = self.now = clock()
        end = now + nanoseconds
        try:
            while True:
                if control or high or not plain_order:
                    if not (control or high or normal):
                        break
                    turn = queue.pick()
                elif normal:
                    turn = normal.popleft()
                else:
                    break
                turn.queued = False
                handled = turn.run()
                self.now = last = clock()
                spent = last - now
                now = last
                turn.busy_ns += spent
                turn.slices += 1
                if spent > SLICE_CAP_NS:
                    if spent >= SLOW_NS:
                        self.on_slow(turn.node, spent)
                    batch = turn.batch
                    if batch > 1:
                        turn.batch = max(1, min(handled or 1, batch) * SLICE_CAP_NS // spent)
                elif handled >= turn.batch:
                    turn.batch = min(handled * 2, most)
                messages -= handled or 1
                if messages <= 0 or now >= end:
                    break
            if self.waited and not (control or high or normal):
                self._let_on()
        finally:
            self.running = False
        return bool(control or high or normal or self.knocks)

    def _let_on(self) -> None:
        """Nothing is due: let on who waits for a ring that isn't quite empty enough, as nobody may come to empty it."""
        for ring in tuple(self.waited):
            if not ring.waiters:
                self.waited.discard(ring)
            elif ring.items and not (ring.turn is not None and ring.turn.queued):
                self.wake(ring, True)  # another thread has put something and not knocked yet
            elif not ring.limited and ring.kind != CUSTOM and ring.room():
                self.waited.discard(ring)
                ring.release(True)

    def idle(self) -> bool:
        """Say whether nothing is due."""
        return not len(self.queue) and not self.knocks

    def finished(self, node: NodeState) -> None:
        """A source has produced its last item."""
        self.on_finished(node.id)

    def recompile(self) -> None:
        """Make the steps anew: handlers were exchanged."""
        for ring in self.rings:
            if ring.turn is not None:
                ring.turn.run = self.compile_step(self.node(ring.node), ring, ring.turn)

    # ---- settings --------------------------------------------------------------------------------------------

    def set_band(self, ring: Ring, band: int) -> None:
        """Serve ``ring`` in another band from its next turn on."""
        turn = ring.turn
        if turn is None:
            turn = ring.turn = self.turn(ring.node, band)
            turn.ring = ring
            turn.run = self.compile_step(self.node(ring.node), ring, turn)
            if ring.items:
                self.wake(ring, True)
            return
        self.queue.set_band(turn, band)


class _Compile:
    """Stands in for a step until the ring's first message."""

    def __init__(self, engine: PythonEngine, ring: Ring) -> None:
        self.engine = engine
        self.ring = ring

    def __call__(self) -> int:
        turn = self.ring.turn
        assert turn is not None
        turn.run = self.engine.compile_step(self.engine.node(self.ring.node), self.ring, turn)
        return turn.run()


def _nothing(*_: Any) -> None:
    return None


def _no(*_: Any) -> bool:
    return False
