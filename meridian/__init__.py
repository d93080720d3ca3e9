"""Meridian: a composable, asyncio-native graph runtime.

The house, from the bottom up; imports point down only::

    core/            what you declare: message, ports, policies, edge, node, function nodes, subgraph; and the scheduler
    engine/          the kernel: rings, ready queue, steps (no asyncio, no clock, no logging)
    runtime/         one run: validation, plan, slices, asynchronous work, signals, report
    observability/   logs, metrics, traces
    redaction/       what may leave the process
    introspect/      how a run is doing, told to whoever looks
    diagnostics/     bundles for support: collected, read, checked
    lint/            smells in a graph, found without running it
    nodes/ testing/  written on the public API; a node's module is loaded when one of its names is used
    cli/             the command line
    scaffolding/     source text of nodes and subgraphs to start from
"""

__version__ = "2.0.0"  # first, since what is imported below compares the extension's with it

from typing import TYPE_CHECKING, Any

from meridian import _v1_paths, nodes
from meridian import utils as utils
from meridian.core.edge import Edge
from meridian.core.function import Emit, Inlet, node, sink, source
from meridian.core.message import Message, MessageType
from meridian.core.node import Node
from meridian.core.policies import block, coalesce, drop, latest
from meridian.core.ports import Port, PortDirection, PortSpec
from meridian.core.runtime_plan import PriorityBand
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph, graph
from meridian.core.wiring import via
from meridian.engine.step import To

if TYPE_CHECKING:
    from meridian.nodes import *  # noqa: F403 - its __all__ is part of this one

_v1_paths.install()

__all__ = [
    "Edge",
    "Emit",
    "Inlet",
    "Message",
    "MessageType",
    "Node",
    "Port",
    "PortDirection",
    "PortSpec",
    "PriorityBand",
    "Scheduler",
    "SchedulerConfig",
    "Subgraph",
    "To",
    "block",
    "coalesce",
    "drop",
    "graph",
    "latest",
    "node",
    "sink",
    "source",
    "via",
]
__all__ += nodes.__all__

if not TYPE_CHECKING:  # type checkers would take every misspelt name for an Any

    def __getattr__(name: str) -> Any:
        """Load one of the ready-made nodes, and keep it."""
        if name not in nodes.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(nodes, name)
        return value

    def __dir__() -> list[str]:
        """Return the names there are, loaded or not."""
        return sorted({*globals(), *__all__})


# Names of this module that nobody is meant to import from it.
del TYPE_CHECKING, Any
