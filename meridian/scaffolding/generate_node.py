"""``python -m meridian.scaffolding.generate_node``: a node to start from.

Exit codes: 0, and what was created on stdout; 1, and a line that begins with ``Error:``; 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from meridian.scaffolding.files import create_node_files
from meridian.scaffolding.parsers.names import snake_case
from meridian.scaffolding.parsers.ports import parse_ports
from meridian.scaffolding.templates.node import (
    POLICIES,
    generate_node_template,
    generate_node_test_template,
    generate_test_template,
)

__all__ = [
    "create_node_files",
    "generate_node_template",
    "generate_node_test_template",
    "generate_test_template",
    "main",
    "parse_ports",
    "snake_case",
]


def main(argv: Sequence[str] | None = None) -> None:
    """Generate what the command line says.

    Args:
        argv: What follows the command; what this process was started with by default.

    Raises:
        SystemExit: 1 if nothing could be generated.
    """
    parser = argparse.ArgumentParser(
        prog="python -m meridian.scaffolding.generate_node", description="Generate a node to start from."
    )
    parser.add_argument("--name", required=True, help="class name in PascalCase, such as OrderFilter")
    parser.add_argument("--package", default="nodes", help="dotted package to write to (%(default)s)")
    parser.add_argument("--inputs", default="", help='inputs, such as "a:int,b:dict[str, int]"')
    parser.add_argument("--outputs", default="", help="outputs, written like inputs")
    parser.add_argument("--dir", default="src/meridian-runtime", help="folder of the package (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace a node and a test that are there")
    parser.add_argument("--include-tests", action="store_true", help="write a test, too")
    parser.add_argument("--policy", help=f"overflow policy to recommend: {', '.join(POLICIES)}")
    given = parser.parse_args(argv)
    try:
        inputs, outputs = parse_ports(given.inputs), parse_ports(given.outputs)
    except ValueError as error:
        print(f"Error: {error}")
        raise SystemExit(1) from None
    if not create_node_files(
        given.name, given.package, inputs, outputs, given.dir,
        include_tests=given.include_tests, force=given.force, policy=given.policy,
    ):  # fmt: skip
        raise SystemExit(1)
    print(f"Generated: {given.package}.{snake_case(given.name)}.{given.name}")
    print(f"Successfully generated node {given.name}")


if __name__ == "__main__":
    main()
