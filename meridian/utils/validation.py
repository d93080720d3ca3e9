"""Checks of ports, graphs, connections and payloads that answer with issues instead of raising.

Real `Node` and `Subgraph` objects are checked by what they are; a subgraph's findings are those of its own
``validate()``. Everything else is checked by the attributes it has, as v1 did, so that stand-ins keep working.

Texts name types, ports and numbers, never a payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from meridian.redaction import class_name, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meridian.core.node import Node
    from meridian.core.subgraph import Subgraph

__all__ = [
    "Issue",
    "PydanticAdapter",
    "SchemaValidator",
    "validate_connection",
    "validate_graph",
    "validate_ports",
]

ERROR = "error"
WARNING = "warning"


@dataclass
class Issue:
    """One finding.

    Attributes:
        severity: ``"error"`` or ``"warning"`` (or another level that a graph's own validation uses).
        message: What is wrong.
        location: Where; one step, or several from the outside in.
    """

    severity: str
    message: str
    location: str | tuple[str, ...]

    def is_error(self) -> bool:
        """Return whether this must be mended."""
        return self.severity == ERROR

    def is_warning(self) -> bool:
        """Return whether this should be looked at."""
        return self.severity == WARNING


@runtime_checkable
class SchemaValidator(Protocol):
    """Whoever can say whether a payload fits a model."""

    def validate_payload(self, model: Any, payload: Any) -> Issue | None:
        """Return what is wrong with ``payload``, or ``None``."""
        ...


def _is_real(value: object, cls: type) -> bool:
    # By the real class: a mock with a specification claims to be an instance, and has none of the structure.
    return issubclass(type(value), cls)


# --- ports ---------------------------------------------------------------------------------------------------------


def validate_ports(node: Any) -> list[Issue]:
    """Check the ports of a node.

    A real `Node`: every port has a name of its own within its side, and faces the right way. A stand-in: ``inputs`` and
    ``outputs``, where they are methods, return dicts whose keys are strings.
    """
    from meridian.core.node import Node

    if _is_real(node, Node):
        return _check_node(cast("Node", node))
    return _check_stand_in(node)


def _check_node(node: Node) -> list[Issue]:
    issues: list[Issue] = []
    for side, ports in (("input", node.inputs), ("output", node.outputs)):
        location = f"node:{node.name}:{side}s"
        seen: set[str] = set()
        for name, port in _named(ports):
            if not isinstance(name, str) or not name.strip():
                issues.append(
                    Issue(ERROR, f"Port name must be string and not blank, not {type_name(name)}", location)
                )
                continue
            if name in seen:
                issues.append(Issue(ERROR, f"Duplicate port name: {name}", location))
            seen.add(name)
            # Ports of generated v1 nodes are bare specifications, which face nowhere.
            direction = getattr(port, "direction", None)
            if direction is not None and direction != side.upper():
                issues.append(
                    Issue(ERROR, f"Port {name} is among the {side}s but faces the other way", location)
                )
    return issues


def _named(ports: Any) -> Iterable[tuple[object, object]]:
    if isinstance(ports, Mapping):
        return cast("Mapping[object, object]", ports).items()
    return [(getattr(port, "name", None), port) for port in ports]


def _check_stand_in(node: Any) -> list[Issue]:
    issues: list[Issue] = []
    location = "node"
    try:
        location = f"node:{node.__class__.__name__}"
        for side in ("inputs", "outputs"):
            method = getattr(node, side, None)
            if not callable(method):
                continue
            ports = method()
            if not isinstance(ports, dict):
                issues.append(
                    Issue(ERROR, f"{side}() must return a dict, not {type_name(ports)}", f"{location}:{side}")
                )
                continue
            issues.extend(
                Issue(ERROR, f"Port name must be string, not {type_name(key)}", f"{location}:{side}")
                for key in cast("dict[object, object]", ports)
                if not isinstance(key, str)
            )
    except Exception as error:  # noqa: BLE001  # a stranger's code; it becomes a finding
        issues.append(Issue(ERROR, f"Failed to validate ports: {class_name(type(error))}", location))
    return issues


# --- graphs --------------------------------------------------------------------------------------------------------


def validate_graph(subgraph: Any) -> list[Issue]:
    """Check a graph.

    A real `Subgraph`: the findings of its ``validate()``. A stand-in: names of ``_nodes`` are unique, capacities of
    ``_edges`` positive, names of ``_exposed_inputs`` and ``_exposed_outputs`` not blank (a warning).
    """
    from meridian.core.subgraph import Subgraph

    if _is_real(subgraph, Subgraph):
        real = cast("Subgraph", subgraph)
        location = f"subgraph:{real.name}"
        return [Issue(found.level, f"{found.code}: {found.message}", location) for found in real.validate()]
    issues: list[Issue] = []
    try:
        # One after the other: what was found before an attribute that can't be read is kept.
        _check_names(subgraph, issues)
        _check_capacities(subgraph, issues)
        _check_exposed(subgraph, issues)
    except Exception as error:  # noqa: BLE001  # a stranger's code; it becomes a finding
        issues.append(Issue(ERROR, f"Failed to validate graph: {class_name(type(error))}", "subgraph"))
    return issues


def _check_names(subgraph: Any, issues: list[Issue]) -> None:
    seen: set[object] = set()
    for node in _values(getattr(subgraph, "_nodes", ())):
        if not hasattr(node, "name"):
            continue
        if node.name in seen:
            issues.append(Issue(ERROR, f"Duplicate node name: {node.name}", ("subgraph", "nodes")))
        seen.add(node.name)


def _check_capacities(subgraph: Any, issues: list[Issue]) -> None:
    for edge in _values(getattr(subgraph, "_edges", ())):
        if not hasattr(edge, "capacity"):
            continue
        capacity = edge.capacity
        if not isinstance(capacity, int):
            issues.append(
                Issue(
                    ERROR, f"Edge capacity must be positive, not {type_name(capacity)}", ("subgraph", "edges")
                )
            )
        elif capacity <= 0:
            issues.append(
                Issue(ERROR, f"Edge capacity must be positive, not {capacity}", ("subgraph", "edges"))
            )


def _check_exposed(subgraph: Any, issues: list[Issue]) -> None:
    for side in ("inputs", "outputs"):
        for name in getattr(subgraph, f"_exposed_{side}", ()):
            if not isinstance(name, str) or not name.strip():
                text = f"Exposed {side[:-1]} has no name: {type_name(name)}"
                issues.append(Issue(WARNING, text, ("subgraph", f"exposed_{side}")))


def _values(things: Any) -> Iterable[Any]:
    return cast("Mapping[object, Any]", things).values() if isinstance(things, Mapping) else things


# --- connections and payloads --------------------------------------------------------------------------------------


def validate_connection(src_spec: Any, dst_spec: Any) -> Issue | None:
    """Check that a connection has a specification at both ends.

    Whether the two fit each other is checked where the graph is known, in ``Subgraph.validate()``.
    """
    if src_spec is None or dst_spec is None:
        return Issue(ERROR, "Port specifications cannot be None", "connection")
    return None


class PydanticAdapter:
    """Checks payloads with pydantic, where it is installed."""

    _pydantic: Any

    def __init__(self) -> None:
        try:
            import pydantic
        except ImportError:
            self._pydantic = None
        else:
            self._pydantic = pydantic

    def validate_payload(self, model: Any, payload: Any) -> Issue | None:
        """Return what is wrong with ``payload``, or ``None``.

        Args:
            model: A pydantic model, or any type that pydantic understands.
            payload: The value; it doesn't show in the issue, and neither does pydantic's text, which would quote it.
        """
        if self._pydantic is None:
            return Issue(
                WARNING, "Pydantic not available: pip install 'meridian-runtime[schemas]'", "payload"
            )
        try:
            if hasattr(model, "model_validate"):
                model.model_validate(payload)
            else:
                self._pydantic.TypeAdapter(model).validate_python(payload)
        except Exception as error:  # noqa: BLE001  # validators are user code; it becomes a finding
            return Issue(ERROR, f"Schema validation failed: {class_name(type(error))}", "payload")
        return None
