"""The history as one page that needs no network and no server: asv's own pages load their scripts from elsewhere.

A row for each case: its last figure, what became of it since the commit before, and its course over the commits.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from asv_bench.tally import cases_of

WIDTH, HEIGHT = 220, 28


@dataclass(frozen=True, slots=True)
class Point:
    """A figure.

    Attributes:
        value: The figure.
        low: Its interval's lower end; the figure itself where asv has none.
        high: And the upper end.
    """

    value: float
    low: float
    high: float


@dataclass(slots=True)
class Course:
    """What one machine and environment measured.

    Attributes:
        where: Machine and environment.
        commits: Full hash and time in seconds of each, the oldest first.
        units: By benchmark.
        figures: By the name of a case, then by commit.
    """

    where: str
    commits: list[tuple[str, float]] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[str, Point]] = field(default_factory=dict)

    def unit(self, case: str) -> str:
        return self.units[case.partition("(")[0]]


def read(results: Path, commits: Sequence[str]) -> list[Course]:
    """Read asv's result files.

    Args:
        results: Their folder.
        commits: Whose figures, the oldest first.
    """
    from asv.results import iter_results
    from asv.util import load_json

    place = {commit: i for i, commit in enumerate(commits)}
    known = results / "benchmarks.json"
    benchmarks = load_json(str(known)) if known.exists() else {}
    courses: dict[str, Course] = {}
    for result in iter_results(str(results)):
        commit = result.commit_hash
        if commit not in place:
            continue
        where = f"{result.params['machine']}, {result.env_name}"
        course = courses.setdefault(where, Course(where))
        course.commits.append((commit, result.date / 1000))
        for name in result.get_all_result_keys():
            if result.benchmark_version.get(name) != benchmarks.get(name, {}).get("version"):
                continue  # there is no such benchmark any more, or it measures something else now
            course.units[name] = benchmarks[name]["unit"]
            params = result.get_result_params(name)
            values, stats = result.get_result_value(name, params), result.get_result_stats(name, params)
            for case, value, spread in zip(cases_of(name, params), values, stats, strict=True):
                if value is not None and math.isfinite(value):
                    low, high = (spread or {}).get("ci_99_a"), (spread or {}).get("ci_99_b")
                    point = Point(value, value if low is None else low, value if high is None else high)
                    course.figures.setdefault(case.name, {})[commit] = point
    for course in courses.values():
        course.commits.sort(key=lambda each: place[each[0]])
    return [courses[where] for where in sorted(courses)]


def shown(value: float, unit: str) -> str:
    """Return a figure as people write it."""
    if unit == "seconds":
        for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
            if value * factor >= 1:
                return f"{value * factor:.3g} {name}"
        return f"{value * 1e9:.3g} ns"
    if unit == "bytes":
        return f"{value / 1e6:.3g} MB" if value >= 1e6 else f"{value:,.0f} B"
    return f"{value:.3g} {unit}"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a figure.

    Attributes:
        before: The figure before.
        after: The one now.
    """

    before: Point
    after: Point

    @property
    def ratio(self) -> float:
        return self.after.value / self.before.value if self.before.value else math.nan

    @property
    def clear(self) -> bool:
        """The two intervals don't meet; a figure without an interval has to move by a tenth."""
        if self.before.low == self.before.high or self.after.low == self.after.high:
            return abs(self.ratio - 1) > 0.1
        return self.after.low > self.before.high or self.after.high < self.before.low


def changes(course: Course, before: str, after: str, factor: float) -> dict[str, Change]:
    """Return what changed clearly, and by more than a factor, between two commits: by case, the largest ratio first."""
    found = {
        name: Change(by_commit[before], by_commit[after])
        for name, by_commit in course.figures.items()
        if before in by_commit and after in by_commit
    }
    told = {
        name: each for name, each in found.items() if each.clear and not 1 / factor <= each.ratio <= factor
    }
    return dict(sorted(told.items(), key=lambda each: -each[1].ratio))


def drawn(points: Mapping[int, Point], commits: int) -> str:
    """Return a line through the figures, by the place of their commits; from 0 to the largest."""
    most = max(point.value for point in points.values()) or 1.0
    step = WIDTH / max(1, commits - 1)
    at = [(4 + i * step, 4 + HEIGHT * (1 - point.value / most)) for i, point in sorted(points.items())]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in at)
    return (
        f'<svg width="{WIDTH + 8}" height="{HEIGHT + 8}" role="img"><polyline points="{line}"/>{dots}</svg>'
    )


STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; } td, th { padding: 2px 8px; text-align: left; border-bottom: 1px solid #ddd; }
td.figure { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.up { color: #b00020; } .down { color: #1b7f3b; } .partial { background: #fff3cd; padding: 4px 8px; }
svg polyline { fill: none; stroke: #3b6ea5; } svg circle { fill: #3b6ea5; } code { font-size: 13px; }
"""


HEAD = f"""<!doctype html><html lang=en><meta charset=utf-8><title>Meridian: history</title><style>{STYLE}</style>
<h1>Meridian: figures over commits</h1>
<p>Less is better for times and bytes, more for ratios (x). A change has a colour where the intervals of the two figures don't
meet (without intervals: beyond 10 %). Figures of different machines and environments stand apart. <a href="index.html">asv's own
pages</a> show the same in more detail; they need a network, and <code>asv preview</code> to serve them.</p>
"""


def _table(course: Course, partial: Mapping[str, str]) -> Iterable[str]:
    order = {commit: i for i, (commit, _) in enumerate(course.commits)}
    yield f"<h2>{html.escape(course.where)}</h2><p>Commits, the oldest first: "
    yield ", ".join(
        f"<code>{commit[:8]}</code> ({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
        f"{'; partial: ' + html.escape(partial[commit]) if commit in partial else ''})"
        for commit, at in course.commits
    )
    yield "</p><table><tr><th>case<th>last figure<th>change<th>course, from 0</tr>"
    for name, by_commit in sorted(course.figures.items()):
        points = {order[commit]: point for commit, point in by_commit.items()}
        sequence = [point for _, point in sorted(points.items())]
        text = kind = ""
        if len(sequence) > 1:
            last = Change(sequence[-2], sequence[-1])
            text = f"{last.ratio - 1:+.1%}"
            kind = ("up" if last.ratio > 1 else "down") if last.clear else ""
        unit = course.unit(name)
        yield (
            f"<tr><td>{html.escape(name)}<td class=figure>{html.escape(shown(sequence[-1].value, unit))}"
            f'<td class="figure {kind}">{text}<td>{drawn(points, len(order))}</tr>'
        )
    yield "</table>"


def write(path: Path, courses: Sequence[Course], partial: Mapping[str, str]) -> int:
    """Write the page; return how many cases have a figure on it."""
    parts = [HEAD]
    if partial:
        parts.append('<p class="partial">Partial: of some commits only a part was measured; they say so.</p>')
    if not courses:
        parts.append("<p>Nothing was measured yet.</p>")
    for course in courses:
        parts += _table(course, partial)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(parts), encoding="utf-8")
    return sum(len(course.figures) for course in courses)
