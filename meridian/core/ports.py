"""The typed ends of an edge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from meridian.core.schema import compile_schema


class PortDirection(str, Enum):
    """Which way messages pass a port; compares equal to its name."""

    INPUT = "INPUT"
    OUTPUT = "OUTPUT"

    __str__ = Enum.__str__
    __format__ = Enum.__format__  # pyright: ignore[reportAssignmentType]  # Enum's own, instead of str's


class SchemaValidator(Protocol):
    """Anything that can be asked whether a value fits."""

    def __call__(self, value: Any, /) -> bool:
        """Return whether ``value`` fits."""
        ...


@dataclass(frozen=True, slots=True)
class PortSpec:
    """What a port carries.

    Attributes:
        name: Name of the port.
        schema: A type, a tuple or union of types, a parameterised generic, a TypedDict, ``Any``, or ``None`` for
            anything. Applies to DATA only. A schema that means nothing is reported when the graph is validated.
        policy: Kept for v1; has no effect.
    """

    name: str
    schema: Any = None
    policy: str | None = None

    def validate(self, value: Any) -> bool:
        """Return whether ``value`` fits the schema.

        Raises:
            TypeError: the schema itself can't be used.

        Cost: one ``isinstance`` for a class, O(n) for a parameterised container.
        """
        check = compile_schema(self.schema)
        return check is None or check.passes(value)


@dataclass(frozen=True, slots=True)
class Port:
    """A named input or output of a node.

    Attributes:
        name: Unique among the node's ports of this direction.
        direction: INPUT or OUTPUT.
        index: Kept for v1; has no effect and is not checked.
        spec: What the port carries, or ``None`` for anything.
    """

    name: str
    direction: PortDirection
    index: Any = None
    spec: PortSpec | None = None

    def is_input(self) -> bool:
        """Return whether this is an input."""
        return self.direction == PortDirection.INPUT

    def is_output(self) -> bool:
        """Return whether this is an output."""
        return self.direction == PortDirection.OUTPUT
