"""``python -m meridian.scaffolding.generate_subgraph``: a subgraph to start from; exit codes as for nodes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from meridian.scaffolding.files import create_subgraph_files
from meridian.scaffolding.parsers.names import snake_case
from meridian.scaffolding.templates.subgraph import (
    generate_subgraph_template,
    generate_subgraph_test_template,
)

__all__ = [
    "create_subgraph_files",
    "generate_subgraph_template",
    "generate_subgraph_test_template",
    "main",
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
        prog="python -m meridian.scaffolding.generate_subgraph",
        description="Generate a subgraph to start from.",
    )
    parser.add_argument("--name", required=True, help="class name in PascalCase, such as OrderFlow")
    parser.add_argument("--package", default="subgraphs", help="dotted package to write to (%(default)s)")
    parser.add_argument("--dir", default="src/meridian-runtime", help="folder of the package (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace a subgraph and a test that are there")
    parser.add_argument("--include-tests", action="store_true", help="write a test, too")
    given = parser.parse_args(argv)
    if not create_subgraph_files(
        given.name, given.package, given.dir, include_tests=given.include_tests, force=given.force
    ):
        raise SystemExit(1)
    print(f"Generated: {given.package}.{snake_case(given.name)}.{given.name}")
    print(f"Successfully generated subgraph {given.name}")


if __name__ == "__main__":
    main()
