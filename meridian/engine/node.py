"""A node, as the engine knows it: what it holds, where its results go, and what becomes of those that find no room.

What a step does in the common case is in `step`; here is what it calls where there is more to look at.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from meridian.core.errors import BackpressureError, PayloadError, PortError
from meridian.core.message import CONTROL, DATA, Message, MessageType, no_message, wrap
from meridian.core.policies import ErrorPolicy, PutResult
from meridian.engine.ready import NORMAL_BAND
from meridian.engine.ring import BLOCK, CUSTOM, short_of_bytes
from meridian.engine.step import BUSY, PARKED, PAUSED, To, inherit
from meridian.redaction import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from meridian.engine.kernel import PythonEngine
    from meridian.engine.ready import Turn
    from meridian.engine.ring import Ring

NO_LIMIT = 1 << 30

_making_inbox: Final = allocate_lock()

_NEVER: Final = range(1 << 31)
"""Stands for the box of a port whose messages need a closer look: always full."""


class NodeState:
    """What the engine knows about one node.

    Attributes:
        id: Dense index.
        name: For errors and emits.
        kind: How results leave the handler: ``map``, ``call``, ``stream`` or ``drive`` (see `step`), or ``source``.
        fn: The handler.
        fn_of_envelope: What functions are called by for the payload of an envelope; ``None`` if that is ``fn``, too.
        form: What an engine may do instead of calling a handler: that handler, and `meridian.core.node.Node._native_form`.
        wants_message: The handler takes a `Message` rather than its payload.
        enveloped: Messages came to it, or begin there, so its results may be envelopes too.
        trusted: Results are typed by annotation and that type fits all targets, so their payloads needn't be looked at.
        ports: Rings that leave each output port, in connect order.
        rings: All of them.
        held: Why the node must not run now: ``PARKED``, ``BUSY`` and ``PAUSED`` bits.
        free: How many more messages may be in work at once (asynchronous nodes).
        parked: Emissions that wait for room, in order.
        paused: Inputs that no data is taken from now.
        rest: What is left of the batch in hand, while emits may end it.
        left: What it was ended before.
        quota: How many messages the running handler may emit on each port without asking for room.
        resumptions: How often its asynchronous code went on after it had waited.
        resumed_ns: Nanoseconds that took. Until it first waits it is in a turn, which has times of its own.
        errors: Failures of its code so far.
        unrouted: Emissions on ports that lead nowhere.
        closed: A source that will produce nothing more.
    """

    __slots__ = (
        "_plain",
        "boxes",
        "closed",
        "default",
        "deferred",
        "enveloped",
        "engine",
        "error_policy",
        "errors",
        "flush_turn",
        "fn",
        "fn_of_envelope",
        "form",
        "free",
        "held",
        "id",
        "inbox",
        "kind",
        "max_parked",
        "left",
        "name",
        "out",
        "parked",
        "paused",
        "ports",
        "produced",
        "put",
        "quota",
        "rest",
        "resumed_ns",
        "resumptions",
        "rings",
        "source_turn",
        "stream",
        "stream_of",
        "tick_turn",
        "trusted",
        "unrouted",
        "wants_message",
    )

    def __init__(
        self, engine: PythonEngine, id: int, name: str, kind: str, fn: Any, ports: dict[str, list[Ring]]
    ) -> None:
        self.engine = engine
        self.id = id
        self.name = name
        self.kind = kind
        self.fn = fn
        self.fn_of_envelope: Callable[..., Any] | None = None
        self.form: tuple[Any, tuple[Any, ...]] | None = None
        self.ports = ports
        self.default = next(iter(ports), "")
        self.rings: list[Ring] = []
        self.wants_message = self.trusted = self.enveloped = False
        self.error_policy = ErrorPolicy.LOG_AND_CONTINUE
        self.held = 0
        self.free = NO_LIMIT
        self.deferred: list[Turn] | None = None
        self.parked: deque[tuple[str | Ring, Any]] | None = None
        self.paused: set[str] | None = None
        self.max_parked = 1024
        self.inbox: deque[tuple[str, Any]] | None = None
        self.flush_turn: Turn | None = None
        self.tick_turn: Turn | None = None
        self.source_turn: Turn | None = None
        self.boxes: dict[str, Any] | None = None
        self.out: list[Any] | None = None
        self.put: Callable[[Any], None] | None = None
        self.rest: Iterator[Any] | None = None
        self.left: list[Any] | None = None
        self.quota = 0
        self.resumptions = self.resumed_ns = 0
        self.errors = self.unrouted = self.produced = 0
        self.closed = False
        self.stream: Iterator[Any] | None = None
        self.stream_of: Message[Any] | None = None
        self._plain: set[type] = set()

    # ---- room ------------------------------------------------------------------------------------------------

    @property
    def untyped(self) -> bool:
        """Whether no edge that leaves the node checks anything."""
        return all(ring.check is None for ring in self.rings)

    def only_ring(self) -> Ring | None:
        """Return the one plain blocking ring that all results go to, or ``None``."""
        if len(self.rings) == 1 and len(self.ports) == 1:
            ring = self.rings[0]
            if ring.kind == BLOCK and not ring.limited:
                return ring
        return None

    def credit(self, turn: Turn) -> int:
        """Return how many results fit on every output; if none, let ``turn`` wait for room and return 0."""
        least = NO_LIMIT
        for ring in self.rings:
            if ring.kind == BLOCK:
                room = ring.room()
                if room <= 0:
                    if ring is not turn.ring:
                        ring.wait(turn)
                        return 0
                    room = 1  # an edge from the node to itself: the message that leaves it makes room
                if room < least:
                    least = room
        return least

    # ---- holding ---------------------------------------------------------------------------------------------

    def put_off(self, turn: Turn) -> int:
        """Queue ``turn`` again when the node is free; returns 0, the messages handled."""
        turn.queued = True
        if self.deferred is None:
            self.deferred = []
        self.deferred.append(turn)
        return 0

    def resume(self) -> None:
        """Queue what was put off."""
        deferred, self.deferred = self.deferred, None
        for turn in deferred or ():
            self.engine.ready(turn)

    def hold(self) -> None:
        """Asynchronous work goes on: nothing else of this node may run."""
        self.held |= BUSY

    def release(self) -> None:
        """The asynchronous work is done."""
        self.held &= ~BUSY
        if not self.held & ~PAUSED:
            self.resume()

    def pause(self, port: str | None = None) -> None:
        """Take no more data from ``port``, or at all; what is left of the batch in hand goes back to its edge.

        CONTROL and ticks still come.
        """
        if port is None:
            self.held |= PAUSED
        elif self.paused is None:
            self.paused = {port}
        else:
            self.paused.add(port)
        if (
            self.rest is not None
            and self.left is None
            and self.rings
            and port in (None, self.engine.scope.port)
        ):
            self.left = list(self.rest)

    def unpause(self, port: str | None = None) -> None:
        """Take data from ``port`` again, or from all."""
        if port is None:
            self.held &= ~PAUSED
            self.paused = None
        elif self.paused is not None:
            self.paused.discard(port)
        if not self.held:
            self.resume()

    def holds_back(self) -> bool:
        """Say whether data waits on an edge because this node takes none for now."""
        return bool(self.deferred and (self.held & PAUSED or self.paused))

    def next_while_busy(self) -> tuple[list[Any], str] | None:
        """Take one more message for a node that is busy anyway, if that is fair: only one input waits, and no CONTROL.

        Returns:
            A list of the one item, and its input port; or ``None``.
        """
        deferred = self.deferred
        if not deferred or len(deferred) != 1 or self.held != BUSY:
            return None
        turn = deferred[0]
        ring = turn.ring
        if ring is None or not ring.items:
            return None
        for out in self.rings:
            if out.kind == BLOCK and out.room() <= 0:
                return None
        taken = ring.take(1)
        if ring.mixed:
            self.enveloped = True
        if self.wants_message and taken and taken[0].__class__ is not Message:
            taken[0] = wrap(taken[0], self.engine.scope.now, DATA if turn.band else CONTROL)
        if not ring.items:
            deferred.clear()
            turn.queued = False
        return taken, ring.port

    # ---- results ---------------------------------------------------------------------------------------------

    def is_plain(self, result: Any) -> bool:
        """Say whether all results of this one's class can be handed on without a second look."""
        cls = result.__class__
        if cls in self._plain:
            return True
        if result is None or isinstance(result, (Message, To)):
            return False
        for ring in self.rings:
            if ring.check is not None and not (ring.check.by_type and ring.check.passes(result)):
                return False
        self._plain.add(cls)
        return True

    def hand_on(self, results: list[Any]) -> None:
        """Hand on a batch of results: all at once where they need no second look, else one by one."""
        if not self.ports:  # what a sink returns is ignored
            return
        raw = not self.enveloped
        if not self.trusted:
            classes = set(map(type, results)) - self._plain
            raw = Message not in classes
            if not raw and self.untyped and no_control(results):
                classes.discard(Message)  # no edge looks at what is in it
            for cls in classes:
                example = next(result for result in results if type(result) is cls)
                if not self.is_plain(example):
                    self.route(results)
                    return
        self.deliver(self.default, results, raw)

    def hand_on_one(self, result: Any) -> None:
        """Hand on a single result of a node whose results need no second look and have room."""
        only = self.rings[0]
        if result.__class__ is Message:
            only.mixed = True
        if self.parked or not only.offer_one(result):
            self.park(self.default, [result])

    def full_for(self, item: Any) -> Ring | None:
        """Return a ring that has no room for ``item`` now, or ``None``."""
        port, value = item if item.__class__ is To else (self.default, item)
        if self.parked:
            waited = self._rings(self.parked[0][0])
            return full_ring(waited, self.parked[0][1]) or waited[0]
        return full_ring(self.ports.get(port, ()), value)

    def try_result(self, item: Any) -> Ring | None:
        """Hand on one result and return ``None``, or return a ring that has no room for it."""
        full = self.full_for(item)
        if full is None:
            self.route([item])
        return full

    def put_from_thread(self, item: Any) -> bool:
        """Leave one result in the inbox, for the engine's thread to hand on; ``False`` if that is full."""
        port, value = item if item.__class__ is To else (self.default, item)
        if self.inbox is None:
            with _making_inbox:  # two threads may be the first
                if self.inbox is None:
                    self.inbox = deque()
        if len(self.inbox) + len(self.parked or ()) >= self.max_parked:
            return False
        self.inbox.append((port, value))
        self.engine.knock(self)
        return True

    def route(self, results: list[Any]) -> None:
        """Hand on results one by one: ``None`` is nothing, `To` names a port, a `Message` keeps its envelope."""
        by_port: dict[str, list[Any]] = {}
        if not self.ports:  # what a sink returns is ignored
            return
        for result in results:
            port, item = result if result.__class__ is To else (self.default, result)
            if item is None and result.__class__ is not To and self.kind != "source":
                continue
            rings = self.ports.get(port)
            if rings is None:
                self.fail("on_message", PortError(self.name, port, self.ports))
            elif isinstance(item, Message) and item.type is CONTROL:
                self.emit_control(port, item)
            elif self.admits(rings, item):
                by_port.setdefault(port, []).append(item)
        for port, items in by_port.items():
            self.deliver(port, items)

    def admits(self, rings: list[Ring], item: Any) -> bool:
        """Check ``item`` against the schema of every ring; a misfit is counted and recorded."""
        value, is_message = (item.payload, True) if isinstance(item, Message) else (item, False)
        if is_message and item.type is not DATA:
            return True
        for ring in rings:
            if ring.check is not None and not ring.check.passes(value):
                ring.refuse("invalid")
                self.fail("on_message", PayloadError(ring.id, type_name(value)))
                return False
        return True

    def deliver(self, port: str, items: list[Any], raw: bool = False) -> None:
        """Put ``items`` on every ring of ``port``, or on none; what has no room is parked.

        Args:
            port: The output.
            items: Raw payloads, or envelopes that are not CONTROL.
            raw: It is known that none is an envelope.
        """
        rings = self.ports[port]
        if not rings:
            self.unrouted += len(items)
            return
        if self.parked:
            self.park(port, items)
            return
        if len(rings) == 1:
            n = self._offer(rings[0], items, raw)
        elif any(ring.limited or ring.kind == CUSTOM for ring in rings):
            n = len(items)
            for i, item in enumerate(items):
                if self.parked or full_ring(rings, item) is not None:
                    n = i
                    break
                self._put_all(rings, [item])
        else:
            n = min((ring.room() for ring in rings if ring.kind == BLOCK), default=NO_LIMIT)
            some = items if n >= len(items) else items[:n]
            n = len(some)
            if n:
                self._put_all(rings, some, raw)
        if n < len(items):
            self.park(port, items[n:])

    def _put_all(self, rings: Sequence[Ring], items: list[Any], raw: bool = False) -> None:
        """Put ``items`` on every ring, where there is room for them.

        Another thread may have been faster since that was found out: then what has no room on one ring any more is parked
        for that ring alone.
        """
        for ring, item in self._late(rings, items, raw):
            self.park(ring, [item])

    def _late(self, rings: Sequence[Ring], items: list[Any], raw: bool = False) -> list[tuple[Ring, Any]]:
        """Put ``items`` on every ring; return what had no room after all."""
        late: list[tuple[Ring, Any]] = []
        for ring in rings:
            n = self._offer(ring, items, raw)
            if n < len(items):
                late += [(ring, item) for item in items[n:]]
        return late

    def _rings(self, where: str | Ring) -> Sequence[Ring]:
        """Return where a parked message goes: all rings of a port, or just one."""
        return self.ports[where] if isinstance(where, str) else (where,)

    def _offer(self, ring: Ring, items: list[Any], raw: bool = False) -> int:
        if raw and ring.kind != CUSTOM:
            return ring.offer(items)
        if not ring.mixed and Message in map(type, items):
            ring.mixed = True
        if len(items) == 1 and items[0].__class__ is Message and items[0].type is CONTROL:
            return int(ring.put(items[0]) is not PutResult.BLOCKED)
        if ring.kind != CUSTOM:
            return ring.offer(items)
        for i, item in enumerate(items):
            try:
                if not ring.offer([item]):
                    return i
            except Exception as error:  # a policy that raised, or answered what can't be done
                self.fail("on_message", error)
                ring.refuse("invalid")
        return len(items)

    def emit_control(self, port: str, message: Message[Any]) -> None:
        """Put a CONTROL message on every ring of ``port``, or park it in front."""
        rings = self.ports[port]
        if not rings:
            self.unrouted += 1
        elif self.parked or any(would_block(ring, message) for ring in rings):
            self.park(port, [message], first=True)
        else:
            self._put_all(rings, [message])

    # ---- parking ---------------------------------------------------------------------------------------------

    def park(self, port: str | Ring, items: list[Any], first: bool = False) -> None:
        """Keep ``items`` with the node until there is room, and run it no more until then."""
        if self.parked is None:
            self.parked = deque()
        if first:  # CONTROL: in front of data, behind CONTROL that waits already
            at = sum(1 for _, item in self.parked if isinstance(item, Message) and item.type is CONTROL)
            for i, item in enumerate(items):
                self.parked.insert(at + i, (port, item))
        else:
            self.parked.extend((port, item) for item in items)
        self.quota = 0
        if self.rest is not None and self.left is None:
            self.left = list(self.rest)  # the batch in hand ends behind the call that had to park something
        if not self.held & PARKED:
            self.held |= PARKED
            self._wait_to_flush()

    def take_over(self, kept: list[tuple[Any, Any]]) -> None:
        """Park what an earlier run left parked; what no longer leads anywhere is unrouted."""
        for where, item in kept:
            if where in self.rings or self.ports.get(where):
                self.park(where, [item])
            else:
                self.unrouted += 1

    def _flush(self) -> Turn:
        if self.flush_turn is None:
            self.flush_turn = self.engine.turn(self.id, NORMAL_BAND)
            self.flush_turn.run = self.unpark
        return self.flush_turn

    def _wait_to_flush(self) -> None:
        turn = self._flush()
        if turn.queued:
            return
        port, item = self.parked[0]  # type: ignore[index]  # called with something parked
        full = full_ring(self._rings(port), item)
        if full is None:
            self.engine.ready(turn)
        else:
            full.wait(turn)

    def unpark(self) -> int:
        """Deliver what is parked, in order, as far as there is room; then let the node run again."""
        while self.inbox:
            came_for, item = self.inbox.popleft()
            self.park(came_for, [item], first=isinstance(item, Message) and item.type is CONTROL)
        parked = self.parked
        n = 0
        while parked:
            port, item = parked[0]
            rings = self._rings(port)
            if full_ring(rings, item) is not None:
                self._wait_to_flush()
                return n
            parked.popleft()
            parked.extendleft(reversed(self._late(rings, [item])))
            n += 1
        self.held &= ~PARKED
        if not self.held & ~PAUSED:
            self.resume()
        return n

    # ---- emit ------------------------------------------------------------------------------------------------

    def make_emit(self) -> Callable[[str, Any], Any]:
        """Make this node's ``emit``: an append to a list in the common case, handed on when the slice ends."""
        boxes: dict[str, Any] = {
            port: [] if rings and all(ring.check is None for ring in rings) else _NEVER
            for port, rings in self.ports.items()
        }
        self.boxes = boxes
        return self.fill(boxes)

    def fill(self, boxes: dict[str, Any]) -> Callable[[str, Any], Any]:
        """Make the ``emit`` that appends to ``boxes``."""
        owner = self.engine.owner

        def emit(port: str, msg: Any) -> Any:
            try:
                box = boxes[port]
                if msg.type is DATA and len(box) < self.quota and get_ident() == owner:
                    box.append(msg)
                    return msg
            except (KeyError, AttributeError):  # no such port, or no message: said in full there
                pass
            return self.emit_now(port, msg)

        return emit

    def make_put(self) -> Callable[[Any], None]:
        """Make the ``emit`` that a function asked for: an append to a list, which is handed on when the slice ends."""
        self.out = []
        return self.out.append

    def flush(self) -> None:
        """End of a slice: hand on what was emitted in it."""
        self.quota = 0
        out = self.out
        if out:
            self.hand_on(_emptied(out))
        for port, box in (self.boxes or {}).items():
            if box and box is not _NEVER:
                self.deliver(port, _emptied(box))

    def checked(self, port: str, message: Any) -> list[Ring]:
        """Return the rings of ``port`` after checking that ``message`` may go there.

        Raises:
            ValueError, TypeError: not a `Message`, or its payload doesn't fit an edge's schema.
            KeyError: no such output.
        """
        if not isinstance(message, Message) or not isinstance(message.type, MessageType):
            raise no_message(self.name, port, message)
        rings = self.ports.get(port)
        if rings is None:
            if not self.engine.declares(self.id, port):
                raise PortError(self.name, port, self.ports)
            rings = self.ports[port] = []  # declared since the run began: nothing is connected to it yet
        if message.type is DATA:
            for ring in rings:
                if ring.check is not None and not ring.check.passes(message.payload):
                    self.engine.on_invalid(ring.id)
                    raise PayloadError(ring.id, type_name(message.payload))
        return rings

    def emit_now(self, port: str, message: Any) -> Any:
        """Emit outside a slice, or where the common case doesn't hold; never loses the message.

        Raises:
            BackpressureError: no room, and ``max_parked`` messages are parked already; it was not accepted.
        """
        rings = self.checked(port, message)
        if self.engine.owner != get_ident():
            return self._emit_from_thread(port, message, rings)
        self._flush_box(port)
        if not rings:
            self.unrouted += 1
        elif not self.parked and full_ring(rings, message) is None:
            self._put_all(rings, [message])
        else:
            if len(self.parked or ()) >= self.max_parked:
                full = full_ring(rings, message) or rings[0]
                raise BackpressureError(full.id, full.capacity, self.name, port, message)
            self.park(port, [message], first=message.type is CONTROL)
        self.engine.arm_if_idle()
        return message

    def _flush_box(self, port: str) -> None:
        box = self.boxes.get(port) if self.boxes else None
        if box and box is not _NEVER:
            self.deliver(port, _emptied(box))

    def _emit_from_thread(self, port: str, message: Any, rings: list[Ring]) -> Any:
        if not rings:
            self.unrouted += 1
            return message
        if self.inbox is None:
            with _making_inbox:  # two threads may be the first
                if self.inbox is None:
                    self.inbox = deque()
        if len(self.inbox) + len(self.parked or ()) >= self.max_parked:
            raise BackpressureError(rings[0].id, rings[0].capacity, self.name, port, message)
        self.inbox.append((port, message))
        self.engine.knock(self)
        return message

    def blocked_by(self, port: str, message: Any) -> Ring | None:
        """Put ``message`` on all rings of ``port`` and return ``None``, or return a ring that has no room for it."""
        rings = self.checked(port, message)
        self._flush_box(port)
        if self.parked:
            waited = self._rings(self.parked[0][0])
            return full_ring(waited, self.parked[0][1]) or waited[0]
        full = full_ring(rings, message)
        if full is not None:
            return full
        self._put_all(rings, [message])
        if not rings:
            self.unrouted += 1
        self.engine.arm_if_idle()
        return None

    # ---- handlers --------------------------------------------------------------------------------------------

    def break_off(self, ring: Ring, k: int, rest: Iterable[Any], out: list[Any]) -> None:
        """End a batch that was left by what is no failure, but the end of the run: a KeyboardInterrupt, say.

        What the handler hasn't seen goes back to its edge, and what it made of the messages before is handed on; so the counts
        are what happened. The message in hand counts as delivered.

        Args:
            ring: The edge that the batch came from.
            k: How many were taken with room to come back, 0 if they were taken for good.
            rest: What of them is left.
            out: What was made of the others.
        """
        scope = self.engine.scope
        scope.handling = scope.node = scope.port = self.rest = None
        left, self.left = self.left or list(rest), None
        ring.settle(k, left)
        self.route(out)
        self.flush()

    def fail(
        self, phase: str, error: BaseException, item: Any = None, port: str = "", out: list[Any] | None = None
    ) -> None:
        """Record a failure of this node's code; a refused emit is not one, its message is kept and goes first.

        Args:
            phase: The hook.
            error: What it raised.
            item: What it was handling.
            port: Where that came in.
            out: Results of the batch in hand: the ERROR message that the error policy may ask for goes to its place there.
        """
        if isinstance(error, BackpressureError):
            for (
                node
            ) in self.engine.nodes.values():  # usually this one; a handler may have emitted for another
                if node.name == error.node:
                    node.park(error.port, [error.message], first=error.message.type is CONTROL)
                    return
        self.errors += 1
        made = self.engine.on_error(self.id, phase, error, item, port)
        if made is None:
            return
        if out is not None:
            out.append(made)
        elif self.out is not None:
            self.out.append(made)
        else:
            where, message = made
            self._flush_box(where)
            self.deliver(where, [message])

    def handle_control(self, message: Message[Any], port: str) -> None:
        """Handle one CONTROL message; functions that take payloads pass it on."""
        scope = self.engine.scope
        scope.handling, scope.node, scope.port = message, self.name, port
        try:
            if self.kind == "call":
                self.fn(port, message)
            elif self.kind == "emit" and self.wants_message:
                self.fn(message, self.put)
            elif self.kind == "drive":
                out: list[Any] = []
                self.fn(iter((message,)), out, port)
                self.route(out)
                out.clear()
            elif self.wants_message:
                result = self.fn(message)
                self.route(list(result) if self.kind == "stream" else [result])
            else:
                for out_port in self.ports:
                    self.emit_control(out_port, message)
        except self.engine.failures as error:
            self.fail("on_message", error, message, port)
        finally:
            scope.handling = scope.node = scope.port = None

    def begin_stream(self, item: Any, ring: Ring) -> None:
        """Start the generator for one message."""
        if isinstance(item, Message):
            self.enveloped = True
            if item.type is not DATA and not self.wants_message:
                self.stream = iter((item,))  # passed on, in its place
                return
            self.stream_of = item
            item = item if self.wants_message else item.payload
        elif self.wants_message:
            item = self.stream_of = Message(DATA, item)
        self.engine.scope.handling = self.stream_of
        try:
            self.stream = iter(self.fn(item))
        except self.engine.failures as error:
            self.fail("on_message", error, item, ring.port)

    def advance_stream(self, n: int, port: str, out: list[Any]) -> bool:
        """Append results of the generator to ``out`` until it has ``n`` of them; return whether there may be more."""
        stream = self.stream
        if stream is None:
            return False
        try:
            for result in stream:
                parent = None if result is None else self.stream_of  # None is no result
                out.append(result if parent is None else inherit(parent, result))
                if len(out) >= n:
                    return True
        except self.engine.failures as error:
            self.fail("on_message", error, self.stream_of, port, out)
        return False


def _emptied(box: list[Any]) -> list[Any]:
    """Take what is in ``box``; what another thread appends meanwhile stays for the next time."""
    items = box[:]
    del box[: len(items)]
    return items


def no_control(items: list[Any]) -> bool:
    """Say whether none is a CONTROL envelope."""
    for item in items:  # noqa: SIM110 - all() of a generator takes twice as long
        if item.__class__ is Message and item.type is CONTROL:
            return False
    return True


def full_ring(rings: Sequence[Ring], item: Any) -> Ring | None:
    """Return a ring that would refuse ``item`` now and take it later, if it goes to all of ``rings``; or ``None``."""
    for ring in rings:
        if would_block(ring, item):
            return ring
    return short_of_bytes(rings, item) if len(rings) > 1 else None


def would_block(ring: Ring, item: Any) -> bool:
    """Say whether ``ring`` would refuse ``item`` now and take it later."""
    if isinstance(item, Message) and item.type is CONTROL:
        return ring.depth() >= ring.capacity
    if ring.kind == BLOCK:
        return not ring.fits(item)
    if ring.kind == CUSTOM:
        size = ring.depth()
        shown = size if ring.fits(item) else max(size, ring.capacity)  # as a put would show it
        try:
            return ring.policy.on_enqueue(ring.capacity, shown, item) is PutResult.BLOCKED
        except Exception:  # recorded when the item is put
            return False
    return False
