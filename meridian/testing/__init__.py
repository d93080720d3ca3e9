"""Tools for testing graphs and nodes: virtual time, schedules that replay, faults, one node by itself.

`import meridian` doesn't load it. Needs nothing but the standard library; `meridian.testing.strategies` is for those who
have Hypothesis.
"""

from meridian.testing.clock import DeadlockError, VirtualClock, VirtualLoop
from meridian.testing.faults import CancelWait, Fail, Fault, Full, Pause, Slow
from meridian.testing.harness import NodeTestHarness
from meridian.testing.linted import assert_lint_clean
from meridian.testing.simulate import Simulation, Step, simulate, simulate_async

__all__ = [
    # one node
    "NodeTestHarness",
    # a graph as it is declared
    "assert_lint_clean",
    # time
    "VirtualClock",
    "VirtualLoop",
    "DeadlockError",
    # a whole graph
    "simulate",
    "simulate_async",
    "Simulation",
    "Step",
    # what goes wrong
    "Fault",
    "Slow",
    "Fail",
    "CancelWait",
    "Full",
    "Pause",
]
