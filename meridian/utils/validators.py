"""v1's second name for `meridian.utils.validation`; the same objects."""

from __future__ import annotations

from meridian.utils.validation import (
    Issue,
    PydanticAdapter,
    SchemaValidator,
    validate_connection,
    validate_graph,
    validate_ports,
)

__all__ = [
    "Issue",
    "PydanticAdapter",
    "SchemaValidator",
    "validate_connection",
    "validate_graph",
    "validate_ports",
]

__path__: list[str] = []  # v1's inner modules, see `meridian._v1_paths`
