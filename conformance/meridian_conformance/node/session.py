"""One history on one node, judged against a list of what was put.

A node's schedule is its own: how many messages it takes in a slice, and when, the kit doesn't prescribe. What it has to give is
settled as soon as it is at rest and all that it gave was taken (`settle`); there the kit compares.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.contract import EMPTY
from meridian_conformance.failures import Step, Trace
from meridian_conformance.node.contract import CONTROL, DATA, ERROR, RIGHT, NodeSpec
from meridian_conformance.node.held import BatchJudge, ThrottleJudge
from meridian_conformance.node.payloads import is_as_put, made, number, numbers
from meridian_conformance.require import seen
from meridian_conformance.session import Judged

if TYPE_CHECKING:
    from collections.abc import Iterable

WORK: Final = {
    "pass": "NODE-601",
    "filter": "NODE-602",
    "route": "NODE-603",
    "batch": "NODE-604",
    "throttle": "NODE-610",
}
"""The rule that says what a node of each kind does."""

ENDLESS: Final = 1_000
"""So many slices without a rest are a node that never comes to rest; the kit's histories need a few dozen."""

PARKED: Final = 3
"""So many slices what is parked for want of room, or held, may take before a node obeys."""

FAILED: Final = "FAILED"
"""Stands for the ERROR that leaves in place of data for which a test raised."""


class NodeSession(Judged):
    """One node, what was put, and what it gave.

    Args:
        backend: Who opens the node.
        spec: What is opened; the clock is the session's.

    Attributes:
        now: Seconds.
        payloads: All that was put or refused; a message's number is its place here.
        line: Kind and number of each message that the input accepted, but for CONTROL.
        controls: The numbers of the CONTROL messages that it accepted.
        given: For each output what was taken from it, as pairs of a kind and a payload, but for CONTROL.
        obeyed: For each output the payloads of the CONTROL messages that were taken from it.
        ended: Nothing more will be put.
    """

    def __init__(self, backend: Any, spec: NodeSpec) -> None:
        super().__init__()
        self.now = 0.0
        self.spec = replace(spec, clock=lambda: self.now)
        self.payloads: list[Any] = []
        self.line: list[tuple[str, int]] = []
        self.controls: list[int] = []
        self.given: dict[str, list[tuple[str, Any]]] = {name: [] for name in spec.outputs}
        self.obeyed: dict[str, list[Any]] = {name: [] for name in spec.outputs}
        self.ended = False
        self._was_full = False
        self._fresh_control = 0  # put since the last slice, so that it is on the input for sure
        self._control_on_its_way = 0  # put since the last rest, so that it may be
        self.bench = backend.open(self.spec)
        self._batch = BatchJudge(self) if spec.kind == "batch" else None
        self._throttle = ThrottleJudge(self) if spec.kind == "throttle" else None

    def play(self, step: Step) -> None:
        """Do one step.

        ``data(*traits)`` puts data, one message for each trait (see `payloads.made`), ``error()`` and ``control()`` put one of these;
        ``step(n)`` runs slices, ``take(output, n)`` takes from an output, by its place; ``wait(seconds)`` lets time pass; ``end()``
        says that nothing more comes; ``settle()`` takes all that comes until the node is at rest.

        Raises:
            Broken: it broke rules.
        """
        told = getattr(self, f"_{step.op}")(*step.args)
        if step.op not in ("step", "settle"):  # these judge after every slice
            self._judge_edges()
        self.steps.append(Step(step.op, step.args, None, told))
        self.stop_if_broken()

    # ---- steps -----------------------------------------------------------------------------------------------

    def _data(self, *traits: int) -> str:
        return ", ".join(self._put(DATA, made(self.spec, len(self.payloads), trait)) for trait in traits)

    def _error(self) -> str:
        return self._put(ERROR, {"n": len(self.payloads), "keep": False, "to": RIGHT})

    def _control(self) -> str:
        return self._put(CONTROL, {"n": len(self.payloads), "keep": False, "to": RIGHT})

    def _put(self, kind: str, payload: Any) -> str:
        n = len(self.payloads)
        self.payloads.append(payload)
        if self.ended:
            return "ended"
        most, waited = self.spec.capacity, self.bench.waiting()
        answer = str(self.bench.put(kind, payload))
        if answer == "BLOCKED":
            full = waited + self._control_on_its_way >= most
            self.require("NODE-606", full, answer=answer, waiting=waited, capacity=most)
            return answer
        waited += self._fresh_control
        self.require("NODE-606", waited < most, answer=answer, waiting=waited, capacity=most)
        if kind == CONTROL:
            self.controls.append(n)
            self._fresh_control += 1
            self._control_on_its_way += 1
            if self._batch is not None:
                self._batch.control_comes()
        else:
            self.line.append((kind, n))
        return answer

    def _step(self, n: int = 1) -> str:
        for ran in range(n):
            if self.broken or not self._slice():
                return f"at rest after {ran}"
        return f"{n} slices"

    def _slice(self) -> bool:
        more: bool = self.bench.step()
        self._fresh_control = 0
        self._judge_edges()
        if self._throttle is not None:  # its consumer is never late: what leaves is seen when it leaves
            self._take_all()
            self._throttle.note_left()
        return more

    def _take(self, output: int, n: int = 1) -> str:
        name = self.spec.outputs[output % len(self.spec.outputs)]
        return f"{sum(self._take_one(name) for _ in range(n))} messages"

    def _take_one(self, name: str) -> bool:
        got = self.bench.take(name)
        if got is EMPTY:
            return False
        kind, payload = got
        if kind == CONTROL:
            self.obeyed[name].append(payload)
        else:
            self.given[name].append((str(kind), payload))
        return True

    def _take_all(self) -> int:
        taken = 0
        for name in self.spec.outputs:
            while taken < ENDLESS and self._take_one(name):
                taken += 1
        return taken

    def _wait(self, seconds: float) -> str:
        self.now += seconds
        return f"{self.now:g} s"

    def _end(self) -> str:
        if not self.ended:
            self.ended = True
            self.bench.end()
        return "ended"

    def _settle(self) -> str:
        patience = 2 * self._control_on_its_way + PARKED
        for n in range(ENDLESS):
            taken = self._take_all()
            if n == patience:
                self._judge_control()
            if self.broken or (not self._slice() and not taken):
                break
        else:
            self.require("NODE-609", False, slices_without_rest=ENDLESS)
        if not self.broken:
            self._judge_rest()
        self._control_on_its_way = 0
        return f"{sum(map(len, self.given.values()))} messages so far"

    def told(self) -> list[str]:
        """Return what each output has given so far, by the numbers of messages."""
        return [
            f"{name}: {' '.join(map(self._shown, line))}; CONTROL {numbers(self.obeyed[name])}"
            for name, line in self.given.items()
        ]

    def _shown(self, message: tuple[str, Any]) -> str:
        kind, payload = message
        return f"{kind} {numbers(payload) if isinstance(payload, list) else number(payload)}"

    # ---- judging ---------------------------------------------------------------------------------------------

    def _judge_edges(self) -> None:
        """Judge what holds at any time: no edge has more messages than it may."""
        most, waiting = self.spec.capacity, self.bench.waiting()
        self.require("NODE-606", waiting <= most, waiting=waiting, capacity=most)
        for name in self.spec.outputs:
            depth = self.bench.depth(name)
            self.require("NODE-606", depth <= most, output=name, depth=depth, capacity=most)
            if waiting and depth >= most:
                seen("NODE-606", "messages waited while an output was full")
                self._was_full = True
        if self._batch is not None:
            self._batch.note_taken()

    def _judge_rest(self) -> None:
        seen("NODE-609", "came to rest when all that left was taken")
        if self._throttle is None:
            waiting = self.bench.waiting()
            self.require("NODE-609", not waiting, waiting_at_rest=waiting)
            if waiting:
                return  # what is missing at the outputs waits there
        self._judge_control()
        failures = 0
        if self._batch is not None:
            self._judge_errors()
            self._batch.judge()
        elif self._throttle is not None:
            self._judge_errors()
            self._throttle.judge()
        else:
            failures = self._judge_lines()
        errors = self.bench.errors()
        self.require("NODE-607", errors == failures, errors=errors, expected=failures)

    def _judge_control(self) -> None:
        wanted = [self.payloads[n] for n in self.controls]
        for name, obeyed in self.obeyed.items():
            if wanted:
                seen("NODE-608", "CONTROL passed")
            self.require(
                "NODE-608", obeyed == wanted, output=name, control=numbers(obeyed), expected=numbers(wanted)
            )

    def _judge_errors(self) -> None:
        """Judge the ERROR messages of a node that holds data, which they may overtake."""
        gone = self.line[: len(self.line) - self.bench.waiting()]
        wanted = [self.payloads[n] for kind, n in gone if kind == ERROR]
        for name, given in self.given.items():
            if wanted:
                seen("NODE-608", "ERROR passed")
            got = [payload for kind, payload in given if kind == ERROR]
            self.require(
                "NODE-608", got == wanted, output=name, errors=numbers(got), expected=numbers(wanted)
            )

    def _judge_lines(self) -> int:
        """Judge all that left a node that holds nothing; return how often a test or a rule had to raise."""
        failures = 0
        wanted: dict[str, list[tuple[str, int]]] = {name: [] for name in self.spec.outputs}
        for kind, n in self.line:
            if kind == ERROR:
                for line in wanted.values():
                    line.append((ERROR, n))
                continue
            leaves, failed = self._way(self.payloads[n])
            if failed:
                seen("NODE-607", "a test or a rule raised")
                failures += 1
                if self.spec.kind == "filter" and self.spec.on_error == "emit":
                    seen("NODE-607", "an ERROR left in place of data")
                    wanted[self.spec.outputs[0]].append((FAILED, -1))
            if leaves is not None:
                wanted[leaves].append((DATA, n))
        for name, line in wanted.items():
            self._judge_line(name, line)
        return failures

    def _way(self, payload: Any) -> tuple[str | None, bool]:
        """Return the output on which data leaves, if it does, and whether a test or a rule raises for it."""
        spec, first = self.spec, self.spec.outputs[0]
        way: str | None = first
        failed = False
        try:
            if spec.kind == "filter":
                seen("NODE-602", f"data was tested by {spec.by}")
                way = first if spec.keeps(payload) else None
            elif spec.kind == "route":
                seen("NODE-603", f"data was routed by {spec.by}")
                way = spec.way(payload)
        except KeyError:
            way, failed = None, True
        if spec.kind == "route" and way not in spec.outputs:
            seen("NODE-603", "no output was named")
            way = first if spec.default else None
        return way, failed

    def _judge_line(self, name: str, wanted: list[tuple[str, int]]) -> None:
        got: list[tuple[str, int]] = []
        for kind, payload in self.given[name]:
            passed = kind == DATA or (ERROR, number(payload)) in self.line
            if passed:
                self.judge_payload(name, payload, "NODE-601" if kind == DATA else "NODE-608")
            got.append((kind, number(payload)) if passed else (FAILED, -1))
        if any(kind == ERROR for kind, _ in wanted):
            seen("NODE-608", "ERROR passed")
        here, there = ([n for kind, n in line if kind == DATA] for line in (got, wanted))
        self.judge_data(name, here, there)
        for kind, rule in ((ERROR, "NODE-608"), (FAILED, "NODE-607")):
            here, there = ([n for each, n in line if each == kind] for line in (got, wanted))
            self.require(rule, here == there, output=name, errors=here, expected=there)
        if not self.broken:  # all are there, each kind in its order; but are they in order among each other?
            places = any(kind == FAILED for kind, _ in wanted)
            self.require(
                "NODE-607" if places else "NODE-608", got == wanted, output=name, line=got, expected=wanted
            )

    def judge_payload(self, name: str, payload: Any, rule: str = "NODE-601") -> None:
        """Judge that a message left as it came."""
        self.require(rule, is_as_put(payload, self.payloads), output=name, changed=number(payload))

    def judge_data(self, name: str, got: list[int], wanted: list[int]) -> None:
        """Judge which data left on an output, and in which order; ``wanted`` is all that should have by now."""
        facts = {"output": name, "left": got, "expected": wanted}
        work = WORK[self.spec.kind]
        if len(wanted) > 1:
            seen("NODE-601", "several data messages left an output")
        self.require("NODE-601", got == sorted(set(got)), **facts)
        self.require(work, set(got) <= set(wanted), **facts)
        self.require("NODE-606" if self._was_full else work, set(wanted) <= set(got), **facts)


def play(backend: Any, spec: NodeSpec, steps: Iterable[Step]) -> NodeSession:
    """Play a history.

    Raises:
        Broken: it broke rules.
    """
    session = NodeSession(backend, spec)
    for step in steps:
        session.play(step)
    return session


def replayed(backend: Any, trace: Trace) -> tuple[Step, ...]:
    """Play a failure file; return its steps with what came of them.

    Raises:
        Broken: it broke rules.
    """
    return tuple(play(backend, NodeSpec.from_json(trace.spec), trace.steps).steps)
