"""Looking into a run: one typed snapshot, from any thread, and from other processes.

    from meridian.introspect import Watch, snapshot

    print(snapshot(scheduler).node("parse").doing)

Everything that shows a run stands on this: it says how things are and never changes them.
"""

from __future__ import annotations

from meridian.introspect.client import Client, attach
from meridian.introspect.errors import (
    BadAnswerError,
    ConnectionLostError,
    IntrospectionError,
    NoAnswerError,
    NoSocketError,
    NoSuchProcessError,
    NothingRunsError,
    NotPermittedError,
    OtherVersionError,
    ServeError,
)
from meridian.introspect.findings import RULES, Finding, Rule, find, find_unreachable
from meridian.introspect.look import Watch, snapshot
from meridian.introspect.model import (
    SCHEMA_VERSION,
    STUCK_S,
    BandSnapshot,
    CpuSnapshot,
    EdgeSnapshot,
    EngineSnapshot,
    EventsSnapshot,
    Frame,
    LoopSnapshot,
    NodeSnapshot,
    Percentiles,
    SchedulerSnapshot,
    Shares,
    Snapshot,
)
from meridian.introspect.profile import (
    MOST_POINTS,
    PROFILE_VERSION,
    ChainProfile,
    EdgeProfile,
    LookProfile,
    LoopProfile,
    NodeProfile,
    Profile,
    Recorder,
)
from meridian.introspect.server import Server, serve

__all__ = [
    "MOST_POINTS",
    "PROFILE_VERSION",
    "RULES",
    "SCHEMA_VERSION",
    "STUCK_S",
    "BadAnswerError",
    "BandSnapshot",
    "ChainProfile",
    "Client",
    "ConnectionLostError",
    "CpuSnapshot",
    "EdgeProfile",
    "EdgeSnapshot",
    "EngineSnapshot",
    "EventsSnapshot",
    "Finding",
    "Frame",
    "IntrospectionError",
    "LookProfile",
    "LoopProfile",
    "LoopSnapshot",
    "NoAnswerError",
    "NoSocketError",
    "NoSuchProcessError",
    "NodeProfile",
    "NodeSnapshot",
    "NotPermittedError",
    "NothingRunsError",
    "OtherVersionError",
    "Percentiles",
    "Profile",
    "Recorder",
    "Rule",
    "SchedulerSnapshot",
    "ServeError",
    "Server",
    "Shares",
    "Snapshot",
    "Watch",
    "attach",
    "find",
    "find_unreachable",
    "serve",
    "snapshot",
]
