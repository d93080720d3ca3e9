"""Failures that travel: a history as a file, which replays on any backend without Hypothesis and shrinks by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

TRACE_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a history.

    Attributes:
        op: What is done, such as ``put``; see the session that plays it (`session`, `schedules`).
        args: JSON values; `payloads.payload` tells which payload one stands for.
        expected: What the model says should come of it, as text; for the reader only.
        got: What came of it.
    """

    op: str
    args: tuple[Any, ...] = ()
    expected: str | None = None
    got: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the form that failure files use."""
        data: dict[str, Any] = {"op": self.op, "args": list(self.args)}
        if self.expected is not None:
            data["expected"] = self.expected
        if self.got is not None:
            data["got"] = self.got
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Read that form."""
        return cls(data["op"], tuple(data.get("args", ())), data.get("expected"), data.get("got"))


@dataclass(frozen=True, slots=True)
class Trace:
    """A history that breaks a rule.

    Attributes:
        rule: The rule's id.
        target: What kind of thing it is played on: ``edge``, ``ready``, ``engine``, ``node``.
        player: Who plays it: ``session``, ``schedule``, ``crash``, …, as registered in `replay`.
        suite: Version of the rules.
        spec: What was opened, as JSON.
        steps: What was done.
        schedule: Decisions of the schedule that aren't steps: yields, switches.
        seed: Where random choices started.
        environment: Versions and platform where it was found.
    """

    rule: str
    target: str
    suite: str
    spec: Mapping[str, Any]
    steps: tuple[Step, ...]
    player: str = "session"
    schedule: tuple[Any, ...] = ()
    seed: int = 0
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> dict[str, Any]:
        """Return the form of a failure file."""
        return {
            "format": TRACE_FORMAT,
            "rule": self.rule,
            "target": self.target,
            "player": self.player,
            "suite": self.suite,
            "spec": dict(self.spec),
            "steps": [step.to_json() for step in self.steps],
            "schedule": list(self.schedule),
            "seed": self.seed,
            "environment": dict(self.environment),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trace:
        """Read that form.

        Raises:
            ValueError: it isn't a failure file, or one of a newer format.
        """
        if data.get("format") != TRACE_FORMAT:
            raise ValueError(
                f"a failure file of format {data.get('format')!r}; this version reads {TRACE_FORMAT}"
            )
        try:
            return cls(
                rule=data["rule"],
                target=data["target"],
                suite=data["suite"],
                spec=dict(data["spec"]),
                steps=tuple(Step.from_json(step) for step in data["steps"]),
                player=data.get("player", "session"),
                schedule=tuple(data.get("schedule", ())),
                seed=data.get("seed", 0),
                environment=dict(data.get("environment", {})),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a failure file: {error}") from error

    def with_steps(self, steps: tuple[Step, ...]) -> Trace:
        """Return the same with other steps."""
        return replace(self, steps=steps)


def read(path: Path) -> Trace:
    """Read a failure file.

    Raises:
        ValueError: it isn't one.
        OSError: it can't be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: line {error.lineno}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not a failure file")
    return Trace.from_json(data)


def write(folder: Path, trace: Trace) -> Path:
    """Write a failure file into ``folder``, named after its rule; return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{trace.rule}.json"
    path.write_text(json.dumps(trace.to_json(), indent=2) + "\n", encoding="utf-8")
    return path
