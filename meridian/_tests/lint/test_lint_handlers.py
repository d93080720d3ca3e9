"""What rules see in the code of handlers, beyond their own examples."""

import queue

import pytest

from meridian import graph, sink, source
from meridian.lint import lint

pytestmark = pytest.mark.req("N1.3")

HEAD = """
import asyncio, contextlib, functools, queue, subprocess, threading, time
import time as clock
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from time import sleep as pause
from meridian import Message, MessageType, Node, To, graph, node, sink, source

lock, event, waiting, done = threading.Lock(), threading.Event(), queue.Queue(), Future()
path = Path("x")
narrow = queue.Queue(1)

class Helper:
    def __init__(self):
        self.lock = threading.Lock()
    def work(self):
        self.lock.acquire()

helper = Helper()

def nap():
    time.sleep(1)

def deep():
    nap()

async def late():
    await asyncio.sleep(0)
"""


def found(load, body: str, *, head: str = "@node\ndef handle(x: int) -> None:") -> list[tuple[str, int]]:
    """The rules that find something in a handler, with lines counted from its first statement."""
    text = f"{HEAD}\n{head}\n"
    first = text.count("\n") + 1
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    made = load(f"{text}{indented}\ndef build():\n    return graph('g', source([1]) >> handle)\n")
    return [(each.rule, each.line - first + 1) for each in lint(made, ignore=["print-in-handler"])]


ASYNC = "@node\nasync def handle(x: int) -> None:"


@pytest.mark.parametrize(
    "call",
    [
        "time.sleep(1)",
        "clock.sleep(1)",
        "pause(1)",
        "from time import sleep\nsleep(1)",
        "import time as t\nt.sleep(1)",
        "input()",
        "subprocess.run(['true'])",
        "lock.acquire()",
        "event.wait()",
        "waiting.get()",
        "done.result()",
        "narrow.put(x)",
        "helper.work()",
        "nap()",
        "deep()",
    ],
)
def test_what_waits_without_await_is_seen_under_any_name_and_some_calls_deep(load, call):
    assert [rule for rule, _ in found(load, call)] == ["blocking-call"]


@pytest.mark.parametrize(
    "call",
    [
        "lock.acquire(blocking=False)",
        "lock.acquire(False)",
        "waiting.get(timeout=0)",
        "waiting.get_nowait()",
        "waiting.put(x)",
        "time.sleep(0)",
        "sleep = len\nsleep([])",
        "threading.Thread(target=nap)",
        "def inner():\n    time.sleep(1)\nlist(map(str, ()))",
        "f = lambda: time.sleep(1)",
        "open('x')",
        "path.read_text()",
    ],
)
def test_what_only_looks_like_waiting_is_not_told(load, call):
    assert found(load, call) == []


@pytest.mark.parametrize("call", ["open('x')", "path.read_text()", "nap()"])
def test_in_async_handlers_files_count_too(load, call):
    assert found(load, f"await late()\n{call}", head=ASYNC)[0][0] == "blocking-call"


@pytest.mark.parametrize("call", ["await asyncio.to_thread(nap)", "await asyncio.sleep(1)", "await late()"])
def test_what_is_awaited_is_not_told(load, call):
    assert found(load, call, head=ASYNC) == []


def test_a_lock_of_the_node_itself_is_known(load):
    made = load(
        HEAD + "class Locked(Node):\n"
        "    def __init__(self):\n"
        "        super().__init__('locked', Node.with_ports('x', ['in'], []).inputs)\n"
        "        self.lock = threading.Lock()\n"
        "    def work(self):\n"
        "        self.lock.acquire()\n"
        "    async def _handle_message(self, port, msg):\n"
        "        self.work()\n"
        "        with self.lock:\n"
        "            await late()\n"
        "def build(): return graph('g', source([1]) >> Locked())\n"
    )
    assert {each.rule for each in lint(made)} == {"blocking-call", "lock-across-await"}


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ("late()", ["unawaited"]),
        ("asyncio.sleep(1)", ["unawaited"]),
        ("task = asyncio.create_task(late())\nawait task", []),
        ("asyncio.get_running_loop().create_task(late())\nawait late()", ["dropped-task"]),
        ("async with asyncio.TaskGroup() as group:\n    group.create_task(late())", []),
        ("asyncio.get_running_loop().run_until_complete(late())\nawait late()", ["loop-in-handler"]),
        ("try:\n    await late()\nexcept:\n    x += 1", ["swallowed-cancel"]),
        ("try:\n    await late()\nexcept asyncio.CancelledError:\n    x += 1", ["swallowed-cancel"]),
        ("try:\n    await late()\nexcept BaseException:\n    x += 1\n    raise", []),
        ("task = asyncio.ensure_future(late())\ntask.cancel()\ntry:\n    await task\nexcept asyncio.CancelledError:\n    x += 1", []),
        ("try:\n    await late()\nexcept Exception:\n    x += 1", []),
        ("try:\n    await late()\nexcept Exception:\n    pass", ["swallowed-error"]),
        ("with suppress(Exception):\n    await late()", ["swallowed-error"]),
        ("with contextlib.suppress(KeyError):\n    await late()", []),
    ],
)  # fmt: skip
def test_tasks_errors_and_cancellation_in_async_handlers(load, body, rules):
    assert [rule for rule, _ in found(load, body, head=ASYNC) if rule != "async-without-await"] == rules


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ("x.append(1)", True),
        ("x['a'] = 1", True),
        ("x.name = 1", True),
        ("del x[0]", True),
        ("x = list(x)\nx.append(1)", False),
        ("y = x + [1]\ny.append(1)", False),
        ("x.index(1)", False),
    ],
)
def test_a_payload_that_others_get_too_is_not_to_be_changed(load, body, changes):
    text = f"{HEAD}\n@node\ndef handle(x: list) -> None:\n" + "".join(
        f"    {line}\n" for line in body.splitlines()
    )
    made = load(text + "def build(): return graph('g', source([[1]]) >> [handle, sink(print)])\n")
    assert [(each.rule, each.edge) for each in lint(made)] == (
        [("shared-payload", "source:output->handle:input")] if changes else []
    )
    alone = load(text + "def build(): return graph('g', source([[1]]) >> handle)\n")
    assert lint(alone) == ()


def test_what_comes_with_python_is_nobodys_to_mend():
    waiting = queue.Queue(1)
    assert lint(graph("g", source([1]) >> sink(waiting.put, name="put"))) == ()


def test_while_a_node_stops_errors_may_be_passed_over(load):
    made = load(
        HEAD + "class Careless(Node):\n"
        "    def on_stop(self):\n        try:\n            nap()\n        except Exception:\n            pass\n"
        "    def _handle_message(self, port, msg):\n        pass\n"
        "def build(): return graph('g', source([1]) >> Careless('c', Node.with_ports('x', ['in'], []).inputs))\n"
    )
    assert lint(made) == ()


NODE = """
class Mine(Node):
    def __init__(self):
        made = Node.with_ports("mine", ["in"], ["out", "error", "other"])
        super().__init__("mine", made.inputs, made.outputs)
"""


def of_a_node(load, body: str, wired: str = "source([1]) >> Mine()['out'] >> sink(print)") -> list[str]:
    """The rules that find something in a node class, notes left out."""
    made = load(f"{HEAD}{NODE}{body}\ndef build(): return graph('g', {wired})\n")
    return [each.rule for each in lint(made) if each.level != "note"]


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ("    def _handle_message(self, port, msg):\n        self.emit('out', msg)\n", []),
        ("    def _handle_message(self, port, msg):\n        self.emit('error', msg)\n", []),
        ("    def _handle_message(self, port, msg):\n        self.emit('other', msg)\n", ["dangling-output"]),
        ("    def _handle_message(self, port, msg):\n        self.emit(port, msg)\n", []),
        (
            "    def _handle_message(self, port, msg):\n        yield self.emit('out', msg)\n",
            ["ignored-return"],
        ),
        (
            "    def _handle_message(self, port, msg):\n        return msg.with_payload(1)\n",
            ["ignored-return"],
        ),
        ("    def _handle_message(self, port, msg):\n        return self.emit('out', msg)\n", []),
    ],
)
def test_what_a_node_class_sends_and_where(load, body, rules):
    assert of_a_node(load, body) == rules


@pytest.mark.parametrize(
    ("work", "is_told"),
    [
        ("threading.Thread(target=self.emit, args=('out', msg)).start()", True),
        ("threading.Timer(1, self.work).start()", True),
        ("self.pool.submit(lambda: self.emit('out', msg))", True),
        ("def inner(): self.emit('out', msg)\n        self.pool.submit(inner)", True),
        ("asyncio.get_running_loop().run_in_executor(None, self.work)", True),
        ("self.pool.submit(self.rest)", False),
        ("self.pool.submit(print)", False),
        ("self.pool.submit(lambda: 1)", False),
        ("self.emit('out', msg)", False),
    ],
)
def test_what_is_handed_to_threads_may_not_emit(load, work, is_told):
    body = (
        "        self.pool = None\n"
        "    def work(self):\n        self.emit('out', 1)\n"
        "    def rest(self):\n        self.tick_in(0)\n"
        f"    def _handle_message(self, port, msg):\n        {work}\n"
    )
    assert of_a_node(load, body) == (["thread-emit"] if is_told else [])


@pytest.mark.parametrize(
    ("change", "is_told"),
    [("msg.payload.append(1)", True), ("x = msg.payload\n        x['a'] = 1", True), ("x = list(msg.payload)\n        x.append(1)", False)],
)  # fmt: skip
def test_payloads_in_messages_are_not_to_be_changed_either(load, change, is_told):
    body = f"    def _handle_message(self, port, msg):\n        {change}\n        self.emit('out', msg)\n"
    wired = "source([[1]], name='s') >> (mine := Mine())['in'], mine['out'] >> sink(print)"
    assert of_a_node(load, body, wired) == []
    wired = "source([[1]], name='s') >> [(mine := Mine())['in'], sink(print, name='x')], mine['out'] >> sink(print)"
    assert of_a_node(load, body, wired) == (["shared-payload"] if is_told else [])


def test_a_function_that_takes_messages_changes_their_payloads(load):
    made = load(
        f"{HEAD}\n@node\ndef handle(m: Message) -> None:\n    m.payload.append(1)\n"
        "def build(): return graph('g', source([[1]]) >> [handle, sink(print)])\n"
    )
    assert [each.rule for each in lint(made)] == ["shared-payload"]


def test_a_subclass_may_replace_the_hook_of_its_base(load):
    body = (
        "    def _handle_message(self, port, msg):\n        self.emit('out', msg)\n"
        "class Other(Mine):\n    def on_message(self, port, msg):\n        self.emit('out', msg)\n"
    )
    assert of_a_node(load, body, "source([1]) >> Other()['out'] >> sink(print)") == []


def test_class_state_changed_by_key_is_seen_and_that_of_the_instance_is_not(load):
    body = (
        "        self.own = {}\n    shared = {}\n"
        "    def _handle_message(self, port, msg):\n        self.own['a'] = 1\n        self.shared['a'] = 1\n"
    )
    assert of_a_node(load, body) == ["shared-class-state"]


def test_the_line_is_that_of_the_call(load):
    assert found(load, "y = x\n\ntime.sleep(1)") == [("blocking-call", 3)]


def test_wrapped_partial_and_callable_objects_are_looked_through(load):
    made = load(
        HEAD + "def wrap(f):\n    @functools.wraps(f)\n    def inner(x): return f(x)\n    return inner\n"
        "@wrap\ndef one(x): time.sleep(1)\n"
        "def two(y, x): time.sleep(1)\n"
        "class Three:\n    def __call__(self, x): time.sleep(1)\n"
        "def build():\n"
        "    return graph('g', source([1]) >> [sink(one), sink(functools.partial(two, 1), name='two'), sink(Three(), name='three')])\n"
    )
    assert [(each.rule, each.node) for each in lint(made)] == [
        ("blocking-call", "one"),
        ("blocking-call", "two"),
        ("blocking-call", "three"),
    ]


def test_one_place_is_told_once_however_many_nodes_run_it(load):
    made = load(
        HEAD + "@node\ndef handle(x: int) -> None:\n    time.sleep(1)\n"
        "def build(): return graph('g', source([1]) >> [handle.named('a'), handle.named('b')])\n"
    )
    assert [each.rule for each in lint(made)] == ["blocking-call"]


def test_functions_of_ready_made_nodes_are_looked_at_but_not_where_they_run_in_threads(load):
    made = load(
        HEAD + "from meridian import MapTransformer, WorkerPool\n"
        "def slow(x): time.sleep(1)\n"
        "def build():\n"
        "    return graph('g', source([1], name='s') >> MapTransformer('m', slow) >> WorkerPool('w', slow) >> sink(print))\n"
    )
    assert [(each.rule, each.node) for each in lint(made)] == [("blocking-call", "m")]
