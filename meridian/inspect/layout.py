"""Where boxes and lines go, in cells of a terminal: a layered layout.

::

    ranks      what feeds a box stands left of it; edges that close a cycle are turned round for that
    order      within a rank by the mean place of the neighbours, swept to and fro
    rows       as near to the neighbours as the order lets them be
    channels   between two ranks each bundle of lines gets a column to change its row in

An edge that spans several ranks has a place of its own in each between them, so that lines never go through boxes. Lines of
one output leave together and part where they must.

Source: Sugiyama, Tagawa and Toda 1981; rows by pooling adjacent violators. Differs by rows for edges, which leave room for a
label on each.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from meridian.inspect.words import cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meridian.inspect.fold import Link

LABEL = 10
"""Cells that each line has before its arrow for what it says of the edge."""

SWEEPS = 6
"""So often the order is improved, to and fro."""

SMALLEST, WIDEST = 17, 28
"""Cells that a box is wide at the least and at the most, its frame included."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box and its place; ``x`` and ``y`` are those of its upper left corner."""

    name: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a line.

    Attributes:
        id: Of its edge.
        points: Corners, from where it leaves to its arrow; two in a row share a row or a column.
        label: Where the label begins.
        is_back: It was turned round, and runs from right to left.
    """

    id: str
    points: tuple[tuple[int, int], ...]
    label: tuple[int, int]
    is_back: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """All of it.

    Attributes:
        boxes: By name.
        routes: By the id of the edge; edges from a node to itself have none.
        loops: Ids of those, by box.
        ranks: Names of the boxes of each rank, from top to bottom.
        width: Columns it takes.
        height: Rows it takes.
    """

    boxes: dict[str, Box]
    routes: dict[str, Route]
    loops: dict[str, list[str]]
    ranks: tuple[tuple[str, ...], ...]
    width: int
    height: int


@dataclass(slots=True, eq=False)
class _Place:
    """A box in its rank, or the place of a long edge there."""

    name: str | None
    rank: int
    height: int = 1
    y: int = 0
    outs: list[_Bundle] = field(default_factory=list)
    ins: list[_Piece] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.y + (self.height - 1) / 2


@dataclass(slots=True, eq=False)
class _Piece:
    """The part of an edge between two ranks."""

    link: Link
    is_back: bool
    bundle: _Bundle
    target: _Place
    row: int = 0

    @property
    def is_last(self) -> bool:
        return self.target.name is not None


@dataclass(slots=True, eq=False)
class _Bundle:
    """Pieces that leave a place together."""

    source: _Place
    pieces: list[_Piece] = field(default_factory=list)
    row: int = 0
    column: int = 0

    def span(self) -> tuple[int, int]:
        rows = [self.row, *(piece.row for piece in self.pieces)]
        return min(rows), max(rows)


def lay_out(names: Sequence[str], links: Iterable[Link]) -> Layout:
    """Give each box and each line its place.

    Args:
        names: Of the boxes; the order decides where nothing else does.
        links: Between them.

    Cost: O(boxes + pieces) for each sweep, where an edge has a piece for each rank that it spans.
    """
    loops: dict[str, list[str]] = {}
    straight: list[Link] = []
    for link in links:
        if link.source == link.target:
            loops.setdefault(link.source, []).append(link.id)
        else:
            straight.append(link)
    back = _back_links(names, straight)
    ranks = _ranks(names, straight, back)
    layers = _layers(names, straight, back, ranks)
    _order(layers)
    for layer in layers:
        for place in layer:
            if place.name is not None:
                place.height = 2 + max(2, len(place.outs), len(place.ins))
    _place_rows(layers)
    return _assemble(layers, loops)


# ---- ranks -----------------------------------------------------------------------------------------------------------


def _back_links(names: Sequence[str], links: Sequence[Link]) -> set[str]:
    """Return ids of the edges that close a cycle, as a walk from the first boxes on finds them."""
    outs: dict[str, list[Link]] = defaultdict(list)
    entered = set()
    for link in links:
        outs[link.source].append(link)
        entered.add(link.target)
    back, seen, open_ = set(), set(), set()
    for root in sorted(names, key=lambda name: name in entered):
        if root in seen:
            continue
        seen.add(root)
        open_.add(root)
        stack = [(root, iter(outs[root]))]
        while stack:
            name, following = stack[-1]
            out = next(following, None)
            if out is None:
                open_.discard(name)
                stack.pop()
            elif out.target in open_:
                back.add(out.id)
            elif out.target not in seen:
                seen.add(out.target)
                open_.add(out.target)
                stack.append((out.target, iter(outs[out.target])))
    return back


def _ends(link: Link, back: set[str]) -> tuple[str, str]:
    return (link.target, link.source) if link.id in back else (link.source, link.target)


def _ranks(names: Sequence[str], links: Sequence[Link], back: set[str]) -> dict[str, int]:
    """Return the rank of each box: one more than that of whatever feeds it."""
    feeds: dict[str, list[str]] = defaultdict(list)
    missing = dict.fromkeys(names, 0)
    for link in links:
        left, right = _ends(link, back)
        feeds[left].append(right)
        missing[right] += 1
    ranks = dict.fromkeys(names, 0)
    ready = [name for name in names if not missing[name]]
    for name in ready:  # grows meanwhile
        for right in feeds[name]:
            ranks[right] = max(ranks[right], ranks[name] + 1)
            missing[right] -= 1
            if not missing[right]:
                ready.append(right)
    return ranks


def _layers(
    names: Sequence[str], links: Sequence[Link], back: set[str], ranks: dict[str, int]
) -> list[list[_Place]]:
    layers: list[list[_Place]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    places = {name: _Place(name, ranks[name]) for name in names}
    for place in places.values():
        layers[place.rank].append(place)
    bundles: dict[tuple[str, str], _Bundle] = {}
    for link in links:
        is_back = link.id in back
        left, right = _ends(link, back)
        # What was turned round enters where it left: it can't leave with others.
        key = (left, f"\0{link.id}" if is_back else link.port)
        bundle = bundles.get(key)
        if bundle is None:
            bundle = bundles[key] = _Bundle(places[left])
            places[left].outs.append(bundle)
        for rank in range(ranks[left] + 1, ranks[right]):
            between = _Place(None, rank)
            layers[rank].append(between)
            _connect(link, is_back, bundle, between)
            bundle = _Bundle(between)
            between.outs.append(bundle)
        _connect(link, is_back, bundle, places[right])
    return layers


def _connect(link: Link, is_back: bool, bundle: _Bundle, target: _Place) -> None:
    piece = _Piece(link, is_back, bundle, target)
    bundle.pieces.append(piece)
    target.ins.append(piece)


# ---- order and rows --------------------------------------------------------------------------------------------------


def _lefts(place: _Place) -> list[_Place]:
    return [piece.bundle.source for piece in place.ins]


def _rights(place: _Place) -> list[_Place]:
    return [piece.target for bundle in place.outs for piece in bundle.pieces]


def _order(layers: list[list[_Place]]) -> None:
    """Sort each rank by the mean place of the neighbours; keep the best of what the sweeps find."""
    at: dict[_Place, float] = {}

    def note(layer: list[_Place]) -> None:
        for i, place in enumerate(layer):
            at[place] = (i + 0.5) / len(layer)

    for layer in layers:
        note(layer)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, at)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        forward = sweep % 2 == 0
        neighbours = _lefts if forward else _rights
        for layer in layers if forward else reversed(layers):
            means = {
                place: fmean(at[other] for other in beside) if (beside := neighbours(place)) else at[place]
                for place in layer
            }
            layer.sort(key=means.__getitem__)
            note(layer)
        crossings = _crossings(layers, at)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _crossings(layers: list[list[_Place]], at: dict[_Place, float]) -> int:
    """Count how often lines cross: inversions of the right ends, sorted by the left ones."""
    found = 0
    for layer in layers:
        ends = sorted((at[place], at[right]) for place in layer for right in _rights(place))
        found += _inversions([right for _, right in ends])[0]
    return found


def _inversions(values: list[float]) -> tuple[int, list[float]]:
    if len(values) < 2:
        return 0, values
    half = len(values) // 2
    left_count, left = _inversions(values[:half])
    right_count, right = _inversions(values[half:])
    merged: list[float] = []
    count, i = left_count + right_count, 0
    for value in right:
        while i < len(left) and left[i] <= value:
            merged.append(left[i])
            i += 1
        count += len(left) - i
        merged.append(value)
    return count, merged + left[i:]


def _place_rows(layers: list[list[_Place]]) -> None:
    """Give each place its row: near its neighbours, a row apart from what stands above it."""
    for layer in layers:
        _stack(layer, [0.0] * len(layer))
    for neighbours, order in ((_lefts, layers), (_rights, layers[::-1]), (_lefts, layers)):
        for layer in order:
            wanted = [
                fmean(other.middle for other in beside) - (place.height - 1) / 2
                if (beside := neighbours(place))
                else float(place.y)
                for place in layer
            ]
            _stack(layer, wanted)
    top = min((place.y for layer in layers for place in layer), default=0)
    for layer in layers:
        for place in layer:
            place.y -= top
            _place_ends(place)
    for layer in layers:
        for place in layer:
            for bundle in place.outs:  # now that the rows at the other ends are known, too
                bundle.pieces.sort(key=lambda piece: piece.row)


def _stack(layer: list[_Place], wanted: list[float]) -> None:
    """Place a rank as near to the rows it wants as its order and heights allow (least squares)."""
    offsets, offset = [], 0
    for place in layer:
        offsets.append(offset)
        offset += place.height + 1
    pools: list[list[float]] = []  # sum and count of what adjacent places want, their own heights taken off
    for want, off in zip(wanted, offsets, strict=True):
        pools.append([want - off, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            total, n = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += n
    rows = [round(total / n) for total, n in pools for _ in range(int(n))]
    for place, row, off in zip(layer, rows, offsets, strict=True):
        place.y = row + off


def _place_ends(place: _Place) -> None:
    """Spread the ends of lines over the rows of a box, in the order of their other ends."""
    place.ins.sort(key=lambda piece: piece.bundle.source.middle)
    place.outs.sort(key=lambda bundle: fmean(piece.target.middle for piece in bundle.pieces))
    first, rows = (place.y, 1) if place.name is None else (place.y + 1, place.height - 2)
    sides: tuple[Sequence[_Piece | _Bundle], ...] = (place.ins, place.outs)
    for ends in sides:
        above = (rows - len(ends)) // 2
        for row, end in enumerate(ends, first + above):
            end.row = row


# ---- columns ---------------------------------------------------------------------------------------------------------


def _columns(bundles: Sequence[_Bundle]) -> int:
    """Give each bundle of a channel a column to change rows in; return how many columns there are.

    Two that share a column must not share a row. Where one enters a box on the row at which another leaves, the one
    that leaves turns off before the other turns in; where that goes round in a circle, they cross.
    """
    turning = [bundle for bundle in bundles if bundle.span()[0] != bundle.span()[1]]
    leaves = {bundle.row: bundle for bundle in bundles}
    later: dict[_Bundle, set[_Bundle]] = {bundle: set() for bundle in turning}
    for bundle in turning:
        for piece in bundle.pieces:
            first = leaves.get(piece.row)
            if first is not None and first is not bundle and first in later:
                later[first].add(bundle)
    before = dict.fromkeys(turning, 0)
    for behind in later.values():
        for bundle in behind:
            before[bundle] += 1
    waiting = sorted(turning, key=lambda bundle: bundle.span())
    least = dict.fromkeys(turning, 0)
    taken: list[list[tuple[int, int]]] = []
    while waiting:
        bundle = next((each for each in waiting if not before[each]), waiting[0])
        waiting.remove(bundle)
        top, bottom = bundle.span()
        column = least[bundle]
        while column < len(taken) and any(top <= b and a <= bottom for a, b in taken[column]):
            column += 1
        if column >= len(taken):
            taken.extend([] for _ in range(column + 1 - len(taken)))
        taken[column].append((top, bottom))
        bundle.column = column
        for other in later[bundle]:
            before[other] -= 1
            least[other] = max(least[other], column + 1)
    return len(taken)


def _assemble(layers: list[list[_Place]], loops: dict[str, list[str]]) -> Layout:
    boxes: dict[str, Box] = {}
    corners: dict[str, list[tuple[int, int]]] = defaultdict(list)
    labels: dict[str, tuple[int, int]] = {}
    turned: set[str] = set()
    x = bottom = 0
    for i, layer in enumerate(layers):
        width = max((_width(place.name) for place in layer if place.name is not None), default=1)
        bundles = [bundle for place in layer for bundle in place.outs]
        columns = _columns(bundles)
        has_label = any(piece.is_last for bundle in bundles for piece in bundle.pieces)
        first = x + width + 1  # a cell of straight line before the first column
        following = first + columns + 1 + (LABEL + 1 if has_label else 0)
        for place in layer:
            bottom = max(bottom, place.y + place.height)
            if place.name is not None:
                boxes[place.name] = Box(place.name, x, place.y, width, place.height)
            for bundle in place.outs:
                column = first + bundle.column
                for piece in bundle.pieces:
                    id, row = piece.link.id, piece.row
                    begin = x if place.name is None else x + width
                    end = following - 1 if piece.is_last else following
                    corners[id] += [(begin, bundle.row)]
                    if row != bundle.row:
                        corners[id] += [(column, bundle.row), (column, row)]
                    corners[id] += [(end, row)]
                    if piece.is_last:
                        labels[id] = (end - LABEL, row)
                    if piece.is_back:
                        turned.add(id)
        x = following if i + 1 < len(layers) else x + width
    routes = {
        id: Route(
            id, tuple(reversed(points)) if id in turned else tuple(points), labels[id], is_back=id in turned
        )
        for id, points in corners.items()
    }
    names = tuple(tuple(place.name for place in layer if place.name is not None) for layer in layers)
    return Layout(boxes, routes, loops, names, x, bottom)


def _width(name: str) -> int:
    return min(max(cells(name) + 4, SMALLEST), WIDEST)
