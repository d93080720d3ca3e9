"""The virtual loop: time jumps, what is really pending is honoured, and a deadlock is said."""

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from meridian import Scheduler, graph, node, source
from meridian.core.clock import Clock
from meridian.testing import DeadlockError, VirtualClock, VirtualLoop

pytestmark = pytest.mark.req("V15")


def run(main):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_clock_stands_still_until_it_is_moved():
    clock = VirtualClock(epoch_s=100.0)
    as_a_run_sees_it: Clock = clock
    assert (as_a_run_sees_it.monotonic_ns(), as_a_run_sees_it.time()) == (0, 100.0)
    clock.advance(1.5)
    assert (clock.monotonic_ns(), clock.time(), clock.now_s) == (1_500_000_000, 101.5, 1.5)
    assert repr(clock) == "<VirtualClock at 1.5 s>"


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_the_clock_refuses_to_be_moved_by_what_is_no_duration(seconds):
    with pytest.raises(ValueError, match="finite number of seconds"):
        VirtualClock().advance(seconds)


def test_a_day_of_sleep_ends_at_once_and_exactly():
    async def main():
        await asyncio.sleep(86_400 * 3)
        return now()

    began = time.monotonic()
    assert run(main()) == 86_400 * 3
    assert time.monotonic() - began < 60


def test_sleepers_wake_in_the_order_of_their_deadlines():
    woken: list[Any] = []

    async def sleeper(seconds):
        await asyncio.sleep(seconds)
        woken.append((seconds, now()))

    async def main():
        await asyncio.gather(*(sleeper(seconds) for seconds in (3, 1, 2)))

    run(main())
    assert woken == [(1, 1), (2, 2), (3, 3)]


def test_a_timeout_fires_in_virtual_time():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        return now()

    assert run(main()) == 10


def test_time_stands_still_while_a_job_of_the_loop_is_in_a_thread():
    def work():
        time.sleep(0.05)
        return "done"

    async def main():
        early = asyncio.get_running_loop().call_later(0.001, lambda: None)
        result = await asyncio.to_thread(work)
        early.cancel()
        return result, now()

    assert run(main()) == ("done", 0)


def test_a_thread_of_ones_own_may_wake_a_loop_without_timers():
    async def main():
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(woken.set_result, 7))
        loop.call_soon(thread.start)
        result = await woken
        thread.join()
        return result

    assert run(main()) == 7


@pytest.mark.parametrize("passes", [0, 1])
def test_a_deadlock_says_where_the_code_of_a_node_waits(passes):
    @node(concurrency=2)
    async def waits_for_ever(n: int) -> None:
        for _ in range(passes):
            await asyncio.sleep(0)
        await asyncio.get_running_loop().create_future()

    async def main():
        scheduler = Scheduler(clock=asyncio.get_running_loop().clock)
        scheduler.register(graph("g", source([1], name="s") >> waits_for_ever))
        await scheduler.run_async()

    with pytest.raises(DeadlockError, match=r"in .*waits_for_ever"):
        run(main())


def test_an_idle_thread_of_the_pool_is_nobody_to_wait_for():
    async def main():
        await asyncio.to_thread(int)
        await asyncio.get_running_loop().create_future()

    began = time.monotonic()
    with pytest.raises(DeadlockError):
        run(main())
    assert time.monotonic() - began < VirtualLoop.outside_patience_s


def test_a_socket_that_has_something_to_say_is_heard_before_time_jumps():
    async def main():
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        far.sendall(b"hello\n")
        async with asyncio.timeout(1):
            line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        far.close()
        return line, now()

    assert run(main()) == (b"hello\n", 0)


def test_a_silent_socket_does_not_hold_time_back():
    async def main():
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await reader.readline()
        writer.close()
        await writer.wait_closed()
        far.close()
        return now()

    assert run(main()) == 5


def test_a_loop_without_anything_to_wait_for_says_who_waits_and_where():
    async def stuck():
        await asyncio.sleep(2)
        await asyncio.Event().wait()

    async def main():
        await asyncio.gather(asyncio.create_task(stuck(), name="waiter"))

    with pytest.raises(DeadlockError) as caught:
        run(main())
    error = caught.value
    assert error.at_s == 2
    assert any(
        line.startswith("task 'waiter' in test_virtual_time.py:") and line.endswith("stuck")
        for line in error.waiting
    )
    assert "at 2 s of virtual time" in str(error)


def test_a_deadlock_may_be_resolved_by_whoever_asked_to_be_told():
    async def main():
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        woken = loop.create_future()

        def wake() -> bool:
            woken.set_result("told")
            return True

        loop.on_deadlock.append(wake)
        return await woken

    assert run(main()) == "told"


def test_a_patient_socket_without_timers_ends_as_a_deadlock_too(monkeypatch):
    monkeypatch.setattr(VirtualLoop, "outside_patience_s", 0.05)

    async def main():
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            await asyncio.get_running_loop().sock_recv(near, 1)

    with pytest.raises(DeadlockError):
        run(main())
