"""A profile as tables: what matters first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from meridian.cli.tables import MOST_ROWS, Column, print_table, say_more
from meridian.inspect.words import fill
from meridian.introspect.profile import ChainProfile, EdgeProfile, NodeProfile, Profile
from meridian.redaction import redactor

CURVE = 24
"""Cells of a curve in a table."""

MOST_FRAMES = 8
"""So many calls of a stack are shown, the innermost ones; ``--json`` has them all."""

ENDS = {
    "run ended": "the run ended",
    "interrupted": "interrupted",
    "process ended": "the process ended, or let go of the connection",
    "no answer": "the process didn't answer any more",
}


def by_weight(profile: Profile) -> tuple[list[NodeProfile], list[EdgeProfile]]:
    """Return nodes and edges, what matters first: the busiest node, the edge that loses most or is fullest."""
    nodes = sorted(profile.nodes, key=lambda node: (-node.busy_s, -node.blocked_s, -node.errors))
    edges = sorted(
        profile.edges,
        key=lambda edge: (-sum(edge.lost.values()), -edge.full, -edge.blocked_s, -edge.fill, -edge.delivered),
    )
    return nodes, edges


def show_profile(profile: Profile, console: Console) -> None:
    """Print a profile."""
    _headline(profile, console)
    nodes, edges = by_weight(profile)
    shown = redactor().text
    for finding in profile.findings:
        style = "bold red" if finding.severity == "error" else "yellow"
        console.print()
        console.print(
            Text(shown(f"{finding.severity} [{finding.rule}] {finding.what}"), style=style), soft_wrap=True
        )
        console.print(Text(shown(f"  why: {finding.why}\n  fix: {finding.fix}")), soft_wrap=True)
    if profile.chains:
        console.print()
        print_table(console, _chains(profile.chains[:MOST_ROWS], profile.looks.n))
        say_more(console, len(profile.chains), "chains")
    if nodes:
        console.print()
        print_table(console, _nodes(nodes[:MOST_ROWS]))
        say_more(console, len(nodes), "nodes")
    if edges:
        console.print()
        print_table(console, _edges(edges[:MOST_ROWS]))
        say_more(console, len(edges), "edges")
    console.print()
    _loop(profile, console)


def _headline(profile: Profile, console: Console) -> None:
    looks = profile.looks
    parts: list[str | tuple[str, str]] = [
        ("profile", "bold"),
        f" of run {profile.run} on engine {profile.engine.name}: {duration(profile.window_s)}",
    ]
    if profile.end in ENDS:
        parts.append(
            (
                f" of {duration(profile.wanted_s)}: {ENDS[profile.end]}",
                "bold yellow" if profile.partial else "",
            )
        )
    if profile.partial:
        parts.append((", partial", "bold yellow"))
    if profile.reason is not None:
        parts.append(f" ({profile.reason})")
    console.print(Text.assemble(*parts), soft_wrap=True)
    share = "" if looks.share is None else f", {percent(looks.share)} of the time"
    measured = "of processor time" if looks.measured == "cpu" else "until they were answered, at most"
    console.print(Text(f"{looks.n:,} looks took {duration(looks.total_s)} {measured}{share}"), soft_wrap=True)


def _nodes(nodes: Sequence[NodeProfile]) -> list[Column]:
    shares = [node.shares for node in nodes]
    return [
        Column("Node", [node.name for node in nodes]),
        Column("Busy", ["" if each is None else percent(each.busy) for each in shares]),
        Column("Blocked", ["" if each is None else percent(each.blocked) for each in shares]),
        Column("Idle", ["" if each is None else percent(each.idle) for each in shares]),
        Column("Handled/s", [_whole(node.handled_per_s) for node in nodes]),
        Column(
            "Produced/s",
            [_whole(node.produced_per_s) for node in nodes],
            any(node.produced for node in nodes),
        ),
        Column(
            "Each", ["" if node.per_message_s is None else duration(node.per_message_s) for node in nodes]
        ),
        Column("Errors", [node.errors for node in nodes], any(node.errors for node in nodes)),
        Column("Doing", [_mostly(node.doing) for node in nodes]),
    ]


def _mostly(doing: dict[str, int]) -> str:
    """Return what a node was doing at most looks, and how much of them where it did something else, too."""
    what, n = next(iter(doing.items()))
    return what if len(doing) == 1 else f"{what} {percent(n / sum(doing.values()))}"


def _edges(edges: Sequence[EdgeProfile]) -> list[Column]:
    most = max(edge.depth_most for edge in edges)
    return [
        Column("Edge", [edge.id for edge in edges]),
        Column("Per second", [_whole(edge.delivered_per_s) for edge in edges]),
        Column("Depth", [f"{edge.depth_least:,}–{edge.depth_median:,}–{edge.depth_most:,} of {edge.capacity:,}" for edge in edges]),
        Column("Full", [percent(edge.full) for edge in edges]),
        Column("Over time", [curve(edge.depths, max(edge.capacity, 1)) for edge in edges], most > 0),
        Column(
            "Blocked", [duration(edge.blocked_s) for edge in edges], any(edge.blocked_s for edge in edges)
        ),
        Column(
            "Longest wait",
            ["" if edge.wait_age_s is None else duration(edge.wait_age_s) for edge in edges],
            any(edge.wait_age_s is not None for edge in edges),
        ),
        Column(
            "Hop p99",
            ["" if edge.hop_s is None else duration(edge.hop_s.p99) for edge in edges],
            any(edge.hop_s is not None for edge in edges),
        ),
        Column("Merged", [edge.merged for edge in edges], any(edge.merged for edge in edges)),
        Column("Lost", [", ".join(f"{n:,} {cause}" for cause, n in edge.lost.items()) or "0" for edge in edges]),
    ]  # fmt: skip


def _chains(chains: Sequence[ChainProfile], looks: int) -> list[Column]:
    return [
        Column("Waits for", [" → ".join(chain.nodes) for chain in chains]),
        Column("Which is", ["in a circle" if chain.circle else chain.doing for chain in chains]),
        Column("Seen", [percent(chain.looks / looks) for chain in chains]),
        Column("Longest", ["" if chain.wait_age_s is None else duration(chain.wait_age_s) for chain in chains]),
    ]  # fmt: skip


def _loop(profile: Profile, console: Console) -> None:
    loop = profile.loop
    lag = loop.lag_s
    said = (
        "nobody knows how late"
        if lag is None
        else f"{duration(lag.p50)} late in the median, {duration(lag.most)} at most"
    )
    console.print(Text.assemble(("loop", "bold"), f"  {said}"), soft_wrap=True)
    if not loop.stuck:
        return
    who = "code of several nodes" if loop.node is None else f"node {loop.node!r}"
    stuck = (
        f"stuck at {loop.stuck:,} of {profile.looks.n:,} looks, for {duration(loop.silent_s)}: {who} keeps it"
    )
    console.print(Text(stuck, style="bold red"), soft_wrap=True)
    for frame in loop.stack[-MOST_FRAMES:]:
        console.print(Text(f"  {frame.function} ({frame.file}:{frame.line})"), soft_wrap=True)


# ---- numbers in words ------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Return a length of time with three digits and a unit that suits it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return (
                f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:,.0f} {unit}"
            )
    return f"{seconds * 1e9:.0f} ns" if seconds else "0 s"


def percent(share: float) -> str:
    """Return a share; what is not nothing doesn't look like it."""
    return f"{share * 100:.0f} %" if share >= 0.1 or not share else f"{max(share * 100, 0.1):.1f} %"


def curve(values: Sequence[int], most: int) -> str:
    """Return a curve in one line; each cell is the largest of the values that it stands for.

    Args:
        values: At least one, from 0 on.
        most: What a full bar stands for.
    """
    n = min(len(values), CURVE)
    parts = (values[len(values) * i // n : len(values) * (i + 1) // n] for i in range(n))
    return "".join(fill(max(part), most) for part in parts)


def _whole(rate: float | None) -> int | str:
    return "" if rate is None else round(rate)
