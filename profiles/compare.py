"""Self time before and after: which functions got a larger or smaller share, and which differences may be chance.

A share is counted from samples, so it is known only so well: of 2,000 samples, a share of 10 % is 10 % ± 2. What is reported
as changed lies outside what such counting does by itself. The interval of a difference is Newcombe's (score intervals of both
shares, added in squares), which holds for small shares, too. Twenty functions are looked at at once, so each is held to a
twentieth of the usual 5 %: one comparison in twenty of a program with itself shows a change. Chance in the machine is not in it
(another load, another address layout), so read a small change as a hint.

Shares, not times: what got faster makes the shares of everything else larger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

from profiles.folded import self_time

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from profiles.folded import Stack

TOP: Final = 20
FALSE_ALARMS: Final = 0.05
"""Share of comparisons of a program with itself that show any change, at most."""
Z: Final = NormalDist().inv_cdf(1 - FALSE_ALARMS / TOP / 2)

GREW, SHRANK, SAME = "grew", "shrank", "within noise"


@dataclass(frozen=True, slots=True)
class Change:
    """The self time of one function.

    Attributes:
        function: Its name and file.
        before: Its share of all samples, from 0 to 1.
        after: The same in the later recording.
        low: Least difference that the samples allow.
        high: Largest difference that they allow.
        verdict: ``grew``, ``shrank`` or ``within noise``.
    """

    function: str
    before: float
    after: float
    low: float
    high: float
    verdict: str

    @property
    def difference(self) -> float:
        """The share after less the share before."""
        return self.after - self.before


def score_interval(count: int, total: int, z: float = Z) -> tuple[float, float]:
    """Return between which shares the true one lies, if ``count`` of ``total`` samples were seen (Wilson)."""
    share, slack = count / total, z * z / total
    middle = (share + slack / 2) / (1 + slack)
    half = z * sqrt(share * (1 - share) / total + slack / total / 4) / (1 + slack)
    return max(0.0, middle - half), min(1.0, middle + half)


def change(function: str, before: Counter[str], after: Counter[str]) -> Change:
    """Return what became of one function's share."""
    old, new = before.total(), after.total()
    was, became = before[function] / old, after[function] / new
    was_low, was_high = score_interval(before[function], old)
    low, high = score_interval(after[function], new)
    difference = became - was
    least = difference - sqrt((became - low) ** 2 + (was_high - was) ** 2)
    most = difference + sqrt((high - became) ** 2 + (was - was_low) ** 2)
    verdict = GREW if least > 0 else SHRANK if most < 0 else SAME
    return Change(function, was, became, least, most, verdict)


def changes(before: Mapping[Stack, int], after: Mapping[Stack, int]) -> list[Change]:
    """Return the functions with the largest self time in either recording, the largest first.

    Args:
        before: Stacks of the earlier recording, at least one.
        after: Of the later one, at least one.
    """
    old, new = self_time(before), self_time(after)
    shares = {name: max(old[name] / old.total(), new[name] / new.total()) for name in old | new}
    top = sorted(shares, key=lambda name: (-shares[name], name))[:TOP]
    return [change(name, old, new) for name in top]


def as_json(
    found: Sequence[Change], before: Mapping[Stack, int], after: Mapping[Stack, int]
) -> dict[str, Any]:
    """Return a comparison as plain data."""
    return {
        "samples": {"before": sum(before.values()), "after": sum(after.values())},
        "false_alarms": FALSE_ALARMS,
        "functions": [{**asdict(each), "difference": each.difference} for each in found],
    }


def table(found: Sequence[Change]) -> str:
    """Return a comparison as lines of text."""
    lines = [f"{'before':>7} {'after':>7} {'change':>8}  {'noise':>16}  function"]
    lines += [
        f"{each.before:7.1%} {each.after:7.1%} {_points(each.difference):>8}  "
        f"{_points(each.low):>7} .. {_points(each.high)}  {each.function}"
        f"{'' if each.verdict == SAME else f'  {each.verdict.upper()}'}"
        for each in found
    ]
    return "\n".join(lines)


def _points(difference: float) -> str:
    """Return a difference of shares in points of a hundred."""
    return f"{100 * difference:+.1f}"


COLOURS: Final = {GREW: "#c2410c", SHRANK: "#15803d", SAME: "#9ca3af"}


def plot(found: Sequence[Change], title: str, out: Path) -> None:
    """Draw a comparison: a bar for each function with its interval, coloured only where chance doesn't explain it."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "meridian"  # the same picture from the same figures
    from matplotlib import pyplot

    height = 1.2 + 0.27 * len(found)
    figure, axes = pyplot.subplots(figsize=(11, height), layout="constrained")
    rows = range(len(found))
    axes.barh(
        rows,
        [100 * each.difference for each in found],
        color=[COLOURS[each.verdict] for each in found],
        height=0.62,
        xerr=[
            [100 * (each.difference - each.low) for each in found],
            [100 * (each.high - each.difference) for each in found],
        ],
        error_kw={"ecolor": "#374151", "elinewidth": 0.8, "capsize": 2},
    )
    names = [f"{each.function}  {each.before:.1%} → {each.after:.1%}" for each in found]
    axes.set_yticks(rows, names, fontsize=8, family="monospace")
    axes.invert_yaxis()
    axes.axvline(0, color="#111827", linewidth=0.8)
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(
        "change of the share of self time, in points of a hundred; grey: within noise", fontsize=8
    )
    figure.suptitle(title, fontsize=10, x=0.01, horizontalalignment="left")
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def save(
    found: Sequence[Change], before: Mapping[Stack, int], after: Mapping[Stack, int], title: str, folder: Path
) -> None:
    """Write compare.json and compare.svg into ``folder``."""
    (folder / "compare.json").write_text(json.dumps(as_json(found, before, after), indent=1) + "\n")
    plot(found, title, folder / "compare.svg")
