"""A run in two lines, and what is to be said before everything else."""

from __future__ import annotations

from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

from meridian.inspect import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meridian.introspect import Frame, Snapshot

FRAMES = 3
"""So many calls of a stuck loop fit on its line."""


def headline(shot: Snapshot) -> str:
    """Return which run it is, in a line."""
    state = shot.status if shot.reason is None else f"{shot.status} ({shot.reason})"
    return " · ".join(
        [
            f"pid {shot.pid}",
            f"run {shot.run}",
            f"{state} {words.seconds(shot.elapsed_s)}",
            f"engine {shot.engine.name}",
            f"loop lag {words.seconds(shot.loop.lag_s)}",
        ]
    )


def numbers(shot: Snapshot) -> str:
    """Return how many nodes and edges there are, what moves, and what was lost, in a line."""
    delivered = [edge.delivered_per_s for edge in shot.edges if edge.delivered_per_s is not None]
    lost = sum(map(words.lost, shot.edges))
    said = [
        f"{len(of):,} {what}{'s' * (len(of) != 1)}"
        for what, of in (("node", shot.nodes), ("edge", shot.edges))
    ]
    if delivered:
        said.append(f"{words.short(sum(delivered))} msg/s")
    if lost:
        said.append(f"{words.short(lost)} lost")
    if shot.errors_total:
        said.append(f"{words.short(shot.errors_total)} error{'s' * (shot.errors_total > 1)}")
    return " · ".join(said)


def stuck(shot: Snapshot) -> str:
    """Return who keeps the loop: the node and the innermost calls of the user's code, where they are known."""
    where = f" in node {shot.loop.node}" if shot.loop.node is not None else ""
    frames = " ← ".join(
        f"{frame.function} {frame.file}:{frame.line}" for frame in _innermost(shot.loop.stack)[:FRAMES]
    )
    return f"LOOP STUCK for {words.seconds(shot.loop.silent_s)}{where}: {frames or 'no stack known'}"


def _innermost(stack: Sequence[Frame]) -> Sequence[Frame]:
    """Return the calls that the runtime's own code made last, innermost first; all calls where there is only its own."""
    inwards = stack[::-1]
    made = takewhile(lambda frame: not frame.own, dropwhile(lambda frame: frame.own, inwards))
    return tuple(made) or inwards
