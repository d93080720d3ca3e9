"""The Prometheus text format, version 0.0.4, and the names that are legal in it.

Names in a program are freer than the format allows, so they are made legal here. Two that would then be the same are
kept apart by a suffix, since a format error costs a scrape all of its series. Names that OpenMetrics derives count, too: a
counter ``a_total`` and a gauge ``a`` are one name there.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

LabelPairs = tuple[tuple[str, str], ...]
Distribution = tuple[dict[float, int], float]

_ILLEGAL_IN_NAME = re.compile(r"[^a-zA-Z0-9_:]")
# The format's own label on histograms; a user's label of that name has to give way.
_LE = ("le",)

_ILLEGAL_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


class Sample(NamedTuple):
    """One line: what stands behind the name of its family, labels that are legal, and the number."""

    suffix: str
    labels: LabelPairs
    value: float


class Family(NamedTuple):
    """All series of one name: ``counter``, ``gauge`` or ``histogram``."""

    kind: str
    name: str
    samples: list[Sample]


def families(
    namespace: str,
    counters: Iterable[tuple[str, LabelPairs, float]],
    gauges: Iterable[tuple[str, LabelPairs, float]],
    histograms: Iterable[tuple[str, LabelPairs, Distribution]],
    taken: Iterable[str] = (),
) -> list[Family]:
    """Return these series, grouped by family, under names that are legal.

    Args:
        namespace: Prefix of all names.
        counters: Name, labels and value of each.
        gauges: Likewise.
        histograms: Likewise; the value is its bins, cumulative, and the sum.
        taken: Names that others have already.
    """
    prefix = f"{namespace}_" if namespace else ""
    names = _Names(_ILLEGAL_IN_NAME, taken)
    found: dict[tuple[str, str], Family] = {}

    def family(kind: str, name: str) -> list[Sample]:
        legal = names.legal((kind, name), prefix + name, kind)
        return found.setdefault((kind, legal), Family(kind, legal, [])).samples

    for kind, series in (("counter", counters), ("gauge", gauges)):
        for name, pairs, value in series:
            family(kind, name).append(Sample("", _legal_labels(pairs), value))
    for name, pairs, (buckets, total) in histograms:
        samples, labels = family("histogram", name), _legal_labels(pairs, _LE)
        samples += [
            Sample("_bucket", (*labels, ("le", _number(bound))), count) for bound, count in buckets.items()
        ]
        samples += [Sample("_sum", labels, total), Sample("_count", labels, buckets[float("inf")])]
    return list(found.values())


def render(series: Iterable[Family]) -> str:
    """Return the exposition of these families; ends with a line feed unless it is empty."""
    text: list[str] = []
    for kind, name, samples in series:
        text.append(f"# TYPE {name} {kind}")
        text += [f"{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in samples]
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
            base = legal_name(wanted, self._illegal)
            given, number = base, 1
            while not self._taken.isdisjoint(derived := _derived(given, suffix)):
                given = f"{base}_{suffix}" if number == 1 else f"{base}_{suffix}_{number}"
                number += 1
            self._taken |= derived
            self._given[thing] = given
        return given


def legal_name(name: str, illegal: re.Pattern[str] = _ILLEGAL_IN_NAME) -> str:
    """Return ``name`` with every illegal character replaced by an underscore, and not beginning with a digit."""
    legal = illegal.sub("_", name) or "_"
    return f"_{legal}" if legal[0].isdigit() else legal


def _derived(name: str, kind: str) -> set[str]:
    """Return ``name`` and the names that come with it, if it is one of a family of some kind."""
    if kind == "counter":
        base = name.removesuffix("_total")
        return {name, base, f"{base}_total", f"{base}_created"}
    if kind == "histogram":
        return {name, *(name + suffix for suffix in ("_bucket", "_count", "_sum", "_created"))}
    return {name}


def _legal_labels(pairs: LabelPairs, reserved: Iterable[str] = ()) -> LabelPairs:
    names = _Names(_ILLEGAL_IN_LABEL, reserved)
    return tuple((names.legal(key, key, "label"), str(value)) for key, value in pairs)


def _labels(pairs: LabelPairs) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
