"""A toy edge backend: everything that the core profile asks, and nothing more."""

from collections import Counter, deque

from meridian_conformance.contract import EMPTY, POLICIES


class ToyEdge:
    """A deque, a few counters, and one decision for each policy."""

    def __init__(self, spec):
        self.spec, self.items, self.closed = spec, deque(), False
        self.accepted = self.delivered = self.merged = 0
        self.lost = Counter()

    def put(self, item):
        full, policy = len(self.items) >= self.spec.capacity, self.spec.policy
        if self.closed:
            return "CLOSED"
        if full and policy == "block":
            return "BLOCKED"
        self.accepted += 1
        if not full:
            self.items.append(item)
            return "OK"
        if policy == "drop":
            self.lost["dropped"] += 1
            return "DROPPED"
        if policy == "latest":
            self.lost["replaced"] += 1
            self.items.popleft()
            self.items.append(item)
            return "REPLACED"
        try:
            self.items[-1] = self.spec.merge(self.items[-1], item)
            self.merged += 1
        except Exception:  # noqa: BLE001 - whatever a user's function raises, the newer item wins
            self.items[-1] = item
            self.lost["coalesce_error"] += 1
        return "COALESCED"

    def get(self):
        if not self.items:
            return EMPTY
        self.delivered += 1
        return self.items.popleft()

    def depth(self):
        return len(self.items)

    def counters(self):
        totals = {"accepted": self.accepted, "delivered": self.delivered, "merged": self.merged}
        return {**totals, "lost": dict(self.lost)}

    def close(self):
        self.closed = True


class Backend:
    """What the kit is given."""

    capabilities = frozenset()  # nothing beyond the five methods

    def open(self, spec):
        if spec.capacity < 1 or spec.policy not in POLICIES:
            raise ValueError("an edge needs a capacity of at least 1 and a known policy")
        return ToyEdge(spec)
