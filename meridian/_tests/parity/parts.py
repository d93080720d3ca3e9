"""What the parity tests share: how an outcome is told, and user code that behaves and misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meridian.core.message import CONTROL, DATA, Message
from meridian.core.policies import Block, Coalesce, Drop, Latest, PutResult

ENGINES = ("python", "rust")


def told(value: Any) -> Any:
    """Return ``value`` in a form that can be compared across engines: envelopes by what they carry."""
    if isinstance(value, Message):
        return (value.type.name, told(value.payload))
    if isinstance(value, list | tuple):
        return [told(each) for each in value]
    return value


def outcome(do: Callable[..., Any], *args: Any) -> Any:
    """Return what ``do(*args)`` returns, or the type and the text of what it raises."""
    try:
        return told(do(*args))
    except BaseException as error:
        return (type(error), str(error))


class Interrupt(BaseException):
    """Like `KeyboardInterrupt`: no failure of the user's code, but the end of what goes on."""


class Mute:
    """An answer that can't even be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("mute")


class Answers:
    """A policy that gives an answer, or calls for one."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def on_enqueue(self, capacity: int, size: int, item: Any) -> Any:
        return self.answer(capacity, size, item) if callable(self.answer) else self.answer


class Shy:
    """No policy at all."""


class OwnCoalesce(Coalesce):
    """Merges from half full on."""

    def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
        return PutResult.OK if size < (capacity + 1) // 2 else PutResult.COALESCED


def raises(error: BaseException) -> Callable[..., Any]:
    """Return a function of anything that raises ``error``."""

    def call(*_: Any) -> Any:
        raise error

    return call


def join(old: Any, new: Any) -> Any:
    return old + new


def sometimes(old: Any, new: Any) -> Any:
    if new[-1] % 2:
        raise ZeroDivisionError(f"{len(old)} and {len(new)}")
    return old + new


POLICIES: dict[str, Callable[[Any], Any]] = {
    "block": lambda ring: Block(),
    "drop": lambda ring: Drop(),
    "latest": lambda ring: Latest(),
    "join": lambda ring: Coalesce(join),
    "sometimes": lambda ring: Coalesce(sometimes),
    "to a message": lambda ring: Coalesce(lambda old, new: Message(DATA, new)),
    "to control": lambda ring: Coalesce(lambda old, new: Message(CONTROL, new)),
    "messages": lambda ring: Coalesce(lambda old, new: new, on="message"),
    "merge puts": lambda ring: Coalesce(lambda old, new: ring().put(new)),
    "merge takes": lambda ring: Coalesce(lambda old, new: ring().get()),
    "merge shrinks": lambda ring: Coalesce(lambda old, new: ring().set_capacity(1)),
    "merge looks": lambda ring: Coalesce(lambda old, new: (*old, ring().depth(), len(list(ring().items)))),
    "merge turns to drop": lambda ring: Coalesce(lambda old, new: (ring().set_policy(Drop()), new)[1]),
    "merge interrupts": lambda ring: Coalesce(raises(Interrupt("merge"))),
    "own coalesce": lambda ring: OwnCoalesce(join),
    "own coalesce fails": lambda ring: OwnCoalesce(raises(KeyError("no"))),
    "ok": lambda ring: Answers(PutResult.OK),
    "blocked": lambda ring: Answers(PutResult.BLOCKED),
    "dropped": lambda ring: Answers(PutResult.DROPPED),
    "replaced": lambda ring: Answers(PutResult.REPLACED),
    "coalesced": lambda ring: Answers(PutResult.COALESCED),
    "half": lambda ring: Answers(
        lambda n, size, _: PutResult.OK if size < (n + 1) // 2 else PutResult.BLOCKED
    ),
    "text": lambda ring: Answers("OK"),
    "none": lambda ring: Answers(None),
    "mute": lambda ring: Answers(Mute()),
    "raises": lambda ring: Answers(raises(LookupError("policy"))),
    "interrupts": lambda ring: Answers(raises(Interrupt("policy"))),
    "policy puts": lambda ring: Answers(lambda *_: ring().put(())),
    "policy looks": lambda ring: Answers(
        lambda n, size, item: PutResult.OK if ring().depth() < n else PutResult.DROPPED
    ),
    "shy": lambda ring: Shy(),
}
"""What makes a policy, by name; given is a function that returns the ring it is for."""
