"""What validation finds."""

from __future__ import annotations

from typing import Final, NamedTuple


class ValidationIssue(NamedTuple):
    """One finding about a graph.

    Attributes:
        level: ``"error"`` refuses the run, ``"warning"`` doesn't.
        code: Stable upper-case id, such as ``NO_SRC_PORT``.
        message: The place, the value, and the fix, in one sentence.
    """

    level: str
    code: str
    message: str


class IssueOfEdge(ValidationIssue):
    """An issue that is about one edge; equal to one that only says the same.

    Attributes:
        edge: Its id, within the whole plan.
    """

    edge: str = ""


FIXES: Final[dict[str, str]] = {
    "BAD_CAP": "Give it a capacity of at least 1; 64 or more lets its ends work in batches.",
    "BAD_EXPOSE_IN": "Name a node and an input of it that are there: expose_input(name, (node, input)).",
    "BAD_EXPOSE_OUT": "Name a node and an output of it that are there: expose_output(name, (node, output)).",
    "BAD_LIMIT": "Give max_bytes or max_age_s above 0, or leave it out.",
    "BAD_SCHEMA": "Annotate the port with a type, a union of types, a generic of them, or nothing.",
    "CYCLE": "Give one edge of the cycle a policy that makes room, or make sure that less goes round than one edge holds.",
    "DUP_EDGE": "Connect the two ports once; a second node of the same function has its own ports.",
    "DUP_NODE": "Give each node a name of its own: add_node(node, name=...), function.named(...), or another object.",
    "NO_DST_PORT": "Connect to one of the inputs it has, or give it this one.",
    "NO_SRC_PORT": "Connect from one of the outputs it has, or give it this one.",
    "SCHEMA_MISMATCH": "Put a node between them that converts, or change one of the two annotations.",
    "UNKNOWN_NODE": "Add the node to this graph before the edge, or mend the name.",
}
"""What to do about each code."""
