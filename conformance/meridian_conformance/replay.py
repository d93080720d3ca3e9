"""Playing failure files again, on any backend, and making them smaller; nothing here needs Hypothesis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from meridian_conformance import directed
from meridian_conformance.contract import EdgeSpec, claims
from meridian_conformance.failures import Step, Trace
from meridian_conformance.require import RuleViolation
from meridian_conformance.session import Broken, play

Played: TypeAlias = tuple[list[RuleViolation], tuple[Step, ...]]
"""The rules that a history broke, and its steps with what was expected and what came of them."""

Player: TypeAlias = Callable[[Any, Trace], Played]


def player_from(play: Callable[[Any, Trace], tuple[Step, ...] | None]) -> Player:
    """Make a player of a function that raises when a rule is broken.

    Args:
        play: Plays the history on a backend; returns its steps with what came of them, or ``None`` where they tell nothing new.
    """

    def player(backend: Any, trace: Trace) -> Played:
        try:
            steps = play(backend, trace)
        except Broken as broken:
            return list(broken.violations), broken.steps
        except RuleViolation as violation:
            return [violation], trace.steps
        return [], trace.steps if steps is None else steps

    return player


def _session(backend: Any, trace: Trace) -> tuple[Step, ...]:
    """Play a history of one edge, judged at each step."""
    return play(backend, EdgeSpec.from_json(trace.spec), trace.steps, claims(backend))


def _directed(judge: Callable[[Any, EdgeSpec], None]) -> Player:
    return player_from(lambda backend, trace: judge(backend, EdgeSpec.from_json(trace.spec)))


PLAYERS: Final[dict[str, Player]] = {
    "session": player_from(_session),
    "refusal": _directed(directed.refuses),
    "isolation": _directed(directed.shares_nothing),
    "privacy": _directed(directed.keeps_quiet),
}
"""Who plays which kind of history; other targets add theirs."""

FIXED: Final = frozenset({"refusal", "isolation", "privacy", "threads", "torn", "overhead"})
"""Players whose histories say all that there is to say, or need luck: there is nothing to shrink."""


def player_of(trace: Trace) -> Player:
    """Return who plays a history.

    Raises:
        ValueError: nobody does.
    """
    from meridian_conformance import checks

    checks.load_all()  # whoever looks for a kind of history also plays it
    try:
        return PLAYERS[trace.player]
    except KeyError:
        raise ValueError(
            f"{trace.rule}: a history for {trace.player!r}, which this version can't play"
        ) from None


def replay(backend: Any, trace: Trace) -> Played:
    """Play a history on a backend.

    Raises:
        ValueError: this version can't play it.
    """
    return player_of(trace)(backend, trace)


def breaks(backend: Any, trace: Trace) -> bool:
    """Say whether a history breaks the rule that it is about."""
    return any(violation.rule == trace.rule for violation in replay(backend, trace)[0])


def shrink(backend: Any, trace: Trace, seconds: float = 5.0, attempts: int = 2_000) -> Trace:
    """Return a smaller history that breaks the same rule: fewer steps, a smaller edge, plainer payloads.

    Deletes ever smaller stretches of steps, then single ones, until none can go; whatever isn't deterministic keeps its
    history.

    Args:
        backend: On which it breaks the rule.
        trace: The history.
        seconds: Most time that it may take.
        attempts: Most histories that are tried.
    """
    ends = time.monotonic() + seconds
    left = attempts

    def still(candidate: Trace) -> bool:
        nonlocal left
        left -= 1
        try:
            return breaks(backend, candidate)
        except Exception:  # noqa: BLE001 - a history that makes no sense any more
            return False

    if trace.player in FIXED or not still(trace):
        return trace
    best, better = trace, True
    while better and left > 0 and time.monotonic() < ends:
        better = False
        for candidate in _smaller(best):
            if left <= 0 or time.monotonic() > ends:
                break
            if still(candidate):
                best, better = candidate, True
                break
    violations, steps = replay(backend, best)
    del violations
    return best.with_steps(steps)


def _smaller(trace: Trace) -> Sequence[Trace]:
    """Return histories that are simpler, the boldest first."""
    steps = trace.steps
    n = len(steps)
    made: list[Trace] = []
    size = n // 2
    while size >= 1:
        made += [trace.with_steps(steps[:at] + steps[at + size :]) for at in range(n - size, -1, -1)]
        size //= 2
    spec = trace.spec
    capacity = spec.get("capacity", 1)
    if isinstance(capacity, int):
        made += [
            replace(trace, spec={**spec, "capacity": less})
            for less in sorted({1, capacity // 2, capacity - 1})
            if 1 <= less < capacity
        ]
    made += [
        replace(trace, spec={**spec, name: None})
        for name in ("max_bytes", "max_age_s")
        if spec.get(name) is not None
    ]
    for i, step in enumerate(steps):
        if step.op in ("put", "put_control") and step.args and step.args[0] != i:
            plain = Step(step.op, (i, *step.args[1:]))
            made.append(trace.with_steps((*steps[:i], plain, *steps[i + 1 :])))
    return made
