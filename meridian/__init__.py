"""Meridian: a composable, asyncio-native graph runtime.

The house, from the bottom up; imports point down only::

    core/            what you declare: message, ports, policies, edge, node, function nodes, subgraph; and the scheduler
    engine/          the kernel: rings, ready queue, steps (no asyncio, no clock, no logging)
    runtime/         one run: validation, plan, slices, asynchronous work, signals, report
    observability/   logs, metrics, traces
    redaction/       what may leave the process
    nodes/ testing/  written on the public API
    cli/             the command line
"""

from meridian import _v1_paths
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

__version__ = "2.0.0"

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
