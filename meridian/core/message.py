"""The envelope: what travels when somebody needs more than the bare payload.

Inside the runtime items travel raw and are wrapped only for a handler that asks for a `Message`. Envelopes therefore
have to be cheap: 64 bytes, no uuid and no clock read when one is made. Whatever costs is done on first use:

* ``headers`` are filled when they are first read. Until then the slot holds the little that must not be lost: the time
  of creation (a float that all messages of one slice share) or an `_Origin`, which says where the message came from.
* A trace id is drawn when it is first asked for, once for the whole family of messages that descend from one root.

Lineage works without any help from user code. While a handler runs, the `Scope` of its context points at the message in
hand; a `Message` that is made meanwhile takes over its trace and notes its id as parent. The scope is one mutable object
per context and not a context variable per message, because setting one costs more than a whole hop.

Where the extension may be used, the slots below are native ones, and making a message is done there (`fast/src/py/message.rs`);
what is rare it asks this module for. Everything else is the same class, and all of it works without the extension.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from meridian.engine import select
from meridian.observability import context
from meridian.redaction import type_name

if TYPE_CHECKING:
    from random import Random

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class MessageType(str, Enum):
    """What kind of message this is; compares equal to its name."""

    DATA = "DATA"
    CONTROL = "CONTROL"
    ERROR = "ERROR"

    # str(t) and f"{t}" name the member, as in v1, whatever the Python version does for mixed-in enums.
    __str__ = Enum.__str__
    __format__ = Enum.__format__  # pyright: ignore[reportAssignmentType]  # Enum's own, instead of str's


DATA, CONTROL, ERROR = MessageType.DATA, MessageType.CONTROL, MessageType.ERROR

_ids = count(1)
_next_id = _ids.__next__


class _ScopeSlots:
    __slots__ = ("clock", "handling", "node", "now", "port", "random")


class _TraceSlots:
    __slots__ = ("_id",)


class _OriginSlots:
    __slots__ = ("fields", "id", "parent", "time", "trace")


class _MessageSlots:
    __slots__ = ("_headers", "metadata", "payload", "type")

    _headers: Any


_native: Any = select.native()
_bases = None if _native is None else _native._message_bases()
if not TYPE_CHECKING and _bases is not None:
    _MessageSlots, _ScopeSlots, _OriginSlots, _TraceSlots = _bases


class Scope(_ScopeSlots):
    """What is being handled in one context.

    Attributes:
        handling: The message in hand, or ``None``.
        now: Wall-clock time of the current slice in seconds, or ``None`` to ask ``clock`` for each message.
        node: Name of the node that is running, for log lines.
        port: Its input port.
        random: Where new trace ids are drawn from, or ``None`` for the system's entropy.
        clock: Wall-clock seconds; the run's. What waits in between (a coroutine) has no slice whose time it could share.
    """

    __slots__ = ()

    def __init__(
        self, now: float | None = None, random: Random | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self.handling: Message[Any] | None = None
        self.now = now
        self.random = random
        self.node: str | None = None
        self.port: str | None = None


current_scope: ContextVar[Scope | None] = ContextVar("meridian_scope", default=None)


class Headers(dict[str, Any]):
    """A message's headers: reads and compares like a dict, refuses every change.

    Use `Message.with_headers` to get a message with other headers.
    """

    __slots__ = ("id",)

    id: int | None

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError("headers are read-only: use message.with_headers(key=value)")

    __setitem__ = __delitem__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore[reportAssignmentType]
    __ior__ = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return (dict, (dict(self),))


def new_trace_id() -> str:
    """Draw a trace id: a version 4 UUID with dashes, from the run's own random source where it has one."""
    scope = current_scope.get()
    return context.generate_trace_id(None if scope is None else scope.random)


def _headers(fields: Mapping[str, Any], id: int | None) -> Headers:
    made = Headers(fields)
    made.id = id
    return made


class _Trace(_TraceSlots):
    """One trace id, drawn on first use, shared by a message and all that descend from it."""

    __slots__ = ()

    def __init__(self, id: str | None = None) -> None:
        self._id = id

    def id(self) -> str:
        if self._id is None:
            self._id = new_trace_id()
        return self._id


class _Origin(_OriginSlots):
    """Where a message whose headers nobody read yet came from."""

    __slots__ = ()

    def __init__(
        self,
        time: float,
        trace: _Trace,
        parent: int | None,
        fields: Mapping[str, Any] | None,
        id: int | None = None,
    ) -> None:
        self.time = time
        self.trace = trace
        self.parent = parent
        self.fields = fields
        self.id = id

    def headers(self) -> Headers:
        made = dict(self.fields) if self.fields else {}
        if "trace_id" not in made:
            made["trace_id"] = self.trace.id()
        if "timestamp" not in made:
            made["timestamp"] = self.time
        if self.parent is not None:
            made["parent_id"] = format_id(self.parent)
        return _headers(made, self.id)


def format_id(id: int) -> str:
    """Return the text form of a message id; unique within the process."""
    return f"m{id:x}"


class _Fields(_MessageSlots, Generic[T_co]):
    """The four slots of a message, while they may still be written."""

    __slots__ = ()


def _none() -> None:
    return None


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Message(_Fields[T_co]):
    """A payload with its kind, optional metadata, and headers.

    Args:
        type: DATA, CONTROL or ERROR (a member, or its name).
        payload: Anything; never copied, never shown in a repr or an error.
        metadata: Optional mapping, kept as it is.
        headers: Optional mapping, copied. ``trace_id`` (a dashed UUID4) and ``timestamp`` (epoch seconds) are added
            when the keys are absent. A message made inside a handler inherits the trace id of the one being handled
            and gets ``parent_id``.

    Raises:
        ValueError: ``type`` is not one of the three.

    Immutable: assigning a field raises ``dataclasses.FrozenInstanceError``. Compares by value over all four fields and
    is not hashable (its headers are not).

    Cost: about two plain calls; headers are filled when first read.
    """

    __slots__ = ()

    type: MessageType
    payload: T_co
    metadata: Mapping[str, Any] | None = field(default_factory=_none)
    headers: Mapping[str, Any] = field(default_factory=dict)

    def __new__(
        cls,
        type: MessageType | str,
        payload: T_co,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Message[T_co]:
        self: Any = _new_fields(_Fields)
        self.type = type
        self.payload = payload
        self.metadata = metadata
        scope = _get_scope()
        if type.__class__ is not MessageType:
            self.type = _member(type)
        if headers or scope is None or scope.handling is not None:
            self._headers = _origin(headers or None)
        else:
            self._headers = scope.clock() if scope.now is None else scope.now
        self.__class__ = Message  # freezes it; two layouts that are the same
        if cls is not Message:
            return cast("Message[T_co]", _subclassed(cls, self))
        return cast("Message[T_co]", self)

    if not TYPE_CHECKING and _bases is not None:
        _refuse = staticmethod(__new__)  # called with arguments that don't fit, for the error that says so
        del __new__  # the native base makes messages

    # The dataclass wants a field of this name; the value lives in `_headers` until it is asked for.
    def _get_headers(self) -> Headers:
        held = self._headers
        if held.__class__ is not Headers:
            held = _Origin(held, _Trace(), None, None) if held.__class__ is float else held
            held = held.headers()
            _set_headers(self, held)
        return cast("Headers", held)

    def is_data(self) -> bool:
        """Return whether this is a DATA message."""
        return self.type is DATA

    def is_control(self) -> bool:
        """Return whether this is a CONTROL message."""
        return self.type is CONTROL

    def is_error(self) -> bool:
        """Return whether this is an ERROR message."""
        return self.type is ERROR

    def get_trace_id(self) -> str:
        """Return the trace id, or ``""`` if the header is ``None``."""
        value = self.headers.get("trace_id")
        return "" if value is None else str(value)

    def get_timestamp(self) -> float:
        """Return the time of creation in epoch seconds, or ``0.0`` if the header is no number."""
        try:
            return float(self.headers.get("timestamp") or 0.0)
        except (TypeError, ValueError):
            return 0.0

    def get_id(self) -> str:
        """Return this message's id, unique within the process; drawn on first use."""
        return format_id(_identify(self)[1])

    def get_parent_id(self) -> str | None:
        """Return the id of the message that was being handled when this one was made, or ``None``."""
        value = self.headers.get("parent_id")
        return None if value is None else str(value)

    def with_headers(self, **new: Any) -> Message[T_co]:
        """Return a message with ``new`` merged over the headers; payload and metadata are the same objects."""
        return Message(self.type, self.payload, self.metadata, {**self.headers, **new})

    def with_payload(self, payload: T) -> Message[T]:
        """Return the DATA message that this one leads to: the same trace, headers and metadata, this one's id as parent."""
        return derive(self, payload)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        other = cast("Message[Any]", other)
        return (self.type, self.payload, self.metadata, self.headers) == (
            other.type,
            other.payload,
            other.metadata,
            other.headers,
        )

    __hash__ = None  # type: ignore[assignment]  # equal by value over fields that are not hashable

    def __repr__(self) -> str:
        return f"Message({self.type.name}, {type_name(self.payload)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self.__class__, self.type, self.payload, self.metadata, dict(self.headers)))


Message.headers = property(Message._get_headers)  # type: ignore[assignment]  # read-only view over the lazy slot
_new_fields = object.__new__
_get_scope = current_scope.get
_wall_clock = time.time
_set_headers: Callable[[Message[Any], Any], None] = _MessageSlots.__dict__["_headers"].__set__


def _subclassed(cls: type[Any], made: Any) -> Any:
    self = object.__new__(cls)
    for name in ("type", "payload", "metadata", "_headers"):
        _MessageSlots.__dict__[name].__set__(self, getattr(made, name))
    return self


def _member(type: Any) -> MessageType:
    try:
        return MessageType(type)
    except ValueError:
        raise ValueError(f"message type {type!r} is not DATA, CONTROL or ERROR") from None


def _restore(cls: type[Any], type: MessageType, payload: Any, metadata: Any, headers: dict[str, Any]) -> Any:
    made = cls(type, payload, metadata, headers)
    _set_headers(
        made, _headers(headers, None)
    )  # exactly those: a copy made in a handler is no child of its message
    return made


def _origin(fields: Mapping[str, Any] | None) -> float | _Origin | Headers:
    """Say where a message that is being made now comes from."""
    scope = current_scope.get()
    if scope is None:
        now, handling = time.time(), None
    else:
        now, handling = scope.clock() if scope.now is None else scope.now, scope.handling
    if handling is not None:
        trace, parent = _identify(handling)
        return _Origin(now, trace, parent, dict(fields) if fields else None)
    if fields is None:
        return now
    if "trace_id" in fields and "timestamp" in fields:
        return _headers(fields, None)
    return _Origin(now, _Trace(), None, dict(fields))


def _identify(message: Message[Any]) -> tuple[_Trace, int]:
    """Return the trace and the id of ``message``, drawing an id if it has none yet."""
    held: Any = message._headers
    if held.__class__ is float:
        held = _Origin(held, _Trace(), None, None)
        _set_headers(message, held)
    if held.id is None:
        held.id = _next_id()
    if held.__class__ is Headers:
        value = held.get("trace_id")
        return _Trace("" if value is None else str(value)), held.id
    fields = held.fields
    if fields is not None and "trace_id" in fields:
        return _Trace(str(fields["trace_id"])), held.id
    return held.trace, held.id


def wrap(payload: Any, now: float | None, type: MessageType = DATA) -> Message[Any]:
    """Put an envelope around a raw item, as cheaply as can be."""
    self: Any = _new_fields(_Fields)
    self.type = type
    self.payload = payload
    self.metadata = None
    self._headers = _wall_clock() if now is None else now
    self.__class__ = Message
    return cast("Message[Any]", self)


def derive(parent: Message[Any], payload: Any) -> Message[Any]:
    """Make the DATA message that a function's result becomes: the parent's trace, headers and metadata, its id as parent."""
    trace, id = _identify(parent)
    held = parent._headers
    self: Any = _new_fields(_Fields)
    self.type = DATA
    self.payload = payload
    self.metadata = parent.metadata
    if held.__class__ is Headers:
        self._headers = _Origin(0.0, trace, id, held)
    else:
        self._headers = _Origin(held.time, trace, id, held.fields)
    self.__class__ = Message
    return cast("Message[Any]", self)


def header(message: Message[Any], name: str) -> Any:
    """Return one header, without filling the others for it; ``None`` if there is none."""
    held: Any = message._headers
    if held.__class__ is Headers:
        return held.get(name)
    if held.__class__ is float or held.fields is None:
        return None
    return held.fields.get(name)


def with_header(message: Message[Any], name: str, value: Any) -> Message[Any]:
    """Return the same message, with the same id, with one more header; the others aren't filled for it."""
    trace, id = _identify(message)
    held: Any = message._headers
    if held.__class__ is Headers:
        held = _headers({**held, name: value}, id)
    else:
        held = _Origin(held.time, trace, held.parent, {**(held.fields or {}), name: value}, id)
    made = rewrap(message, message.payload)
    if message.__class__ is not Message:
        made = _subclassed(message.__class__, made)
    _set_headers(made, held)
    return made


def begin_family(payload: Any, now: float | None, trace_id: str, fields: Mapping[str, Any]) -> Message[Any]:
    """Put an envelope around a raw item that begins a trace whose id is known."""
    made = wrap(payload, now)
    _set_headers(made, _Origin(cast("float", made._headers), _Trace(trace_id), None, fields))
    return made


def is_first(message: Message[Any]) -> bool:
    """Say whether ``message`` was made outside any handler, so that it has no parent."""
    held: Any = message._headers
    if held.__class__ is Headers:
        return "parent_id" not in held
    return held.__class__ is float or held.parent is None


def _handled() -> context.Handled | None:
    """Tell logs and spans what this context is handling; asked only when one is written."""
    scope = current_scope.get()
    if scope is None or scope.node is None:
        return None
    message = scope.handling
    fields = {"node": scope.node} if scope.port is None else {"node": scope.node, "port": scope.port}
    return context.Handled(None if message is None else message.get_trace_id() or None, fields, message)


context.install_handled(_handled)


def rewrap(envelope: Message[Any], payload: Any) -> Message[Any]:
    """Put another payload into the same envelope: type, metadata and headers stay."""
    self: Any = _new_fields(_Fields)
    self.type = envelope.type
    self.payload = payload
    self.metadata = envelope.metadata
    self._headers = envelope._headers
    self.__class__ = Message
    return cast("Message[Any]", self)


if not TYPE_CHECKING and _bases is not None:
    wrap, derive, rewrap = _native._wrap, _native._derive, _native._rewrap
    _native._bind_message(globals())


def no_message(node: str, port: str, what: Any) -> Exception:
    """Return what to raise for an emit of something that is no message."""
    if hasattr(what, "type"):
        return ValueError(
            f"node {node!r} emitted {type_name(what)} on {port!r}, whose type is not DATA, CONTROL or ERROR"
        )
    return TypeError(
        f"node {node!r} emitted {type_name(what)} on {port!r}: wrap it, Message(MessageType.DATA, payload)"
    )
