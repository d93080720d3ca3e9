"""``meridian compare``: what changed between two reports, snapshots or profiles, and what got worse."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from rich.console import Console
from rich.text import Text

from meridian.cli.codes import Code, CommandError
from meridian.cli.profile_table import duration, percent
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import MOST_ROWS, Column, console_for, print_table, say_more
from meridian.introspect.comparison import (
    METRICS,
    MOST_BYTES,
    SAME_WITHIN,
    Change,
    Comparison,
    ComparisonError,
    Measured,
    SideComparison,
    compare,
    measure,
)
from meridian.redaction import redactor


class Wishes(NamedTuple):
    """The options of the command.

    Attributes:
        fail_over: By how many percent something may get worse; ``None`` for no limit.
        same_within: What differs by so many percent or less is the same; ``None`` for `SAME_WITHIN`.
        metrics: What to compare; all, if it is empty.
        as_json: One JSON object.
    """

    fail_over: str | None = None
    same_within: str | None = None
    metrics: Sequence[str] = ()
    as_json: bool = False


def compare_files(before: Path, after: Path, wishes: Wishes) -> Code:
    """Compare two files; return the exit code."""
    return answer(None, wishes.as_json, lambda out: _compare(before, after, wishes, out))


def _compare(before: Path, after: Path, wishes: Wishes, out: TextIO) -> Code:
    limit = None if wishes.fail_over is None else _share("--fail-over", wishes.fail_over)
    same_within = SAME_WITHIN
    if wishes.same_within is not None:
        same_within = _share("--same-within", wishes.same_within)
        if limit is not None and same_within > limit:
            raise CommandError(
                f"--same-within {wishes.same_within} is above --fail-over {wishes.fail_over}: what is the same can't fail"
            )
    for metric in wishes.metrics:
        if metric.partition(".")[0] not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(METRICS)}"
            raise CommandError(f"--metric {metric}: there is no such metric: {hint}")
    try:
        made = compare(_read(before), _read(after), limit=limit, only=wishes.metrics, same_within=same_within)
    except ComparisonError as error:
        raise CommandError(str(error)) from None
    if wishes.as_json:
        write_json(out, None, made.as_dict())
    else:
        _show(made, console_for("stdout"))
    return Code.OK if made.passed else Code.FAILED


def _share(option: str, text: str) -> float:
    """Return a share that was written as a percentage."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})? ?%?", text):
        raise CommandError(f"{option} {text!r} is no percentage: give one such as 10%")
    return float(text.rstrip(" %")) / 100


def _read(file: Path) -> Measured:
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"can't read {str(file)!r}: {error.strerror or error}") from None
    if len(text) > MOST_BYTES:
        raise CommandError(
            f"{str(file)!r} is longer than {MOST_BYTES:,} bytes: it is no report, snapshot or profile"
        )
    return measure(text, str(file))


def _show(made: Comparison, console: Console) -> None:
    shown = redactor().text
    for letter, side in (("A", made.before), ("B", made.after)):
        console.print(Text(shown(f"{letter}  {_side(side)}")), soft_wrap=True)
    for what, names in (
        ("gone", (*made.nodes_gone, *made.edges_gone)),
        ("new", (*made.nodes_new, *made.edges_new)),
        ("not compared, as several are called so", (*made.nodes_unmatched, *made.edges_unmatched)),
    ):
        if names:
            more = f" and {len(names) - MOST_ROWS:,} more" if len(names) > MOST_ROWS else ""
            listed = shown(f"{what}: {', '.join(names[:MOST_ROWS])}{more}")
            console.print(Text(listed, style="bold yellow"), soft_wrap=True)
    console.print()
    changes = made.changes[:MOST_ROWS]
    if changes:
        columns = [
            Column("What", [each.metric for each in changes]),
            Column("Of", [each.name or each.of for each in changes]),
            Column("A", [_value(each, each.before) for each in changes]),
            Column("B", [_value(each, each.after) for each in changes]),
            Column("Change", [_change(each) for each in changes]),
            Column("", [_verdict(each) for each in changes]),
        ]
        print_table(console, columns)
        say_more(console, len(made.changes), "changes")
    else:
        console.print(Text("nothing changed"))
    if made.limit is not None:
        n = sum(each.over for each in made.changes)
        said = (
            (f"nothing got worse by more than {percent(made.limit)}", "bold green")
            if made.passed
            else (
                f"failed: {f'{n:,}' if n else 'nothing'} got worse by more than {percent(made.limit)}",
                "bold red",
            )
        )
        gone = len(made.nodes_gone) + len(made.edges_gone)
        unmatched = len(made.nodes_unmatched) + len(made.edges_unmatched)
        console.print(
            Text.assemble(
                said,
                f", {gone:,} gone" if gone else "",
                f", {unmatched:,} not compared" if unmatched else "",
            ),
            soft_wrap=True,
        )


def _side(side: SideComparison) -> str:
    version = "" if side.meridian is None else f", Meridian {side.meridian}"
    return (
        f"{side.name}: {side.kind} of {duration(side.seconds)}, {side.status}, engine {side.engine}{version}"
    )


def _value(change: Change, value: float) -> str:
    if change.unit == "s":
        return duration(value)
    if change.unit == "share":
        return f"{value * 100:.3g} %"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def _change(change: Change) -> str:
    if change.change is None:
        return "from nothing"
    if change.change > 1:
        return f"× {change.change + 1:,.3g}"
    return f"{'+' if change.change > 0 else '−'}{percent(abs(change.change))}"


def _verdict(change: Change) -> str:
    if change.same:
        return "same"
    if change.worse is None:
        return ""
    return ("worse, over the limit" if change.over else "worse") if change.worse else "better"
