"""Members that are texts: metrics, and the end of a log file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from meridian.diagnostics.errors import DiagnosticsError
from meridian.observability.adapters.catalogue import CATALOGUE, SERIES, exposition_name
from meridian.observability.exposition import Family, Sample, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from meridian.diagnostics.scrub import Scrub
    from meridian.introspect import NodeSnapshot, Snapshot

LOG_BYTES = 256 * 1024
"""So much of a log file's end is taken."""

_LEAD = 32 * 1024
"""And so much more is read before it: a key that began there is recognised as one."""


class _NodeSeen(NamedTuple):
    """A node, as the catalogue of metrics reads it."""

    node: NodeSnapshot
    spent: _Spent


class _Spent(NamedTuple):
    """Seconds of a node so far."""

    busy: float
    blocked: float
    idle: float


def metrics_text(shots: Sequence[Snapshot], scrub: Scrub) -> str:
    """Return the metrics of some runs as text for Prometheus: those that the adapters export, from one look at each."""
    families: list[Family] = []
    for metric in CATALOGUE:
        samples: list[Sample] = []
        for number, shot in enumerate(shots, 1):
            # What keeps the runs of one process apart.
            further = () if number == 1 else ((SERIES, str(number)),)
            for name, thing in _things(metric.of, shot):
                for values, value in metric.read(thing):
                    said = [*(() if name is None else (name,)), *values]
                    pairs = tuple(zip(metric.labels, map(scrub.text, said), strict=True))
                    samples.append(Sample("", (*pairs, *further), value))
        if samples:
            kind = "counter" if metric.kind == "counter" else "gauge"
            families.append(Family(kind, exposition_name(metric), samples))
    return render(families)


def _things(of: str, shot: Snapshot) -> Iterator[tuple[str | None, Any]]:
    """Yield what metrics of one kind are about, each with the name that is its label."""
    match of:
        case "run":
            yield None, shot
        case "band":
            yield from ((band.name, band) for band in shot.scheduler.bands)
        case "node":
            yield from ((node.name, _NodeSeen(node, _spent(node, shot.elapsed_s))) for node in shot.nodes)
        case "edge":
            yield from ((edge.id, edge) for edge in shot.edges)
        case _:  # of the process, which runtime.json tells
            pass


def _spent(node: NodeSnapshot, elapsed_s: float) -> _Spent:
    shares = node.shares
    if shares is None:
        return _Spent(0.0, 0.0, 0.0)
    return _Spent(shares.busy * elapsed_s, shares.blocked * elapsed_s, shares.idle * elapsed_s)


def log_tail(path: Path, scrub: Scrub) -> str:
    """Return the end of a log file, scrubbed: whole lines, at most `LOG_BYTES` of what was in it.

    Raises:
        DiagnosticsError: it is no file.
        OSError: it can't be read.
    """
    if not path.is_file():
        raise DiagnosticsError(f"{path} is no file")
    with path.open("rb") as file:
        size = file.seek(0, 2)
        begin = max(size - LOG_BYTES, 0)
        before = max(begin - _LEAD, 0)
        file.seek(before)
        content = file.read(size - before)
    shown = _scrubbed(content.decode("utf-8", "replace").splitlines(), scrub)
    if begin == 0:
        return shown
    # What was only read along goes, with the line that the cut is in. Scrubbing moves the cut a little, never to the beginning.
    tail = shown[begin - before :].partition("\n")[2]
    return f"[about {begin:,} bytes before this were left out]\n{tail}"


def _scrubbed(lines: list[str], scrub: Scrub) -> str:
    """Return lines after the rules: JSON objects each for itself, with the rules for keys; all between two of them together."""
    made: list[str] = []
    plain: list[str] = []
    for line in lines:
        if "\0" in line:
            # A NUL makes all that is looked at together one encoded text, which would go as a whole.
            plain.append(scrub.document(line).replace("\0", ""))
        elif (shown := _shown_object(line, scrub)) is None:
            plain.append(line)
        else:
            if plain:
                made.append(scrub.document("\n".join(plain)))
                plain = []
            made.append(shown)
    if plain:
        made.append(scrub.document("\n".join(plain)))
    return "".join(f"{each}\n" for each in made)


def _shown_object(line: str, scrub: Scrub) -> str | None:
    """Return a JSON object after the rules, or ``None`` if the line is something else."""
    if not line.startswith("{"):
        return None
    try:
        return json.dumps(scrub.record(json.loads(line)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
