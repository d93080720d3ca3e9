"""The picture of folded stacks: a flame graph as one SVG file, drawn from the folded text itself.

py-spy could draw one too, but of another run, since one run writes one format. So the picture here shows what the
comparison counts. A click makes a function as wide as the picture, Escape or a click on the lowest row brings everything back, and the field
above finds functions by name. Without scripts it is still a picture with a text on each box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from profiles.folded import Stack

WIDTH: Final = 1200
ROW: Final = 18
TOP: Final = 58
LETTER: Final = 6.6
"""Width of a letter, about."""
LEAST: Final = 0.15
"""A box that is narrower than this many pixels isn't drawn, nor what stands on it."""

KINDS: Final = (
    ("meridian", "Meridian", 20),
    ("native", "native code", 275),
    ("scenario", "the scenario", 205),
    ("python", "Python and libraries", 48),
)
"""Kind, its name in the legend, its hue."""


@dataclass(slots=True)
class Box:
    """A function on a stack, with everything that stands on it.

    Attributes:
        name: Of the function.
        total: Samples in which it was there.
        own: Samples in which it was the innermost.
        above: What it called.
    """

    name: str
    total: int = 0
    own: int = 0
    above: dict[str, Box] = field(default_factory=dict)


def tree(stacks: Mapping[Stack, int]) -> Box:
    """Return the stacks as one box that has everything on it."""
    root = Box("all")
    for stack, count in stacks.items():
        box = root
        box.total += count
        for function in stack:
            box = box.above.setdefault(function, Box(function))
            box.total += count
        box.own += count
    return root


def kind(function: str) -> str:
    """Return what a function belongs to: ``meridian``, ``native``, ``scenario`` or ``python``."""
    _, _, place = function.rpartition("(")
    if place.startswith(("stress/", "asv_bench/")):
        return "scenario"
    if not place.endswith((".py)", ">)", "importlib)", "(no Python function)")):
        return "native" if place else "python"
    return "meridian" if place.startswith("meridian/") else "python"


@dataclass(frozen=True, slots=True)
class Placed:
    """A box and where it is: from ``left`` on, in samples, ``depth`` rows up."""

    box: Box
    left: int
    depth: int


def placed(root: Box) -> Iterator[Placed]:
    """Give each box that is wide enough to be seen, the lowest first."""
    waiting = [Placed(root, 0, 0)]
    while waiting:
        here = waiting.pop()
        yield here
        left = here.left
        for box in sorted(here.box.above.values(), key=lambda box: box.name):
            if box.total * WIDTH >= root.total * LEAST:
                waiting.append(Placed(box, left, here.depth + 1))
            left += box.total


def svg(stacks: Mapping[Stack, int], title: str) -> str:
    """Return the flame graph of ``stacks``, which are at least one, as an SVG file."""
    root = tree(stacks)
    boxes = list(placed(root))
    height = TOP + ROW * (max(each.depth for each in boxes) + 1) + 4
    drawn = "".join(_drawn(each, root.total, height) for each in boxes)
    legend = "".join(
        f'<rect x="{8 + i * 160}" y="34" width="12" height="12" rx="2" fill="hsl({hue} 70% 66%)"/>'
        f'<text x="{25 + i * 160}" y="44">{name}</text>'
        for i, (_, name, hue) in enumerate(KINDS)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="ui-monospace,Menlo,Consolas,monospace" font-size="11">'
        f'<rect width="{WIDTH}" height="{height}" fill="#fffdfa"/>'
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>{legend}'
        f'<text id="said" x="{WIDTH - 8}" y="20" text-anchor="end">{root.total:,} samples; click to zoom</text>'
        f'<text id="find" x="{WIDTH - 8}" y="44" text-anchor="end" fill="#06c" style="cursor:pointer">find a function</text>'
        f'<g id="boxes">{drawn}</g><script>{SCRIPT % (WIDTH, LETTER)}</script></svg>\n'
    )


def _drawn(each: Placed, total: int, height: int) -> str:
    box = each.box
    left, width = each.left * WIDTH / total, box.total * WIDTH / total
    y = height - ROW * (each.depth + 1) - 2
    hue = {name: hue for name, _, hue in KINDS}[kind(box.name)] if each.depth else 0
    fill = f"hsl({hue} {70 if each.depth else 0}% {60 + crc32(box.name.encode()) % 15}%)"
    shown = escape(_short(box.name, width))
    text = f'<text x="{left + 3:.2f}" y="{y + 13}">{shown}</text>' if shown else ""
    return (
        f'<g data-l="{each.left}" data-n="{box.total}" data-d="{each.depth}" data-f="{escape(box.name)}">'
        f"<title>{escape(box.name)}\n{box.total:,} of {total:,} samples, {box.total / total:.1%}; "
        f"{box.own / total:.1%} in itself</title>"
        f'<rect x="{left:.2f}" y="{y}" width="{max(width - 0.3, 0.1):.2f}" height="{ROW - 1}" rx="1.5" fill="{fill}"/>'
        f"{text}</g>"
    )


def _short(name: str, width: float) -> str:
    """Return as much of ``name`` as fits."""
    letters = int((width - 6) / LETTER)
    return "" if letters < 3 else name if len(name) <= letters else name[: letters - 1] + "…"


SCRIPT: Final = """<![CDATA[
(function () {
  const wide = %d, letter = %s, all = [...document.querySelectorAll("#boxes > g")];
  const said = document.getElementById("said"), first = said.textContent;
  const of = (g) => ({ l: +g.dataset.l, n: +g.dataset.n, d: +g.dataset.d });
  function show(at) {
    const view = of(at);
    for (const g of all) {
      const b = of(g), [rect, text] = [g.querySelector("rect"), g.querySelector("text")];
      const under = b.d <= view.d && b.l <= view.l && b.l + b.n >= view.l + view.n;
      const inside = b.l >= view.l && b.l + b.n <= view.l + view.n && b.d >= view.d;
      g.style.display = under || inside ? "" : "none";
      g.style.opacity = under && g !== at ? 0.55 : 1;
      const x = under ? 0 : (b.l - view.l) * wide / view.n, w = under ? wide : b.n * wide / view.n;
      rect.setAttribute("x", x);
      rect.setAttribute("width", Math.max(w - 0.3, 0.1));
      const room = Math.floor((w - 6) / letter), name = g.dataset.f;
      let label = text;
      if (!label && room >= 3) {
        label = g.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "text"));
        label.setAttribute("y", +rect.getAttribute("y") + 13);
      }
      if (label) {
        label.setAttribute("x", x + 3);
        label.textContent = room < 3 ? "" : name.length <= room ? name : name.slice(0, room - 1) + "…";
      }
    }
  }
  for (const g of all) g.addEventListener("click", () => show(g));
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") { show(all[0]); find(""); } });
  function find(wanted) {
    let seen = 0, until = -1;
    const sorted = [...all].sort((a, b) => of(a).l - of(b).l || of(a).d - of(b).d);
    for (const g of sorted) {
      const hit = wanted && g.dataset.f.includes(wanted), b = of(g);
      g.querySelector("rect").style.stroke = hit ? "#c0f" : "";
      g.querySelector("rect").style.strokeWidth = hit ? 2 : "";
      if (hit && b.l >= until) { seen += b.n; until = b.l + b.n; }
    }
    said.textContent = wanted ? wanted + ": " + (100 * seen / of(all[0]).n).toFixed(1) + " %%" : first;
  }
  document.getElementById("find").addEventListener("click", () => find(prompt("Part of a function's name", "") || ""));
})();
]]>"""
