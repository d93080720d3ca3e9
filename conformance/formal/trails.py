"""Spin trails as failure files of the conformance kit.

A model prints a line for each step of a history and for what came of it; ``spin -t`` replays a trail with these lines. From
them comes a file in the format of ``meridian_conformance.failures``, which anybody's edge or ready queue can be asked to
repeat. Two of its steps are the models' own: ``put_wait`` and ``cancel`` name who waits (``p0``, ``p1`` …), and what a step
let happen to those who wait stands behind its result: ``0; p1 OK``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

RESULTS: Final = ("OK", "BLOCKED", "DROPPED", "REPLACED", "COALESCED", "CLOSED")
POLICIES: Final = ("block", "drop", "latest", "coalesce")
BANDS: Final = ("CONTROL", "HIGH", "NORMAL")
NOBODY: Final = 255

_LINE = re.compile(r"^\s*(STEP|WAS|WOKEN|FAIL)\b\s*(.*?)\s*$", re.MULTILINE)


class NoHistory(ValueError):  # noqa: N818 - what is missing, not what went wrong
    """A trail tells no history that breaks a rule."""


@dataclass
class _Step:
    op: str
    args: list[Any] = field(default_factory=list[Any])
    was: str = ""
    expected: str | None = None

    def to_json(self) -> dict[str, Any]:
        expected = self.was if self.expected is None else self.expected
        return {"op": self.op, "args": self.args, "expected": expected, "got": self.was}


def convert(printed: str, defines: dict[str, int], suite: str) -> dict[str, Any]:
    """Turn what ``spin -t`` printed into a failure file.

    Args:
        printed: All that it printed.
        defines: What the model was made with.
        suite: Version of the rules, for the file.

    Raises:
        NoHistory: no rule is broken in it.
    """
    lines = [(kind, rest.split()) for kind, rest in _LINE.findall(printed)]
    failed = next((rest for kind, rest in lines if kind == "FAIL"), None)
    if failed is None:
        raise NoHistory("no step of this trail breaks a rule")
    if failed[0].startswith("READY"):
        target, player, steps = "ready", "ready", _ready(lines, failed)
        spec: dict[str, Any] = {
            "weights": [defines[f"W{band}"] for band in range(3)],
            "turns": sum(step.op == "enqueue" for step in steps),
            "bounds": [defines[f"B{band}"] for band in range(3)],
        }
    else:
        target, steps = "edge", _edge(lines, failed)
        player = "schedule" if any(step.op == "settle" for step in steps) else "session"
        policy = POLICIES[defines["POLICY"]]
        spec = {
            "capacity": defines["CAPACITY"],
            "policy": policy,
            "coalesce": "newer" if policy == "coalesce" else None,
            "max_bytes": None,
            "max_age_s": None,
        }
    return {
        "format": 1,
        "rule": failed[0],
        "target": target,
        "player": player,
        "suite": suite,
        "spec": spec,
        "steps": [step.to_json() for step in steps],
        "schedule": [],
        "seed": 0,
        "environment": {"found_by": "spin"},
    }


def _edge(lines: list[tuple[str, list[str]]], failed: list[str]) -> list[_Step]:
    """Read the history of an edge; items get serial numbers, since the model uses a number again."""
    steps: list[_Step] = []
    woken: list[list[str]] = []
    serial: dict[int, int] = {}
    for kind, rest in lines:
        if kind == "STEP":
            step = _Step(rest[0])
            if step.op in ("put", "put_wait"):
                item = sum(other.op.startswith("put") for other in steps)
                serial[int(rest[1])] = item
                step.args = [item] if step.op == "put" else [f"p{item}", item]
                if rest[2] == "1":
                    step.op = step.op.replace("put", "put_control")
            elif step.op == "cancel":
                step.args = [f"p{serial[int(rest[1])]}"]
            steps.append(step)
            woken.append([])
        elif kind == "WAS":
            step = steps[-1]
            step.was = str(serial[int(rest[0])]) if step.op == "get" else RESULTS[int(rest[0])]
            if step.op.endswith("_wait") and step.was == "BLOCKED":
                step.was = "waits"
        elif kind == "WOKEN":
            woken[-1].append(f"p{serial[int(rest[0])]} {RESULTS[int(rest[1])]}")
    rule, wanted = failed[0], int(failed[1])
    went_on = _who_should_go_on(rule, wanted, serial, woken[-1])
    if went_on is None:
        steps[-1].expected = _should_be(steps[-1], wanted, serial)
    if not any(step.op.endswith("_wait") for step in steps):
        return steps
    settled = [part for step, who in zip(steps, woken, strict=True) for part in (step, _settle(who))]
    if went_on is None:
        return settled[:-1]
    settled[-1].expected = _settle(went_on).was
    return settled


def _settle(woken: list[str]) -> _Step:
    return _Step("settle", was=", ".join(woken) or "nobody goes on")


def _who_should_go_on(rule: str, wanted: int, serial: dict[int, int], woken: list[str]) -> list[str] | None:
    """Say who should have gone on in the end, or ``None`` where something else is wrong."""
    if rule in ("EDGE-120", "EDGE-124"):
        return [*woken, f"p{serial[wanted]} {'OK' if rule == 'EDGE-120' else 'CLOSED'}"]
    if rule == "EDGE-121":
        return [*woken[:-1], f"p{serial[wanted]} OK"]
    return woken[:-1] if wanted == NOBODY else None  # somebody went on who did not wait any more


def _should_be(step: _Step, wanted: int, serial: dict[int, int]) -> str:
    """Say what the result of a step should have been."""
    if step.op == "get":
        return str(serial[wanted])
    return "waits" if step.op.endswith("_wait") and RESULTS[wanted] == "BLOCKED" else RESULTS[wanted]


def _ready(lines: list[tuple[str, list[str]]], failed: list[str]) -> list[_Step]:
    """Read the history of a ready queue; turns get serial numbers."""
    steps: list[_Step] = []
    waiting: tuple[list[int], ...] = ([], [], [])
    turns = 0
    for kind, rest in lines:
        if kind == "STEP" and rest[0] == "enqueue":
            steps.append(_Step("enqueue", [turns, BANDS[int(rest[1])]], "OK"))
            waiting[int(rest[1])].append(turns)
            turns += 1
        elif kind == "STEP":
            steps.append(_Step("pick"))
        elif kind == "WAS":
            steps[-1].was = str(waiting[int(rest[0])].pop(int(rest[1])))
    steps[-1].expected = str(waiting[int(failed[1])][int(failed[2])])
    return steps
