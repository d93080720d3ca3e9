"""Hypothesis strategies for schedules: which order, and what goes wrong. Needs Hypothesis.

::

    @given(schedule=schedules(build))
    def test_nothing_is_lost_whatever_happens(schedule):
        done = simulate(build, seed=schedule.seed, faults=schedule.faults)
        assert all(edge.accepted == edge.delivered for edge in done.report.edges)

A failing example shrinks towards seed 0 and no faults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meridian.core.errors import GraphError
from meridian.runtime.plan import build_plan
from meridian.runtime.validate import validate_together
from meridian.testing.faults import CancelWait, Fail, Fault, Full, Pause, Slow
from meridian.testing.simulate import _may_wait, _scheduler

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("meridian.testing.strategies needs Hypothesis: pip install hypothesis") from error

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from meridian.core.subgraph import Subgraph
    from meridian.testing.simulate import Runnable

HARMLESS: tuple[type[Any], ...] = (Slow, Full, Pause)
"""Faults that only delay: whatever was right without them has to be right with them."""

ALL: tuple[type[Any], ...] = (*HARMLESS, Fail, CancelWait)
"""All faults. With the others, a message may end in a recorded failure instead of a result."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One way in which a run may go.

    Attributes:
        seed: For `simulate`.
        faults: For `simulate`.
    """

    seed: int
    faults: tuple[Fault, ...] = ()


def schedules(
    graph: Runnable,
    *,
    kinds: Sequence[type[Any]] = HARMLESS,
    max_faults: int = 3,
    within_s: float = 10.0,
    max_call: int = 20,
) -> SearchStrategy[Schedule]:
    """Return a strategy for schedules of ``graph``.

    Args:
        graph: What will be simulated; it is only looked at.
        kinds: Classes of faults to draw from: `HARMLESS`, `ALL`, or your own choice.
        max_faults: Most faults of one schedule.
        within_s: Latest begin and longest duration of a fault, in virtual seconds.
        max_call: Highest call number that fails or is cancelled.

    Raises:
        GraphError: the graph can't run.
        ValueError: a kind is no fault.
    """
    nodes, waiting, edges = _look_at(graph)
    seconds = st.integers(0, 1000).map(lambda n: n * within_s / 1000)
    calls = st.lists(st.integers(1, max_call), min_size=1, max_size=3, unique=True).map(tuple)
    make: dict[type[Any], tuple[list[str], Callable[[SearchStrategy[str]], SearchStrategy[Any]]]] = {
        Slow: (nodes, lambda names: st.builds(Slow, names, seconds, st.integers(1, max_call))),
        Full: (edges, lambda names: st.builds(Full, names, seconds, seconds)),
        Pause: (nodes, lambda names: st.builds(Pause, names, seconds, seconds)),
        Fail: (nodes, lambda names: st.builds(Fail, names, calls)),
        CancelWait: (waiting, lambda names: st.builds(CancelWait, names, calls)),
    }
    wrong = [kind for kind in kinds if kind not in make]
    if wrong:
        raise ValueError(
            f"kinds={list(kinds)!r}: {wrong[0]!r} is no fault; use {', '.join(kind.__name__ for kind in make)}"
        )
    drawn = [make[kind][1](st.sampled_from(make[kind][0])) for kind in kinds if make[kind][0]]
    faults = (
        st.lists(st.one_of(drawn), max_size=max_faults if drawn else 0).map(tuple) if drawn else st.just(())
    )
    return st.builds(Schedule, st.integers(0, 2**32 - 1), faults)


def _look_at(graph: Any) -> tuple[list[str], list[str], list[str]]:
    """Return the names of all nodes, of those that wait, and of all edges."""
    graphs: list[Subgraph] = _scheduler(graph, None)._graphs
    issues = validate_together(graphs)
    if any(issue.level == "error" for issue in issues):
        raise GraphError(issues)
    plan = build_plan(graphs)
    return (
        [name for name, _ in plan.nodes],
        [name for name, node in plan.nodes if _may_wait(node)],
        [edge.id for edge in plan.edges],
    )
