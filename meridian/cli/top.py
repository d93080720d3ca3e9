"""``meridian top``: a running process as a picture that moves, or once as tables or JSON."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.text import Text

from meridian.cli.codes import Code, CommandError
from meridian.cli.process import choose, connect, inspected, refused
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import MOST_ROWS, Column, console_for, print_table
from meridian.inspect import columns
from meridian.inspect.reader import Reader, presentable, presentable_finding
from meridian.inspect.summary import headline, numbers, stuck
from meridian.introspect import Client, Finding, IntrospectionError, Snapshot, find, find_unreachable

if TYPE_CHECKING:
    from meridian.observability.events import Batch

INSTALL = "pip install 'meridian-runtime[tui]'"


def once(
    pid: int | None, path: str | None, interval_s: float, target: str | None = None, *, as_json: bool
) -> Code:
    """Look at a process twice and write what there is; return the exit code.

    Args:
        pid: What ``--pid`` says.
        path: What ``--socket`` says.
        interval_s: Seconds between the two looks.
        target: The graph that lints are of, too, or ``None``.
        as_json: One JSON object instead of tables.
    """

    def body(out: TextIO) -> Code:
        lints = _lints(target)
        return _once(choose(pid, path), interval_s, lints, out, as_json=as_json)

    return answer(None, as_json, body)


def _lints(target: str | None) -> tuple[Finding, ...]:
    """Return what is wrong with a graph as it was declared; mere notes are left out."""
    if target is None:
        return ()
    from meridian.cli.lint import lints_of

    return tuple(
        Finding(each.rule, each.level, each.node, each.edge, each.what, each.why, each.fix)
        for each in lints_of(target)
        if each.level != "note"
    )


def _once(
    place: int | Path, interval_s: float, lints: Sequence[Finding], out: TextIO, *, as_json: bool
) -> Code:
    try:
        with connect(place) as client:
            before, now, batch = _look_twice(client, interval_s)
    except CommandError as failure:
        failure.extra["snapshots"] = []
        if isinstance(error := failure.__cause__, IntrospectionError):
            found = find_unreachable(place if isinstance(place, int) else None, error)
            failure.extra["findings"] = [{"run": None, **found.as_dict()}]
            if (
                failure.code is Code.FAILED and not as_json
            ):  # it is there; why it says nothing is worth more than that it does
                _show_findings(console_for("stdout"), (found,))
        raise
    earlier = {shot.run: shot for shot in before}
    findings = {shot.run: find(shot, earlier.get(shot.run)) for shot in now}
    if as_json:
        said = {
            "pid": client.pid,
            "snapshots": [shot.as_dict() for shot in now],
            "findings": [{"run": run, **each.as_dict()} for run, found in findings.items() for each in found],
            "lints": [each.as_dict() for each in lints],
            "events": [event.as_dict() for event in batch.events],
            "events_missed": batch.missed,
        }
        write_json(out, None, said)
        return Code.OK
    console = console_for("stdout")
    _show(now, findings, console, client.pid)
    _show_findings(console, lints)
    return Code.OK


def _look_twice(
    client: Client, interval_s: float
) -> tuple[tuple[Snapshot, ...], tuple[Snapshot, ...], Batch]:
    """Return both looks, since rates and recent shares are those between them, and the events so far."""
    try:
        before = client.snapshots()
        if before:
            time.sleep(interval_s)
        now, batch = client.look()
        # A run that ends meanwhile closes the socket: what was seen of it is told then.
        return before, now or before, batch
    except IntrospectionError as error:
        raise refused(error) from error


def _show(
    shots: Sequence[Snapshot], findings: Mapping[str, Sequence[Finding]], console: Console, pid: int
) -> None:
    if not shots:
        console.print(Text(f"process {pid} lets itself be looked at; no run is under way in it"))
    for shot in map(presentable, shots):
        console.print(Text(f"{headline(shot)}\n{numbers(shot)}", style="bold"))
        if shot.loop.stuck:
            console.print(Text(stuck(shot), style="bold red"))
        _show_findings(console, findings[shot.run])
        _show_table(console, columns.NODES, shot.nodes)
        _show_table(console, columns.EDGES, shot.edges)


def _show_findings(console: Console, findings: Sequence[Finding]) -> None:
    for finding in map(presentable_finding, findings):
        style = "bold red" if finding.severity == "error" else "yellow"
        console.print(Text(f"{finding.severity} [{finding.rule}] {finding.what}", style=style))
        console.print(Text(f"  why: {finding.why}\n  fix: {finding.fix}"))


def _show_table(console: Console, wanted: Sequence[columns.Column[Any]], rows: Sequence[Any]) -> None:
    if not rows:
        return
    console.print()
    print_table(console, [Column(each.head, [each.text(row) for row in rows[:MOST_ROWS]]) for each in wanted])
    if len(rows) > MOST_ROWS:
        console.print(Text(f"and {len(rows) - MOST_ROWS:,} more: --json lists them all"))


def watch(pid: int | None, path: str | None, interval_s: float, target: str | None = None) -> Code:
    """Show a process until somebody quits; return the exit code. What is asked for is said at `once`."""
    return answer(None, False, lambda _: _watch(_finder(pid, path), interval_s, target))


def is_terminal() -> bool:
    """Say whether somebody sits in front of it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _finder(pid: int | None, path: str | None) -> Callable[[], Sequence[int | Path]]:
    if pid is not None or path is not None:
        place = choose(pid, path)
        return lambda: (place,)
    inspected()  # what can't work is said before there is a picture
    return inspected


def _watch(find: Callable[[], Sequence[int | Path]], interval_s: float, target: str | None) -> Code:
    if not is_terminal():
        raise CommandError(
            "stdin or stdout is no terminal: meridian top --once writes tables, --json an object"
        )
    if (term := os.environ.get("TERM", "")) in ("", "dumb", "unknown"):
        raise CommandError(f"TERM={term or '(not set)'} can't show pictures: use meridian top --once")
    try:
        from meridian.inspect.app import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise CommandError(
            f"the package textual is missing: {INSTALL}; or use meridian top --once", code=Code.MISSING
        ) from None
    lints = tuple(map(presentable_finding, _lints(target)))
    top = Top(Reader(find), interval_s, lints)
    top.run()
    return Code.FAILED if top.return_code else Code.OK
