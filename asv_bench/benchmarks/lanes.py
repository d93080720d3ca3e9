"""The course of what other lanes judge: instructions of single operations (lane I)."""

from pathlib import Path

from ._engine import OnEngine, per_engine, skip

OPERATIONS = ("edge", "chain", "fan-in", "ready-10000")


class Instructions(OnEngine):
    params = per_engine(OPERATIONS)
    param_names = ("engine", "operation")
    unit = "instructions"
    timeout = 1_200  # valgrind is about fifty times as slow

    def setup(self, engine: str, operation: str) -> None:
        super().setup(engine)
        from asv_bench import instructions

        self.instructions = instructions
        if why := instructions.missing():
            raise skip(why)

    def track_ir_per_item(self, engine: str, operation: str) -> float:
        import meridian
        from asv_bench.trees import tree
        from asv_bench.watched import OFF

        case = (operation, OFF)
        with tree("this commit", Path(meridian.__file__).parents[1]) as installed:
            return self.instructions.count(installed, engine, [case]).slopes[case]
