"""What a full edge does, and the other small policies.

A policy is a pure decision: given capacity and size it answers with a `PutResult`; the edge then acts on it. Any object
with ``on_enqueue`` is a policy, so users may write their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final, Protocol, runtime_checkable


class PutResult(Enum):
    """What became of one put."""

    OK = "ok"
    """There was room; the item was appended."""
    BLOCKED = "blocked"
    """No room; nothing changed, the caller keeps the item."""
    DROPPED = "dropped"
    """No room; the new item was discarded and counted."""
    REPLACED = "replaced"
    """No room; the oldest item was discarded and counted, the new one appended."""
    COALESCED = "coalesced"
    """No room; the new item was merged into the newest queued one."""


_OK: Final = PutResult.OK  # looking it up on the enum costs as much as the rest of the decision


class Policy(Protocol):
    """Decides what happens to an item that arrives at an edge."""

    def on_enqueue(self, capacity: int, size: int, item: Any, /) -> PutResult:
        """Return what to do with ``item`` at an edge that holds ``size`` of ``capacity`` items. Must be pure."""
        ...


class _BuiltIn:
    """What the built-in policies share: all of the decision but one word."""

    __slots__ = ()

    when_full: ClassVar[PutResult]
    """What becomes of an item for which there is no room."""

    def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
        """``OK`` while there is room, else what the policy stands for; looks at nothing but the two numbers."""
        return _OK if size < capacity else self.when_full


class Block(_BuiltIn):
    """A full edge accepts nothing until its consumer made room. Loses nothing; the default of `Subgraph.connect`."""

    when_full = PutResult.BLOCKED

    def __repr__(self) -> str:
        return "block()"


class Drop(_BuiltIn):
    """A full edge discards the new item and counts it as lost, cause ``dropped``."""

    when_full = PutResult.DROPPED

    def __repr__(self) -> str:
        return "drop()"


class Latest(_BuiltIn):
    """A full edge discards its oldest item, cause ``replaced``, and keeps the order of the rest."""

    when_full = PutResult.REPLACED

    def __repr__(self) -> str:
        return "latest()"


@dataclass(frozen=True, slots=True)
class Coalesce(_BuiltIn):
    """A full edge merges the new item into the newest queued one.

    Attributes:
        fn: ``fn(old, new)`` returns the merged item. It gets payloads and its result travels in the newer message's
            envelope, unless it returns a `Message` itself. It runs while the edge is locked: it must be quick and must
            not put on the same edge.
        on: ``"payload"``, or ``"message"`` for a function that wants whole messages.

    If ``fn`` raises on payloads it is tried once more with the messages themselves (functions written for v1 expect
    them). If that fails too, the newer item replaces the older, which is counted as lost, cause ``coalesce_error``.
    """

    fn: Callable[[Any, Any], Any]
    on: str = "payload"

    when_full = PutResult.COALESCED

    def __post_init__(self) -> None:
        if self.on not in ("payload", "message"):
            raise ValueError(f"coalesce(on={self.on!r}): use 'payload' or 'message'")

    def __repr__(self) -> str:
        name = getattr(self.fn, "__name__", type(self.fn).__name__)
        return f"coalesce({name})" if self.on == "payload" else f"coalesce({name}, on='message')"


def block() -> Block:
    """Make a `Block` policy."""
    return Block()


def drop() -> Drop:
    """Make a `Drop` policy."""
    return Drop()


def latest() -> Latest:
    """Make a `Latest` policy."""
    return Latest()


def coalesce(fn: Callable[[Any, Any], Any], *, on: str = "payload") -> Coalesce:
    """Make a `Coalesce` policy that merges with ``fn(old, new)``."""
    return Coalesce(fn, on)


class BackpressureStrategy(Enum):
    """v1's enum; accepted by `Subgraph.connect` as an alias of the policy of the same name."""

    DROP = 0
    BLOCK = 1


class RetryPolicy(Enum):
    """v1's enum; has no effect, as in v1."""

    NONE = 0
    SIMPLE = 1


class ErrorPolicy(str, Enum):
    """What a failing handler means for its run."""

    LOG_AND_CONTINUE = "log_continue"
    """Record the error (without payload) and go on with the next message."""
    EMIT_ERROR = "emit_error"
    """Record it, and emit an ERROR message on the port ``error``, or on the first output when there is none."""
    RAISE_EXCEPTION = "raise"
    """Record it, stop the run in good order, and raise `NodeError` out of it."""


@runtime_checkable
class Routable(Protocol):
    """An item that knows where it wants to go."""

    def route_key(self) -> str:
        """Return the key to route by."""
        ...


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """Chooses a route: the item's own key if it is `Routable`, else ``key``."""

    key: str = "default"

    def select(self, item: Any) -> str:
        """Return the key for ``item``."""
        return item.route_key() if isinstance(item, Routable) else self.key


_ALIASES: Final[dict[Any, Callable[[], Policy]]] = {
    "block": Block,
    "drop": Drop,
    "latest": Latest,
    BackpressureStrategy.BLOCK: Block,
    BackpressureStrategy.DROP: Drop,
}


def as_policy(policy: Any) -> Policy | None:
    """Turn what a user may write for a policy into a policy.

    Args:
        policy: A policy object, ``None`` (the default of the place), ``"block"``, ``"drop"``, ``"latest"`` or a
            `BackpressureStrategy`.

    Raises:
        TypeError: it is none of these.
    """
    if policy is None:
        return None
    if isinstance(policy, (str, BackpressureStrategy)):
        made = _ALIASES.get(policy)
        if made is not None:
            return made()
    elif isinstance(policy, type):
        raise TypeError(
            f"policy {policy.__name__} is a class: pass an instance, such as {policy.__name__.lower()}()"
        )
    elif callable(getattr(policy, "on_enqueue", None)):
        return policy  # type: ignore[no-any-return]  # any object with on_enqueue is a policy
    raise TypeError(
        f"{policy!r} is not an overflow policy: use block(), drop(), latest(), coalesce(fn), their names, "
        "or an object with on_enqueue(capacity, size, item)"
    )


def policy_name(policy: Any) -> str:
    """Return the name that reports and metrics show for the policy of an edge; one that was connected without any blocks."""
    return type(Block() if policy is None else policy).__name__.lower()
