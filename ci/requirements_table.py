"""Writes docs/requirements.md: each requirement with everything that shows it.

    python ci/requirements_table.py            write the page
    python ci/requirements_table.py --check    exit code 1 if the page is out of date

Nothing is entered by hand. Rows come from the sources themselves, read as text and never imported:

- tests: `@pytest.mark.req("V4", "V7")` on a function or a class, or `pytestmark = pytest.mark.req(...)` in a module;
- benchmarks, stress scenarios and examples: a comment line `# req: V13 N4`;
- pages: a comment line `<!-- req: V12 -->`.

An id that REQUIREMENTS does not know is an error (exit code 2), so that a slip of the pen is not an empty claim.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci.generated_page import ids_of, write_or_check

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/requirements.md")

REQUIREMENTS = {
    "V1": "The public API of meridian-runtime 1.x: same imports, names, results, errors",
    "V2": "Asyncio-native scheduler; every hook may be plain or async",
    "V3": "Bounded typed edges with block, drop, latest, coalesce; depth never exceeds capacity",
    "V4": "Block loses nothing and never spins",
    "V5": "Several edges in and out of one port; none shadows another",
    "V6": "Bands with ratios: no starvation; CONTROL within one slice",
    "V7": "Each edge delivers first in, first out",
    "V8": "A run ends when its work is done or it is asked to; stop drains and reports",
    "V9": "An error in a hook is recorded, handled by policy, and stops nobody else",
    "V10": "Subgraphs compose and validate; an invalid graph is refused with every issue",
    "V11": "Built-in nodes and the node test harness; async sources and sinks",
    "V12": "Function nodes with typed ports; readable wiring",
    "V13": "Cost per message independent of idle nodes; an idle graph rests",
    "V14": "Limits by count, bytes, age; every loss counted; conservation at every instant",
    "V15": "Virtual clock, seeded schedule, injected faults for users' tests",
    "V16": "One message can be followed through the graph",
    "N1": "Command line and diagnostics",
    "N1.1": "Diagnostics bundle",
    "N1.2": "The bundle is redacted by default",
    "N1.3": "validate, lint, profile",
    "N1.4": "schema export, run, scaffold; --json and exit codes",
    "N2": "Rust fast path",
    "N2.1": "Ring, policies and ready queue in Rust",
    "N2.2": "Detected and used unasked; which engine, and why, is visible",
    "N2.3": "Falls back to Python with one event; same behaviour",
    "N3": "CPU topology",
    "N3.1": "CPUs, affinity and quota are detected and exported",
    "N3.2": "Affinity is opt-in and never makes start-up fail",
    "N4": "Disabled metrics cost nothing measurable, enabled ones little",
    "N5": "Profiling artefacts",
    "N6": "Terminal inspector",
    "N7": "Introspection API",
    "N8": "Schemas and validation behind one adapter",
    "N9": "Scheduler profiling and fairness strategies",
    "N10": "Persistence hooks",
    "N11": "Examples and recipes",
    "M1": "Visual inspector",
    "M2": "Pluggable edge storage",
    "M3": "Watermarks, adaptive coalescing, rate limits, time-to-live",
    "M4": "Graph versions and migration",
    "M5": "Replay and time travel",
    "M6": "Error policies",
    "M7": "Structured configuration",
    "L1": "Multi-process and distributed execution",
    "L1.1": "Partitions with stated delivery guarantees",
    "L1.2": "Bridge edges",
    "L1.3": "Graceful degradation of an isolated partition",
    "L2": "Adaptive scheduling and quality of service",
    "L3": "Formal models, checked in CI",
    "L4": "Encryption at rest, signed configuration, redaction as code",
    "L5": "Remote control plane",
    "X1": "Observability with stable keys",
    "X2": "One redaction engine; no payloads by default",
    "X3": "Benchmarks and published service levels",
    "X4": "API stability",
    "X5": "Conformance kit",
    "X6": "Decision records",
}

HEAD = """\
# Requirements

What Meridian promises, and what shows it. The table is generated from the marks in tests, benchmarks, examples and
pages by `ci/requirements_table.py` (`make fmt` writes it, a test holds it up to date). A requirement without a row is
not claimed.

| id | requirement | shown by |
| --- | --- | --- |
"""

COMMENT = re.compile(r"^\s*(?:#|<!--)\s*req:\s*([A-Z0-9., ]+?)\s*(?:-->)?\s*$", re.MULTILINE)


def marks_of(path: Path) -> Iterator[str]:
    """Yield every id that a test module is marked with."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                yield from ids_of(decorator, "req")
        elif isinstance(node, ast.Assign) and "pytestmark" in [
            ast.unparse(target) for target in node.targets
        ]:
            yield from ids_of(node.value, "req")


def comments_of(path: Path) -> Iterator[str]:
    """Yield every id in the `req:` comments of a file."""
    for match in COMMENT.finditer(path.read_text(encoding="utf-8")):
        yield from match.group(1).replace(",", " ").split()


def evidence(root: Path = ROOT) -> dict[str, list[str]]:
    """Return id -> the files that show it, as paths from the root, in order.

    Raises:
        ValueError: a file names ids that REQUIREMENTS does not know; all of them are in the message.
    """
    shown: dict[str, set[str]] = {}
    unknown: list[str] = []

    def enter(path: Path, ids: Iterator[str]) -> None:
        name = path.relative_to(root).as_posix()
        for requirement in ids:
            if requirement not in REQUIREMENTS:
                unknown.append(f"{name}: {requirement}")
            shown.setdefault(requirement, set()).add(name)

    for pattern in ("meridian/_tests/**/test_*.py", "conformance/**/test_*.py"):
        for path in root.glob(pattern):
            enter(path, marks_of(path))
    for pattern in ("asv_bench/**/*.py", "stress/**/*.py", "docs/examples/**/*.py", "docs/**/*.md"):
        for path in root.glob(pattern):
            if path.relative_to(root) != PAGE:
                enter(path, comments_of(path))
    if unknown:
        raise ValueError("unknown requirement ids: " + "; ".join(sorted(unknown)))
    return {requirement: sorted(shown[requirement]) for requirement in REQUIREMENTS if requirement in shown}


def page(root: Path = ROOT) -> str:
    """Return the text of docs/requirements.md."""
    rows = [
        f"| {requirement} | {REQUIREMENTS[requirement]} | {'<br>'.join(f'`{path}`' for path in paths)} |\n"
        for requirement, paths in evidence(root).items()
    ]
    return HEAD + "".join(rows)


def main(argv: list[str]) -> int:
    """Write or check the page; return the exit code."""
    return write_or_check(argv, __doc__, ROOT, PAGE, page)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
