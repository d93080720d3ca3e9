"""Writes docs/reference/v1-index.md: each quirk and each defect of meridian-runtime 1.2.0 with the tests about it.

    python ci/v1_index.py            write the page
    python ci/v1_index.py --check    exit code 1 if the page is out of date

Nothing is entered by hand but what an id means. Rows come from the marks in the tests, `@pytest.mark.v1("L3", "D5")` on a
function or a class, or `pytestmark = pytest.mark.v1(...)` in a module, read as text and never imported. An id that is not
known is an error (exit code 2).
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci.generated_page import ids_of, write_or_check

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/reference/v1-index.md")

QUIRKS = {
    "L1": "`run()` returns by itself with endless tickers, at the first quiet moment after `shutdown_timeout_s`",
    "L2": 'a full edge that refuses an emit raises `RuntimeError` with "Backpressure" in its text: not accepted',
    "L3": "`Edge.try_put` without policy is Latest; direct puts from hooks and threads are noticed by the run",
    "L4": "raw items are wrapped as CONTROL or DATA, by the edge's band",
    "L5": '`str(MessageType.DATA)` is `"MessageType.DATA"`, while `MessageType.DATA == "DATA"`',
    "L6": "`emit` on an unattached node returns the very same message",
    "L7": "`inputs` and `outputs` are re-assigned or extended after construction; dict ports",
    "L8": "the third positional argument of `Port` may be a `PortSpec`",
    "L9": "public hooks are overridden without `super()`",
    "L10": "a duplicate node is a `ValueError` when the run begins",
    "L11": "the harness and all built-in nodes work with plain calls, without an event loop",
    "L12": "`__version__` consists of digits and dots",
    "L13": "the text of generated code",
    "L14": "`validate_ports` and `validate_graph` on stand-ins, with exact numbers of issues",
    "L15": "the keys of metrics; a loop latency without labels that any run observes",
    "L16": "the default namespace of metrics is `meridian-runtime`",
    "L17": "`Subgraph.edges` and `.nodes` are plain and mutable until `run()`",
    "L18": "`Edge(...)` takes a bad capacity, which `validate()` reports",
    "L19": "the first tick comes one interval after the start; every node with a tick hook ticks",
    "L20": "`shutdown()` from another thread ends a run in a worker thread soon",
    "L21": "`Node` and `Node.with_ports` are usable without subclassing",
    "L22": "private metric attributes of a node may be `None`",
    "L23": "a CONTROL band set before `register` counts; at most 25 DATA deliveries between two CONTROL ones",
    "L24": "a short run with the development configuration shows itself in logs, metrics and spans",
}

DEFECTS = {
    "D1": "a message was lost when backpressure left the handler",
    "D2": "the first overflow stalled the whole graph",
    "D3": "an emit reached some edges of a port and not others",
    "D4": "of several edges into one input only the last was read",
    "D5": "a connected edge without policy was Latest instead of Block",
    "D6": "Latest discarded the newest item instead of the oldest",
    "D7": "Coalesce got messages instead of payloads, and lost both sides when it raised",
    "D8": "a raising handler lost its message without a policy; backpressure counted as an error",
    "D9": "schemas were applied to CONTROL and ERROR",
    "D10": "the capacity was exceeded at zero and between threads",
    "D11": "a raw `None` was lost",
    "D12": "`connect` took anything as policy",
    "D13": "one message per input and slice, whatever `max_batch_per_node` said",
    "D14": "no round robin within a band",
    "D15": "the fairness ratio had no effect; bands starved",
    "D16": "a node with messages waiting never ticked",
    "D17": "CONTROL messages had no priority of their own",
    "D18": "each turn of the loop looked at every node",
    "D19": "the end of a run was measured from its start",
    "D20": "a shutdown before the loop was forgotten",
    "D21": "a stop abandoned what was queued, silently",
    "D22": "an idle graph polled",
    "D23": "a failing tick was repeated at once, for ever",
    "D24": "a node whose start failed went on running",
    "D25": "nodes stopped in reverse registration order, and without having been started",
    "D26": "`async def` hooks were never awaited",
    "D27": "`set_capacity` before a run had no effect",
    "D28": "an emit that led nowhere was silent; one after a run filled the edge",
    "D29": "`StopIteration` leaked from `connect`",
    "D30": "two nodes of one name went unnoticed",
    "D31": "an alias broke the routing",
    "D32": "a run validated nothing; no schema check, no exposed ports, no nesting",
    "D33": "schemas other than classes raised at the first message",
    "D34": "inert enums and wrong policies failed at the first emit",
    "D35": "comparison by value of edges, nodes and graphs; headers were the caller's own dict",
    "D36": "`log_json=False` was ignored",
    "D37": "loggers fetched early kept their old configuration",
    "D38": "`with_context` dropped most keys",
    "D39": "logging raised on a field that is not JSON",
    "D40": "the trace broke at each hop, and stayed behind after a run",
    "D41": "logging and tracing had two trace contexts",
    "D42": "the tracer kept every span for ever, without parents, times or sampling",
    "D43": "metrics were bound when a node was made; disabling them had no effect",
    "D44": "counts did not add up; no exposition; the blocked time was the duration of a call",
    "D45": "one warning per dropped message",
    "D46": "a tracing provider that could not be had went unnoticed",
    "D47": "`configure_observability` was not where the FAQ imports it from",
    "D48": "the validators saw nothing in real graphs",
    "D49": "generated code did not work",
    "D50": "the version was 0.0.0, and unneeded packages were required",
    "D51": "error messages carried the payload",
    "D52": "built-in nodes took an item before it was accepted downstream",
    "D53": 'failures were logged as "user function not configured"',
    "D54": "transformed messages lost trace and headers",
    "D55": "producers called their source twice and sent one item per tick",
    "D56": "`BatchConsumer` called its handler with `None` on ERROR and did not flush at the stop",
    "D57": "a raising predicate raised under every error policy",
    "D58": "`Router` dropped silently",
    "D59": "`EventAggregator` kept keys for ever and lost windows whose function failed",
    "D60": "`WorkerPool` had no workers",
    "D61": "`AsyncWorker` got stuck, let CONTROL overtake, and lost work at the stop",
    "D62": "FIFO eviction behaved as LRU",
    "D63": "`BufferNode` flushed at the first tick",
    "D64": "`FileReaderNode` emitted partial lines, repeated chunks, and did not notice truncation",
    "D65": "`HttpClientNode` ignored the charset and blocked the run",
    "D66": "associated data of `EncryptionNode` bound nothing; short keys passed",
    "D67": "the queue of `ThrottleNode` was unbounded",
    "D68": "`RetryNode` took a full output for a failing handler",
    "D69": "`TimeoutNode` dropped what came while a job ran",
    "D70": "`WindowNode` lost its open window at the end",
}

KNOWN = QUIRKS | DEFECTS

HEAD = """\
# Quirks and defects of 1.x

What programs written for meridian-runtime 1.2.0 lean on, and what was wrong there; each with the tests that hold Meridian
to it. The tables are generated from the marks in the tests by `ci/v1_index.py` (`make fmt` writes them, a test holds them
complete and up to date). What this means for a program is told in [Upgrade from 1.x](../how-to/upgrade-from-v1.md).
"""


def tests_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (id, name of the test) for each mark of a test module; a module's own mark counts for each of its tests."""
    module = ast.parse(path.read_text(encoding="utf-8"), str(path))

    def walk(body: list[ast.stmt], inherited: list[str]) -> Iterator[tuple[str, str]]:
        inherited = [*inherited]
        for node in body:
            if isinstance(node, ast.Assign) and "pytestmark" in map(ast.unparse, node.targets):
                inherited += ids_of(node.value, "v1")
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own = [id for decorator in node.decorator_list for id in ids_of(decorator, "v1")]
                if isinstance(node, ast.ClassDef):
                    yield from walk(node.body, [*inherited, *own])
                elif node.name.startswith("test"):
                    for id in [*inherited, *own]:
                        yield id, node.name

    return walk(module.body, [])


def evidence(root: Path = ROOT) -> dict[str, list[tuple[str, str]]]:
    """Return id -> the tests about it as (file, name), in order; every known id is there, if only with an empty list.

    Raises:
        ValueError: tests name ids that are not known; all of them are in the message.
    """
    shown: dict[str, set[tuple[str, str]]] = {id: set() for id in KNOWN}
    unknown: list[str] = []
    for pattern in ("meridian/_tests/**/test_*.py", "conformance/**/test_*.py"):
        for path in root.glob(pattern):
            name = path.relative_to(root).as_posix()
            for id, test in tests_of(path):
                if id in KNOWN:
                    shown[id].add((name, test))
                else:
                    unknown.append(f"{name}::{test}: {id}")
    if unknown:
        raise ValueError("unknown quirks or defects: " + "; ".join(sorted(unknown)))
    return {id: sorted(tests) for id, tests in shown.items()}


def page(root: Path = ROOT) -> str:
    """Return the text of the page."""
    shown = evidence(root)

    def table(ids: dict[str, str], head: str) -> str:
        rows = []
        for id, what in ids.items():
            by_file: dict[str, list[str]] = {}
            for file, test in shown[id]:
                by_file.setdefault(file.removeprefix("meridian/_tests/"), []).append(
                    test.removeprefix("test_").replace("_", " ")
                )
            tests = "<br>".join(f"`{file}`: {'; '.join(names)}" for file, names in by_file.items())
            rows.append(f"| {id} | {what} | {tests or 'none yet'} |\n")
        return f"| id | {head} | held by |\n| --- | --- | --- |\n{''.join(rows)}"

    return (
        f"{HEAD}\n## Kept\n\n{table(QUIRKS, 'what programs lean on')}"
        f"\n## Mended\n\n{table(DEFECTS, 'what was wrong in 1.2.0')}"
    )


def main(argv: list[str]) -> int:
    """Write or check the page; return the exit code."""
    return write_or_check(argv, __doc__, ROOT, PAGE, page)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
