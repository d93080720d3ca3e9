"""Draws the report of a run: one HTML file with a table of invariants and plots of what was watched.

    python -m stress.report FOLDER

draws it anew from the results in FOLDER.
"""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from stress import record
from stress.cli import wrong
from stress.scenario import SENTENCES
from stress.watch import Sample

STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --kept: #2a8f4f; --broken: #d33c3c; --told: #b8860b; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); } code { font-size: .9em; }
table { border-collapse: collapse; margin: .75rem 0; width: 100%; } td, th { text-align: left; padding: .2rem .8rem .2rem 0; }
td, th { border-bottom: 1px solid var(--line); vertical-align: top; } .n { text-align: right; font-variant-numeric: tabular-nums; }
.kept { color: var(--kept); } .broken { color: var(--broken); font-weight: 600; } .inconclusive, .partial { color: var(--told); }
.banner { border-left: .3rem solid var(--told); padding: .4rem .8rem; margin: 1rem 0; background: #b8860b18; }
.plots { background: #fff; border-radius: .4rem; } .plots svg { width: 100%; height: auto; }
"""

BLUE: Final = "#2f6db5"


def write(folder: Path) -> Path:
    """Draw what is in ``folder`` into its report.html, and return that.

    Raises:
        UnwritableError: the disk is full, say.
    """
    plays = [
        found
        for path in sorted(folder.glob("**/result.json"))
        if (found := record.read(path)) and "scenario" in found
    ]
    run = record.read(folder / "result.json")
    path = folder / "report.html"
    record.write_text(path, page(plays, None if run is None or "plays" not in run else run))
    return path


def page(plays: Sequence[dict[str, Any]], run: dict[str, Any] | None) -> str:
    """Return the report.

    Args:
        plays: Results of single plays.
        run: The result of the run that they belong to, if it is one.
    """
    plays = sorted(plays, key=lambda play: (play["scenario"], play["engine"]))
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
        f"<title>Stress</title><style>{STYLE}</style><h1>Does it survive?</h1>",
        *_head(plays, run),
        *_overview(plays),
    ]
    for play in plays:
        parts += _play(play)
    return "\n".join(parts) + "</html>\n"


def _head(plays: Sequence[dict[str, Any]], run: dict[str, Any] | None) -> list[str]:
    first = run or (plays[0] if plays else {})
    versions = sorted(
        {f"Meridian {each['meridian']} on Python {each['python']}" for each in plays if "meridian" in each}
    )
    parts = [
        f"<p class='soft'>{escape(', '.join([*versions, str(first.get('date', '')), 'form: ' + str(first.get('form', ''))]))}</p>"
    ]
    if run is not None and run["partial"]:
        missing = f" Not played: {', '.join(run['missing'])}." if run["missing"] else ""
        parts.append(f"<p class='banner'><b>Partial.</b> The run was interrupted.{escape(missing)}</p>")
    return parts


def _overview(plays: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        f"<tr><td><a href='#{_anchor(play)}'>{escape(play['scenario'])}</a><td>{escape(play['engine'])}"
        f"<td class='{play['verdict']}'>{play['verdict']}<td class='n'>{play['rounds']:,}<td class='n'>{play['messages']:,}"
        f"<td class='n'>{sum(each['checks'] for each in play['invariants'].values()):,}<td class='n'>{play['elapsed_s']:.1f}"
        for play in plays
    ]
    head = "<tr><th>scenario<th>engine<th>verdict<th class='n'>rounds<th class='n'>messages<th class='n'>looks<th class='n'>s"
    return [f"<table>{head}", *rows, "</table>"]


def _anchor(play: dict[str, Any]) -> str:
    return f"{play['scenario']}-{play['engine']}"


def _play(play: dict[str, Any]) -> list[str]:
    rows = [
        f"<tr title='{escape(SENTENCES[name])}'><td>{escape(name)}<td class='n'>{each['checks']:,}<td class='n {'broken' if each['broken'] else 'kept'}'>"
        f"{each['broken'] or 'held'}"
        for name, each in play["invariants"].items()
    ]
    title = f"{escape(play['scenario'])} on {escape(play['engine'])}"
    parts = [
        f"<h2 id='{_anchor(play)}'>{title}: <span class='{play['verdict']}'>{play['verdict']}</span></h2>",
        f"<p>{escape(play['sentence'])}</p>",
        *(f"<p class='broken'>{escape(line)}</p>" for line in wrong(play)),
        "<table><tr><th>invariant<th class='n'>looks<th class='n'>broken",
        *rows,
        "</table>",
    ]
    memory = play["memory"]
    if memory is not None:
        parts.append(
            f"<p>Memory: {memory['per_message']:+.4f} bytes a message ({memory['low']:+.4f} to {memory['high']:+.4f}, from "
            f"{memory['readings']} readings of the second half); {memory['limit']} are allowed: {memory['verdict']}.</p>"
        )
    samples = [Sample(*each) for each in play["samples"]]
    if len(samples) > 1:
        parts.append(f"<div class='plots'>{_drawn(samples)}</div>")
    parts.append(f"<p class='soft'><code>{escape(play['replay'])}</code></p>")
    return parts


def _over_time(samples: Sequence[Sample], values: list[float]) -> tuple[list[float], list[float]]:
    return [each.at_s for each in samples], values


def _throughput(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Return messages a second between samples that are far enough apart to tell."""
    step = max(1, len(samples) // 60)
    picked = list(samples[::step])
    pairs = [(a, b) for a, b in itertools.pairwise(picked) if b.at_s > a.at_s]
    return [b.at_s for _, b in pairs], [
        (b.messages - a.messages) / (b.at_s - a.at_s) / 1000 for a, b in pairs
    ]


PLOTS: Final[tuple[tuple[str, Callable[[Sequence[Sample]], tuple[list[float], list[float]]]], ...]] = (
    ("resident memory, MiB", lambda samples: _over_time(samples, [each.rss / 2**20 for each in samples])),
    ("messages a second, thousands", _throughput),
    ("most messages waiting", lambda samples: _over_time(samples, [float(each.depth) for each in samples])),
    ("descriptors", lambda samples: _over_time(samples, [float(each.descriptors) for each in samples])),
    ("threads", lambda samples: _over_time(samples, [float(each.threads) for each in samples])),
)


def _drawn(samples: Sequence[Sample]) -> str:
    """Return the plots of one play as one SVG image."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    with mpl.rc_context({"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "stress"}):
        figure, axes = pyplot.subplots(1, len(PLOTS), figsize=(15, 2.2))
        figure.subplots_adjust(
            left=0.03, right=0.99, bottom=0.2, top=0.85, wspace=0.2
        )  # a third of the time of a layout
        for axis, (title, values) in zip(axes, PLOTS, strict=True):
            axis.plot(*values(samples), color=BLUE, linewidth=1)
            axis.set_title(title, fontsize=8, loc="left")
            axis.set_ylim(bottom=0)
            axis.set_xlabel("s", loc="right")
            axis.spines[["top", "right"]].set_visible(False)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    text = drawn.getvalue()
    return text[text.index("<svg") :]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m stress.report FOLDER")
    try:
        print(write(Path(sys.argv[1])))
    except record.UnwritableError as error:
        sys.exit(f"stress: {error}")
