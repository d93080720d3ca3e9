"""An engine of one's own, as small as can be: one line of tasks, first in, first out.

A task serves one edge, or lets one source produce, and is in the line once at most. What has no room waits with its node.
"""

from collections import deque

from meridian_conformance.engine.contract import MAX_BATCH, WorkError


class Edge:
    """Where items wait: CONTROL in a lane in front."""

    def __init__(self, link):
        self.link, self.items, self.control = link, deque(), deque()
        self.delivered = self.merged = self.accepted = 0
        self.lost = {}

    def depth(self):
        return len(self.items) + len(self.control)

    def full(self):
        return self.depth() >= self.link.capacity

    def blocks(self):
        return self.link.policy == "block" and self.full()

    def put(self, item):
        if self.blocks():
            return "BLOCKED"
        self.accepted += 1
        if not self.full():
            self.items.append(item)
            return "OK"
        if self.link.policy == "drop" or not self.items:  # or all that it holds is CONTROL
            return self.lose("dropped", "DROPPED")
        if self.link.policy == "latest":
            self.items.popleft()
            self.items.append(item)
            return self.lose("replaced", "REPLACED")
        self.items[-1] = item
        self.merged += 1
        return "COALESCED"

    def lose(self, cause, result):
        self.lost[cause] = self.lost.get(cause, 0) + 1
        return result


class TinyEngine:
    """A line of tasks: ("source", node), ("edge", number), ("parked", node)."""

    def __init__(self, graph, world):
        self.graph, self.world = graph, world
        self.edges = [Edge(link) for link in graph.links]
        self.parking = [deque() for _ in graph.nodes]
        self.failed = [0] * len(graph.nodes)
        self.paused = set()
        self.line = deque()
        self.sources = {n: world.produce(n) for n, node in enumerate(graph.nodes) if node.style == "source"}
        for node in self.sources:
            self.wake("source", node)

    def wake(self, kind, number):
        if (kind, number) not in self.line:
            self.line.append((kind, number))

    # ---- what has room, and what may run ----

    def outs(self, node):
        return [self.edges[n] for n in self.graph.leaving(node)]

    def can_emit(self, node):
        return not self.parking[node] and not any(edge.blocks() for edge in self.outs(node))

    def emit(self, node, item):
        if not self.can_emit(node):
            self.parking[node].append(item)  # for all edges or for none
        else:
            self.put_on_all(node, item)

    def put_on_all(self, node, item):
        for n in self.graph.leaving(node):
            self.edges[n].put(item)
            self.wake("edge", n)

    def made_room(self, number):
        """Whoever emits to this edge may go on, and first of all what it has parked."""
        node = self.graph.links[number].source
        if self.parking[node]:
            self.wake("parked", node)
        else:
            self.go_on(node)

    def go_on(self, node):
        if node in self.sources:
            self.wake("source", node)
        for n in self.graph.entering(node):
            if self.edges[n].depth():
                self.wake("edge", n)

    # ---- slices ----

    def step(self):
        urgent = next((n for n, edge in enumerate(self.edges) if edge.control and self.may_obey(n)), None)
        if urgent is not None:
            item = self.edges[urgent].control.popleft()
            self.edges[urgent].delivered += 1
            self.world.handle_control(self.graph.links[urgent].target, urgent, item)
            self.made_room(urgent)
        elif self.line:
            kind, number = self.line.popleft()
            {"source": self.produce, "edge": self.serve, "parked": self.unpark}[kind](number)
        return bool(self.line) or any(edge.control and self.may_obey(n) for n, edge in enumerate(self.edges))

    def may_obey(self, number):
        return not self.parking[self.graph.links[number].target]

    def produce(self, node):
        for _ in range(MAX_BATCH):
            if not self.can_emit(node):
                return
            try:
                self.emit(node, next(self.sources[node]))
            except StopIteration:
                return
        self.wake("source", node)

    def serve(self, number):
        edge, node = self.edges[number], self.graph.links[number].target
        for _ in range(MAX_BATCH):
            if not edge.items or node in self.paused or not self.can_emit(node):
                break
            item = edge.items.popleft()
            edge.delivered += 1
            self.made_room(number)
            try:
                for result in self.world.handle(node, number, item):
                    self.emit(node, result)
            except WorkError:
                self.failed[node] += 1
        if edge.items and node not in self.paused and self.can_emit(node):
            self.wake("edge", number)

    def unpark(self, node):
        parked = self.parking[node]
        while parked and not any(edge.blocks() for edge in self.outs(node)):
            self.put_on_all(node, parked.popleft())
        if not parked:
            self.go_on(node)

    # ---- from outside ----

    def offer(self, link, item):
        result = self.edges[link].put(item)
        self.wake("edge", link)
        return result

    def control(self, link, item):
        edge = self.edges[link]
        if edge.full():
            return "BLOCKED"
        edge.accepted += 1
        edge.control.append(item)
        return "OK"

    def pause(self, node):
        self.paused.add(node)

    def resume(self, node):
        self.paused.discard(node)
        self.go_on(node)

    def depth(self, link):
        return self.edges[link].depth()

    def counters(self, link):
        edge = self.edges[link]
        totals = {"accepted": edge.accepted, "delivered": edge.delivered, "merged": edge.merged}
        return {**totals, "lost": dict(edge.lost)}

    def parked(self, node):
        return len(self.parking[node])

    def errors(self, node):
        return self.failed[node]


class Backend:
    """What the kit is given."""

    capabilities = frozenset()

    def open(self, graph, world):
        return TinyEngine(graph, world)
