"""Function nodes: a decorated function becomes a node whose typed ports come from its annotations.

::

    @node
    def double(x: int) -> int:
        return 2 * x


    graph("demo", source(range(10)) >> double >> sink(print))

A decorated function can still be called, so it is tested like any other. In a graph it gets payloads and returns
payloads; annotate the parameter as `Message` to get envelopes, and return one to set headers or to send CONTROL.

What a function is decides how it runs:

* plain: what it returns is sent on; ``None`` sends nothing;
* generator: everything it yields is sent on; it is paused where there is no room;
* one that takes a second parameter, ``emit``: it calls ``emit(value)`` as often as it likes;
* ``async def``: may await; other nodes go on. ``concurrency=8`` lets it work on eight messages at a time;
* asynchronous generator: both.

An annotated result (``-> int``) is taken at its word: a type checker verifies it, `Subgraph.validate` holds it against
the port it flows into, and nothing is checked per message. Results of functions without annotation are looked at one by
one where the target is typed.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from types import NoneType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from meridian.core.errors import ClosedError
from meridian.core.message import Message
from meridian.core.node import Node
from meridian.core.policies import ErrorPolicy
from meridian.core.ports import Port, PortDirection, PortSpec
from meridian.core.wiring import Wirable
from meridian.engine.step import To

P = ParamSpec("P")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)

INPUT, OUTPUT = "input", "output"


class Emit(Protocol[T_contra]):
    """What a function gets that takes ``emit``: sends a value on, in the node's name.

    It is to be called while the function runs: what is sent later, by whoever kept it, goes on with the results of the next
    message, or at the end of the run. All that one call of the function emits is kept until there is room for it, and the node
    isn't run meanwhile; a function that may emit without bound is better a generator, which is paused instead.
    """

    def __call__(self, item: T_contra | To, /) -> None:
        """Send ``item`` to the first output, or ``To("port", value)`` to another one. Cost: one list append."""
        ...


class NodeFunction(Wirable, Generic[P, R]):
    """A function that can stand in a graph; made by `node` and `sink`.

    Attributes:
        fn: The function itself; calling this object calls it.
        name: Name of the node in a graph.
        inputs: Its one input, ``"input"``.
        outputs: Its outputs: ``"output"``, those given as ``outputs``, or none.
        is_async: It is ``async def``.
        is_stream: It is a generator function, plain or asynchronous.
        wants_message: Its parameter is annotated as `Message`.
        takes_emit: It takes ``emit`` as its second parameter.
        trusted: Its result is annotated with a type that says it is always one payload for the one output.
        lint_ignore: What `meridian.lint.lint` is not to tell about it: reasons by id of the rule.
    """

    lint_ignore: Mapping[str, str] | None = None

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        outputs: Mapping[str, Any] | Iterable[str] | None = None,
        concurrency: int = 1,
        ordered: bool = True,
        on_error: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"node() decorates functions, got {type(fn).__name__}")
        self.fn = fn
        self.name = name or _name_of(fn)
        called = fn if inspect.isroutine(fn) or isinstance(fn, type) else type(fn).__call__
        self.is_async = inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)
        self.is_stream = inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called)
        if concurrency < 1 or (concurrency > 1 and (not self.is_async or self.is_stream)):
            raise ValueError(
                f"node {self.name!r}: concurrency={concurrency} must be 1, or more for a function that is async def "
                "without yield"
            )
        self.concurrency = concurrency
        self.ordered = ordered
        self.on_error = ErrorPolicy(on_error)
        self.takes_emit = _takes_emit(fn) and not (self.is_async or self.is_stream)
        hint, result = _hints(fn, self.name, 2 if self.takes_emit else 1)
        self.wants_message = _is_message(hint)
        self.inputs = (_port(INPUT, PortDirection.INPUT, _payload_of(hint)),)
        if self.is_stream:
            result = _item_of(result)
        elif self.takes_emit:
            result = _emitted(fn)
        self.trusted = False
        if outputs is not None:
            named = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs)
            self.outputs = tuple(_port(port, PortDirection.OUTPUT, schema) for port, schema in named.items())
        elif result is NoneType:
            self.outputs = ()
        else:
            self.outputs = (_port(OUTPUT, PortDirection.OUTPUT, _payload_of(_without_none(result))),)
            self.trusted = _is_one_payload(result)

    @property
    def kind(self) -> str:
        """How its results leave it, in the engine's words."""
        if self.is_async:
            return "drive"
        if self.is_stream:
            return "stream"
        return "emit" if self.takes_emit else "map"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.fn(*args, **kwargs)

    def named(self, name: str) -> NodeFunction[P, R]:
        """Return the same function as another node, to use it twice in one graph."""
        other: NodeFunction[P, R] = object.__new__(NodeFunction)
        other.__dict__.update(self.__dict__)
        other.name = name
        return other

    def node(self, name: str | None = None) -> FnNode:
        """Make an ordinary node of it."""
        return FnNode(name or self.name, self)

    def __repr__(self) -> str:
        return f"<node function {self.name!r}>"


class FnNode(Node):
    """A node that runs a function.

    Args:
        name: Unique within its graph.
        function: What it runs; several nodes may share it.
    """

    def __init__(self, name: str, function: NodeFunction[..., Any]) -> None:
        self.name = name
        self.inputs = list(function.inputs)
        self.outputs = list(function.outputs)
        self.function = function

    @property
    def error_policy(self) -> ErrorPolicy:  # type: ignore[override]  # the function's, read-only
        """What a raising function means."""
        return self.function.on_error

    def on_start(self) -> None:
        """Nothing to do, nothing to log."""

    def on_stop(self) -> None:
        """Nothing to do, nothing to log."""

    def _handle_message(self, port: str, msg: Message[Any]) -> Any:
        """Run the function on one message by hand, as a test without a run does; results go through `emit`.

        Returns:
            What to await, if the function is asynchronous.
        """
        from meridian.core.message import DATA

        function = self.function
        if not function.wants_message and msg.type is not DATA:
            for out in self.outputs:
                self.emit(out.name, msg)
            return None
        item = msg if function.wants_message else msg.payload
        if function.is_async:
            return self._handle_async(item, msg)
        if function.takes_emit:
            emitted: list[Any] = []
            function.fn(item, emitted.append)
            result: Any = emitted
        else:
            result = function.fn(item)
        for each in result if function.is_stream or function.takes_emit else (result,):
            self._emit_result(each, msg)
        return None

    async def _handle_async(self, item: Any, msg: Message[Any]) -> None:
        if self.function.is_stream:
            async for each in self.function.fn(item):
                self._emit_result(each, msg)
        else:
            self._emit_result(await self.function.fn(item), msg)

    def _emit_result(self, each: Any, msg: Message[Any]) -> None:
        from meridian.core.message import derive

        port_name, value = (
            each if each.__class__ is To else (self.outputs[0].name if self.outputs else "", each)
        )
        if value is not None and port_name:
            self.emit(port_name, value if isinstance(value, Message) else derive(msg, value))


class SourceNode(Node):
    """A node without inputs that produces what an iterable yields; made by `source`.

    Args:
        name: Unique within its graph.
        items: An iterable, an asynchronous one, or a function that makes one; a function is called at each start.
        schema: Type of the items, or ``None``.
        trusted: Nothing needs to be looked at: the items are known to be payloads of that type.
    """

    def __init__(self, name: str, items: Any, schema: Any = None, trusted: bool = False) -> None:
        self.name = name
        self.inputs = []
        self.outputs = [_port(OUTPUT, PortDirection.OUTPUT, schema)]
        self.items = items
        self.trusted = trusted

    def open(self) -> Iterable[Any] | AsyncIterable[Any]:
        """Return what to iterate over in this run.

        Raises:
            TypeError: it isn't iterable.
        """
        items = self.items
        if callable(items) and not isinstance(items, (Iterable, AsyncIterable)):
            items = items()
        if not isinstance(items, (Iterable, AsyncIterable)):
            raise TypeError(
                f"source {self.name!r} needs an iterable or a function that returns one, got {type(items).__name__}"
            )
        return items

    def on_start(self) -> None:
        """Nothing to do, nothing to log."""

    def on_stop(self) -> None:
        """Nothing to do, nothing to log."""


class Inlet(SourceNode):
    """A source that is fed from outside the graph, by coroutines or other threads; the run goes on until it is closed.

    Args:
        name: Unique within its graph.
        type: Type of the items, or ``None``. Items are checked where the edges behind it are typed.

    ::

        inlet = Inlet("requests")
        graph("service", inlet >> handle)
        ...
        await inlet.put(request)
        inlet.close()
    """

    def __init__(self, name: str = "inlet", type: Any = None) -> None:
        super().__init__(name, (), type)
        self._feed: Feed | None = None
        self._waiting: list[Any] = []
        self._closed = self._ended = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def try_put(self, item: Any) -> bool:
        """Send ``item`` into the graph and return ``True``, or return ``False`` if there is no room, or no run yet.

        May be called from any thread.

        Raises:
            ClosedError: you closed it, or the run has ended.
        """
        feed = self._open_feed()
        return feed is not None and feed.put(item)

    async def put(self, item: Any) -> None:
        """Send ``item`` into the graph, waiting for room, and for the run to begin.

        Raises:
            ClosedError: you closed it, or the run ended, before or during the wait.

        Yields to the loop: only when it waits.
        Cancellation: the item was not sent.
        """
        while True:
            feed = self._open_feed()
            if feed is None:
                await self._begun()
            elif feed.put(item):
                return
            else:
                await feed.room(item)

    def push(self, item: Any) -> bool:
        """Send ``item`` into the graph and run what is due at once, in the caller's own time; as `try_put` otherwise.

        For the shortest way through the graph: it saves the passes of the event loop, at the price that the caller pays
        for what the item sets off (a slice of it at most). Only on the thread of the run's loop, outside handlers.
        """
        feed = self._open_feed()
        return feed is not None and feed.push(item)

    def close(self) -> None:
        """Say that nothing more will come; what was put is still delivered. Closing twice is once."""
        self._closed = True
        if self._feed is not None:
            self._feed.close()

    def _open_feed(self) -> Feed | None:
        if self._closed or self._ended:
            why = "is closed" if self._closed else "belongs to a run that has ended"
            raise ClosedError(self.name, f"inlet {self.name!r} {why}: nothing more can be put on it")
        return self._feed

    async def _begun(self) -> None:
        import asyncio

        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def attach(self, feed: Feed) -> None:
        """Called by a run when it begins."""
        self._feed, self._ended = feed, False
        self._wake()

    def detach(self) -> None:
        """Called by the run when it ends."""
        self._feed, self._ended = None, True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)


class Feed(Protocol):
    """What a run gives an `Inlet`."""

    def put(self, item: Any) -> bool:
        """Send an item if there is room."""
        ...

    def push(self, item: Any) -> bool:
        """Send an item if there is room, and run what is due."""
        ...

    async def room(self, item: Any) -> None:
        """Wait until there may be room."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


@overload
def node(fn: Callable[P, R], /) -> NodeFunction[P, R]: ...
@overload
def node(
    *,
    name: str | None = None,
    outputs: Mapping[str, Any] | Iterable[str] | None = None,
    concurrency: int = 1,
    ordered: bool = True,
    on_error: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE,
) -> Callable[[Callable[P, R]], NodeFunction[P, R]]: ...
def node(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    outputs: Mapping[str, Any] | Iterable[str] | None = None,
    concurrency: int = 1,
    ordered: bool = True,
    on_error: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE,
) -> Any:
    """Make a node of a function that takes one payload (or `Message`) and returns, yields or awaits results.

    Args:
        fn: The function; plain, generator, ``async def`` or asynchronous generator.
        name: Name of the node; the function's own by default.
        outputs: Several named outputs, as names or as a mapping of name to type. The function then returns (or yields)
            ``To("name", value)``; a bare value goes to the first.
        concurrency: Most messages that an ``async def`` function works on at a time.
        ordered: With ``concurrency``, results leave in the order in which their messages came.
        on_error: What a raising function means.

    Raises:
        TypeError: not a function, or one that doesn't take exactly one item.
        ValueError: ``concurrency`` for a function that can't have it.
    """

    def made(fn: Any) -> NodeFunction[Any, Any]:
        return NodeFunction(
            fn, name=name, outputs=outputs, concurrency=concurrency, ordered=ordered, on_error=on_error
        )

    return made if fn is None else made(fn)


def sink(
    fn: Callable[[Any], Any],
    *,
    name: str | None = None,
    concurrency: int = 1,
    on_error: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE,
) -> NodeFunction[Any, Any]:
    """Make a node without outputs of a function; what it returns is ignored.

    Args:
        fn: Called with each payload (or `Message`, if annotated so); plain or ``async def``.
        name: Name of the node; the function's own by default.
        concurrency: Most messages that an ``async def`` function works on at a time.
        on_error: What a raising function means.
    """
    return NodeFunction(fn, name=name, outputs=(), concurrency=concurrency, on_error=on_error)


def source(items: Any, *, name: str | None = None, type: Any = None) -> SourceNode:
    """Make a node that produces what ``items`` yields, as fast as there is room for it.

    Args:
        items: An iterable, an asynchronous iterable, or a function without arguments that returns one (it is called at
            each start, so that the graph can run again). May be used as a decorator of such a function.
        name: Name of the node; the function's own, or ``"source"``.
        type: Type of the items; taken from the function's annotation by default.

    The run ends when all sources are exhausted and all edges drained.

    Raises:
        TypeError: it is no such thing, or a function that needs arguments.
    """
    schema, trusted = type, False
    if callable(items) and not isinstance(items, (Iterable, AsyncIterable)):
        name = name or _name_of(items)
        if schema is None:
            schema = _payload_of(_item_of(_hints(items, name, parameters=0)[1]))
            trusted = _is_one_payload(schema)
            schema = _without_none(schema)
    elif not isinstance(items, (Iterable, AsyncIterable)):
        raise TypeError(
            f"source() takes an iterable or a function that returns one, got {items.__class__.__name__}"
        )
    elif isinstance(items, range) and schema is None:
        schema, trusted = int, True
    return SourceNode(name or "source", items, None if schema is inspect.Parameter.empty else schema, trusted)


# ---- reading annotations -------------------------------------------------------------------------------------------

_EMPTY: Any = inspect.Parameter.empty


def _name_of(fn: Any) -> str:
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return "lambda" if name == "<lambda>" else str(name)


def _hints(fn: Any, name: str, parameters: int = 1) -> tuple[Any, Any]:
    """Return the annotations of the one parameter and of the result."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some builtins have none; they are called with one item
        return _EMPTY, _EMPTY
    taken = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = [parameter for parameter in taken if parameter.default is _EMPTY]
    required_keyword = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is _EMPTY
    ]
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values())
    enough = len(taken) >= parameters or variadic
    if len(required) > parameters or required_keyword or not enough:
        wanted = "exactly one item" if parameters else "no arguments"
        raise TypeError(
            f"{name!r} has to take {wanted}, its signature is {signature}: bind the rest with functools.partial, "
            "or subclass Node to serve several inputs"
        )
    called = fn.func if hasattr(fn, "func") else fn
    if not inspect.isroutine(called) and not isinstance(called, type):
        called = type(called).__call__
    try:
        hints = typing.get_type_hints(called, include_extras=True)
    except Exception:  # noqa: BLE001 - a name that can't be resolved here: untyped, as if there were no annotation
        return _EMPTY, _EMPTY
    first = taken[0].name if taken else ""
    return hints.get(first, _EMPTY), hints.get("return", _EMPTY)


def _takes_emit(fn: Any) -> bool:
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return False
    return len(parameters) == 2 and parameters[1].name == "emit" and parameters[1].default is _EMPTY


def _emitted(fn: Any) -> Any:
    """Return what ``emit: Emit[T]`` says about the items: ``T``."""
    try:
        hint = typing.get_type_hints(fn, include_extras=True).get("emit", _EMPTY)
    except Exception:  # noqa: BLE001 - a name that can't be resolved here: untyped
        return _EMPTY
    args = typing.get_args(hint)
    return args[0] if typing.get_origin(hint) is Emit and args else _EMPTY


def _is_message(hint: Any) -> bool:
    return hint is Message or typing.get_origin(hint) is Message


def _payload_of(hint: Any) -> Any:
    """Return what a port of this annotation carries: of ``Message[T]`` the payload."""
    if hint is _EMPTY or hint is Message or hint is To:
        return None
    if typing.get_origin(hint) is Message:
        return typing.get_args(hint)[0]
    return None if any(part is To or _is_message(part) for part in _union(hint)) else hint


def _item_of(hint: Any) -> Any:
    """Return what an iterator of this annotation yields."""
    args = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if args and isinstance(origin, type) and issubclass(origin, (Iterable, AsyncIterable)):
        return args[0]
    return _EMPTY


def _union(hint: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(hint)
    if origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        return typing.get_args(hint)
    return (hint,)


def _without_none(hint: Any) -> Any:
    if hint is _EMPTY:
        return hint
    parts = tuple(part for part in _union(hint) if part is not NoneType)
    return hint if len(parts) == len(_union(hint)) else typing.Union[parts] if parts else _EMPTY  # noqa: UP007 - a tuple of types


def _is_one_payload(hint: Any) -> bool:
    """Say whether the annotation promises one payload: no ``None``, envelope, `To`, or anything it doesn't name."""
    if hint is _EMPTY or hint is None or isinstance(hint, (str, TypeVar)):
        return False
    return not any(
        part in (NoneType, Any, object, To, Awaitable) or _is_message(part) or isinstance(part, TypeVar)
        for part in _union(hint)
    )


def _port(name: str, direction: PortDirection, schema: Any) -> Port:
    return Port(name, direction, spec=PortSpec(name, None if schema in (_EMPTY, NoneType) else schema))
