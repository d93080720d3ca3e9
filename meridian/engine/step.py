"""Steps: what one slice of each kind of turn does.

A step is compiled on first use into a closure over exactly what its inner loop touches. All kinds share one shape: see
how much room there is downstream (credit), take at most that many messages, run the handler over them with one
``try`` around the whole batch, and hand the results on. A handler that raises costs nothing until it does; the loop then
goes on with the message after the one that failed.

Kinds of node, by how results leave the handler:

* ``map``: the function returns one result (the fast path), several to one port, or `To` another port; a function of a node without outputs is a sink.
* ``stream``: a generator function; it is paused where the output is full and goes on from there.
* ``call``: v1 style, ``handler(port, message)``, results leave through the node's ``emit``; ``emit``: a function that
  takes an ``emit`` of its own, for payloads.
* ``drive``: asynchronous; the runtime runs the batch, and says whether it finished or will do so later.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from meridian.core.message import CONTROL, DATA, Message, derive, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meridian.engine.kernel import PythonEngine
    from meridian.engine.node import NodeState
    from meridian.engine.ready import Turn
    from meridian.engine.ring import Ring

PARKED, BUSY, PAUSED = 1, 2, 8
"""Why a node is held: it has parked messages; its asynchronous work is not done."""


class To(tuple[str, Any]):
    """A result for a named output: ``return To("rejected", line)``."""

    __slots__ = ()

    def __new__(cls, port: str, value: Any) -> To:
        return super().__new__(cls, (port, value))

    def __repr__(self) -> str:
        return f"To({self[0]!r})"


def compile_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
    """Make the step that serves ``ring`` to ``node``."""
    if node.kind == "map":
        return _map_step(engine, node, ring, turn)
    if node.kind in ("call", "emit"):
        return _call_step(engine, node, ring, turn)
    if node.kind == "stream":
        return _stream_step(engine, node, ring, turn)
    return _drive_step(engine, node, ring, turn)


def compile_control_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
    """Make the step that serves the control lane of ``ring``: one message a slice, to be quick about it."""

    def step() -> int:
        held = node.held & ~PAUSED  # a node that takes no more data still obeys
        if held or not ring.control:
            return node.put_off(turn) if held else 0
        if node.kind == "drive" and node.free == 0:
            return node.put_off(turn)
        for message in ring.take_control(1):  # none, if another thread took it meanwhile
            node.handle_control(message, ring.port)
        if ring.control and not turn.queued:
            engine.ready(turn)
        return 1

    return step


def _map_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
    if not node.ports:
        return _sink_step(engine, node, ring, turn)
    target = node.only_ring()
    general = _general_step(engine, node, ring, turn)
    if target is None or target is ring or not node.trusted or node.wants_message or ring.limited:
        return general
    fn, failures, scope, name = node.fn, engine.failures, engine.scope, node.name
    take, offer = ring.take, target.offer
    items, target_items = ring.items, target.items
    popleft = items.popleft

    def step() -> int:
        if node.held:
            return node.put_off(turn)
        k = turn.batch
        room = target.space - len(target_items)
        if room < k:
            if room <= 0:
                target.wait(turn)
                return 0
            k = room
        if k == 1 or len(items) == 1:  # sparse traffic: no lists
            ring.busy = True
            if ring.foreign:
                ring.let_foreign_finish()
            # Asked here, where no other thread can put or get.
            if not items or (ring.mixed and items[0].__class__ is Message):
                ring.busy = False
                return general()
            x = popleft()
            ring.taken += 1
            ring.busy = False
            if ring.waiters and len(items) <= ring.low:
                ring.release(True)
            scope.node = name
            try:
                y = fn(x)
            except failures as error:
                scope.node = None
                node.fail("on_message", error, x, ring.port)
            else:
                scope.node = None
                target.busy = True
                if target.foreign:
                    target.let_foreign_finish()
                have = len(target_items)
                if have >= target.space:
                    target.busy = False
                    node.park(node.default, [y])
                else:
                    target_items.append(y)
                    target.busy = False
                    if not have:
                        following = target.turn
                        if following is None:
                            engine.wake(target, True)
                        elif not following.queued:
                            following.queued = True
                            following.line.append(following)
            if items and not turn.queued:
                turn.queued = True
                turn.line.append(turn)
            return 1
        xs = take(k)
        if ring.mixed and Message in map(type, xs):
            return general(xs)
        out: list[Any] = []
        rest = iter(xs)
        failed = 0
        scope.node = name
        while True:
            try:
                out.extend(map(fn, rest))  # results before an exception stay in `out`
                break
            except failures as error:
                node.fail("on_message", error, xs[len(out) + failed], ring.port)
                failed += 1
            except BaseException:
                node.break_off(ring, 0, rest, out)
                raise
        scope.node = None
        n = offer(out)
        if n < len(out):
            node.park(node.default, out[n:])
        if items and not turn.queued:
            turn.queued = True
            turn.line.append(turn)
        return len(xs)

    return step


def _sink_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
    fn, items, take, failures = node.fn, ring.items, ring.take, engine.failures
    of_envelope = node.fn_of_envelope or fn
    wants_message = node.wants_message
    scope, name = engine.scope, node.name
    limited, popleft = ring.limited, ring.items.popleft

    def step() -> int:
        if node.held:
            return node.put_off(turn)
        if len(items) == 1 and not (wants_message or limited):  # sparse traffic: no lists
            ring.busy = True
            if ring.foreign:
                ring.let_foreign_finish()
            # Asked again here, where no other thread can put or get.
            if items and not (ring.mixed and items[0].__class__ is Message):
                x = popleft()
                ring.taken += 1
                ring.busy = False
                if ring.waiters:
                    ring.release(True)
                scope.node = name
                try:
                    fn(x)
                except failures as error:
                    node.fail("on_message", error, x, ring.port)
                scope.node = None
                if items and not turn.queued:
                    turn.queued = True
                    turn.line.append(turn)
                return 1
            ring.busy = False
        xs = take(turn.batch)
        rest = iter(xs)
        x = None
        scope.node = name
        while True:
            try:
                if wants_message:
                    for x in rest:
                        if x.__class__ is not Message:
                            x = wrap(x, scope.now)
                        scope.handling = x
                        fn(x)
                elif not (ring.mixed and Message in map(type, xs)):
                    for x in rest:
                        fn(x)
                else:
                    for x in rest:
                        if x.__class__ is not Message:
                            scope.handling = None
                            fn(x)
                        elif x.type is DATA:
                            scope.handling = x
                            of_envelope(x.payload)
                break
            except failures as error:
                node.fail("on_message", error, x, ring.port)
            except BaseException:
                node.break_off(ring, 0, rest, [])
                raise
        scope.handling = scope.node = None
        if items and not turn.queued:
            turn.queued = True
            turn.line.append(turn)
        return len(xs)

    return step


def _general_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[..., int]:
    """Any return-style function: results are looked at, one class test each."""
    fn, items, failures = node.fn, ring.items, engine.failures
    of_envelope = node.fn_of_envelope or fn
    take = ring.take
    wants_message, untyped = node.wants_message, node.untyped
    looks_at_payloads = not (untyped or node.trusted)
    only = node.only_ring()
    scope, name = engine.scope, node.name
    is_plain = node.is_plain

    def step(xs: list[Any] | None = None) -> int:
        if xs is None:
            if node.held:
                return node.put_off(turn)
            credit = node.credit(turn)
            if not credit:
                return 0
            xs = take(min(turn.batch, credit))
        out: list[Any] = []
        append = out.append
        plain: type | None = None  # the class of the last result that needed no second look
        special = False
        mixed = wants_message or (ring.mixed and Message in map(type, xs))
        now = scope.now
        rest = iter(xs)
        x = None
        scope.node = name
        while True:
            try:
                if wants_message:
                    for x in rest:
                        if x.__class__ is not Message:
                            x = wrap(x, now)
                        scope.handling = x
                        y = fn(x)
                        if untyped and (y is x or (y.__class__ is Message and y.type is not CONTROL)):
                            append(y)
                        elif y is not None:
                            append(inherit(x, y))
                            special = True
                elif mixed:
                    for x in rest:
                        if x.__class__ is not Message:
                            scope.handling = None
                            y = fn(x)
                            if y.__class__ is not plain:
                                if is_plain(y):
                                    plain = y.__class__
                                else:
                                    special = True
                        elif x.type is DATA:
                            scope.handling = x
                            y = of_envelope(x.payload)
                            if y is not None:
                                y = inherit(x, y)
                                special = (
                                    special
                                    or looks_at_payloads
                                    or y.__class__ is not Message
                                    or y.type is CONTROL
                                )
                        else:
                            y = x
                            special = True
                        if y is not None:
                            append(y)
                else:
                    for x in rest:
                        y = fn(x)
                        if y.__class__ is not plain:
                            if is_plain(y):
                                plain = y.__class__
                            else:
                                special = True
                        append(y)
                break
            except failures as error:
                node.fail("on_message", error, x, ring.port, out)
                special = True
            except BaseException:
                node.break_off(ring, 0, rest, out)
                raise
        scope.handling = scope.node = None
        if special:
            node.route(out)
        elif only is None:
            node.deliver(node.default, out, not mixed)
        else:
            if mixed:
                only.mixed = True
            n = only.offer(out)
            if n < len(out):
                node.park(node.default, out[n:])
        if items and not turn.queued:
            turn.queued = True
            turn.line.append(turn)
        return len(xs)

    return step


def inherit(parent: Message[Any], result: Any) -> Any:
    """Give a function's result the trace of the message it came from."""
    if result.__class__ is To:
        port, value = result
        return To(port, value if isinstance(value, Message) else derive(parent, value))
    return result if isinstance(result, Message) else derive(parent, result)


def _call_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
    """Results leave through ``emit``: the batch ends behind the call that had to park something."""
    handle, items, port, failures = node.fn, ring.items, ring.port, engine.failures
    of_envelope = node.fn_of_envelope or handle
    take, settle = ring.take, ring.settle
    scope, has_outputs = engine.scope, bool(node.rings) or node.put is not None
    takes_payload, put = node.kind == "emit" and not node.wants_message, node.put
    out: list[Any] = [] if node.out is None else node.out

    def step() -> int:
        if node.held or (node.paused and port in node.paused):
            return node.put_off(turn)
        credit = 1
        if has_outputs:
            credit = node.credit(turn)
            if not credit:
                return 0
            node.quota = credit
            xs = take(min(turn.batch, credit), True)
        else:
            xs = take(turn.batch)
        k = len(xs)
        if ring.mixed:
            node.enveloped = True
        now = scope.now
        kind = DATA if turn.band else CONTROL  # what a raw item becomes, as in v1
        scope.node, scope.port = node.name, port
        node.rest = rest = iter(xs)
        x = None
        while True:
            try:
                if put is None:
                    for x in rest:
                        if x.__class__ is not Message:
                            x = wrap(x, now, kind)
                        scope.handling = x
                        handle(port, x)
                elif takes_payload and not ring.mixed:
                    for x in rest:
                        handle(x, put)
                        if len(out) >= credit:
                            break
                else:
                    for x in rest:
                        if x.__class__ is not Message:
                            if takes_payload:
                                scope.handling = None
                                handle(x, put)
                                continue
                            x = wrap(x, now, kind)
                        elif takes_payload and x.type is not DATA:
                            put(x)
                            continue
                        scope.handling = x
                        had = len(out)
                        of_envelope(x.payload if takes_payload else x, put)
                        out[had:] = [inherit(x, y) for y in out[had:] if y is not None]
                        if len(out) >= credit:
                            break
                break
            except failures as error:
                node.fail("on_message", error, x, port)
            except BaseException:
                node.break_off(ring, k if has_outputs else 0, rest, [])
                raise
        scope.handling = scope.node = scope.port = None
        node.rest = None
        if has_outputs:
            left, node.left = node.left or list(rest), None
            settle(k, left)
            node.flush()
            k -= len(left)
        if items and not turn.queued:
            if node.held:
                node.put_off(turn)
            else:
                turn.queued = True
                turn.line.append(turn)
        return k

    return step


def _stream_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
    """A generator function: one message a slice, as many results as there is room; paused where there is none."""
    items, scope = ring.items, engine.scope

    def step() -> int:
        if node.held:
            return node.put_off(turn)
        credit = node.credit(turn)
        if not credit:
            return 0
        k = min(turn.batch, credit)
        handled = 0
        scope.node = node.name
        out: list[Any] = []
        try:
            while len(out) < k:
                if node.stream is None:
                    if not items or handled >= k:
                        break
                    x = ring.take(1)
                    if not x:
                        break
                    handled += 1
                    node.begin_stream(x[0], ring)
                scope.handling = node.stream_of
                if not node.advance_stream(k, ring.port, out):
                    node.stream = node.stream_of = None
        except BaseException:
            node.stream = node.stream_of = None
            node.break_off(ring, 0, (), out)
            raise
        scope.handling = scope.node = None
        if out:
            node.hand_on(out)
        if (node.stream is not None or items) and not turn.queued:
            if node.held:
                node.put_off(turn)
            else:
                engine.ready(turn)
        return max(handled, len(out))

    return step


def _drive_step(engine: PythonEngine, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
    """Asynchronous: the runtime drives the batch; what it could not start yet comes back to the ring."""
    items, port, scope = ring.items, ring.port, engine.scope
    drive = node.fn

    def step() -> int:
        if node.held or node.free == 0 or (node.paused and port in node.paused):
            return node.put_off(turn)
        credit = node.credit(turn)
        if not credit:
            return 0
        # Room is asked for once, not for each result: what finds none is parked, and no more of it than places free.
        xs = ring.take(min(turn.batch, node.free, credit), True)
        k = len(xs)
        if ring.mixed:
            node.enveloped = True
        if node.wants_message:
            kind = DATA if turn.band else CONTROL
            xs = [x if x.__class__ is Message else wrap(x, scope.now, kind) for x in xs]
        out: list[Any] = []
        rest: Iterator[Any] = iter(xs)
        try:
            drive(rest, out, port)
        except BaseException:
            node.break_off(ring, k, rest, out)
            raise
        left = list(rest)
        ring.settle(k, left)
        if out:
            node.hand_on(out)
            out.clear()
        if left:
            turn.batch = 1
        if items and not turn.queued:
            if node.held or node.free == 0:
                node.put_off(turn)
            else:
                engine.ready(turn)
        return k - len(left)

    return step


def compile_source(
    engine: PythonEngine, node: NodeState, items: Iterator[Any], turn: Turn
) -> Callable[[], int]:
    """Make the step of a plain source: pull as many items as there is room."""
    only = node.only_ring()
    raw = node.trusted and not node.enveloped and only is not None
    failures, scope = engine.failures, engine.scope

    def step() -> int:
        if node.closed:
            return 0
        if node.held:
            return node.put_off(turn)
        credit = node.credit(turn)
        if not credit:
            return 0
        k = min(turn.batch, credit)
        out: list[Any] = []
        failed: BaseException | None = None
        scope.node = node.name
        try:
            out.extend(islice(items, k))  # what was produced before an exception stays in `out`
        except failures as error:
            failed = error
        except BaseException:
            scope.node = None
            node.hand_on(out)
            node.produced += len(out)
            raise
        scope.node = None
        produced = len(out)
        if raw:
            n = only.offer(out)  # type: ignore[union-attr]  # raw implies that there is one
            if n < produced:
                node.park(node.default, out[n:])
        elif out:
            node.hand_on(out)
        node.produced += produced
        if failed is not None:
            node.fail("on_message", failed)
        if produced < k:
            node.closed = True
        if node.closed:
            engine.finished(node)
        elif node.held:
            node.put_off(turn)
        elif only is not None and only.space <= len(only.items):
            only.wait(turn)
        else:
            turn.queued = True
            turn.line.append(turn)
        return produced

    return step
