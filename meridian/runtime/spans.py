"""Spans of a run: one for each message that a node handles, as far as its trace is kept.

Whether a trace is kept is decided where it begins: at a source, at an `Inlet`, at what a node emits while it handles
nothing. Its first message then carries the header ``traceparent``, and so does everything that comes of it, each with the
span that it comes from. A message without that header is left out, and one look at it is what that costs. Items that no
trace is kept of travel bare, as they do while tracing is off: where a source yields nothing else, how many are left out before the
next one that is kept is drawn at once, and plain functions are called for bare items as if tracing were off.

Handlers are wrapped here, for each way of writing them. All that the engines know of it is that a function may have another
one for envelopes.
"""

from __future__ import annotations

from contextvars import ContextVar
from itertools import chain, islice
from math import log, log1p
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from meridian.core.message import (
    Message,
    begin_family,
    current_scope,
    derive,
    header,
    is_first,
    new_trace_id,
    with_header,
)
from meridian.engine.step import To
from meridian.observability import traceparent
from meridian.observability.traceparent import HEADER, MERGED
from meridian.observability.tracing import (
    PLACES,
    InMemoryTracer,
    Span,
    Within,
    get_span,
    get_tracer,
    place_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from meridian.engine.node import NodeState
    from meridian.runtime.run import Run


class _Hop(NamedTuple):
    """The handling of one message whose trace is kept."""

    message: Message[Any]
    span: Span


_hop: ContextVar[_Hop | None] = ContextVar("meridian_hop", default=None)


class _Failed(NamedTuple):
    """The last handling that failed: by which error, and the ``traceparent`` of what comes from its span."""

    error: Exception
    traceparent: str


_failed: ContextVar[_Failed | None] = ContextVar("meridian_failed_hop", default=None)


class _Handling:
    """A block in which a message is handled; a generator comes back to it for each result."""

    __slots__ = ("_hop", "_token", "_within")

    def __init__(self, hop: _Hop) -> None:
        self._hop = hop
        self._within = Within(hop.span)

    def __enter__(self) -> None:
        self._token = _hop.set(self._hop)
        self._within.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._within.__exit__(kind, error, traceback)
        _hop.reset(self._token)
        if isinstance(error, Exception):
            _failed.set(_Failed(error, self._hop.span.traceparent))


class Spans:
    """Makes the spans of one run.

    Args:
        run: The run.

    Attributes:
        tracer: Who makes them.
        of_slices: Slices of the scheduler have spans of their own.
    """

    def __init__(self, run: Run) -> None:
        self.tracer = get_tracer()
        self.of_slices = isinstance(self.tracer, InMemoryTracer)
        self._run = run
        # The run's own randomness where it has one, so that a simulation keeps the same traces each time.
        self._random = run.random or Random()
        self._limit = self.tracer.limit()
        self._all = self._limit >= PLACES

    # ---- where traces begin ----------------------------------------------------------------------------------

    def entering(self, state: NodeState, *, joins: bool = False) -> Callable[[Any], Any]:
        """Return what is to be done to each item that a source sends: it goes into an envelope if its trace is kept.

        Args:
            state: The source.
            joins: Whoever sends may be within a span, and what he sends belongs to that one's trace.
        """

        def enter(item: Any) -> Any:
            if item.__class__ is To:
                port, value = item
                return To(port, enter(value))
            if joins and (around := self.tracer.around()) is not None:
                trace_id, came_from = around
                if not came_from:  # it is left out
                    return item
                if not isinstance(item, Message):
                    return begin_family(item, None, trace_id, {HEADER: came_from})
                return item if header(item, HEADER) else with_header(item, HEADER, came_from)
            if isinstance(item, Message):
                return self._first(state, item)
            return self._enveloped(state, item) or item

        return enter

    def entered(self, state: NodeState, items: Iterator[Any]) -> Iterator[Any]:
        """Return what a plain source yields, in envelopes as far as their traces are kept."""
        if not self._limit:
            return items  # nothing begins here, and what comes with a trace of its own goes on with it
        state.enveloped = True
        if state.trusted and not self._all:
            return chain.from_iterable(self._runs(state, items))
        state.trusted = False  # what goes on with a trace, and what names its port, is looked at one by one
        return map(self.entering(state), items)

    def _runs(self, state: NodeState, items: Iterator[Any]) -> Iterator[Iterable[Any]]:
        """Yield ``items``, which are bare: in turns some that are left out, and one that is kept.

        Each is kept with the same probability whatever became of those before it, so how many are left out in a row is
        geometrically distributed.
        """
        log_left_out = log1p(-self._limit / PLACES)
        while True:
            yield islice(items, int(log(1.0 - self._random.random()) / log_left_out))
            item = next(items, _END)
            if item is _END:
                return
            yield (self._kept(state, item, self._random.randrange(self._limit)) or item,)

    def _enveloped(self, state: NodeState, item: Any) -> Message[Any] | None:
        """Begin a trace with a bare item, unless it is left out."""
        # What decides is drawn first, and the rest of the id only where it is kept.
        place = self._random.getrandbits(56)
        return self._kept(state, item, place) if place < self._limit else None

    def _kept(self, state: NodeState, item: Any, place: int) -> Message[Any] | None:
        """Begin a trace that is kept by its place with a bare item, unless the tracer leaves it out."""
        digits = f"{self._random.getrandbits(72):018x}{place:014x}"
        trace_id = traceparent.as_uuid(
            f"{digits[:12]}4{digits[13:16]}{'89ab'[int(digits[16], 16) & 3]}{digits[17:]}"
        )
        begun = self._begin(state, trace_id)
        return begin_family(item, None, trace_id, {HEADER: begun}) if begun else None

    def _first(self, state: NodeState, message: Message[Any]) -> Message[Any]:
        """Begin a trace with a message that somebody made, unless it goes on with one, or is left out."""
        if header(message, HEADER) is not None:
            return message
        trace_id = message.get_trace_id() or new_trace_id()
        begun = self._begin(state, trace_id) if place_of(trace_id) < self._limit else ""
        return with_header(message, HEADER, begun) if begun else message

    def _begin(self, state: NodeState, trace_id: str) -> str:
        return self.tracer.begin_trace(trace_id, "node.produce", {"node": state.name})

    # ---- where messages are handled --------------------------------------------------------------------------

    def _arrived(self, state: NodeState, port: str, message: Message[Any] | None, item: Any) -> _Hop | None:
        """Begin the span of a message that ``state`` handles now; ``None`` if its trace is left out.

        Args:
            state: The node.
            port: Its input.
            message: The message, or ``None`` for a bare item.
            item: That item.
        """
        came_from = None if message is None else header(message, HEADER)
        if came_from is None:
            if not self._all:
                return None
            # Put on its edge by hand, or sent before tracing was on: nobody else will begin its trace.
            message = self._enveloped(state, item) if message is None else self._first(state, message)
            came_from = None if message is None else header(message, HEADER)
        parent = traceparent.read(came_from)
        if parent is None or message is None:
            return None
        trace_id = message.get_trace_id()
        span = self.tracer.continue_trace(
            trace_id,
            parent,
            header(message, MERGED) or (),
            "node.on_message",
            {"node": state.name, "port": port},
        )
        return _Hop(message, span)

    def handler(
        self, state: NodeState, handle: Callable[[str, Any], Any], is_async: bool
    ) -> Callable[[str, Any], Any]:
        """Return what is to be called for each message of a node written as a class."""
        if is_async:

            async def awaited(hop: _Hop, port: str, message: Message[Any]) -> None:
                try:
                    with _Handling(hop):
                        await handle(port, message)
                finally:
                    hop.span.finish()

            def begun(port: str, message: Message[Any]) -> Any:
                hop = self._arrived(state, port, message, None)
                return handle(port, message) if hop is None else awaited(hop, port, message)

            return begun

        def called(port: str, message: Message[Any]) -> None:
            hop = self._arrived(state, port, message, None)
            if hop is None:
                handle(port, message)
                return
            try:
                with _Handling(hop):
                    handle(port, message)
            finally:
                hop.span.finish()

        return called

    def leaves_bare_alone(self, state: NodeState) -> bool:
        """Return whether that function need not be wrapped for bare items: a trace that is kept comes in an envelope."""
        return state.kind in ("map", "emit") and not (self._all or state.wants_message)

    def function(self, state: NodeState, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is to be called for each item of a function node."""
        if self._all:
            state.trusted = False  # envelopes are not what the annotation says
        if state.kind == "emit":
            return self._emitting(state, fn)
        node: Any = self._run.plan.nodes[state.id].node
        if state.kind == "drive":
            return self._begun(state, fn, self._streamed_async if node.function.is_stream else self._awaited)
        return self._begun(state, fn, self._streamed if state.kind == "stream" else self._called)

    def _begun(
        self, state: NodeState, fn: Callable[[Any], Any], traced: Callable[..., Any]
    ) -> Callable[[Any], Any]:
        """Return what calls ``fn`` as it is for a message that is left out, or through ``traced``."""
        own = self._run.scope
        is_async = state.kind == "drive"
        all_of_them = self._all

        def called(item: Any) -> Any:
            scope = current_scope.get() if is_async else own
            message = None if scope is None else scope.handling
            if message is None and not all_of_them:
                return fn(item)
            hop = self._arrived(state, "input", message, item)
            return fn(item) if hop is None else traced(state, fn, item, hop)

        return called

    def _called(self, state: NodeState, fn: Callable[[Any], Any], item: Any, hop: _Hop) -> Any:
        try:
            with _Handling(hop):
                result = fn(item)
        finally:
            hop.span.finish()
        return self._result(state, hop, result)

    async def _awaited(self, state: NodeState, fn: Callable[[Any], Any], item: Any, hop: _Hop) -> Any:
        try:
            with _Handling(hop):
                result = await fn(item)
        finally:
            hop.span.finish()
        return self._result(state, hop, result)

    def _streamed(self, state: NodeState, fn: Callable[[Any], Any], item: Any, hop: _Hop) -> Iterator[Any]:
        results: Any = None
        try:
            with _Handling(hop):
                results = iter(fn(item))
            while True:
                with _Handling(hop):
                    result = next(results, _END)
                if result is _END:
                    return
                yield self._result(state, hop, result)
        finally:
            if hasattr(results, "close"):
                results.close()
            hop.span.finish()

    async def _streamed_async(
        self, state: NodeState, fn: Callable[[Any], Any], item: Any, hop: _Hop
    ) -> AsyncIterator[Any]:
        results: Any = None
        try:
            with _Handling(hop):
                results = aiter(fn(item))
            while True:
                with _Handling(hop):
                    result = await anext(results, _END)
                if result is _END:
                    return
                yield self._result(state, hop, result)
        finally:
            if hasattr(results, "aclose"):
                await results.aclose()
            hop.span.finish()

    def _emitting(self, state: NodeState, fn: Callable[..., Any]) -> Callable[..., Any]:
        scope, all_of_them = self._run.scope, self._all

        def called(item: Any, put: Callable[[Any], None]) -> None:
            if scope.handling is None and not all_of_them:
                fn(item, put)
                return
            hop = self._arrived(state, "input", scope.handling, item)
            if hop is None:
                fn(item, put)
                return
            try:
                with _Handling(hop):
                    fn(item, lambda result: put(self._result(state, hop, result)))
            finally:
                hop.span.finish()

        return called

    # ---- where messages leave --------------------------------------------------------------------------------

    def _result(self, state: NodeState, hop: _Hop, result: Any) -> Any:
        """Let a result of a function say which span it comes from."""
        if result is None:
            return None
        if result.__class__ is To:
            port, value = result
            return To(port, self._result(state, hop, value))
        if isinstance(result, Message):
            return self._leave(state, result, hop)
        came_from = hop.span.traceparent
        made = derive(hop.message, result)
        return with_header(made, HEADER, came_from) if came_from else made

    def leaving(self, state: NodeState) -> Callable[[Any], Any]:
        """Return what is to be done to each message that a node emits or sends."""

        def leave(message: Any) -> Any:
            return self._leave(state, message, _hop.get()) if isinstance(message, Message) else message

        return leave

    def failed_in(self, error: BaseException) -> str:
        """Return the ``traceparent`` of what comes from the span that ``error`` left; empty if it left none that is kept.

        By the error, as an item may be bare. It is asked for once, as it holds on to what its handler had in hand.
        """
        failed = _failed.get()
        if failed is None:
            return ""
        _failed.set(None)
        return failed.traceparent if failed.error is error else ""

    def _leave(self, state: NodeState, message: Message[Any], hop: _Hop | None = None) -> Message[Any]:
        if hop is None:
            scope = current_scope.get()
            handles = scope is not None and scope.handling is not None
            # What comes of a message that is left out is left out, too.
            return message if handles or not is_first(message) else self._first(state, message)
        span = get_span()
        if span is None or span.trace_id != hop.span.trace_id:
            span = hop.span
        came_from, before = span.traceparent, header(message, HEADER)
        if before == came_from or not came_from:
            return message
        if before is not None and before != header(hop.message, HEADER):
            span.add_link(before)  # it was kept since an earlier call, and goes on only now
        return with_header(message, HEADER, came_from)


_END = object()
