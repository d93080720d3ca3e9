"""The histories by which Spin catches the twins of the formal models, played on Meridian's own ring and ready queue.

Meridian's code takes each to its end. With the twin's bug put into it, it goes wrong at the last step, in the way that the model
said it would. So model and code agree about right and about wrong, which is what makes the model say something about the code.
"""

from collections import deque
from pathlib import Path

import pytest

from meridian.core.message import CONTROL, Message, Scope
from meridian.core.policies import Coalesce, PutResult, as_policy
from meridian.engine.kernel import PythonEngine
from meridian.engine.ready import ReadyQueue, Turn
from meridian.engine.ring import Ring
from meridian_conformance.contract import COALESCE
from meridian_conformance.failures import read
from meridian_conformance.reference import ReferenceBackend, ReferenceEdge
from meridian_conformance.replay import breaks, replay

pytestmark = pytest.mark.req("L3")

HISTORIES = Path(__file__).parent.parent / "formal" / "histories"
BANDS = ("CONTROL", "HIGH", "NORMAL")


# ---- an edge on which somebody may wait ---------------------------------------------------------------------------------


class EdgePlayer:
    """A ring in an engine, whose consumer takes what a step says; producers wait as in `meridian.runtime.run.Run.room_on`."""

    ring_type = Ring
    engine_type = PythonEngine

    def __init__(self, spec):
        name = spec["policy"]
        policy = Coalesce(COALESCE[spec["coalesce"]]) if name == "coalesce" else as_policy(name)
        self.engine = self.engine_type(Scope(), lambda: 0)
        self.ring = self.ring_type("edge", spec["capacity"], policy)
        self.engine.add_node(
            0, "consumer", "call", lambda port, message: None, {}
        ).hold()  # takes nothing by itself
        self.engine.attach(self.ring, 0, "in", 2)
        self.waiting, self.woken, self.closed = {}, [], False

    def play(self, step):
        got = getattr(self, step.op)(*step.args)
        lost = sum((self.ring.lost or {}).values())
        assert self.ring.accepted() == self.ring.taken + self.ring.depth() + self.ring.merged + lost
        return got

    def settle(self):
        while self.engine.run(1_000, 1):
            pass
        went_on, self.woken = self.woken, []
        return ", ".join(went_on) or "nobody goes on"

    def put(self, item):
        return self.ring.put(item).name

    def put_control(self, item):
        return self.put(Message(CONTROL, item))

    def put_wait(self, name, item):
        result = self.ring.put(item)
        if result is not PutResult.BLOCKED:
            return result.name
        turn = self.engine.turn(1, 2)
        turn.run = lambda: self.try_again(item, name)
        self.waiting[name] = turn
        self.ring.wait(turn)
        return "waits"

    def try_again(self, item, name):
        result = "CLOSED" if self.closed else self.ring.put(item).name
        if result == "BLOCKED":
            self.ring.wait(self.waiting[name])
        else:
            self.woken.append(f"{name} {result}")
        return 0

    def cancel(self, name):
        turn = self.waiting.pop(name)
        if self.ring.waiters is not None and turn in self.ring.waiters:
            self.ring.waiters.remove(turn)
        return ""

    def get(self):
        (item,) = self.ring.take_control(1) if self.ring.control else self.ring.take(1)
        return str(item.payload if isinstance(item, Message) else item)

    def close(self):
        self.closed = True
        self.ring.release(True)
        return ""


class OneTooMany(Ring):
    __slots__ = ()

    def _put(self, item, policy, weight=None):
        self.capacity, self.space = self.capacity + 1, self.space + 1
        try:
            return super()._put(item, policy, weight)
        finally:
            self.capacity, self.space = self.capacity - 1, self.space - 1


class ControlNotCounted(Ring):
    __slots__ = ()

    def _put(self, item, policy, weight=None):
        if isinstance(item, Message) and len(self.control or ()) < self.capacity:
            self.control = self.control or deque()
            self.control.append(item)
            return PutResult.OK
        return super()._put(item, policy, weight)


class NewestFirst(Ring):
    __slots__ = ()

    def take(self, k, put_back=False):
        self.items.rotate(1)
        return super().take(k, put_back)

    def _pop(self):
        self.items.rotate(1)
        return super()._pop()


class ReleaseKeepsTheList(Ring):
    __slots__ = ()

    def release(self, own):
        kept = list(self.waiters or ())
        super().release(own)
        self.waiters = kept


class PolicyLosesControl(Ring):
    __slots__ = ()

    def _put(self, item, policy, weight=None):
        result = super()._put(item, policy, weight)
        if result is PutResult.BLOCKED:
            self.lose("dropped", 1)
            return PutResult.DROPPED
        return result


class DropsTheOldest(Ring):
    __slots__ = ()

    def _put(self, item, policy, weight=None):
        result = super()._put(item, policy, weight)
        if result is PutResult.DROPPED:
            self.items.popleft()
            self.items.append(item)
        return result


class ReplacesTheNewest(Ring):
    __slots__ = ()

    def _evict(self, cause):
        self.items.pop()
        self.lose(cause, 1)


class MergesIntoTheOldest(Ring):
    __slots__ = ()

    def _replace_newest(self, item, weight):
        self.items[0] = item


class LastWaiterFirst(Ring):
    __slots__ = ()

    def release(self, own):
        if self.waiters:
            self.waiters.reverse()
        super().release(own)


class AttendsOnlyTheFirst(Ring):
    __slots__ = ()

    def wait(self, turn):
        attended = set(self.engine.waited)
        before = self.waiters
        super().wait(turn)
        if before is not None:  # an empty list counts as somebody who waits
            self.engine.waited = attended


class NobodyLooks(PythonEngine):
    def _let_on(self):
        self.waited.clear()


def edge_player(ring=Ring, engine=PythonEngine):
    return type("FaultyPlayer", (EdgePlayer,), {"ring_type": ring, "engine_type": engine})


class ControlLast(EdgePlayer):
    def get(self):
        return str(self.ring.take(1)[0]) if self.ring.items else super().get()


class CancelledStays(EdgePlayer):
    def cancel(self, name):
        return ""


class CloseForgetsWaiters(EdgePlayer):
    def close(self):
        self.closed = True
        return ""


# ---- a ready queue ------------------------------------------------------------------------------------------------------


class ReadyPlayer:
    """A ready queue as the engine asks it: not at all where only NORMAL has work."""

    queue_type = ReadyQueue

    def __init__(self, spec):
        self.queue = self.queue_type(tuple(spec["weights"]))
        self.bounds = spec["bounds"]
        self.others = [0, 0, 0]
        self.left = {}

    def play(self, step):
        if step.op == "enqueue":
            number, band = step.args[0], BANDS.index(step.args[1])
            line = self.queue.lines[band]
            turn = Turn(number, band)
            line.append(turn)
            self.left[turn] = len(line) * (self.bounds[band] + 1)
            return "OK"
        control, high, normal = lines = self.queue.lines
        picked = self.queue.pick() if control or high else normal.popleft()
        del self.left[picked]
        for band, line in enumerate(lines):
            self.others[band] = self.others[band] + 1 if line and band != picked.band else 0
        for turn in self.left:
            self.left[turn] -= 1
        return str(picked.node)

    def overdue(self):
        """Return who has waited for more picks than it may."""
        bands = [BANDS[band] for band, others in enumerate(self.others) if others > self.bounds[band]]
        return bands + [turn.node for turn, left in self.left.items() if left <= 0]


class Bent(ReadyQueue):
    """The rules of the ready queue written once more, for faults to bend."""

    def __init__(self, weights):
        super().__init__(weights)
        self.saved, self.waits = [0, 0, 0], [0, 0, 0]
        self.patience = [-(-(sum(weights) - weight) // weight) for weight in weights]

    def pick(self):
        work = [band for band in range(3) if self.lines[band]]
        total = sum(self.weights[band] for band in work)
        for band in range(3):
            self.saved[band] = self.saved[band] + self.weights[band] if band in work else self.idle(band)
        late = [band for band in work if self.waits[band] >= self.patience[band]]
        best = self.choose(work, late, max(work, key=lambda band: (self.saved[band], -band)))
        for band in range(3):
            self.waits[band] = self.waits[band] + 1 if band in work and band != best else 0
        self.saved[best] -= total
        return self.lines[best].popleft()

    def idle(self, band):
        return 0

    def choose(self, work, late, best):
        return 0 if 0 in late else max(late, key=lambda band: (self.waits[band], -band), default=best)


class Strict(Bent):
    def choose(self, work, late, best):
        return work[0]


class Hoards(Bent):
    def idle(self, band):
        saved = self.saved[band]
        return saved + self.weights[band] if saved < sum(self.weights) else saved


class NoPatience(Bent):
    def choose(self, work, late, best):
        return best


class OnlyControlIsLate(Bent):
    def choose(self, work, late, best):
        return 0 if 0 in late else best


class FirstLateBand(Bent):
    def choose(self, work, late, best):
        return late[0] if late else best


class _Stack(deque):
    def popleft(self):
        return self.pop()


class LastFirst(ReadyQueue):
    def __init__(self, weights):
        super().__init__(weights)
        self.lines = (_Stack(), _Stack(), _Stack())


def ready_player(queue):
    return type("FaultyPlayer", (ReadyPlayer,), {"queue_type": queue})


FAULTY = {
    "edge.block.one-too-many": edge_player(OneTooMany),
    "edge.block.control-not-counted": edge_player(ControlNotCounted),
    "edge.block.newest-first": edge_player(NewestFirst),
    "edge.block.release-keeps-the-list": edge_player(ReleaseKeepsTheList),
    "edge.block.control-last": ControlLast,
    "edge.latest.policy-loses-control": edge_player(PolicyLosesControl),
    "edge.drop.drops-the-oldest": edge_player(DropsTheOldest),
    "edge.latest.replaces-the-newest": edge_player(ReplacesTheNewest),
    "edge.coalesce.merges-into-the-oldest": edge_player(MergesIntoTheOldest),
    "edge.block.nobody-looks": edge_player(engine=NobodyLooks),
    "edge.block.attends-only-the-first": edge_player(AttendsOnlyTheFirst),
    "edge.block.last-waiter-first": edge_player(LastWaiterFirst),
    "edge.block.cancelled-stays": CancelledStays,
    "edge.block.close-forgets-waiters": CloseForgetsWaiters,
    "ready.4-2-1.strict": ready_player(Strict),
    "ready.4-2-1.hoards": ready_player(Hoards),
    "ready.4-2-1.no-patience": ready_player(NoPatience),
    "ready.4-2-1.only-control-is-late": ready_player(OnlyControlIsLate),
    "ready.2-3-1.first-late-band": ready_player(FirstLateBand),
    "ready.4-2-1.last-first": ready_player(LastFirst),
}


def history(name):
    return read(HISTORIES / f"{name}.json")


def first_wrong(trace, player):
    """Return the number of the first step that goes wrong, and what was got; or ``None``."""
    for number, step in enumerate(trace.steps):
        got = player.play(step)
        if player.overdue() if trace.target == "ready" else got != step.expected:
            return number, got
    return None


def test_every_recorded_history_has_its_faulty_code_and_the_other_way_round():
    assert sorted(path.stem for path in HISTORIES.glob("*.json")) == sorted(FAULTY)


@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.req("V3", "V4", "V6", "V7")
def test_meridian_takes_the_history_that_catches_the_twin_to_its_end(name):
    trace = history(name)
    player = ReadyPlayer if trace.target == "ready" else EdgePlayer
    assert first_wrong(trace, player(trace.spec)) is None


@pytest.mark.parametrize("name", FAULTY)
def test_with_the_bug_of_the_twin_it_goes_wrong_at_the_same_step_and_in_the_same_way(name):
    trace = history(name)
    assert first_wrong(trace, FAULTY[name](trace.spec)) == (len(trace.steps) - 1, trace.steps[-1].got)


@pytest.mark.parametrize("name", [name for name in FAULTY if name.startswith("ready")])
def test_a_faulty_ready_queue_makes_all_the_picks_that_the_model_says(name):
    trace = history(name)
    player = FAULTY[name](trace.spec)
    assert [player.play(step) for step in trace.steps] == [step.got for step in trace.steps]


@pytest.mark.parametrize("weights", [[4, 2, 1], [2, 3, 1], [1, 1, 1]])
def test_the_rules_of_the_ready_queue_written_once_more_are_those_of_the_queue(weights):
    bent, real = Bent(tuple(weights)), ReadyQueue(tuple(weights))
    for queue in (bent, real):
        for number in range(60):
            queue.lines[number % 3].append(Turn(number, number % 3))
    assert [bent.pick().node for _ in range(30)] == [real.pick().node for _ in range(30)]


# ---- by the kit ---------------------------------------------------------------------------------------------------------


def faulty_backend(ring):
    class FaultyEdge(ReferenceEdge):
        def __init__(self, spec):
            super().__init__(spec)
            self.ring.__class__ = ring

    class FaultyBackend(ReferenceBackend):
        edge_type = FaultyEdge

    return FaultyBackend()


@pytest.mark.parametrize("name", [name for name in FAULTY if name.startswith("edge")])
def test_the_kit_plays_the_history_on_the_reference_and_finds_no_fault(name):
    assert replay(ReferenceBackend(), history(name))[0] == []


@pytest.mark.parametrize(
    ("name", "ring"),
    [
        ("edge.block.one-too-many", OneTooMany),
        ("edge.block.control-not-counted", ControlNotCounted),
        ("edge.block.newest-first", NewestFirst),
        ("edge.latest.policy-loses-control", PolicyLosesControl),
        ("edge.drop.drops-the-oldest", DropsTheOldest),
        ("edge.latest.replaces-the-newest", ReplacesTheNewest),
        ("edge.coalesce.merges-into-the-oldest", MergesIntoTheOldest),
    ],
)
def test_the_kit_finds_the_fault_by_the_history_that_catches_the_twin(name, ring):
    assert breaks(faulty_backend(ring), history(name))
