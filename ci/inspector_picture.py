"""Records `meridian top` with a scripted run, as an SVG that moves: docs/figures/top.svg.

    python ci/inspector_picture.py            write it
    python ci/inspector_picture.py --check    exit code 1 if it is out of date

The application itself is run, without a terminal, and told what it saw; its screens become lines of text with colours. A line that
stands in several screens is written once. Nothing in the file calls another host, and where motion isn't wanted the first screen stands.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from rich.color import ColorType
from rich.terminal_theme import DIMMED_MONOKAI

from ci.generated_page import write_or_check
from meridian._tests.inspect.parts import EVENTS, SLOW, shop, stuck_shop
from meridian.inspect.app import Top
from meridian.inspect.reader import Reader, Reading, Status

if TYPE_CHECKING:
    from rich.segment import Segment
    from rich.style import Style

    from meridian.introspect import Finding, Snapshot

ROOT = Path(__file__).resolve().parent.parent
PATH = Path("docs/figures/top.svg")

COLUMNS, ROWS = 118, 26
CELL_W, CELL_H = 8.4, 17
SECONDS = 3
"""For which each screen stands."""

LOOKS = 5
"""Taken for each screen."""

KEYS = ((), ("left", "up", "enter"), ("2",), ("3", "down", "enter"), ("escape", "4"), ("5", "enter"))
"""What is pressed before each screen; then the loop is stuck."""


def live(shot: Snapshot, findings: tuple[Finding, ...], first: bool = False) -> Reading:
    """Return what a look saw."""
    events = EVENTS if first else ()
    return Reading(Status.LIVE, shot.wall_s, "", shot.pid, (shot,), events, findings={shot.run: findings})


async def screens() -> list[list[list[Segment]]]:
    """Run the application, and return the lines of each screen."""
    app = Top(Reader(tuple), None)
    found = []
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause()
        for step, keys in enumerate(KEYS):
            for look in range(LOOKS):
                app.take(live(shop(step * LOOKS + look), (SLOW,), first=step + look == 0))
            await pilot.press(*keys)
            await pilot.pause()
            found.append([list(strip) for strip in app.screen._compositor.render_strips()])
        app.take(live(stuck_shop(), ()))
        await pilot.press("1")
        await pilot.pause()
        found.append([list(strip) for strip in app.screen._compositor.render_strips()])
    return found


def colour(style: Style | None, which: str) -> str | None:
    """Return a colour of a style, or ``None`` for the usual one."""
    found = None if style is None else getattr(style, which)
    if found is None or found.type is ColorType.DEFAULT:
        return None
    return str(found.get_truecolor(DIMMED_MONOKAI).hex)


def line(segments: list[Segment]) -> str:
    """Return a line as SVG, at the top."""
    made, x = [], 0
    for text, style, _ in segments:
        front, back = colour(style, "color"), colour(style, "bgcolor")
        if style is not None and style.reverse:
            front, back = back or "#121212", front or "#e0e0e0"
        width = len(text) * CELL_W
        if back not in (None, "#121212"):
            made.append(f'<rect x="{x * CELL_W:.1f}" width="{width:.1f}" height="{CELL_H}" fill="{back}"/>')
        if text.strip():
            begin = len(text) - len(text.lstrip())
            shown = text.strip()
            weight = ' font-weight="bold"' if style is not None and style.bold else ""
            made.append(
                f'<text x="{(x + begin) * CELL_W:.1f}" y="13" textLength="{len(shown) * CELL_W:.1f}"'
                f' fill="{front or "#e0e0e0"}"{weight}>{escape(shown)}</text>'
            )
        x += len(text)
    return "".join(made)


def picture() -> str:
    """Return the SVG."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    names: dict[str, str] = {}
    frames = []
    for i, rows in enumerate(asyncio.run(screens())):
        used = [
            f'<use href="#{names.setdefault(made, f"l{len(names)}")}" y="{y * CELL_H + 8}"/>'
            for y, row in enumerate(rows)
            if (made := line(row))
        ]
        frames.append(f'<g class="f" style="animation-delay:{i * SECONDS}s">{"".join(used)}</g>')
    total, share = len(frames) * SECONDS, 100 / len(frames)
    lines = "\n".join(f'<g id="{id}">{made}</g>' for made, id in names.items())
    width, height = COLUMNS * CELL_W + 16, ROWS * CELL_H + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {width:.0f} {height}" role="img">\n'
        "<title>meridian top: a graph, its nodes, an edge, events, findings, and a loop that is stuck</title>\n"
        "<style>text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        f".f{{visibility:hidden;animation:f {total}s step-end infinite}}"
        f"@keyframes f{{0%{{visibility:visible}}{share:.3f}%{{visibility:hidden}}}}"
        "@media (prefers-reduced-motion:reduce){.f{animation:none}.f:nth-of-type(1){visibility:visible}}</style>\n"
        f'<rect x="-8" width="{width:.0f}" height="{height}" rx="6" fill="#121212"/>\n'
        f"<defs>\n{lines}\n</defs>\n" + "\n".join(frames) + "\n</svg>\n"
    )


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], __doc__, ROOT, PATH, picture))
