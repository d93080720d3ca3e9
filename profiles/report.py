"""The index.html of a run: what was kept, with its pictures, what changed since the last run, and what was thrown away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 2em auto; padding: 0 1em; color: #1f2937; background: #fff; }
h1 { margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 1px solid #e5e7eb; }
table { border-collapse: collapse; margin: .6em 0; } th, td { padding: .15em .8em .15em 0; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } th { font-weight: 600; border-bottom: 1px solid #d1d5db; }
code { font: 12.5px ui-monospace, Menlo, Consolas, monospace; } img { max-width: 100%; border: 1px solid #e5e7eb; border-radius: 6px; }
.muted { color: #6b7280; } .banner { background: #fef3c7; border: 1px solid #f59e0b; border-radius: 6px; padding: .5em .9em; }
.kept { color: #15803d; } .rejected, .grew { color: #c2410c; } .missing { color: #a16207; } .shrank { color: #15803d; }
details { margin: .4em 0; }
"""
FOOT: Final = (
    "Shares of self time, from samples: a function is coloured where chance alone does not explain the change "
    "(Newcombe's interval, 5 % over all twenty functions together). What got faster makes other shares larger."
)


def write(folder: Path, run: Mapping[str, Any]) -> None:
    """Write ``index.html`` into ``folder``.

    Args:
        folder: Of the run; the files named in ``run`` are there.
        run: Its run.json.
    """
    (folder / "index.html").write_text(page(run), encoding="utf-8")


def page(run: Mapping[str, Any]) -> str:
    """Return the page."""
    names = dict.fromkeys(f"{each['scenario']}-{each['engine']}" for each in run["recordings"])
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    machine = run["machine"]
    banner = (
        '<p class="banner"><b>Partial.</b> This run did not come to its end; what is here is what was kept until then.</p>'
        if run["partial"]
        else ""
    )
    sections = "".join(
        _section(name, [each for each in run["recordings"] if f"{each['scenario']}-{each['engine']}" == name])
        for name in names
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Profiles of Meridian</title><style>{STYLE}</style>'
        f'<h1>Where the time goes</h1><p class="muted">{escape(run["date"])}, commit <code>{escape(run["commit"])}</code>, '
        f"{escape(versions)}; {escape(machine['system'])}, {escape(machine['cpu'])}, {machine['cores']} cores, "
        f"load {run['load']}; seed {run['seed']}, {run['mode']['rate']} samples a second; took {run['took']:.0f} s.</p>"
        f"{banner}{_overview(run['recordings'])}{sections}<p class='muted'>{FOOT}</p></html>\n"
    )


def _overview(recordings: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><a href='#{escape(each['scenario'])}-{each['engine']}'>{escape(each['scenario'])}</a></td><td>{each['engine']}</td>"
        f"<td>{each['kind']}</td><td class='{each['verdict']}'>{each['verdict']}</td>"
        f"<td class='n'>{each['samples']:,}</td><td class='n'>{each['errors']:,}</td>"
        f"<td class='n'>{each['wall']:.1f}</td><td class='n'>{each['cpu']:.1f}</td><td>{escape('; '.join(each['reasons']))}</td></tr>"
        for each in recordings
    )
    return (
        "<table><tr><th>scenario</th><th>engine</th><th>what</th><th></th><th>samples</th><th>errors</th>"
        f"<th>s</th><th>CPU s</th><th>why not</th></tr>{rows}</table>"
    )


def _section(name: str, recordings: Sequence[Mapping[str, Any]]) -> str:
    parts = [f"<h2 id='{escape(name)}'>{escape(name)}</h2>"]
    links = [
        f"<a href='{escape(path)}'>{escape(what)} ({each['kind']})</a>"
        for each in recordings
        for what, path in each["files"].items()
    ]
    parts.append(f"<p>{' · '.join(links) or 'Nothing was kept.'}</p>")
    for each in recordings:
        if "flame graph" in each["files"]:
            picture = escape(each["files"]["flame graph"])
            parts.append(f"<a href='{picture}'><img src='{picture}' alt='flame graph of {escape(name)}'></a>")
        if each["compared"]:
            parts.append(_compared(each))
        if each["played"]:
            parts.append(f"<p class='muted'>{_played(each['played'])} ({each['kind']})</p>")
        if each["command"]:
            command = escape(" ".join(each["command"]))
            parts.append(
                f"<details><summary>command ({each['kind']})</summary><code>{command}</code></details>"
            )
    return "".join(parts)


def _played(played: Mapping[str, Any]) -> str:
    grew = played["by second"]
    judged = played["judged"]
    verdict = "" if judged is None else f"; by message, its memory is {judged['verdict']}"
    return (
        f"The scenario's own verdict: {escape(played['verdict'])}. By second, over its second half: {grew['rss'] / 1024:+,.1f} KiB of memory, {grew['descriptors']:+.2f} descriptors, "
        f"{grew['threads']:+.2f} threads{verdict}."
    )


def _compared(recording: Mapping[str, Any]) -> str:
    compared = recording["compared"]
    where = "" if compared["same machine"] else " It ran on another kind of machine."
    rows = "".join(
        f"<tr class='{'' if each['verdict'] == 'within noise' else each['verdict']}'><td><code>{escape(each['function'])}</code></td>"
        f"<td class='n'>{each['before']:.1%}</td><td class='n'>{each['after']:.1%}</td>"
        f"<td class='n'>{100 * each['difference']:+.1f}</td>"
        f"<td class='n'>{100 * each['low']:+.1f} to {100 * each['high']:+.1f}</td><td>{each['verdict']}</td></tr>"
        for each in compared["functions"]
    )
    changed = sum(each["verdict"] != "within noise" for each in compared["functions"])
    plot = escape(recording["files"]["comparison plot"])
    return (
        f"<p>Against {escape(compared['with'])}: {changed} of {len(compared['functions'])} functions changed.{where}</p>"
        f"<img src='{plot}' alt='comparison of self time'>"
        "<details><summary>the same as a table</summary><table><tr><th>function</th><th>before</th><th>after</th>"
        f"<th>change</th><th>by samples</th><th></th></tr>{rows}</table></details>"
    )
