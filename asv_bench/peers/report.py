"""The results as a table in Markdown, as a plot, and as a record for the documentation."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from asv_bench.peers.contenders import BASE, CONTENDERS, OURS, UNITS, WORKLOADS
from asv_bench.peers.rounds import Row, base_of
from asv_bench.record import Table, source
from asv_bench.verdict import interval

COMMAND = "make bench-peers"
OUR_COLOUR, OTHERS_COLOUR = "#3f51b5", "#8a8fa3"
NOTE = (
    "Handlers that do real work shrink every ratio: see *work*. Figures of W3 are wall time, all others CPU time. "
    "Each is the median of rounds; in a round everyone runs once, in a fresh process. "
    "Costs are scaled by what a plain call took right before and after, and ratios made within a round."
)
SHORT = {
    "Meridian, Rust engine": "rust",
    "Meridian, Python engine": "python",
    "asyncio.Queue": "asyncio",
    "asyncio.Queue of lists": "lists",
    "anyio streams": "anyio",
    "meridian-runtime 1.2.0": "v1",
    "reactivex": "reactivex",
    "streamz": "streamz",
    "streamz with buffers": "streamz_buffers",
    "aiostream": "aiostream",
    "bytewax, batches of 64": "bytewax",
}
"""Names that values of the record have."""


def scaled(row: Row, ns: float) -> float:
    """Return a figure in the unit of its workload."""
    return ns / 1_000 if row.workload == "W3" else ns


def digits(value: float) -> str:
    """Lay a figure out with as many digits as it is worth."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def ranked(rows: list[Row], workload: str) -> list[Row]:
    """Return the rows of a workload that have figures, the fastest first."""
    return sorted((row for row in rows if row.workload == workload and row.calls), key=lambda row: row.ns)


def table_of(rows: list[Row], workload: str) -> Table:
    """Lay one workload out: who has figures by speed, then who hasn't, with the reason."""
    base = base_of(rows, workload)
    columns = [
        "",
        f"{UNITS[workload]}:",
        *(["p99:"] if workload == "W3" else []),
        f"times as fast as {BASE}:",
        "95 % of medians:",
    ]
    laid = []
    for row in ranked(rows, workload):
        name = f"**{row.contender.name}**" if row.contender.environment == OURS else row.contender.name
        times = row.times(base)
        low, high = interval(times) if times else (0.0, 0.0)
        laid.append([
            name,
            digits(scaled(row, row.ns)),
            *([digits(scaled(row, row.p99_ns))] if workload == "W3" else []),
            digits(median(times)) if times else "–",
            f"{digits(low)} to {digits(high)}" if times else "–",
        ])  # fmt: skip
    return Table(columns, laid)


def reasons(rows: list[Row]) -> Table:
    """List who was not measured in what, or failed later, and why."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.failed:
            by_reason.setdefault((row.contender.name, row.failed), []).append(row.workload)
    return Table(
        ["not measured", "workloads", "why"],
        [[name, ", ".join(workloads), why] for (name, why), workloads in by_reason.items()],
    )


def traits(rows: list[Row]) -> Table:
    """Say what each contender has and lacks, with its version."""
    versions = {row.contender.name: row.version for row in rows if row.version}
    return Table(
        ["", "version", "when the next one is slower", "has and lacks"],
        [
            [each.name, _version(each.package, versions.get(each.name, "")), each.full, each.has]
            for each in CONTENDERS
        ],
    )


def _version(package: str, version: str) -> str:
    return f"Python {version}".strip() if package == "python" else version or "–"


def others(rows: list[Row]) -> dict[str, str]:
    """Return the versions of the packages that were measured beside Meridian."""
    return {
        "meridian-runtime"
        if row.contender.name == "meridian-runtime 1.2.0"
        else row.contender.package: row.version
        for row in rows
        if row.version and row.contender.environment != OURS and row.contender.package != "python"
    }


def values(rows: list[Row]) -> dict[str, Any]:
    """Return the figures by workload and contender: ``W1.rust.times``, ``W3.python.p99``."""
    found: dict[str, Any] = {}
    for row in rows:
        if not row.calls:
            continue
        figures: dict[str, Any] = {"median": float(f"{scaled(row, row.ns):.4g}"), "rounds": len(row.calls)}
        figures["spread"] = [float(f"{scaled(row, end):.4g}") for end in row.spread_ns]
        if row.p99_calls:
            figures["p99"] = float(f"{scaled(row, row.p99_ns):.4g}")
        if times := row.times(base_of(rows, row.workload)):
            figures["times"] = float(f"{median(times):.3g}")
        found.setdefault(row.workload, {})[SHORT[row.contender.name]] = figures
    return found


def markdown(rows: list[Row], record: dict[str, Any], partial: bool) -> str:
    """Lay everything out as a page."""
    parts = ["# Meridian beside its peers", source(record)]
    if partial:
        parts.insert(1, f"**Partial: it ended after {max(len(row.calls) for row in rows)} rounds.**")
    for workload, what in WORKLOADS.items():
        if ranked(rows, workload):
            parts += [f"## {workload}: {what}", table_of(rows, workload).markdown()]
    parts += [
        "## Who they are",
        traits(rows).markdown(),
        NOTE,
    ]  # fmt: skip
    if (why := reasons(rows)).rows:
        parts += ["## Not measured", why.markdown()]
    return "\n\n".join(parts) + "\n"


def panel_of(panel: Any, rows: list[Row], workload: str) -> None:
    """Draw one workload: a dot for each contender on a log scale, the fastest on top, with the spread of its median."""
    from matplotlib.ticker import NullFormatter

    shown = ranked(rows, workload)[::-1]
    for at, row in enumerate(shown):
        middle = scaled(row, row.ns)
        low, high = (scaled(row, end) for end in row.spread_ns)
        colour = OUR_COLOUR if row.contender.environment == OURS else OTHERS_COLOUR
        panel.axhline(at, color="#eeeeee", linewidth=1, zorder=0)
        panel.errorbar(
            middle, at, xerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]], fmt="o", color=colour,
            markersize=7, elinewidth=1.5, capsize=3,
        )  # fmt: skip
        panel.annotate(
            digits(middle), (max(middle, high), at), xytext=(8, 0), textcoords="offset points",
            va="center", fontsize=8, color="#333333",
        )  # fmt: skip
    panel.set_yticks(range(len(shown)), [row.contender.name for row in shown])
    for label, row in zip(panel.get_yticklabels(), shown, strict=True):
        label.set_fontweight("bold" if row.contender.environment == OURS else "normal")
    panel.set_xscale("log")
    if shown:
        everything = [scaled(row, end) for row in shown for end in row.spread_ns]
        panel.set_xlim(min(everything) / 1.6, max(everything) * 4)
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_title(f"{workload}  {WORKLOADS[workload]}", fontsize=9.5, loc="left")
    panel.set_xlabel(f"{UNITS[workload]} (less is better)", fontsize=8.5)
    panel.tick_params(labelsize=8.5)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", which="major", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)


def plot(rows: list[Row], record: dict[str, Any], partial: bool, path: Path) -> None:
    """Draw a panel for each workload, and one with the conditions."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    mpl.rcParams["svg.hashsalt"] = "meridian"  # the same figures give the same file
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(3, 2, figsize=(12, 11), layout="constrained")
    *panels, notes = grid.flat
    for panel, workload in zip(panels, WORKLOADS, strict=True):
        panel_of(panel, rows, workload)
    notes.axis("off")
    machine = record["machine"]
    told = [
        f"{record['date']}, {record['command']}",
        f"{machine['system']}, {machine['cpus']} CPUs ({machine['cpu']})",
        *([f"load {machine['load']}"] if machine["load"] is not None else []),
        *(f"{name} {version}" for name, version in record["versions"].items()),
        "",
        "Dots: medians of rounds. Lines: where such a median",
        "lies 19 times out of 20. The scale is logarithmic.",
        "Handlers that do real work shrink every ratio: see work.",
    ]
    notes.text(0.02, 0.98, "\n".join(told), va="top", fontsize=9, color="#333333", linespacing=1.5)
    title = "Meridian beside its peers" + (" (PARTIAL)" if partial else "")
    figure.suptitle(title, fontsize=13, x=0.02, ha="left")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=130)
    pyplot.close(figure)
