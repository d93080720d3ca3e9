"""The Rust engine of Meridian. Written by hand, checked against the built module by `make types`.

The classes mirror those of the same name in `meridian.engine.ring`, `meridian.engine.ready` and `meridian.engine.kernel`,
where each call is described; `meridian.engine.native` puts them together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, final

from typing_extensions import disjoint_base

__all__ = [
    "Budget",
    "Emit",
    "Engine",
    "LimitedRing",
    "NodeCore",
    "ReadyQueue",
    "Ring",
    "Turn",
    "__version__",
    "_bind_message",
    "_derive",
    "_message_bases",
    "_rewrap",
    "_wrap",
    "build_info",
]

__version__: str

def build_info() -> str:
    """What this binary is, in one line: version, profile, target, interface."""

@disjoint_base
class Turn:
    """Something that can run a slice. See `meridian.engine.ready.Turn`."""

    def __new__(cls, node: int, band: int, batch: int = 1) -> Turn: ...
    @property
    def node(self) -> int: ...
    band: int
    batch: int
    queued: bool
    slices: int
    busy_ns: int
    since: int
    ring: Ring | None
    waits_for: Ring | None
    run: Callable[[], int]
    line: Any

@disjoint_base
class ReadyQueue:
    """Turns that are due, by band. See `meridian.engine.ready.ReadyQueue`."""

    def __new__(cls, weights: tuple[int, int, int] = ..., random: Any = None) -> ReadyQueue: ...
    @property
    def weights(self) -> tuple[int, int, int]: ...
    @property
    def random(self) -> Any: ...
    @property
    def lines(self) -> tuple[Any, Any, Any]: ...
    def __len__(self) -> int: ...
    def set_band(self, turn: Turn, band: int) -> None: ...
    def pick(self) -> Turn: ...

@disjoint_base
class Ring:
    """One edge's items. See `meridian.engine.ring.Ring`."""

    def __new__(cls, id: str, capacity: int, policy: Any, check: Any = None) -> Ring: ...
    id: str
    check: Any
    mixed: bool
    taken: int
    merged: int
    blocked_ns: int
    waits: int
    waiters: Sequence[Turn] | None
    turn: Turn | None
    control_turn: Turn | None
    engine: Engine | None
    node: int
    port: str
    on_loss: Callable[[str, str, int, BaseException | None], None] | None
    owner: int
    @property
    def limited(self) -> bool: ...
    @property
    def items(self) -> Sequence[Any]: ...
    @property
    def control(self) -> Sequence[Any] | None: ...
    @property
    def capacity(self) -> int: ...
    @property
    def space(self) -> int: ...
    @property
    def low(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def policy(self) -> Any: ...
    @property
    def lost(self) -> dict[str, int] | None: ...
    @property
    def inside(self) -> int: ...
    def depth(self) -> int: ...
    def __len__(self) -> int: ...
    def room(self) -> int: ...
    def accepted(self) -> int: ...
    def fits(self, item: Any) -> bool: ...
    def never_fits(self, item: Any) -> bool: ...
    def put(self, item: Any, policy: Any = None) -> Any: ...
    def get(self) -> Any: ...
    def lose(self, cause: str, n: int, error: BaseException | None = None) -> None: ...
    def refuse(self, cause: str, n: int = 1) -> None: ...
    def offer(self, items: list[Any]) -> int: ...
    def offer_one(self, item: Any) -> bool: ...
    def take(self, k: int, put_back: bool = False) -> list[Any]: ...
    def settle(self, k: int, rest: Sequence[Any]) -> None: ...
    def take_control(self, k: int) -> list[Any]: ...
    def wait(self, turn: Turn) -> None: ...
    def forget(self, turn: Turn) -> None: ...
    def release(self, own: bool) -> None: ...
    def blocked_s(self, now: int) -> float: ...
    def set_capacity(self, capacity: int) -> None: ...
    def set_policy(self, policy: Any) -> None: ...
    def use(self, budget: Budget | None, clock: Callable[[], int]) -> None: ...
    def take_over(self, other: Any) -> None: ...
    def attach(self, engine: Engine, node: int, port: str, owner: int) -> None: ...
    def detach(self) -> None: ...

class LimitedRing(Ring):
    """A ring that also bounds the bytes it holds and the age of what it delivers. See `meridian.engine.ring.LimitedRing`."""

    def __new__(
        cls,
        id: str,
        capacity: int,
        policy: Any,
        check: Any = None,
        *,
        max_bytes: int | None = None,
        max_age_ns: int | None = None,
        budget: Budget | None = None,
        size: Callable[[Any], int],
        clock: Callable[[], int],
    ) -> LimitedRing: ...
    budget_share: int
    @property
    def bytes(self) -> int: ...
    @property
    def max_bytes(self) -> int | None: ...
    @property
    def max_age_ns(self) -> int | None: ...
    @property
    def budget(self) -> Budget | None: ...
    @property
    def size(self) -> Callable[[Any], int] | None: ...
    @property
    def clock(self) -> Callable[[], int] | None: ...
    def head_age_ns(self) -> int: ...

@final
class NodeCore:
    """Fields of one node's record. See `meridian.engine.kernel.NodeState` for what they mean."""

    def __new__(cls) -> NodeCore: ...
    held: int
    quota: int
    closed: bool
    produced: int
    enveloped: bool
    rest: Iterator[Any] | None
    left: list[Any] | None

@final
class Emit:
    """`emit(port, msg)` of one node. See `meridian.engine.kernel.NodeState.make_emit`."""

    def __new__(cls, node: Any, core: NodeCore, boxes: dict[str, Any], owner: int) -> Emit: ...
    def __call__(self, port: str, msg: Any) -> Any: ...

@final
class Budget:
    """Bytes that all limited rings of one graph share. See `meridian.engine.ring.Budget`."""

    def __new__(cls, limit: int) -> Budget: ...
    @property
    def limit(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def rings(self) -> list[LimitedRing]: ...
    def add(self, ring: LimitedRing, share: int) -> None: ...
    def admits(self, n: int, share: int) -> bool: ...
    def charge(self, n: int) -> None: ...

@disjoint_base
class Engine:
    """The loop that runs slices: the hot part of `meridian.engine.kernel.PythonEngine`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Engine: ...
    running: bool
    now: int
    max_batch: int
    clock: Callable[[], int]
    queue: ReadyQueue
    arm: Callable[[], None]
    waited: set[Any]
    knocks: Iterable[Any]
    scope: Any
    failures: tuple[type[BaseException], ...]
    def turn(self, node: int, band: int) -> Turn: ...
    def ready(self, turn: Turn) -> None: ...
    def run(self, messages: int, nanoseconds: int) -> bool: ...
    def native_step(self, node: Any, ring: Ring, turn: Turn) -> Callable[[], int] | None: ...
    def native_source(self, node: Any, items: Iterator[Any], turn: Turn) -> Callable[[], int]: ...

# For meridian.core.message alone, which says what these are.
def _message_bases() -> list[type] | None:
    """Return the native bases of Message, Scope, _Origin and _Trace, or None for all but the first who ask."""

def _bind_message(module: dict[str, Any]) -> None:
    """Take over the making of messages for module, the names of the module that derived from the native bases."""

def _wrap(payload: Any, now: float | None, type: Any = None) -> Any:
    """Put an envelope around a raw item, as cheaply as can be."""

def _derive(parent: Any, payload: Any) -> Any:
    """Make the DATA message that a function's result becomes."""

def _rewrap(envelope: Any, payload: Any) -> Any:
    """Put another payload into the same envelope."""
