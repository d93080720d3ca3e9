"""What spans cost: W1 while tracing is off, and while so many of its traces go to OpenTelemetry.

    python -m asv_bench.spans [--engine ENGINE] [--save]

Processor time per hop, the least of so many samples, and its ratio to that with tracing off. Spans are made by the SDK and thrown
away where they would be queued: how much exporting takes depends on the exporter and is done by a thread of its own. Handlers of W1 do
next to nothing, so what a span costs shows in full.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

from asv_bench.engines import PYTHON, RUST
from asv_bench.record import Table, asked, hear_interruptions, offer_to_save, record, save
from asv_bench.workloads import CHAIN_HOPS, chain
from meridian.observability import TracingConfig, configure, configure_tracing
from meridian.observability.otel_spans import OpenTelemetryTracer
from meridian.observability.tracing import use_tracer

COMMAND = "python -m asv_bench.spans"
SAMPLES = 5
SHARES: dict[str, tuple[float | None, int]] = {
    "off": (None, 200_000),
    "0 %": (0.0, 200_000),
    "1 %": (0.01, 50_000),
    "100 %": (1.0, 1_000),
}
"""Which share of the traces is kept, and how many messages a sample has."""

Costs = dict[str, float]


def trace(share: float | None) -> None:
    """Keep this share of the traces, or switch tracing off."""
    if share is None:
        configure_tracing(TracingConfig())
        return
    from opentelemetry.sdk.trace import TracerProvider

    config = TracingConfig(enabled=True, provider="opentelemetry", sample_rate=share)
    use_tracer(OpenTelemetryTracer(config, TracerProvider(shutdown_on_exit=False)))


def sample(messages: int) -> float:
    """Run W1 once; return nanoseconds of the processor per hop."""
    began = time.process_time_ns()
    asyncio.run(chain(messages))
    return (time.process_time_ns() - began) / (messages * CHAIN_HOPS)


def measure(samples: int = SAMPLES, most: int | None = None) -> Costs:
    """Measure all shares on this process's engine.

    Args:
        samples: Of each.
        most: Messages of a sample at most.
    """
    costs: dict[str, list[float]] = {name: [] for name in SHARES}
    try:
        for _ in range(samples):  # in turns, so that what else the machine does hits all of them
            for name, (share, messages) in SHARES.items():
                trace(share)
                costs[name].append(sample(min(messages, most or messages)))
    finally:
        trace(None)
    return {name: min(each) for name, each in costs.items()}


def on(engine: str) -> Costs:
    """Measure in a process of that engine."""
    command = [sys.executable, "-m", "asv_bench.spans", "--worker"]
    done = subprocess.run(
        command, env={**os.environ, "MERIDIAN_ENGINE": engine}, check=True, stdout=subprocess.PIPE, text=True
    )
    costs: Costs = json.loads(done.stdout)
    return costs


def kept(command: str, found: dict[str, Costs]) -> dict[str, Any]:
    """Return the record that the documentation quotes."""
    rows = [
        [engine, name, f"{ns:,.0f}", f"{ns / costs['off']:.2f}"]
        for engine, costs in found.items()
        for name, ns in costs.items()
    ]
    table = Table(["engine", "traces that are kept", "ns per hop:", "over off:"], rows)
    values = {engine: {name: round(ns, 1) for name, ns in costs.items()} for engine, costs in found.items()}
    return record(command, values, {"spans": table})


def main(argv: list[str]) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=(PYTHON, RUST), help="on this engine only")
    offer_to_save(parser)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    configure("ERROR")
    if options.worker:
        print(json.dumps(measure()))
        return 0
    found = {}
    for engine in [options.engine] if options.engine else [PYTHON, RUST]:
        found[engine] = on(engine)
        for name, ns in found[engine].items():
            print(f"{engine:>6} engine, {name:>5}: {ns:10,.0f} ns per hop", flush=True)
    if options.save:
        save("spans", kept(asked(COMMAND, argv), found))
    return 0


if __name__ == "__main__":
    hear_interruptions()
    raise SystemExit(main(sys.argv[1:]))
