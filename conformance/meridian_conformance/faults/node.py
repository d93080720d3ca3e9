"""Faults of nodes, over a second writing of what they do: one list for what came, one for what is held, one for what leaves."""

from __future__ import annotations

from typing import Any, Final

from meridian_conformance.contract import EMPTY
from meridian_conformance.faults import register
from meridian_conformance.node.contract import CONTROL, DATA, ERROR, NodeSpec
from meridian_conformance.node.reference import PythonNodes

SLICE: Final = 3
"""Most messages of a slice."""

EPSILON: Final = 1e-9
"""Tokens, or seconds, that are lost in sums."""


class RightNode:
    """A node of any kind without a fault; what each fault bends is a method of its own."""

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.line: list[tuple[str, Any]] = []
        self.controls: list[Any] = []
        self.leaving: dict[str, list[tuple[str, Any]]] = {name: [] for name in spec.outputs}
        self.leaving_first: dict[str, list[Any]] = {name: [] for name in spec.outputs}
        self.held: list[Any] = []
        self.held_since = 0.0
        self.tokens = float(spec.burst)
        self.counted_at = spec.clock()
        self.failures = 0
        self.ended = False

    # ---- the edges ---------------------------------------------------------------------------------------------

    def put(self, kind: str, item: Any) -> str:
        if len(self.line) + len(self.controls) >= self.spec.capacity:
            return "BLOCKED"
        if kind == CONTROL:
            self.controls.append(item)
        else:
            self.line.append((kind, item))
        return "OK"

    def take(self, output: str) -> Any:
        if self.leaving_first[output]:
            return CONTROL, self.leaving_first[output].pop(0)
        return self.leaving[output].pop(0) if self.leaving[output] else EMPTY

    def waiting(self) -> int:
        return len(self.line)

    def depth(self, output: str) -> int:
        return len(self.leaving[output])

    def errors(self) -> int:
        return self.failures

    def end(self) -> None:
        self.ended = True

    def room(self) -> int:
        return min(self.spec.capacity - len(line) for line in self.leaving.values())

    def leave(self, kind: str, item: Any, *outputs: str) -> None:
        for name in outputs or self.spec.outputs:
            self.leaving[name].append((kind, item))

    # ---- slices ------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        if self.controls and (self.room() or not self.holds_a_batch()):
            self.obey(self.controls.pop(0))
            return True
        return self.handle_some() or self.do_what_is_due()

    def holds_a_batch(self) -> bool:
        return self.spec.kind == "batch" and bool(self.held)

    def obey(self, item: Any) -> None:
        if self.holds_a_batch():
            self.let_go()
        for name in self.spec.outputs:
            self.leaving_first[name].append(item)

    def handle_some(self) -> bool:
        n = min(SLICE, self.room(), len(self.line))
        if self.spec.kind == "throttle" and len(self.held) >= self.spec.burst:
            n = 0
        taken, self.line = self.line[:n], self.line[n:]
        self.handle_all(taken)
        return bool(taken)

    def handle_all(self, taken: list[tuple[str, Any]]) -> None:
        for kind, item in taken:
            if kind == ERROR:
                self.pass_error(item)
            else:
                self.handle(item)

    def pass_error(self, item: Any) -> None:
        self.leave(ERROR, item)

    def handle(self, item: Any) -> None:
        if self.spec.kind in ("batch", "throttle"):
            self.hold(item)
            return
        try:
            way = self.way(item)
        except KeyError:
            self.fail()
            way = self.default()
        if way is not None:
            self.leave(DATA, item, way)

    def way(self, item: Any) -> str | None:
        """Return the output on which data leaves, if it does."""
        if self.spec.kind == "filter":
            return "output" if self.keeps(item) else None
        if self.spec.kind == "route":
            way = self.spec.way(item)
            return way if way in self.spec.outputs else self.default()
        return "output"

    def keeps(self, item: Any) -> bool:
        return self.spec.keeps(item)

    def default(self) -> str | None:
        return self.spec.outputs[0] if self.spec.kind == "route" and self.spec.default else None

    def fail(self) -> None:
        self.failures += 1
        if self.spec.kind == "filter" and self.spec.on_error == "emit":
            self.leave(ERROR, "a test raised")

    # ---- what is held ------------------------------------------------------------------------------------------

    def hold(self, item: Any) -> None:
        if not self.held:
            self.held_since = self.spec.clock()
        self.held.append(item)
        if self.spec.kind == "batch" and len(self.held) >= self.most():
            self.let_go()

    def most(self) -> int:
        return self.spec.size

    def let_go(self) -> None:
        held, self.held = self.held, []
        self.leave(DATA, held)

    def do_what_is_due(self) -> bool:
        if not self.held or not self.room():
            return False
        if self.spec.kind == "throttle":
            self.fill()
            if self.tokens < 1 - EPSILON:
                return False
            self.tokens -= 1
            self.leave(DATA, self.held.pop(0))
            return True
        if not self.time_is_up() and not (self.ended and not self.line):
            return False
        self.let_go()
        return True

    def fill(self) -> None:
        now = self.spec.clock()
        self.tokens = min(self.spec.burst, self.tokens + (now - self.counted_at) * self.spec.rate)
        self.counted_at = now

    def time_is_up(self) -> bool:
        within_s = self.spec.within_s
        return within_s is not None and self.spec.clock() >= self.held_since + within_s - EPSILON


class FaultyNode(RightNode):
    """A node with one mistake; a subclass names the rule that it breaks."""

    def __init_subclass__(cls, *, rule: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        backend = type(
            cls.__name__,
            (PythonNodes,),
            {"open": lambda _, spec: cls(spec), "__doc__": cls.__doc__, "__module__": cls.__module__},
        )
        register(backend, rule)


# ---- what leaves ---------------------------------------------------------------------------------------------------


class HandlesTheNewestFirst(FaultyNode, rule="NODE-601"):
    """Takes the messages of a slice from the wrong end."""

    def handle_all(self, taken: list[tuple[str, Any]]) -> None:
        super().handle_all(taken[::-1])


class PutsTooMuchBack(FaultyNode, rule="NODE-601"):
    """Puts back one message too many when a slice ends for want of room, and handles that one twice."""

    def handle_some(self) -> bool:
        before = list(self.line)
        handled = super().handle_some()
        n = len(before) - len(self.line)
        if n and self.line and not self.room():
            self.line.insert(0, before[n - 1])
        return handled


class KeepsWhatHasTheField(FaultyNode, rule="NODE-602"):
    """Asks whether the field is there, and not whether it holds true."""

    def keeps(self, item: Any) -> bool:
        return super().keeps(item) or (isinstance(item, dict) and "keep" in item)


class KeepsOnlyTrueItself(FaultyNode, rule="NODE-602"):
    """Compares with ``True`` where truth is asked for."""

    def keeps(self, item: Any) -> bool:
        return super().keeps(item) and (isinstance(item, str) or item["keep"] is True)


class AFailureEndsTheSlice(FaultyNode, rule="NODE-602"):
    """Leaves the rest of a slice when a test raises, and forgets that it took it."""

    def handle_all(self, taken: list[tuple[str, Any]]) -> None:
        for each in taken:
            before = self.failures
            super().handle_all([each])
            if self.failures > before:
                break


class IgnoresTheDefault(FaultyNode, rule="NODE-603"):
    """Drops what names no output, whatever was said about that."""

    def default(self) -> str | None:
        return None


class RemembersTheLastWay(FaultyNode, rule="NODE-603"):
    """Sends a whole slice where its first message goes."""

    first: str | None = None

    def handle_all(self, taken: list[tuple[str, Any]]) -> None:
        self.first = None
        super().handle_all(taken)

    def way(self, item: Any) -> str | None:
        way = super().way(item)
        if self.spec.kind == "route" and way is not None:
            self.first = way = self.first or way
        return way


# ---- batches -------------------------------------------------------------------------------------------------------


class OneMoreThanItsSize(FaultyNode, rule="NODE-604"):
    """Compares with ``>`` where it has to be ``>=``."""

    def most(self) -> int:
        return self.spec.size + 1


class EndsABatchWithTheSlice(FaultyNode, rule="NODE-604"):
    """Lets go of what it holds at the end of each slice, as if that were the end of the input."""

    def handle_all(self, taken: list[tuple[str, Any]]) -> None:
        super().handle_all(taken)
        if self.holds_a_batch():
            self.let_go()


class ForgetsTheRestAtTheEnd(FaultyNode, rule="NODE-605"):
    """Lets full lists leave, and at the end of the input nothing."""

    def end(self) -> None:
        pass


class ControlDoesNotLetGo(FaultyNode, rule="NODE-605"):
    """Lets CONTROL pass by what it holds."""

    def obey(self, item: Any) -> None:
        held, self.held = self.held, []
        super().obey(item)
        self.held = held


class EachItemSetsTheTimeAnew(FaultyNode, rule="NODE-605"):
    """Counts the time from the last item, and not from the first."""

    def hold(self, item: Any) -> None:
        super().hold(item)
        self.held_since = self.spec.clock()


# ---- room, failures, other messages --------------------------------------------------------------------------------


class DropsWhatFindsNoRoom(FaultyNode, rule="NODE-606"):
    """Takes whatever comes, and lets fall what there is no room for."""

    def room(self) -> int:
        return SLICE

    def leave(self, kind: str, item: Any, *outputs: str) -> None:
        for name in outputs or self.spec.outputs:
            if self.depth(name) < self.spec.capacity:
                super().leave(kind, item, name)


class AsksForRoomOnce(FaultyNode, rule="NODE-606"):
    """Handles a whole slice wherever there is room for one message."""

    def room(self) -> int:
        return SLICE if super().room() > 0 else 0


class LooksAtTheRoomOfOneOutput(FaultyNode, rule="NODE-606"):
    """Takes the room of the first output for that of all."""

    def room(self) -> int:
        return self.spec.capacity - self.depth(self.spec.outputs[0])


class CountsTheWholeSliceAsFailed(FaultyNode, rule="NODE-607"):
    """Counts a failure for each message of the slice in which one failed."""

    def handle_all(self, taken: list[tuple[str, Any]]) -> None:
        before = self.failures
        super().handle_all(taken)
        if self.failures > before:
            self.failures = before + len(taken)


class TakesAFailureForFalse(FaultyNode, rule="NODE-607"):
    """Catches what a test raises, and says nothing."""

    def fail(self) -> None:
        pass


class FailuresLeaveFirst(FaultyNode, rule="NODE-607"):
    """Lets the ERROR of a failed test leave in front of all that waits."""

    def fail(self) -> None:
        waiting = {name: list(line) for name, line in self.leaving.items()}
        super().fail()
        for name, line in self.leaving.items():
            self.leaving[name] = [*line[len(waiting[name]) :], *waiting[name]]


class TestsErrorsToo(FaultyNode, rule="NODE-608"):
    """Asks the test about every message, and not about data only."""

    def pass_error(self, item: Any) -> None:
        if self.spec.kind != "filter" or self.keeps(item):
            super().pass_error(item)


class ErrorsOvertake(FaultyNode, rule="NODE-608"):
    """Lets ERROR leave in front of the data that came before it."""

    def pass_error(self, item: Any) -> None:
        for line in self.leaving.values():
            line.insert(0, (ERROR, item))


class SendsControlToOneOutput(FaultyNode, rule="NODE-608"):
    """Lets CONTROL leave on the first output only."""

    def obey(self, item: Any) -> None:
        super().obey(item)
        for name in self.spec.outputs[1:]:
            self.leaving_first[name].pop()


class ControlWaitsForData(FaultyNode, rule="NODE-608"):
    """Takes one message at a time, and CONTROL when there is no other."""

    def step(self) -> bool:
        if self.line and self.room() > 0:
            self.handle_all([self.line.pop(0)])
            return True
        return super().step()


class DoesNotGoOn(FaultyNode, rule="NODE-609"):
    """Waits for room, and isn't told when there is some: only what is put wakes it."""

    waits = False

    def put(self, kind: str, item: Any) -> str:
        self.waits = False
        return super().put(kind, item)

    def step(self) -> bool:
        if self.waits:
            return False
        if self.line and self.room() <= 0:
            self.waits = True
        return super().step()


class NeverRests(FaultyNode, rule="NODE-609"):
    """Says that there is more to do as long as it holds something."""

    def step(self) -> bool:
        return super().step() or bool(self.held)


class TheBucketHasNoBrim(FaultyNode, rule="NODE-610"):
    """Saves up tokens without a limit."""

    def fill(self) -> None:
        now = self.spec.clock()
        self.tokens += (now - self.counted_at) * self.spec.rate
        self.counted_at = now


class CountsWholeTokens(FaultyNode, rule="NODE-610"):
    """Adds whole tokens only, and forgets the time that brought a part of one."""

    def fill(self) -> None:
        now = self.spec.clock()
        gained = int((now - self.counted_at) * self.spec.rate)
        self.tokens = min(self.spec.burst, self.tokens + gained)
        self.counted_at = now
