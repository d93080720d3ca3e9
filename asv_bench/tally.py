"""What asv measured, counted: asv's exit code says neither whether anything was measured nor why not.

A *case* is a benchmark with one combination of its parameters. Each that there is must have a figure, or a stated reason to be
skipped; asv keeps no reasons, so the benchmarks note them (`asv_bench.benchmarks._engine.skip`).
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asv_bench.engines import PYTHON, RUST

NEITHER = "neither"
"""In place of an engine, for what runs on none in particular."""


@dataclass(frozen=True, slots=True)
class Case:
    """A benchmark with one combination of its parameters.

    Attributes:
        benchmark: Its name: module, class, function.
        index: Of the combination, in asv's order.
        params: The ``repr`` of each parameter.
    """

    benchmark: str
    index: int
    params: tuple[str, ...]

    @property
    def id(self) -> str:
        """As asv's runner calls it."""
        return f"{self.benchmark}-{self.index}" if self.params else self.benchmark

    @property
    def name(self) -> str:
        """As asv's ``--bench`` sees it."""
        return f"{self.benchmark}({', '.join(self.params)})" if self.params else self.benchmark

    @property
    def module(self) -> str:
        return self.benchmark.partition(".")[0]

    @property
    def engine(self) -> str:
        """``python``, ``rust`` or ``neither``."""
        first = self.params[0] if self.params else ""
        return next((each for each in (PYTHON, RUST) if first == repr(each)), NEITHER)


def cases_of(benchmark: str, params: Sequence[Sequence[str]]) -> list[Case]:
    """Return the cases of one benchmark."""
    if not params:
        return [Case(benchmark, 0, ())]
    return [Case(benchmark, i, each) for i, each in enumerate(itertools.product(*params))]


def matching(cases: Iterable[Case], pattern: str) -> list[Case]:
    """Return the cases whose name a regular expression finds, as asv's ``--bench`` does."""
    return [case for case in cases if re.search(pattern, case.name)]


def modules(cases: Iterable[Case]) -> list[str]:
    """Return the modules of the cases, each once."""
    return list(dict.fromkeys(case.module for case in cases))


def exactly(cases: Iterable[Case]) -> list[str]:
    """Return the arguments with which asv runs these cases and no others."""
    return [each for case in cases for each in ("--bench", f"^{re.escape(case.name)}$")]


@dataclass(slots=True)
class Tally:
    """What a run made of the cases it was asked for.

    Attributes:
        name: Of what was measured: a commit's full hash, or an engine.
        expected: How many cases there are.
        figures: How many of them have a figure, by engine.
        skipped: How many were skipped, by reason.
        unexplained: Those that were skipped without a reason.
        failed: Those that broke.
        missing: Those that never ran.
    """

    name: str
    expected: int
    figures: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Each case has a figure, or a reason to have none; and there is at least one figure."""
        return bool(self.figures) and self.figures.total() + self.skipped.total() == self.expected

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "complete": self.complete,
            "expected": self.expected,
            "figures": dict(self.figures),
            "skipped": dict(self.skipped),
            "unexplained": self.unexplained,
            "failed": self.failed,
            "missing": self.missing,
        }

    def __str__(self) -> str:
        by_engine = ", ".join(f"{engine} {n}" for engine, n in sorted(self.figures.items()))
        said = [
            f"{self.name[:8]}: {self.figures.total()} of {self.expected} cases have a figure ({by_engine})"
        ]
        said += [f"{n} skipped: {why}" for why, n in sorted(self.skipped.items())]
        for what, names in (
            ("skipped without a reason", self.unexplained),
            ("broke", self.failed),
            ("never ran", self.missing),
        ):
            if names:
                said.append(f"{len(names)} {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}")
        return "\n  ".join(said)


def tally(
    name: str,
    cases: Iterable[Case],
    results: Mapping[str, float | None],
    reasons: Mapping[str, str],
) -> Tally:
    """Count.

    Args:
        name: Of what was measured.
        cases: What was asked for.
        results: By the id of a case: a figure, NaN if it was skipped, ``None`` if it broke.
        reasons: By the id of a case, why it was skipped.
    """
    cases = list(cases)
    made = Tally(name, len(cases))
    for case in cases:
        if case.id not in results:
            made.missing.append(case.name)
        elif (value := results[case.id]) is None:
            made.failed.append(case.name)
        elif math.isfinite(value):
            made.figures[case.engine] += 1
        elif case.id in reasons:
            made.skipped[reasons[case.id]] += 1
        else:
            made.unexplained.append(case.name)
    return made


def stored(folder: Path, commit: str, since: float) -> dict[str, float | None]:
    """Read asv's result files: what was stored for a commit since that time, by the ids of the cases."""
    from asv.results import iter_results

    found: dict[str, float | None] = {}
    for result in iter_results(str(folder)):
        if result.commit_hash == commit:
            for name in result.get_all_result_keys():
                if result.started_at.get(name, 0) >= since * 1000:
                    params = result.get_result_params(name)
                    values = result.get_result_value(name, params)
                    found |= {
                        case.id: value for case, value in zip(cases_of(name, params), values, strict=True)
                    }
    return found


def reasons_in(noted: Path) -> dict[str, str]:
    """Read why cases were skipped, by their ids."""
    if not noted.exists():
        return {}
    lines = map(json.loads, noted.read_text(encoding="utf-8").splitlines())
    return {line["benchmark"]: line["why"] for line in lines}


def unknown_keys(configuration: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the keys of a configuration that asv would ignore, each with the known one that is most like it."""
    from difflib import get_close_matches

    known = sorted(known)
    near = {key: get_close_matches(key, known, 1) for key in sorted(set(configuration) - set(known))}
    return [f"{key} (perhaps {like[0]}?)" if like else key for key, like in near.items()]
