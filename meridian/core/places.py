"""Where edges are declared in the user's files, recorded while somebody asks for it.

A command asks before it loads a graph, so that what it says about an edge names file and line. Otherwise nothing is
recorded, and a connect call pays for one look at a global.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple

OURS: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_TESTS: Final = OURS + "_tests" + os.sep


class Place(NamedTuple):
    """Lines of a file, from 1, both inclusive."""

    file: str
    line: int
    last: int


class Places:
    """What was recorded; keeps what it is about alive."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[Any, Place]] = {}

    def of(self, declared: Any) -> Place | None:
        """Return where something was declared, if that was recorded."""
        kept = self._places.get(id(declared))
        return None if kept is None else kept[1]

    def note(self, declared: Any) -> None:
        """Record that something is declared by the user's code that is running now."""
        place = _here()
        if place is not None:
            self._places[id(declared)] = declared, place

    def note_links(self, links: Iterable[Any], options: Any) -> None:
        """Record that a ``>>`` makes links; what it ends with stands last in its expression, behind its options."""
        place = _here()
        if place is not None:
            between = self.of(options)
            line = place.last if between is None or between.file != place.file else between.last
            for each in links:
                self._places[id(each)] = each, Place(place.file, min(line, place.last), place.last)

    def move(self, old: Any, new: Any) -> None:
        """Record that ``new`` is declared where ``old`` was."""
        kept = self._places.get(id(old))
        if kept is not None:
            self._places[id(new)] = new, kept[1]


current: Places | None = None
"""What records now."""


@contextmanager
def recorded() -> Generator[Places]:
    """Record where edges are declared meanwhile."""
    global current
    before, current = current, Places()
    try:
        yield current
    finally:
        current = before


def shown_path(file: str) -> str:
    """Return the path of a file as seen from the current folder, if it is below that."""
    try:
        near = os.path.relpath(file)
    except ValueError:  # another drive, or no path at all
        return file
    return file if near.startswith("..") else near


def _here() -> Place | None:
    """Return the lines that the innermost frame of the user's is at."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.startswith(OURS) and not frame.f_code.co_filename.startswith(_TESTS):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    code = frame.f_code
    first, last, _, _ = next(islice(code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
    line = first or frame.f_lineno
    return Place(code.co_filename, line, last or line)
