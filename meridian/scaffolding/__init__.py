"""Source text of nodes and subgraphs to start from, with tests.

::

    parsers/            what names, ports and types on the command line mean, and what is wrong with them
    templates/          source text
    files               where it is written
    generate_node       python -m meridian.scaffolding.generate_node
    generate_subgraph   python -m meridian.scaffolding.generate_subgraph

What is generated runs as it is, and its tests pass. ``meridian scaffold`` is the same with ``--json`` and the exit codes of
the other commands.
"""

from meridian.scaffolding.files import create_node_files, create_subgraph_files
from meridian.scaffolding.parsers.names import snake_case
from meridian.scaffolding.parsers.ports import parse_ports
from meridian.scaffolding.templates.node import generate_node_template, generate_node_test_template
from meridian.scaffolding.templates.subgraph import (
    generate_subgraph_template,
    generate_subgraph_test_template,
)

generate_test_template = generate_node_test_template
"""v1's other name of it; `meridian.scaffolding.generate_node.generate_test_template` is another function."""

__all__ = [
    "create_node_files",
    "create_subgraph_files",
    "generate_node_template",
    "generate_node_test_template",
    "generate_subgraph_template",
    "generate_subgraph_test_template",
    "generate_test_template",
    "parse_ports",
    "snake_case",
]
