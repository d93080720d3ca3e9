"""What nodes that hold data have to give: batches, whose lists are full or have a cause not to be, and throttles with their tokens.

Where exactly a CONTROL message finds a batch depends on how much the node has taken by then, which is its own choice. So a cause to
let go of what is held is an interval: so many items had been taken before, so many when the node was at rest. Within it a list
has to end; and a list that isn't full needs such a cause, or its time must be up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.node.contract import DATA
from meridian_conformance.node.payloads import number, numbers
from meridian_conformance.require import seen

if TYPE_CHECKING:
    from meridian_conformance.node.session import NodeSession

EPSILON: Final = 1e-6
"""Seconds, or tokens, that are none. The kit waits for times in which whole or half tokens come."""


def _due(session: NodeSession, got: list[int]) -> list[int]:
    """Return the data that should have left, if the last of ``got`` has."""
    data = _data(session)
    return data[: data.index(got[-1]) + 1] if got and got[-1] in data else []


def _data(session: NodeSession) -> list[int]:
    return [n for kind, n in session.line if kind == DATA]


class BatchJudge:
    """Judges the lists that a batch gives.

    Args:
        session: What was put, and what was given.
    """

    def __init__(self, session: NodeSession) -> None:
        self.session = session
        self._taken_at: list[float] = []  # when each item was seen to be gone from the input
        self._causes: list[tuple[int, int, str]] = []
        self._control: list[
            int
        ] = []  # how much had been taken when CONTROL came that may still be on its way

    def note_taken(self) -> None:
        """Note what is gone from the input."""
        session = self.session
        gone = session.line[: len(session.line) - session.bench.waiting()]
        taken = sum(kind == DATA for kind, _ in gone)
        self._taken_at += [session.now] * (taken - len(self._taken_at))

    def control_comes(self) -> None:
        """Note that CONTROL was put."""
        self._control.append(len(self._taken_at))

    def judge(self) -> None:
        """Judge all lists, at rest."""
        session = self.session
        ((name, given),) = session.given.items()
        lists: list[Any] = [payload for kind, payload in given if kind == DATA]
        plain = all(isinstance(each, list) for each in lists)
        session.require("NODE-604", plain, output=name, left="no list")
        if not plain:
            return
        for each in lists:
            for payload in each:
                session.judge_payload(name, payload)
        got = [n for each in lists for n in numbers(each)]
        due = _due(session, got)
        session.judge_data(name, got, due)
        if got == due:
            self._judge_sizes([len(each) for each in lists])
            self._judge_held(len(got))

    def _judge_sizes(self, sizes: list[int]) -> None:
        session, spec = self.session, self.session.spec
        all_taken = len(self._taken_at)
        self._causes += [(taken, all_taken, "CONTROL") for taken in self._control]
        self._control.clear()
        causes = [*self._causes, (all_taken, all_taken, "the end")] if session.ended else self._causes
        ends = [0]
        for size in sizes:
            begin, end = ends[-1], ends[-1] + size
            ends.append(end)
            seen("NODE-604", "a list left")
            if size == spec.size:
                continue
            why = [cause for first, last, cause in causes if first <= end <= last]
            if spec.within_s is not None and self._taken_at[begin] + spec.within_s <= session.now + EPSILON:
                why.append("time")
            session.require("NODE-604", 0 < size < spec.size and why, sizes=sizes, size=spec.size)
            if why:
                seen("NODE-605", f"{why[0]} let go of what was held")
        for first, last, cause in causes:
            session.require(
                "NODE-605",
                any(first <= end <= last for end in ends),
                to_let_go=cause,
                between=(first, last),
                lists_end_at=ends,
            )

    def _judge_held(self, given: int) -> None:
        session, spec = self.session, self.session.spec
        held = len(self._taken_at) - given
        session.require("NODE-604", held < spec.size, held=held, size=spec.size)
        if held and spec.within_s is not None:
            since, now = self._taken_at[given], session.now
            up = now >= since + spec.within_s - EPSILON
            session.require("NODE-605", not up, held_since=since, within_s=spec.within_s, now=now)


class ThrottleJudge:
    """Judges when data leaves a throttle: by a bucket of the kit's own, which what left has emptied.

    Args:
        session: What was put, and what was given.
    """

    def __init__(self, session: NodeSession) -> None:
        self.session = session
        self._tokens = float(session.spec.burst)
        self._counted_at = session.now
        self._left = 0

    def note_left(self) -> None:
        """Note what has left by now; each item costs a token."""
        session, spec = self.session, self.session.spec
        (given,) = session.given.values()
        left = sum(kind == DATA for kind, _ in given)
        filled = self._tokens + (session.now - self._counted_at) * spec.rate
        self._tokens = min(spec.burst, filled) - (left - self._left)
        self._counted_at, self._left = session.now, left
        session.require("NODE-610", self._tokens > -EPSILON, left=left, tokens=self._tokens, now=session.now)

    def judge(self) -> None:
        """Judge what left and what waits, at rest."""
        session = self.session
        self.note_left()
        ((name, given),) = session.given.items()
        left = [payload for kind, payload in given if kind == DATA]
        for payload in left:
            session.judge_payload(name, payload)
        got = [number(payload) for payload in left]
        session.judge_data(name, got, _due(session, got))
        waits = len(_data(session)) - len(got)
        if waits:
            seen("NODE-610", "data waited for a token")
            tokens = self._tokens
            session.require("NODE-610", tokens < 1 - EPSILON, waits=waits, tokens=tokens, now=session.now)
