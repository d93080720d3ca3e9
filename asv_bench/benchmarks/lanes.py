"""The course of what other lanes judge: instructions of single operations (lane I), and what metrics cost (lane R)."""

from pathlib import Path

from ._engine import OnEngine, per_engine, skip

OPERATIONS = ("edge", "chain", "fan-in", "ready-10000")
BUDGETED = ("edge", "chain", "fan-in")


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


class Metrics(OnEngine):
    """Metrics that are read once a second, over none."""

    params = per_engine(BUDGETED)
    param_names = ("engine", "operation")
    unit = "x"
    timeout = 600

    def track_overhead_ratio(self, engine: str, operation: str) -> float:
        from asv_bench import overhead
        from asv_bench.watched import OFF, PROMETHEUS, providers
        from meridian_conformance.paired import compare

        provider = providers()
        off, twin, on = (overhead.in_mode(operation, provider[mode]) for mode in (OFF, OFF, PROMETHEUS))
        reading = overhead.reading_s(provider[PROMETHEUS])
        measured = compare(off, twin, on, overhead.BUDGET_R, quads=overhead.QUADS, charge=1 + reading)
        return measured.ratio.median
