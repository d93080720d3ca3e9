"""A profile drawn: how each node spent its time, and the depth of each edge over time.

The drawing is SVG made by hand: it needs nothing to be made and nothing to be shown, and HTML only wraps it. Its colours keep
apart for those who don't tell red from green, and follow a dark page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from meridian.cli.profile_table import ENDS, by_weight, duration, percent
from meridian.introspect.profile import EdgeProfile, NodeProfile, Profile
from meridian.redaction import redactor

FORMATS = (".svg", ".html")
"""What can be drawn, by the ending of the file's name."""

MOST_DRAWN = 60
"""So many nodes and so many edges are drawn, those that matter most; ``--json`` has them all."""

MOST_CHAINS = 5
"""So many chains of waiting nodes are told."""

_WIDTH = 960
_MARGIN = 24
_LABEL = 230
_BAR = 18
_GAP = 8
_COLUMNS = 3
_CELL = 118
_CURVE = 54
_CHARACTER = 6.6  # at 12 pixels, on the safe side: a label that is too long is cut

_STYLE = """
svg { color-scheme: light dark; --ink: #1c2024; --faint: #697177; --line: #d7dbdf; --page: #ffffff;
  --busy: #0072b2; --blocked: #d55e00; --idle: #e6e8eb; --depth: #56b4e9; --full: #d55e00 }
@media (prefers-color-scheme: dark) { svg { --ink: #eceef0; --faint: #a0a7ad; --line: #3a3f44; --page: #16191c;
  --busy: #4ca8e0; --blocked: #f08a3c; --idle: #2b3035; --depth: #56b4e9; --full: #f08a3c } }
text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.title { font-size: 17px; font-weight: 600 } .head { font-size: 14px; font-weight: 600 }
.faint { fill: var(--faint) } .end { text-anchor: end }
.page { fill: var(--page) } .busy { fill: var(--busy) } .blocked { fill: var(--blocked) } .idle { fill: var(--idle) }
.axis { stroke: var(--line) } .cap { stroke: var(--full); stroke-dasharray: 3 3 }
.area { fill: var(--depth); fill-opacity: .35; stroke: none } .curve { fill: none; stroke: var(--depth); stroke-width: 1.5 }
"""


def plot(profile: Profile, suffix: str) -> str:
    """Return the drawing.

    Args:
        profile: What to draw.
        suffix: One of `FORMATS`.
    """
    drawn = "\n".join(_Drawing(profile).lines())
    if suffix == ".svg":
        return drawn + "\n"
    title = escape(_title(profile))
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        "<style>:root { color-scheme: light dark } body { margin: 0 } svg { display: block; margin: auto; max-width: 100% }</style>\n"
        f"</head>\n<body>\n{drawn}\n</body>\n</html>\n"
    )


def _title(profile: Profile) -> str:
    return f"Profile of run {profile.run}, {duration(profile.window_s)}"


class _Drawing:
    """Lines of SVG, from top to bottom."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._shown = redactor().text
        self._nodes, self._edges = by_weight(profile)
        self._y = 0.0

    def lines(self) -> Iterator[str]:
        body = [*self._head(), *self._bars(), *self._curves()]
        height = self._y + _MARGIN
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
            f'height="{height:.0f}" role="img" aria-label="{escape(_title(self._profile))}">'
        )
        yield f"<style>{_STYLE}</style>"
        yield f'<rect class="page" width="{_WIDTH}" height="{height:.0f}"/>'
        yield from body
        yield "</svg>"

    def _head(self) -> Iterator[str]:
        profile = self._profile
        self._y = _MARGIN + 16
        yield self._text(_MARGIN, _title(profile), "title")
        self._y += 20
        end = f", {ENDS[profile.end]}" if profile.end in ENDS else ""
        partial = ", partial" if profile.partial else ""
        yield self._text(
            _MARGIN, f"engine {profile.engine.name}, {profile.looks.n:,} looks{end}{partial}", "faint"
        )
        for chain in profile.chains[:MOST_CHAINS]:
            self._y += 18
            said = f"waiting at {percent(chain.looks / profile.looks.n)} of the looks: {' → '.join(chain.nodes)} ({chain.doing})"
            yield self._label(said, _MARGIN, self._y, _WIDTH - 2 * _MARGIN)

    def _bars(self) -> Iterator[str]:
        nodes = self._nodes[:MOST_DRAWN]
        if not nodes:
            return
        self._y += 36
        yield self._text(_MARGIN, f"Nodes{_of(len(nodes), len(self._nodes))}", "head")
        x = _MARGIN + _LABEL
        for name in ("busy", "blocked", "idle"):
            yield f'<rect class="{name}" x="{x}" y="{self._y - 10:.0f}" width="11" height="11"/>'
            yield self._text(x + 16, name)
            x += 76
        yield self._text(_WIDTH - _MARGIN, "each message", "faint end")
        self._y += 12
        for node in nodes:
            yield from self._bar(node)

    def _bar(self, node: NodeProfile) -> Iterator[str]:
        left, width = _MARGIN + _LABEL, _WIDTH - 2 * _MARGIN - _LABEL - 90
        middle = self._y + _BAR - 4
        yield self._label(node.name, _MARGIN, middle, _LABEL - 12)
        shares = node.shares
        if shares is not None:
            said = f"{node.name}: busy {percent(shares.busy)}, blocked {percent(shares.blocked)}, idle {percent(shares.idle)}"
            yield f"<g><title>{escape(self._shown(said))}</title>"
            x = float(left)
            for name, share in (("busy", shares.busy), ("blocked", shares.blocked), ("idle", shares.idle)):
                if share > 0:
                    yield f'<rect class="{name}" x="{x:.1f}" y="{self._y:.0f}" width="{share * width:.1f}" height="{_BAR}"/>'
                x += share * width
            yield "</g>"
        if node.per_message_s is not None:
            yield self._text(_WIDTH - _MARGIN, duration(node.per_message_s), "end", middle)
        self._y += _BAR + _GAP

    def _curves(self) -> Iterator[str]:
        edges = self._edges[:MOST_DRAWN]
        if not edges:
            return
        self._y += 36
        yield self._text(_MARGIN, f"Edges: depth over time{_of(len(edges), len(self._edges))}", "head")
        self._y += 14
        width = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * 24) / _COLUMNS
        for i, edge in enumerate(edges):
            yield from self._curve(edge, _MARGIN + i % _COLUMNS * (width + 24), width)
            if i % _COLUMNS == _COLUMNS - 1 or i == len(edges) - 1:
                self._y += _CELL

    def _curve(self, edge: EdgeProfile, x: float, width: float) -> Iterator[str]:
        top, most = self._y + 34, max(edge.depth_most, 1)
        bottom = top + _CURVE
        yield self._label(edge.id, x, self._y + 14, width)
        lost = sum(edge.lost.values())
        said = f"at most {edge.depth_most:,} of {edge.capacity:,}, full {percent(edge.full)}" + (
            f", lost {lost:,}" if lost else ""
        )
        yield self._text(x, said, "faint", self._y + 29)
        if edge.depth_most >= edge.capacity:
            yield f'<line class="cap" x1="{x:.1f}" y1="{top}" x2="{x + width:.1f}" y2="{top}"/>'
        yield f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x + width:.1f}" y2="{bottom}"/>'
        points = list(zip(self._across(x, width), edge.depths, strict=True))
        drawn = " ".join(f"{at:.1f},{bottom - depth / most * _CURVE:.1f}" for at, depth in points)
        first, last = points[0][0], points[-1][0]
        yield f'<polygon class="area" points="{first:.1f},{bottom} {drawn} {last:.1f},{bottom}"/>'
        yield f'<polyline class="curve" points="{drawn}"/>'

    def _across(self, x: float, width: float) -> Sequence[float]:
        """Return where the points in time are."""
        whole_s = self._profile.window_s or 1.0
        return [x + min(at_s / whole_s, 1.0) * width for at_s in self._profile.points_s]

    def _label(self, text: str, x: float, y: float, width: float) -> str:
        """Return a name, cut in the middle where it is too long, which a pointer shows whole."""
        whole = self._shown(text)
        most = int(width / _CHARACTER)
        cut = whole if len(whole) <= most else f"{whole[: most // 2]}…{whole[len(whole) - most // 2 + 1 :]}"
        return f'<text x="{x:.1f}" y="{y:.0f}">{_plain(cut)}<title>{_plain(whole)}</title></text>'

    def _text(self, x: float, text: str, kind: str = "", y: float | None = None) -> str:
        at = self._y if y is None else y
        of = f' class="{kind}"' if kind else ""
        return f'<text{of} x="{x:.1f}" y="{at:.0f}">{_plain(text)}</text>'


def _plain(text: str) -> str:
    """Return a text as XML takes it: without markup, and without characters that no XML may hold."""
    return escape("".join(character if character.isprintable() else "�" for character in text))


def _of(shown: int, there: int) -> str:
    return "" if shown == there else f" ({shown} of {there:,}, those that matter most)"
