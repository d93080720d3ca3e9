"""The Rust engine: what is hot is native, what is rare is the Python engine's.

`meridian_fast` has the rings, the ready queue, the loop and the steps; see `fast/src/`. How nodes park, fail and hand on
what needs a second look is inherited, so that it is written once and can't differ.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from meridian.engine.kernel import PythonEngine
from meridian.engine.node import NodeState
from meridian.engine.select import extension

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meridian.engine.ready import Turn
    from meridian.engine.ring import Ring

    # The reference is also the types: the native parts have the same names and arguments.
    RustNode = NodeState

    class _Native(PythonEngine):
        def native_step(self, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int] | None: ...
        def native_source(self, node: NodeState, items: Iterator[Any], turn: Turn) -> Callable[[], int]: ...

else:
    meridian_fast = extension()

    def _in_core(name: str) -> property:
        """Let a field of a node's record lie in its native part."""

        def put(node: RustNode, value: Any) -> None:
            setattr(node.core, name, value)

        return property(attrgetter(f"core.{name}"), put)

    class RustNode(NodeState):
        """The record of a node, of which the fields that each slice looks at are native."""

        __slots__ = ("core",)

        held, quota, closed, produced, enveloped, paused, rest, left = map(
            _in_core, ("held", "quota", "closed", "produced", "enveloped", "paused", "rest", "left")
        )

        def __init__(self, *args: Any) -> None:
            self.core = meridian_fast.NodeCore()
            super().__init__(*args)

        def fill(self, boxes: dict[str, Any]) -> Callable[[str, Any], Any]:
            return meridian_fast.Emit(self, self.core, boxes, self.engine.owner)

    class _Native(meridian_fast.Engine, PythonEngine):
        sweep = meridian_fast.Sweep
        node_type = RustNode
        queue_type = meridian_fast.ReadyQueue
        turn_type = meridian_fast.Turn
        ring_type = meridian_fast.Ring
        limited_ring_type = meridian_fast.LimitedRing
        budget_type = meridian_fast.Budget


class RustEngine(_Native):
    """The engine whose hot parts are native."""

    def compile_step(self, node: NodeState, ring: Ring, turn: Turn) -> Callable[[], int]:
        """Make the step that serves ``ring`` to ``node``: a native one, where there is one for its kind."""
        native = self.native_step(node, ring, turn)
        return super().compile_step(node, ring, turn) if native is None else native

    def compile_source(self, node: NodeState, items: Iterator[Any], turn: Turn) -> Callable[[], int]:
        """Make the step of a plain source."""
        return self.native_source(node, items, turn)
