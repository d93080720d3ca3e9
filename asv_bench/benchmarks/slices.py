"""The scheduler: whose turn it is, and what a turn costs that handles one message."""

from ._engine import OnEngine, per_engine


class Ready(OnEngine):
    """Take the turn that is due and queue it again: its cost must not depend on how many are ready."""

    params = per_engine((10, 10_000))
    param_names = ("engine", "ready")

    def time_pick_and_push(self, engine: str, ready: int) -> None:
        self.took(self.operations.pick_and_push(30_000, ready))


class Slice(OnEngine):
    def time_slice_of_one(self, engine: str) -> None:
        self.took(self.operations.slices_of_one(10_000))
