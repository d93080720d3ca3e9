"""Runs the graph of ``graph.py`` on a web-server log and reports what came out, and what happened on the way.

::

    python demo.py                                  a generated sample
    python demo.py --log FILE                       your own log; - for the standard input
    python demo.py --log FILE --follow              and what is still to be written, until Ctrl-C
    python demo.py --log FILE --json                one JSON object on stdout
    python demo.py --log FILE --follow --inspect    look at it meanwhile: meridian top

Exit status: 0 done; 1 the input or the database failed on the way; 2 wrong usage, or the log can't be opened;
130 interrupted by SIGINT, 143 by SIGTERM, in both cases after everything read so far was worked off and reported.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from graph import AccessLog, Results, StoreError, build

from meridian import Scheduler
from meridian.core.errors import NodeError
from meridian.observability import configure
from meridian.runtime.report import RunReport

DONE, FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


# ---- what happened, in numbers ---------------------------------------------------------------------------------------


def summary(graph: AccessLog, report: RunReport, unread: int | None, error: str | None) -> dict[str, Any]:
    """Return everything that is worth telling, ready for JSON.

    Args:
        graph: The graph after its run.
        report: What the runtime says about that run.
        unread: Bytes of the file that the graph did not get to, where that is known.
        error: What went wrong, or ``None``.
    """
    results, elapsed = graph.results, max(report.elapsed_s, 1e-9)
    messages = sum(edge.delivered for edge in report.edges)
    return {
        "lines": results.lines,
        "parsed": results.parsed,
        "rejected": results.rejected.total(),
        "rejected_by_reason": dict(sorted(results.rejected.items())),
        "status": {str(code): n for code, n in sorted(results.status.items())},
        "bytes": results.bytes,
        "unique_hosts": len(results.hosts),
        "regions": dict(sorted(results.regions.items())),
        "lookups": results.lookups,
        "rows_stored": graph.store.stored,
        "rows_not_stored": graph.store.unstored,
        "elapsed_s": round(elapsed, 6),
        "lines_per_s": round(results.lines / elapsed, 1),
        "messages": messages,
        "messages_per_s": round(messages / elapsed, 1),
        "ended": report.reason,
        "error": error,
        "unread_bytes": unread,
        "left": report.left,
        "edges": [
            {
                "id": edge.id,
                "policy": edge.policy,
                "capacity": edge.capacity,
                "accepted": edge.accepted,
                "delivered": edge.delivered,
                "depth": edge.depth,
                "lost": sum(edge.lost.values()),
                "lost_by_cause": edge.lost,
                "merged": edge.merged,
                "waited_s": round(edge.blocked_s, 6),
            }
            for edge in report.edges
        ],
        "nodes": [
            {
                "name": each.name,
                "handled": each.handled,
                "errors": each.errors,
                "busy_s": round(each.busy_s, 6),
            }
            for each in report.nodes
        ],
    }


# ---- and in words ----------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """A title, a head, and rows; columns are aligned to the right where the head ends in ``>``."""

    title: str
    head: list[str]
    rows: list[list[str]]


def words(found: dict[str, Any], results: Results) -> Iterator[str | Table]:
    """Yield the report for a person: sentences and tables."""
    yield (
        f"{found['lines']:,} lines in {found['elapsed_s']:.2f} s: {found['lines_per_s']:,.0f} lines/s, "
        f"{found['messages_per_s']:,.0f} messages/s over {len(found['edges'])} edges"
    )
    yield (
        f"{found['parsed']:,} requests from {found['unique_hosts']:,} hosts, {found['bytes']:,} bytes sent, "
        f"{found['rejected']:,} lines rejected."
    )
    yield (
        f"{found['rows_stored']:,} rows stored in SQLite; {found['lookups']:,} hosts looked up, eight at a time."
    )
    yield Table("Status", ["status", "requests>"], [[code, f"{n:,}"] for code, n in found["status"].items()])
    if found["rejected"]:
        yield Table(
            "Rejected lines",
            ["reason", "lines>", "first at line>"],
            [
                [why, f"{n:,}", f"{results.first_rejected[why]:,}"]
                for why, n in results.rejected.most_common()
            ],
        )
    yield Table(
        "Heaviest paths",
        ["path", "bytes>"],
        [[shown(path), f"{size:,}"] for path, size in results.bytes_by_path.most_common(8)],
    )
    yield Table(
        "Edges: accepted = delivered + left + lost + merged",
        ["edge", "policy", "accepted>", "delivered>", "left>", "lost>", "merged>", "held up>"],
        [
            [
                edge["id"],
                f"{edge['policy']} {edge['capacity']:,}",
                f"{edge['accepted']:,}",
                f"{edge['delivered']:,}",
                f"{edge['depth']:,}",
                ", ".join(f"{n:,} {cause}" for cause, n in edge["lost_by_cause"].items()) or "0",
                f"{edge['merged']:,}",
                f"{edge['waited_s']:.2f} s",
            ]
            for edge in found["edges"]
        ],
    )
    yield from slowest(found)
    if found["ended"] != "finished":
        left = sum(found["left"].values())
        yield f"Stopped early ({found['ended']}): {left:,} messages were left on edges" + (
            f", {found['unread_bytes']:,} bytes of the file were not read."
            if found["unread_bytes"] is not None
            else "."
        )


def slowest(found: dict[str, Any]) -> Iterator[str]:
    """Say what held the rest up: a full edge in front of it is the sign; else who worked most."""
    if not found["lines"]:
        return
    busiest = max(found["nodes"], key=lambda each: each["busy_s"])
    # Being held up travels against the stream: a full edge whose consumer is not itself held up points at the cause.
    full = [edge for edge in found["edges"] if edge["waited_s"] >= 0.1 * found["elapsed_s"]]
    held_up = {edge["id"].partition(":")[0] for edge in full}
    causes = [edge for edge in full if edge["id"].partition("->")[2].partition(":")[0] not in held_up]
    if causes:
        edge = max(causes, key=lambda each: each["waited_s"])
        name = edge["id"].partition("->")[2].partition(":")[0]
        yield (
            f"Slowest part: {name}. Its edge was full for {edge['waited_s']:.2f} s of {found['elapsed_s']:.2f} s; "
            "what feeds it was paused meanwhile, and lost nothing."
        )
    yield f"Busiest node: {busiest['name']}, {busiest['busy_s']:.2f} s of computing."
    for edge in found["edges"]:
        if edge["policy"] == "latest" and edge["lost"]:
            yield (
                f"The dashboard saw {edge['delivered']:,} of {edge['accepted']:,} requests, always the newest: "
                "it is slow, and a latest edge lets it be."
            )


def shown(text: str, most: int = 72) -> str:
    """Make text from a log fit for a terminal: one line, nothing invisible, not too long."""
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return text if len(text) <= most else text[: most - 1] + "…"


def print_words(found: dict[str, Any], results: Results) -> None:
    """Print the report: with rich where that is installed, plainly otherwise."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text
    except ImportError:
        print_plain(found, results)
        return
    tty = sys.stdout.isatty()
    console = Console(width=None if tty else 120, force_terminal=None if tty else False, highlight=False)
    with console.capture() as written:  # to print it ourselves: rich makes a failure of a closed pipe
        for i, part in enumerate(words(found, results)):
            if isinstance(part, str):
                console.print(Text(part), style="bold" if i == 0 else "")
                continue
            table = RichTable(
                title=part.title,
                title_justify="left",
                title_style="bold",
                box=box.SIMPLE_HEAD,
                show_edge=False,
            )
            for name in part.head:
                table.add_column(
                    name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold"
                )
            for row in part.rows:
                table.add_row(*map(Text, row))
            console.print()
            console.print(table)
            console.print()
    print(written.get(), end="")


def print_plain(found: dict[str, Any], results: Results) -> None:
    """Print the report as text in columns."""
    for part in words(found, results):
        if isinstance(part, str):
            print(part)
            continue
        widths = [max(len(cell) for cell in column) for column in zip(part.head, *part.rows, strict=True)]
        print(f"\n{part.title}")
        for row in [[name.rstrip(">") for name in part.head], *part.rows]:
            cells = [
                cell.rjust(width) if name.endswith(">") else cell.ljust(width)
                for cell, name, width in zip(row, part.head, widths, strict=True)
            ]
            print("  " + "  ".join(cells).rstrip())
        print()


@contextmanager
def dashboard() -> Iterator[Callable[[Results], None] | None]:
    """Give a function that draws the results on the terminal; ``None`` where there is no terminal, or no rich."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        yield None
        return
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def draw(results: Results) -> None:
            codes = "  ".join(f"{code}: {n:,}" for code, n in sorted(results.status.items()))
            text = f"{results.lines:,} lines  {results.rejected.total():,} rejected  {len(results.hosts):,} hosts\n{codes}"
            live.update(Text(text), refresh=True)

        yield draw


# ---- the command -----------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parse_arguments(argv)
    if options.log is not None and (problem := cannot_read(options.log)):
        complain(problem)
        return USAGE
    configure("WARN", stream=sys.stderr)  # stdout belongs to the report
    graph = build(options.log, follow=options.follow, capacity=options.capacity, db=options.db or "")
    code, error = DONE, None
    scheduler = Scheduler(inspect=options.inspect or None)  # without the option, MERIDIAN_INSPECT decides
    with dashboard() as draw:
        graph.show = draw
        scheduler.register(graph)
        try:
            scheduler.run()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except NodeError as failed:
            code, error = FAILED, explain(failed, graph)
    report = scheduler.report()
    assert report is not None  # there was a run
    if graph.results.read_error is not None:
        code, error = FAILED, f"reading the log failed: {graph.results.read_error}"
    if code == DONE and report.errors_total:
        code, error = FAILED, f"{report.errors_total:,} failures in nodes; the records above say where"
    if code == DONE and report.reason == "shutdown":
        code = TERMINATED
    if error is not None:
        complain(error)
    found = summary(graph, report, unread_bytes(options.log, graph.results), error)
    if options.json:
        print(json.dumps(found))
    else:
        print_words(found, graph.results)
    sys.stdout.flush()
    return code


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the options; ends the program, status 2, if they make no sense."""
    parser = argparse.ArgumentParser(description="A web-server log through a Meridian graph.")
    parser.add_argument(
        "--log", metavar="FILE", help="a log in combined format, - for stdin (default: a generated sample)"
    )
    parser.add_argument("--follow", action="store_true", help="go on when the file grows, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the report")
    parser.add_argument(
        "--capacity", metavar="N", type=int, default=1024, help="of every blocking edge (default: 1024)"
    )
    parser.add_argument(
        "--db", metavar="FILE", help="append the requests to this SQLite file (default: a temporary one)"
    )
    parser.add_argument(
        "--inspect", action="store_true", help="let meridian top and its like look at the run from outside"
    )
    options = parser.parse_args(argv)
    if options.capacity < 1:
        parser.error(f"--capacity {options.capacity}: at least 1")
    if options.follow and options.log is None:
        parser.error("--follow needs --log FILE: the sample doesn't grow")
    return options


def cannot_read(log: str) -> str | None:
    """Say why the log can't be read, or return ``None``."""
    if log == "-":
        return None
    try:
        if stat.S_ISDIR(os.stat(log).st_mode):
            return f"{log}: is a directory"
    except OSError as error:
        return f"{log}: {error.strerror}"
    return None if os.access(log, os.R_OK) else f"{log}: Permission denied"


def unread_bytes(log: str | None, results: Results) -> int | None:
    """Return how much of a regular file did not get into the graph."""
    if log is None or log == "-":
        return None
    try:
        there = os.stat(log)
    except OSError:
        return None
    return max(0, there.st_size - results.split_bytes) if stat.S_ISREG(there.st_mode) else None


def explain(failed: NodeError, graph: AccessLog) -> str:
    """Say what stopped the run."""
    if isinstance(failed.__cause__, StoreError):
        stored, unstored = graph.store.stored, graph.store.unstored
        return f"{failed.__cause__}; {stored:,} rows are stored, {unstored:,} that had been read are not"
    return str(failed)


def complain(text: str) -> None:
    """Say on stderr what is wrong."""
    print(f"access_log: {text}", file=sys.stderr)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # they are text files here
    try:
        status = main()
    except BrokenPipeError:  # `demo.py | head`: nobody wants the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = DONE
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
