"""Nodes of one's own: one that passes, a filter and a batch, with a deque on each side."""

from collections import deque

from meridian_conformance.contract import EMPTY


class TinyNode:
    """What came waits in one line, what leaves in another; CONTROL goes past both."""

    def __init__(self, spec):
        self.spec = spec
        self.coming, self.leaving = deque(), deque()
        self.control_coming, self.control_leaving = deque(), deque()
        self.held, self.held_until = [], None
        self.failures = 0
        self.ended = False

    def put(self, kind, item):
        if len(self.coming) + len(self.control_coming) >= self.spec.capacity:
            return "BLOCKED"
        (self.control_coming if kind == "CONTROL" else self.coming).append((kind, item))
        return "OK"

    def take(self, output):
        line = self.control_leaving or self.leaving
        return line.popleft() if line else EMPTY

    def step(self):
        has_room = len(self.leaving) < self.spec.capacity  # no message makes more than one leave
        if self.control_coming and (has_room or not self.held):
            self.let_go()
            self.control_leaving.append(self.control_coming.popleft())
        elif has_room and self.coming:
            self.handle(*self.coming.popleft())
        elif has_room and self.held and (self.ended or self.is_late()):
            self.let_go()
        else:
            return False
        return True

    def handle(self, kind, item):
        if kind == "ERROR":
            self.leaving.append((kind, item))
        elif self.spec.kind == "batch":
            if not self.held and self.spec.within_s is not None:
                self.held_until = self.spec.clock() + self.spec.within_s
            self.held.append(item)
            if len(self.held) == self.spec.size:
                self.let_go()
        elif self.spec.kind == "pass" or self.passes(item):
            self.leaving.append(("DATA", item))

    def passes(self, item):
        try:
            return self.spec.keeps(item)
        except KeyError:
            self.failures += 1
            if self.spec.on_error == "emit":
                self.leaving.append(("ERROR", "the test raised"))
            return False

    def is_late(self):
        return self.held_until is not None and self.spec.clock() >= self.held_until

    def let_go(self):
        if self.held:
            self.leaving.append(("DATA", self.held))
            self.held, self.held_until = [], None

    def waiting(self):
        return len(self.coming)

    def depth(self, output):
        return len(self.leaving)

    def errors(self):
        return self.failures

    def end(self):
        self.ended = True


class Backend:
    """What the kit is given: nothing that routes, and no throttle."""

    capabilities = frozenset({"batch"})

    def open(self, spec):
        return TinyNode(spec)
