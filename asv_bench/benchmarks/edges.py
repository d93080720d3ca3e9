"""One edge, by what it does when it is full and by what bounds it."""

import asyncio

from ._engine import OnEngine, per_engine

POLICIES = ("block", "drop", "latest", "coalesce")
LIMITS = ("count", "bytes", "age")


class Edges(OnEngine):
    params = per_engine(POLICIES, LIMITS)
    param_names = ("engine", "policy", "limit")
    repeat = (1, 5, 10.0)

    def time_put_and_get(self, engine: str, policy: str, limit: str) -> None:
        edge = self.operations.edge(policy, limit)
        self.took(asyncio.run(self.workloads.put_and_get(10_000, edge)))

    def time_put_when_full(self, engine: str, policy: str, limit: str) -> None:
        self.took(self.operations.put_when_full(10_000, policy, limit))

    def time_put_many_and_take_many(self, engine: str, policy: str, limit: str) -> None:
        self.took(self.operations.put_many_and_take_many(32_000, policy, limit))
