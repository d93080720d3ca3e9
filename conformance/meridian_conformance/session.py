"""One history on one edge, judged step by step against the model.

Every way to look for trouble (exhaustive, stateful, replay, shrinking) plays its histories here, so a rule is judged in
one place. A session ends with the first step that breaks a rule: from there on edge and model are two things.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from meridian_conformance.contract import CLOSED, EMPTY, CoalesceError, EdgeSpec, Put, optional
from meridian_conformance.failures import Step, Trace
from meridian_conformance.model import Model, TooLarge
from meridian_conformance.payloads import has_identity, payload, same, shown
from meridian_conformance.require import RuleViolation, is_muted, require, seen

POLICY_RULES: Final = {
    "block": "EDGE-110",
    "drop": "EDGE-111",
    "latest": "EDGE-112",
    "coalesce": "EDGE-113",
}

MORE_THAN_HELD: Final = 1_000
"""An edge that gives out so many items more than it can hold will never be empty."""


class Clock:
    """Seconds that pass only when a step says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Broken(AssertionError):  # noqa: N818 - what happened, not what went wrong in the kit
    """A step broke rules.

    Attributes:
        violations: One for each rule.
        steps: The history up to and with that step.
    """

    def __init__(self, violations: Sequence[RuleViolation], steps: Sequence[Step]) -> None:
        self.violations = tuple(violations)
        self.steps = tuple(steps)
        super().__init__("; ".join(map(str, violations)))


class Judged:
    """What plays a history and judges each step, which may break several rules.

    Attributes:
        steps: What was done.
        broken: One violation for each rule that was broken so far.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.broken: list[RuleViolation] = []

    def require(self, rule: str, holds: object, **facts: Any) -> None:
        """Require that something holds, and go on if it doesn't."""
        try:
            require(rule, holds, **facts)
        except RuleViolation as violation:
            if all(other.rule != rule for other in self.broken):
                self.broken.append(violation)

    def stop_if_broken(self) -> None:
        """End the history if a rule was broken.

        Raises:
            Broken: one was.
        """
        if self.broken:
            raise Broken(self.broken, self.steps)


class Session(Judged):
    """One edge, its model, and what was done so far.

    Args:
        backend: Who opens the edge.
        spec: What is opened; clock and watch are the session's.
        claims: What the backend claims.

    Attributes:
        dead: A muted rule was broken: edge and model aren't the same any more, so nothing is judged from here on.
    """

    def __init__(self, backend: Any, spec: EdgeSpec, claims: frozenset[str]) -> None:
        super().__init__()
        self.backend = backend
        self.claims = claims
        self.clock = Clock()
        self.dead = False
        self._calls: list[tuple[Any, Any]] = []
        self._wanted: list[tuple[Any, Any]] = []
        self.spec = replace(spec, clock=self.clock, watch=self._watch)
        self.model = Model(self.spec, self._model_merge)
        self.edge = backend.open(self.spec)
        self._raw = optional(backend, "raw_items")
        self._frozen: dict[int, tuple[Any, str]] = {}
        self._was_full = False
        self._refused: list[Any] = []
        self._full_puts = 0
        self._failed_merges = 0
        self._mixed_ages = spec.max_age_s is not None
        self._slept = False
        self._control = 0

    # ---- watching the coalesce function ----------------------------------------------------------------------

    def _watch(self, old: Any, new: Any) -> None:
        self._calls.append((old, new))

    def _model_merge(self, old: Any, new: Any) -> Any:
        self._wanted.append((old, new))
        quiet = replace(self.spec, watch=None)
        try:
            return quiet.merge(old, new)
        except CoalesceError:
            self._failed_merges += 1
            seen("EDGE-114", "coalesce function raised")
            raise

    # ---- judging ---------------------------------------------------------------------------------------------

    def _require(self, rule: str, holds: object, **facts: Any) -> bool:
        """Require that something holds, and say whether it does."""
        if not holds:
            self.dead = True  # even if that rule is muted
            self.require(rule, False, **facts)
        return bool(holds)

    # ---- steps -----------------------------------------------------------------------------------------------

    def play(self, step: Step, judge: bool = True) -> None:
        """Do one step.

        Args:
            step: What to do; ops are the methods named here.
            judge: Whether it is judged; a prefix that was judged before needn't be.

        Raises:
            Broken: it broke rules.
        """
        if self.dead:
            return
        _OPS[step.op](self, judge, *step.args)

    def put(self, arg: Any, judge: bool = True) -> None:
        """Put the payload that ``arg`` stands for."""
        self._put("put", arg, judge)

    def put_control(self, arg: Any, judge: bool = True) -> None:
        """Put it as CONTROL."""
        self._put("put_control", arg, judge)

    def _put(self, op: str, arg: Any, judge: bool) -> None:
        item = payload(arg)
        self._freeze(item)
        model, spec = self.model, self.spec
        before = model.depth()
        closed, full = model.closed, model.depth() >= spec.capacity
        held_before = model.held() if judge else []
        self._calls.clear()
        self._wanted.clear()
        control = op == "put_control"
        lost_before = model.lost.copy() if judge else model.lost
        expected: str
        try:
            expected = str(model.put_control(item) if control else model.put(item))
        except TooLarge:
            expected = "ValueError"
        try:
            got = str((self.edge.put_control if control else self.edge.put)(item))
        except Exception as raised:  # noqa: BLE001 - whatever it raises is its answer
            got = type(raised).__name__
        self.steps.append(Step(op, (arg,), expected, got))
        self._count(control, closed, full, expected, before, item)
        if judge:
            self._judge_put(expected, got, control, closed, full, before, held_before, lost_before)
            self._judge_state()
        elif got != expected:
            self.dead = True
        self.stop_if_broken()

    def _count(self, control: bool, closed: bool, full: bool, expected: str, before: int, item: Any) -> None:
        spec = self.spec
        if expected in (Put.BLOCKED, Put.CLOSED, "ValueError"):
            self._refused.append(item)
        if closed:
            seen("EDGE-123", "put on a closed edge")
            return
        if not item and expected == Put.OK:
            seen("EDGE-103", "a falsy item went through")
        if control:
            self._control += 1
            if before > len(self.model.control):
                seen("EDGE-108", "CONTROL put while data waited")
            if full:
                seen("EDGE-108", "CONTROL put on a full edge")
            return
        if expected == "ValueError":
            seen("EDGE-115", "put of an item that never fits")
        elif full:
            self._was_full = True
            self._full_puts += 1
            seen("EDGE-101", "put on a full edge")
            seen("EDGE-104", "put on a full edge")
            seen(POLICY_RULES[spec.policy], f"put on a full {spec.policy} edge")
            if expected in (Put.DROPPED, Put.REPLACED):
                seen("EDGE-130", "a loss was counted")
            if self._wanted and isinstance(self._wanted[-1][0], list) and len(self._wanted[-1][0]) > 2:
                seen("EDGE-113", "merged into a merged item")
        elif expected != Put.OK:
            self._full_puts += 1
            seen("EDGE-115", "put that exceeded the bytes")
        else:
            seen("EDGE-104", "put on an edge with room")
            if self._was_full:
                seen("EDGE-107", "put on an edge with room, after it had been full")
            if before + 1 == spec.capacity:
                seen("EDGE-107", "filled to the last slot")

    def _judge_put(
        self,
        expected: str,
        got: str,
        control: bool,
        closed: bool,
        full: bool,
        before: int,
        held_before: list[Any],
        lost_before: Counter[str],
    ) -> None:
        spec, model = self.spec, self.model
        rule = self._rule_of_put(control, closed, full, expected)
        known = got in Put.__members__ or got == expected
        depth = self._depth()
        self._require(
            "EDGE-114" if rule == "EDGE-114" else "EDGE-104",
            known,
            result=got,
            expected=expected,
            policy=spec.policy,
        )
        if known:
            if got != expected:
                if self.model.control and not control:
                    self._require("EDGE-108", False, result=got, expected=expected, held=before)
                self._require(rule, False, result=got, expected=expected, held=before, capacity=spec.capacity)
            replaced = model.lost["replaced"] - lost_before["replaced"]
            expired = model.lost["expired"] - lost_before["expired"]
            if expired:
                seen("EDGE-116", "an item expired", expired)
            change = depth - (before - expired)
            said = (
                {Put.OK: 1, Put.REPLACED: 1 - (replaced or 1)}.get(Put(got), 0)
                if got in Put.__members__
                else 0
            )
            if change != said and not (self._slept and got == expected):
                facts = {"result": got, "depth_before": before, "depth_after": depth}
                self._require("EDGE-116" if self._slept else "EDGE-104", False, **facts)
                if full:
                    self._require(rule, False, **facts)
        self._judge_merge(expected)
        if self._raw is not None:
            self._judge_storage(got, rule, held_before)

    def _rule_of_put(self, control: bool, closed: bool, full: bool, expected: str) -> str:
        """Return the rule that says what this put has to answer."""
        if closed:
            return "EDGE-123"
        if self._slept:
            return "EDGE-116"
        if control:
            return "EDGE-108"
        if expected == "ValueError":
            return "EDGE-115"
        if self._wanted and self._failed_merges and self.spec.coalesce == "fail":
            return "EDGE-114"
        if full:
            return POLICY_RULES[self.spec.policy]
        return "EDGE-107" if expected == Put.OK else "EDGE-115"

    def _judge_merge(self, expected: str) -> None:
        """The coalesce function was called once, with the right items; and not at all where nothing had to be merged."""
        if self.spec.policy != "coalesce":
            return
        calls, wanted = self._calls, self._wanted
        self._require(
            "EDGE-113",
            len(calls) == len(wanted),
            calls_of_the_function=len(calls),
            expected_calls=len(wanted),
            result=expected,
        )
        for (old, new), (wanted_old, wanted_new) in zip(calls, wanted, strict=False):
            self._require(
                "EDGE-113",
                same(old, wanted_old) and same(new, wanted_new),
                called_with=f"({shown(old)}, {shown(new)})",
                expected=f"({shown(wanted_old)}, {shown(wanted_new)})",
            )

    def _judge_storage(self, got: str, rule: str, held_before: list[Any]) -> None:
        """Look at the storage behind the edge's back."""
        assert self._raw is not None
        raw = self._raw(self.edge)
        held = self.model.held()
        if _all_same(raw, held):
            return
        facts = {"result": got, "storage": shown(raw), "expected": shown(held)}
        if self._slept:
            self._require("EDGE-116", False, **facts)
        elif _all_alike(raw, held):
            self._require("EDGE-106", False, **facts)
        elif Counter(map(_key, raw)) == Counter(map(_key, held)):
            self._require("EDGE-102", False, **facts)
            if self._full_puts:
                self._require(rule, False, **facts)
        else:
            if got in (Put.BLOCKED, Put.DROPPED, Put.CLOSED):
                self._require("EDGE-104", _all_same(raw, held_before), **facts)
            elif got == Put.OK:
                self._require("EDGE-104", raw and held and same(raw[-1], held[-1]), **facts)
            self._require("EDGE-108" if self._control else rule, False, **facts)

    def get(self, judge: bool = True) -> None:
        """Take an item."""
        model = self.model
        several = model.depth() > 1
        expired = model.lost["expired"]
        expected = model.get()
        if model.lost["expired"] > expired:
            seen("EDGE-116", "an item expired", model.lost["expired"] - expired)
        try:
            got = self.edge.get()
        except Exception as raised:  # noqa: BLE001 - whatever it raises is its answer
            got = raised
        self.steps.append(Step("get", (), shown(expected), _told(got)))
        if expected is not EMPTY:
            seen("EDGE-130", "a delivery was counted")
            if several:
                seen("EDGE-102", "took one of several items")
            if has_identity(expected):
                seen("EDGE-106", "took an item with identity")
        if not judge:
            self.dead = not self._is_same(got, expected)
            return
        if not self._is_same(got, expected):
            self._judge_contents([got], [expected])
        else:
            self._judge_state()
        self.stop_if_broken()

    def _is_same(self, got: Any, expected: Any) -> bool:
        if expected is EMPTY or got is EMPTY:
            return got is expected
        if "serialises" not in self.claims and not self._is_merged(expected) and has_identity(expected):
            return got is expected and self._unchanged(got)
        return same(got, expected)

    def _is_merged(self, item: Any) -> bool:
        return isinstance(item, list) and bool(item) and item[0] == "merged"

    # ---- what is held, against what should be ----------------------------------------------------------------

    def _judge_contents(self, got_first: list[Any], wanted_first: list[Any]) -> None:
        """Something else came out than the model says: take out the rest, and find the rules that were broken."""
        got = [item for item in got_first if item is not EMPTY] + self._rest()
        wanted = [item for item in wanted_first if item is not EMPTY] + self._model_rest()
        spec = self.spec
        facts: dict[str, Any] = {
            "came_out": ", ".join(map(_told, got)),
            "expected": ", ".join(map(shown, wanted)),
            "policy": spec.policy,
            "capacity": spec.capacity,
        }
        if len(got) == len(wanted) and all(map(_alike, got, wanted)):
            self._require(
                "EDGE-106", False, **facts
            )  # each in its place, but copied, changed or in another form
            return
        mine, theirs = [_key(item) for item in got], [_key(item) for item in wanted]
        conserved = Counter(mine) == Counter(theirs)
        if self._slept:
            self._require("EDGE-116", False, **facts)
            return
        if self._control:
            self._require("EDGE-108", False, **facts)
        elif conserved:
            self._require("EDGE-102", False, **facts)
        else:
            self._require("EDGE-103", False, **facts)
            if {_key(item) for item in self._refused} & set(mine):
                self._require("EDGE-104", False, **facts)
            if self.model.closed:
                self._require("EDGE-123", False, **facts)
        if not self._full_puts or self._control:
            return
        if spec.max_bytes is not None:
            self._require("EDGE-115", False, **facts)
        elif self._failed_merges:
            self._require("EDGE-114", False, **facts)
        else:
            self._require(POLICY_RULES[spec.policy], False, **facts)

    def _rest(self) -> list[Any]:
        """Take out all that is left."""
        rest: list[Any] = []
        for _ in range(self.spec.capacity + MORE_THAN_HELD):
            try:
                item = self.edge.get()
            except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
                return [*rest, error]
            if item is EMPTY or item is CLOSED:
                return rest
            rest.append(item)
        return rest

    def _model_rest(self) -> list[Any]:
        rest: list[Any] = []
        while (item := self.model.get()) is not EMPTY:
            rest.append(item)
        return rest

    # ---- the rest of the steps -------------------------------------------------------------------------------

    def close(self, judge: bool = True) -> None:
        """Close the edge."""
        if self.model.closed:
            seen("EDGE-123", "closed twice")
        elif self.model.depth():
            seen("EDGE-123", "closed while holding items")
        self.model.close()
        got = "None"
        try:
            self.edge.close()
        except Exception as raised:  # noqa: BLE001 - whatever it raises is its answer
            got = type(raised).__name__
        self.steps.append(Step("close", (), "None", got))
        if judge:
            self._require("EDGE-123", got == "None", close=got)
            if not self.broken:
                depth = self._depth()
                self._require(
                    "EDGE-123", depth == self.model.depth(), held=depth, expected=self.model.depth()
                )
        if judge and not self.broken:
            self._judge_state()
        self.stop_if_broken()

    def sleep(self, seconds: float, judge: bool = True) -> None:
        """Let time pass."""
        self.clock.now += seconds
        self._slept = self._mixed_ages
        self.steps.append(Step("sleep", (seconds,)))
        if judge:
            self._judge_state()
        self.stop_if_broken()

    def drain(self) -> None:
        """End of the history: take out everything, and judge what comes."""
        if self.dead:
            return
        if self._was_full:
            seen("EDGE-103", "drained an edge that had been full")
        wanted: list[Any] = []
        steps = len(self.steps)
        got: list[Any] = []
        while (item := self.model.get()) is not EMPTY:
            wanted.append(item)
            try:
                out = self.edge.get()
            except Exception as raised:  # noqa: BLE001 - whatever it raises is its answer
                out = raised
            self.steps.append(Step("get", (), shown(item), _told(out)))
            got.append(out)
            if len(wanted) > 1 or self.model.depth():
                seen("EDGE-102", "took one of several items")
            seen("EDGE-130", "a delivery was counted")
            if has_identity(item):
                seen("EDGE-106", "took an item with identity")
            if not self._is_same(out, item):
                break
        if len(got) == len(wanted) and all(map(self._is_same, got, wanted)):
            more = self._rest()
            if not more:
                del self.steps[steps:]
                self._judge_state()
                self.stop_if_broken()
                return
            got += more
        self._judge_contents(got, wanted)
        self.stop_if_broken()

    # ---- what can be looked at at any time -------------------------------------------------------------------

    def _depth(self) -> int:
        try:
            depth: int = self.edge.depth()
        except Exception as raised:  # noqa: BLE001 - whatever it raises is its answer
            self._require("EDGE-103", False, depth=type(raised).__name__)
            return -1
        return depth

    def _judge_state(self) -> None:
        """Depth within capacity; depth and counters as the model has them."""
        spec, model = self.spec, self.model
        depth = self._depth()
        self._require("EDGE-101", 0 <= depth <= spec.capacity, depth=depth, capacity=spec.capacity)
        if self._mixed_ages and depth != model.depth():
            model.expire()  # a backend may look at ages at any time
        if not self.broken:
            self._require(
                "EDGE-116" if self._slept else "EDGE-103",
                depth == model.depth(),
                depth=depth,
                expected=model.depth(),
            )
        if not self.broken:
            self._judge_counters(depth)

    def _judge_counters(self, depth: int) -> None:
        model = self.model
        try:
            told = self.edge.counters()
            counted = (told["accepted"], told["delivered"], told["merged"])
            lost = {cause: n for cause, n in told["lost"].items() if n}
        except Exception as raised:  # noqa: BLE001 - whatever it raises is its answer
            self._require("EDGE-130", False, counters=type(raised).__name__)
            return
        if self._mixed_ages and lost.get("expired", 0) != model.lost["expired"]:
            model.expire()
        wanted = (model.accepted, model.delivered, model.merged)
        if counted == wanted and lost == {cause: n for cause, n in model.lost.items() if n}:
            return
        self._require(
            "EDGE-130",
            False,
            accepted_delivered_merged=counted,
            expected=wanted,
            lost=lost,
            expected_lost=dict(model.lost),
        )
        if not is_muted("EDGE-103") and all(isinstance(n, int) for n in (*counted, *lost.values())):
            accepted, delivered, merged = counted
            self._require(
                "EDGE-103",
                accepted == delivered + depth + merged + sum(lost.values()),
                accepted=accepted,
                delivered=delivered,
                depth=depth,
                merged=merged,
                lost=lost,
            )

    def _freeze(self, item: Any) -> None:
        if has_identity(item):
            self._frozen[id(item)] = (item, _frozen(item))

    def _unchanged(self, item: Any) -> bool:
        kept = self._frozen.get(id(item))
        return kept is None or kept[1] == _frozen(item)

    # ---- the end ---------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """Let go of the edge."""
        discard(self.backend, self.edge)


def discard(backend: Any, edge: Any) -> None:
    """Close ``edge`` and let its backend clean up; what goes wrong now was judged before, or isn't asked for."""
    try:
        edge.close()
    except Exception:  # noqa: BLE001 - see above
        pass
    clean = optional(backend, "discard")
    if clean is not None:
        clean(edge)


_OPS: Final[dict[str, Callable[..., None]]] = {
    "put": lambda session, judge, arg: session.put(arg, judge),
    "put_control": lambda session, judge, arg: session.put_control(arg, judge),
    "get": lambda session, judge: session.get(judge),
    "close": lambda session, judge: session.close(judge),
    "sleep": lambda session, judge, seconds: session.sleep(seconds, judge),
}


def play(
    backend: Any, spec: EdgeSpec, steps: Sequence[Step], claims: frozenset[str], judged: int | None = None
) -> tuple[Step, ...]:
    """Play a whole history and drain the edge; return its steps with what came of them.

    Args:
        backend: Who opens the edge.
        spec: What is opened.
        steps: The history.
        claims: What the backend claims.
        judged: How many of the last steps are judged; all by default.

    Raises:
        Broken: it broke rules.
    """
    session = Session(backend, spec, claims)
    quiet = 0 if judged is None else len(steps) - judged
    try:
        for i, step in enumerate(steps):
            session.play(step, i >= quiet)
        played = tuple(session.steps)
        session.drain()
        return played
    finally:
        session.discard()


def trace_of(
    violation: RuleViolation, spec: EdgeSpec, steps: Sequence[Step], suite: str, seed: int = 0
) -> Trace:
    """Make the trace of a violation."""
    return Trace(violation.rule, "edge", suite, spec.to_json(), tuple(steps), seed=seed)


def _told(value: Any) -> str:
    return type(value).__name__ if isinstance(value, BaseException) else shown(value)


def _key(item: Any) -> str:
    return f"{type(item).__name__} {item!r}"


def _frozen(item: Any) -> str:
    return json.dumps(item, default=repr)


def _alike(one: Any, other: Any) -> bool:
    """Say whether two items are the same but for types that formats mix up."""
    return bool(one == other) or _plain(one) == _plain(other)


def _plain(item: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return [_plain(each) for each in item]
    if isinstance(item, dict):
        return {str(key): _plain(value) for key, value in item.items()}
    return item.decode("latin-1") if isinstance(item, bytes) else item


def _all_same(ones: list[Any], others: list[Any]) -> bool:
    return len(ones) == len(others) and all(map(same, ones, others))


def _all_alike(ones: list[Any], others: list[Any]) -> bool:
    return len(ones) == len(others) and all(map(_alike, ones, others))
