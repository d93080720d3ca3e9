"""The Prometheus text format, version 0.0.4.

Names in a program are freer than the format allows, so they are made legal here. Two that would then be the same are
kept apart by a suffix, since a format error costs a scrape all of its series.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

LabelPairs = tuple[tuple[str, str], ...]
Distribution = tuple[dict[float, int], float]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ILLEGAL_IN_NAME = re.compile(r"[^a-zA-Z0-9_:]")
# The format's own label on histograms; a user's label of that name has to give way.
_LE = ("le",)

_ILLEGAL_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def render(
    namespace: str,
    counters: Iterable[tuple[str, LabelPairs, float]],
    gauges: Iterable[tuple[str, LabelPairs, float]],
    histograms: Iterable[tuple[str, LabelPairs, Distribution]],
) -> str:
    """Return the exposition of these series, grouped by family; ends with a line feed unless it is empty."""
    prefix = f"{namespace}_" if namespace else ""
    names = _Names(_ILLEGAL_IN_NAME)
    families: dict[tuple[str, str], list[str]] = {}

    def family(kind: str, name: str) -> tuple[str, list[str]]:
        legal = names.legal((kind, name), prefix + name, kind)
        return legal, families.setdefault((kind, legal), [])

    for kind, series in (("counter", counters), ("gauge", gauges)):
        for name, pairs, value in series:
            legal, lines = family(kind, name)
            lines.append(f"{legal}{_labels(pairs)} {_number(value)}")
    for name, pairs, (buckets, total) in histograms:
        legal, lines = family("histogram", name)
        for bound, count in buckets.items():
            le = f'le="{_number(bound)}"'
            lines.append(f"{legal}_bucket{_labels(pairs, _LE, le)} {count}")
        lines.append(f"{legal}_sum{_labels(pairs, _LE)} {_number(total)}")
        lines.append(f"{legal}_count{_labels(pairs, _LE)} {buckets[float('inf')]}")

    text: list[str] = []
    for (kind, legal), lines in families.items():
        text.append(f"# TYPE {legal} {kind}")
        text += lines
    return "\n".join(text) + "\n" if text else ""


class _Names:
    """Gives each thing a legal name that no other thing has."""

    def __init__(self, illegal: re.Pattern[str], taken: Iterable[str] = ()) -> None:
        self._illegal = illegal
        self._taken = set(taken)
        self._given: dict[Hashable, str] = {}

    def legal(self, thing: Hashable, wanted: str, suffix: str) -> str:
        """Return the name of ``thing``: ``wanted`` made legal, and ``suffix`` or a number where that is taken."""
        given = self._given.get(thing)
        if given is None:
            given = base = legal_name(wanted, self._illegal)
            if given in self._taken:
                given = base = f"{base}_{suffix}"
            number = 2
            while given in self._taken:
                given = f"{base}_{number}"
                number += 1
            self._taken.add(given)
            self._given[thing] = given
        return given


def legal_name(name: str, illegal: re.Pattern[str] = _ILLEGAL_IN_NAME) -> str:
    """Return ``name`` with every illegal character replaced by an underscore, and not beginning with a digit."""
    legal = illegal.sub("_", name) or "_"
    return f"_{legal}" if legal[0].isdigit() else legal


def _labels(pairs: LabelPairs, reserved: Iterable[str] = (), *more: str) -> str:
    names = _Names(_ILLEGAL_IN_LABEL, reserved)
    shown = [f'{names.legal(key, key, "label")}="{_escaped(str(value))}"' for key, value in pairs]
    shown += more
    return "{" + ",".join(shown) + "}" if shown else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
