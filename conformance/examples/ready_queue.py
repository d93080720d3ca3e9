"""A ready queue of one's own: deficit round robin over the three bands.

In each round every band may have as many picks as its weight. CONTROL, which may wait for little, goes first when its patience is
at an end; what it takes beyond its share it owes in the next round.
"""

from collections import deque

from meridian_conformance.contract import EMPTY
from meridian_conformance.ready.contract import BANDS


class DeficitRoundRobin:
    """Three lines, and what each has left in this round."""

    def __init__(self, spec):
        self.spec = spec
        self.lines = [deque(), deque(), deque()]
        self.band_of = {}  # band of each turn that was ever queued
        self.queued = set()
        self.left = list(spec.weights)
        self.waited = 0  # picks of others while CONTROL had work

    def enqueue(self, turn, band):
        if turn not in self.queued:
            self.queued.add(turn)
            self.band_of[turn] = BANDS.index(band)
            self.lines[self.band_of[turn]].append(turn)

    def set_band(self, turn, band):
        old, new = self.band_of[turn], BANDS.index(band)
        if turn in self.queued and old != new:
            self.lines[old].remove(turn)
            self.lines[new].append(turn)
            self.band_of[turn] = new  # of one that isn't queued the next enqueue tells it

    def pick(self):
        if not self.queued:
            return EMPTY
        band = self.choose()
        self.left[band] -= 1
        self.waited = self.waited + 1 if band and self.lines[0] else 0
        turn = self.lines[band].popleft()
        self.queued.discard(turn)  # from here on it can be queued again, also while it runs
        return turn

    def choose(self):
        if self.lines[0] and self.waited >= self.spec.control_bound():
            return 0
        while True:
            for band in (1, 2, 0):
                if self.lines[band] and self.left[band] > 0:
                    return band
            for band, weight in enumerate(self.spec.weights):  # a new round: debts are kept, savings are not
                self.left[band] = min(self.left[band], 0) + weight

    def finish(self, turn):
        pass  # nothing to do: a turn counts as idle as soon as it was picked

    def waiting(self):
        return len(self.queued)


class Backend:
    """What the kit is given."""

    capabilities = frozenset({"band_change"})

    def open(self, spec):
        return DeficitRoundRobin(spec)

    def bounds(self, spec):
        two_rounds = 2 * sum(spec.weights)
        return spec.control_bound(), two_rounds, two_rounds
