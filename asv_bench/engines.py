"""The same workload on both engines, each in a process of its own: which engine runs is decided when Meridian is imported.

A process sets its workload up and then waits on stdin; for each line it takes one sample and answers with the figure. So
whoever asks can alternate between the two, and what isn't asked uses no CPU.

    python -m asv_bench.engines chain          # by hand, with MERIDIAN_ENGINE=rust: a line for each Enter
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from asv_bench.shape import Measure, Sides

ROOT = Path(__file__).parents[1]
RUST, PYTHON = "rust", "python"
Opened = Callable[[], AbstractAsyncContextManager[Measure]]


class EngineProcessError(Exception):
    """A process with a workload broke, or runs another engine than was asked for."""


def missing() -> str:
    """Say why the Rust engine can't be had here; nothing if it can."""
    from meridian.engine.select import choose

    choice = choose("auto")
    return "" if choice.name == RUST else f"there is no Rust engine here ({choice.reason})"


# ---- in the process that measures ------------------------------------------------------------------------------------


def flow(name: str, *args: Any, **options: Any) -> Opened:
    """A workload that is built anew for each sample: its name in `workloads`, and what it is called with."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Measure]:
        from asv_bench import workloads

        yield partial(getattr(workloads, name), *args, **options)

    return open


def block(name: str, count: int, *args: Any, **options: Any) -> Opened:
    """A graph that stays up, of which a sample is a block of ``count``."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Measure]:
        from asv_bench import workloads

        graph: Callable[..., AbstractAsyncContextManager[Callable[[int], Awaitable[float]]]]
        graph = getattr(workloads, name)
        async with graph(*args, **options) as sample:
            yield partial(sample, count)

    return open


# Sizes: on the Python engine a sample takes 20 to 60 ms.
WORKLOADS: dict[str, Opened] = {
    "chain": flow("chain", 60_000),
    "chain, one a slice": flow("chain", 6_000, slice=1),
    "chain, async": flow("chain", 30_000, "async"),
    "chain, suspending": flow("chain", 2_000, "suspending"),
    "chain, emit": flow("chain", 40_000, "emit"),
    "chain, class": flow("chain", 20_000, "class"),
    "chain, envelope": flow("chain", 30_000, "envelope"),
    "chain, capacity 1": flow("chain", 6_000, capacity=1),
    # Larger, as only what Rust makes of them is compared: the start of the run would show.
    "native": flow("native", 60_000),
    "native, one a slice": flow("native", 15_000, slice=1),
    "fan": flow("fan", 12_000),
    "ping": block("ping", 600),
    "ping, async": block("ping", 600, "async"),
    "ping, push": block("ping", 600, push=True),
    "ping without loop": block("ping_without_loop", 600),
    "sparse, 10": block("sparse", 1_000, 10),
    "sparse, 1,000": block("sparse", 1_000, 1_000),
    "sparse, 10,000": block("sparse", 1_000, 10_000),
    "build": flow("build", 5_000),
    "build, async": flow("build", 2_000, "async"),
    "idle edge": block("resident_edges", 5_000),
    "graph at rest": block("resident_graph", 3_000, used=False),
    "graph in use": block("resident_graph", 3_000, used=True),
    "queued message": block("resident_messages", 500_000),
    "kept envelope": block("resident_envelopes", 50_000),
    "put and get": flow("put_and_get", 15_000),
    "messages made": flow("messages_made", 50_000),
    "emitted": flow("emitted", 50_000),
}


async def serve(name: str) -> None:
    """Set a workload up, say which engine it is on, and give one figure for each line on stdin."""
    from meridian.engine.select import engine_factory
    from meridian.observability import configure

    configure("ERROR")
    async with WORKLOADS[name]() as sample:
        await sample()  # what is loaded or made on first use is
        print(engine_factory()[1].name, flush=True)
        for _ in sys.stdin:
            print(await sample(), flush=True)


# ---- in the process that asks ----------------------------------------------------------------------------------------


@asynccontextmanager
async def on(engine: str, name: str) -> AsyncIterator[Measure]:
    """Give a sample of a workload on an engine, in a fresh process.

    Raises:
        EngineProcessError: it broke, or runs on another engine.
    """
    environment = {**os.environ, "MERIDIAN_ENGINE": engine, "PYTHONHASHSEED": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "asv_bench.engines", name, stdin=PIPE, stdout=PIPE, cwd=ROOT, env=environment
    )
    assert process.stdin is not None
    try:
        if (runs := await _answer(process, name)) != engine:
            raise EngineProcessError(f"{name}: asked for the {engine} engine, got {runs}")
        yield partial(_sample, process, name)
        process.stdin.close()
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    finally:
        await process.wait()
    if process.returncode:
        raise EngineProcessError(f"{name}: its process ended with exit code {process.returncode}")


async def _sample(process: Process, name: str) -> float:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    return float(await _answer(process, name))


async def _answer(process: Process, name: str) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise EngineProcessError(f"{name}: its process ended with exit code {await process.wait()}")
    return line.decode().strip()


def beside(
    name: str, ours: str = RUST, base: str = PYTHON
) -> Callable[[], AbstractAsyncContextManager[Sides]]:
    """The two engines as the two sides of a gate."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Sides]:
        async with AsyncExitStack() as stack:
            yield (
                await stack.enter_async_context(on(ours, name)),
                await stack.enter_async_context(on(base, name)),
            )

    return open


if __name__ == "__main__":
    try:
        asyncio.run(serve(sys.argv[1]))
    except KeyboardInterrupt:  # whoever asked was interrupted, too, and says so
        sys.exit(130)
