"""Every exception Meridian raises, and who caused it.

::

    MeridianError            something went wrong, and Meridian is the one saying so
      GraphError             the declared graph is wrong; ``.issues`` lists everything, not just the first
      ConfigError            a setting is wrong; names the field, the value and what is allowed
      EdgeError              ``.edge`` names the edge
        PayloadError         a payload doesn't fit what the input port takes
        BackpressureError    no room, and the message was *not* accepted; ``.message`` gives it back
        ClosedError          you closed it (an inlet), then put on it
      PortError              a node has no such output; names those it has
      NodeError              a node's own code failed; ``.node``, ``.phase``; the original is ``__cause__``
      EngineError            the engine asked for can't be loaded

Wrong argument types and values stay ``TypeError``, ``ValueError`` and ``KeyError``: each class below also derives from
the builtin that a caller would already catch.

Texts never contain a payload: they name edges, nodes, ports, types and numbers. ``payload_free`` tells the redaction
layer that a text may be shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meridian.core.issues import ValidationIssue


class MeridianError(Exception):
    """Base of all errors that Meridian itself raises."""

    payload_free: ClassVar[bool] = True


class GraphError(MeridianError, ValueError):
    """The declared graph can't run.

    Attributes:
        issues: Every error and warning that was found, errors first.
    """

    def __init__(self, issues: Iterable[ValidationIssue]) -> None:
        self.issues = sorted(issues, key=lambda issue: issue.level != "error")
        errors = [issue for issue in self.issues if issue.level == "error"]
        noun = "error" if len(errors) == 1 else "errors"
        lines = "\n".join(f"  {issue.code}: {issue.message}" for issue in errors)
        super().__init__(f"the graph has {len(errors)} {noun}:\n{lines}")


class ConfigError(MeridianError, ValueError):
    """A setting has a value that can't be used."""


class EdgeError(MeridianError):
    """Something is wrong with one edge; ``edge`` is its id."""

    def __init__(self, edge: str, text: str) -> None:
        self.edge = edge
        super().__init__(text)


class PayloadError(EdgeError, TypeError):
    """A payload doesn't fit the schema of the input port that an edge leads to; it was not accepted.

    Args:
        edge: Id of the edge.
        given: Name of the payload's class, which is all that is said of it.
    """

    def __init__(self, edge: str, given: str) -> None:
        super().__init__(edge, f"edge {edge} refused {given}: it doesn't fit the schema of the input port")


class BackpressureError(EdgeError, RuntimeError):
    """An edge is full, the node already holds all the parked messages it may, and this one was *not* accepted.

    Catch it and emit the same message later, or let it escape the handler: the runtime then keeps the message it
    carries and delivers it before anything else of this node. Its text contains ``Backpressure``, as in v1.

    Attributes:
        edge: Id of the full edge.
        message: What was not accepted.
        node: Name of the emitting node.
        port: The output port.
    """

    def __init__(self, edge: str, capacity: int, node: str, port: str, message: Any) -> None:
        self.node = node
        self.port = port
        self.message = message
        super().__init__(edge, f"Backpressure: Edge {edge} is full (capacity: {capacity})")


class ClosedError(EdgeError, RuntimeError):
    """You closed this inlet, then put on it."""


class PortError(MeridianError, KeyError):
    """A node has no such output.

    Its text isn't shown in reports and logs: a port may have been computed from a payload.

    Args:
        node: Name of the node.
        port: The port that was asked for.
        outputs: Names of the outputs that there are.
    """

    payload_free: ClassVar[bool] = False

    def __init__(self, node: str, port: str, outputs: Iterable[str]) -> None:
        self.node = node
        self.port = port
        known = ", ".join(map(repr, outputs)) or "none"
        super().__init__(f"node {node!r} has no output {port!r}; its outputs: {known}")

    __str__ = Exception.__str__  # KeyError's would show the quoted text


class NodeError(MeridianError, RuntimeError):
    """A node's own code failed and its error policy says that the run must stop.

    Attributes:
        node: Name of the node.
        phase: The hook that failed: ``on_start``, ``on_message``, ``on_tick`` or ``on_stop``.
    """

    def __init__(self, node: str, phase: str, error: BaseException) -> None:
        self.node = node
        self.phase = phase
        super().__init__(f"node {node!r} failed in {phase} with {type(error).__name__}")


class EngineError(MeridianError, ImportError):
    """The engine that was asked for by name can't be used; says why and what to do."""
