"""What users declare and hold: messages, ports, policies, edges, nodes, graphs, the scheduler."""

from meridian.core.edge import Edge
from meridian.core.message import Message, MessageType
from meridian.core.node import Node
from meridian.core.policies import BackpressureStrategy, RetryPolicy, RoutingPolicy
from meridian.core.ports import Port, PortDirection, PortSpec
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph

__all__ = [
    "BackpressureStrategy",
    "Edge",
    "Message",
    "MessageType",
    "Node",
    "Port",
    "PortDirection",
    "PortSpec",
    "RetryPolicy",
    "RoutingPolicy",
    "Scheduler",
    "SchedulerConfig",
    "Subgraph",
]
