"""``meridian scaffold``: a node or a subgraph to start from, with tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from meridian.cli.codes import Code, CommandError
from meridian.cli.streams import answer, write_json
from meridian.cli.target import current_folder
from meridian.scaffolding.files import Written, describe_failure, write_node, write_subgraph
from meridian.scaffolding.parsers.ports import parse_ports


def scaffold_node(
    name: str, package: str, folder: str, *,
    inputs: str, outputs: str, policy: str | None, tests: bool, force: bool, as_json: bool,
) -> Code:  # fmt: skip
    """Generate a node; return the exit code."""

    def write() -> Written:
        return write_node(
            name, package, parse_ports(inputs), parse_ports(outputs), folder,
            include_tests=tests, force=force, policy=policy,
        )  # fmt: skip

    return answer(None, as_json, lambda out: _write("node", write, as_json, out))


def scaffold_subgraph(
    name: str, package: str, folder: str, *, tests: bool, force: bool, as_json: bool
) -> Code:
    """Generate a subgraph; return the exit code."""

    def write() -> Written:
        return write_subgraph(name, package, folder, include_tests=tests, force=force)

    return answer(None, as_json, lambda out: _write("subgraph", write, as_json, out))


def _write(kind: str, write: Callable[[], Written], as_json: bool, out: TextIO) -> Code:
    current_folder()
    try:
        written = write()
    except (OSError, ValueError) as error:
        code = Code.FAILED if isinstance(error, OSError) else Code.USAGE
        raise CommandError(describe_failure(error), code=code) from error
    if as_json:
        write_json(out, None, {
            "kind": kind,
            "name": written.name,
            "module": written.module,
            "path": str(_shown(written.path)),
            "test": None if written.test is None else str(_shown(written.test)),
            "further": [str(_shown(path)) for path in written.further],
        })  # fmt: skip
        return Code.OK
    out.write(f"Created {kind}: {_shown(written.path)}\n")
    if written.test is not None:
        out.write(f"Created test: {_shown(written.test)}\n")
    out.writelines(f"Created: {_shown(path)}\n" for path in written.further)
    return Code.OK


def _shown(path: Path) -> Path:
    """Return ``path`` as seen from the current folder, if it is below it."""
    absolute, here = path.resolve(), Path.cwd().resolve()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else path
