"""What the programs of the peers share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)

SPARSE_NODES = 1_000


def each_anew(
    flow: Callable[[int], Awaitable[float]],
) -> Callable[[], AbstractAsyncContextManager[Callable[[int], Awaitable[float]]]]:
    """Open a flow that is built for each sample."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
        yield flow

    return open


def each_anew_without_loop(
    flow: Callable[[int], float],
) -> Callable[[], AbstractContextManager[Callable[[int], float]]]:
    """Open a flow that is built for each sample and needs no loop, or has one of its own."""

    @contextmanager
    def open() -> Iterator[Callable[[int], float]]:
        yield flow

    return open


class Total:
    """A sum that is called with each number."""

    def __init__(self) -> None:
        self.sum = 0
        self.count = 0

    def __call__(self, x: int) -> None:
        self.sum += x
        self.count += 1
