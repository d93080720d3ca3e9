"""Which engine a benchmark runs on: its first parameter."""

import os
from types import ModuleType

from asv_bench import engines

ENGINES = (engines.PYTHON, engines.RUST)


def workloads_on(engine: str) -> ModuleType:
    """Return the workloads, on that engine. A process can have one only: asv gives each combination of parameters its own.

    Raises:
        NotImplementedError: there is no such engine here; asv then skips the benchmark.
    """
    # Where Rust can be had, auto takes it; where it can't, importing Meridian must not fail before it has said why.
    os.environ["MERIDIAN_ENGINE"] = engine if engine == engines.PYTHON else "auto"
    from meridian.observability import configure

    configure("ERROR")
    if engine == engines.RUST and (why := engines.missing()):
        raise NotImplementedError(why)
    from asv_bench import workloads

    return workloads
