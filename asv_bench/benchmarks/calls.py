"""Single calls, without a run or within a handler; the edge's are in `edges`."""

import asyncio

from ._engine import OnEngine


class Calls(OnEngine):
    def time_message(self, engine: str) -> None:
        self.took(asyncio.run(self.workloads.messages_made(50_000)))

    def time_emit(self, engine: str) -> None:
        self.took(asyncio.run(self.workloads.emitted(50_000)))
