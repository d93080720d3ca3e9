"""Messages made natively and messages made in Python: the same arguments, the same results, the same errors.

The module is loaded a second time with the extension out of its sight, and both copies play the same programs. Where the
extension isn't installed the two are of one kind, and the test shows that a program plays the same way twice.
"""

# mypy: disable-error-code="union-attr, no-any-return, call-overload, no-untyped-call"

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import pickle
import re
import subprocess
import sys
import time
import weakref
from importlib.util import module_from_spec, spec_from_file_location
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.core import message as chosen
from meridian.engine import select
from meridian.observability import context

pytestmark = pytest.mark.req("N2.3")

NAME = "meridian_message_in_python"


@pytest.fixture
def engine() -> None:
    """Both kinds of messages are here, whichever engine would run; which one is used was decided at the import."""


@pytest.fixture(scope="module")
def in_python():
    with pytest.MonkeyPatch.context() as patch:
        with pytest.MonkeyPatch.context() as while_it_loads:
            while_it_loads.setattr(select, "native", lambda: None)
            module = load(patch, NAME)
        yield module


def load(patch: pytest.MonkeyPatch, name: str) -> ModuleType:
    spec = spec_from_file_location(name, chosen.__file__)
    module = module_from_spec(spec)
    patch.setitem(sys.modules, name, module)  # where pickle and dataclasses look for it
    try:
        spec.loader.exec_module(module)
    finally:
        context.install_handled(chosen._handled)
    return module


@pytest.fixture(params=["chosen", "in Python"])
def module(request: pytest.FixtureRequest, in_python: ModuleType):
    return chosen if request.param == "chosen" else in_python


# ---- programs, played by both ----------------------------------------------------------------------------------------

TRACE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ID = re.compile(r"m[0-9a-f]+")
FIELDS = ("type", "payload", "metadata", "headers", "_headers", "other")


class Wrong:
    """A mapping's worst nightmare."""

    def __bool__(self) -> bool:
        raise RuntimeError("neither")


class Text(str):
    """A string of another class."""

    __slots__ = ()


class World:
    """One copy of the module, and the messages that a program has made with it so far."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.names: dict[str, str] = {}
        self.made: list[Any] = [module.Message(module.DATA, "first")]
        self.kinds: list[Any] = [
            *module.MessageType,
            "DATA",
            "CONTROL",
            "ERROR",
            b"DATA".decode(),  # equal to the name, and another object
            Text("ERROR"),
            "data",
            None,
            7,
            [],
        ]

        class Tagged(module.Message):  # type: ignore[misc, name-defined]
            tag = "tag"

            def double(self) -> Any:
                return self.payload * 2

        class Slotted(module.Message):  # type: ignore[misc, name-defined]
            __slots__ = ("tag",)

            def __new__(cls, type: Any, payload: Any, *more: Any) -> Any:
                return super().__new__(cls, type, (payload, len(more)))

        class Initialized(module.Message):  # type: ignore[misc, name-defined]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                object.__setattr__(self, "metadata", (len(args), sorted(kwargs)))

        self.classes = [module.Message, module.Message[int], Tagged, Slotted, Initialized]

    def play(self, program: list[tuple[Any, ...]]) -> list[Any]:
        token = self.module.current_scope.set(None)
        try:
            return [self.normal(self.step(*operation)) for operation in program]
        finally:
            self.module.current_scope.reset(token)

    def step(self, name: str, *args: Any) -> Any:
        try:
            got = getattr(self, name)(*args)
        except Exception as error:
            return type(error).__name__, str(error)
        if isinstance(got, self.module.Message):
            self.made.append(got)
            return self.shape(got)
        return got

    def shape(self, message: Any) -> Any:
        """What can be seen of a message without reading its headers."""
        held = message._headers
        if type(held).__name__ == "_Origin":
            ids = [None if id is None else self.module.format_id(id) for id in (held.parent, held.id)]
            held = (held.time, ids, held.fields, held.trace._id)
        return (
            type(message).__name__,
            message.type,
            message.payload,
            message.metadata,
            type(message._headers).__name__,
            held,
            getattr(message, "__dict__", None),
        )

    def normal(self, value: Any) -> Any:
        """Give traces and ids the names of their first appearance: they are drawn anew in each world."""
        if isinstance(value, self.module.MessageType):
            return value.name
        if isinstance(value, str):
            if TRACE.fullmatch(value) or ID.fullmatch(value):
                return self.names.setdefault(value, f"name {len(self.names)}")
            return value.replace(self.module.__name__, "module")
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, dict):
            return {key: self.normal(each) for key, each in value.items()}
        if isinstance(value, tuple | list):
            return [self.normal(each) for each in value]
        return value if isinstance(value, int | float) else type(value).__name__

    def at(self, index: int) -> Any:
        return self.made[index % len(self.made)]

    # The operations.

    def make(self, which: int, kind: int, positional: list[Any], named: dict[str, Any]) -> Any:
        made = self.classes[which % len(self.classes)]
        args = [self.kinds[kind % len(self.kinds)], *positional] if kind >= 0 else positional
        if "type" in named:
            named = {**named, "type": self.kinds[named["type"]]}
        return made(*args, **named)

    def wrap(self, payload: Any, now: float, kind: int) -> Any:
        if kind < 0:
            return self.module.wrap(payload, now)
        return self.module.wrap(payload, now, self.kinds[kind % 3])

    def derive(self, index: int, payload: Any) -> Any:
        return self.module.derive(self.at(index), payload)

    def rewrap(self, index: int, payload: Any) -> Any:
        return self.module.rewrap(self.at(index), payload)

    def ask(self, index: int, what: str) -> Any:
        asked = getattr(self.at(index), what)
        return dict(asked) if what == "headers" else asked()

    def with_headers(self, index: int, headers: dict[str, Any]) -> Any:
        return self.at(index).with_headers(**headers)

    def with_payload(self, index: int, payload: Any) -> Any:
        return self.at(index).with_payload(payload)

    def handle(self, index: int | None, now: float | None) -> None:
        scope = self.module.Scope(now, Random(1), lambda: 222.25)
        scope.handling = None if index is None else self.at(index)
        self.module.current_scope.set(scope)

    def handle_nothing(self) -> None:
        self.module.current_scope.set(None)

    def again(self, index: int, how: int) -> Any:
        message = self.at(index)
        if how < 2:
            return (copy.copy, copy.deepcopy)[how](message)
        return pickle.loads(pickle.dumps(message, how - 2))

    def replace(self, index: int, changes: dict[str, Any]) -> Any:
        return dataclasses.replace(self.at(index), **changes)

    def change(self, index: int, how: str, name: str) -> None:
        message = self.at(index)
        changes: dict[str, Any] = {
            "set": lambda: setattr(message, name, 1),
            "delete": lambda: delattr(message, name),
            "force": lambda: object.__setattr__(
                message, name, {"forced": 1} if name == "_headers" else "forced"
            ),
            "remove": lambda: object.__delattr__(message, name),
        }
        if how in ("force", "remove"):  # on one that nobody else looks at
            message = self.module.wrap(index, 1.5)
            changes[how]()
            self.made.append(message)
            return
        changes[how]()

    def compare(self, one: int, other: int) -> tuple[bool, bool]:
        return self.at(one) == self.at(other), self.at(one) != self.at(other)


indices = st.integers(0, 30)
payloads = st.sampled_from([None, 1, "text", (), 1.5])
headers = st.sampled_from(
    [
        None,
        {},
        {"a": 1},
        {"trace_id": "t"},
        {"trace_id": None, "timestamp": 5},
        3,
        "text",
        Wrong(),
        [("a", 1)],
    ]
)
names = st.fixed_dictionaries(
    {},
    optional={
        "type": st.integers(0, 2),
        "payload": payloads,
        "metadata": payloads,
        "headers": headers,
        "other": payloads,
    },
)
operations = st.one_of(
    st.tuples(
        st.just("make"),
        st.integers(0, 4),
        st.integers(-1, 11),
        st.one_of(
            st.tuples(payloads).map(list),
            st.tuples(payloads, payloads, headers).map(list),
            st.lists(payloads, max_size=5),
        ),
        st.one_of(st.just({}), st.fixed_dictionaries({"headers": headers}), names),
    ),
    st.tuples(st.just("wrap"), payloads, st.sampled_from([0.0, 1.5, 7]), st.integers(-1, 2)),
    st.tuples(st.just("derive"), indices, payloads),
    st.tuples(st.just("rewrap"), indices, payloads),
    st.tuples(
        st.just("ask"),
        indices,
        st.sampled_from(
            [
                "headers",
                "get_id",
                "get_parent_id",
                "get_trace_id",
                "get_timestamp",
                "is_data",
                "is_control",
                "is_error",
                "__repr__",
                "__hash__",
                "double",
            ]
        ),
    ),
    st.tuples(
        st.just("with_headers"), indices, st.sampled_from([{}, {"a": 2}, {"trace_id": "u"}, {"timestamp": 9}])
    ),
    st.tuples(st.just("with_payload"), indices, payloads),
    st.tuples(st.just("handle"), st.one_of(st.none(), indices), st.sampled_from([None, 0.0, 3.25, 4])),
    st.tuples(st.just("handle_nothing")),
    st.tuples(st.just("again"), indices, st.integers(0, pickle.HIGHEST_PROTOCOL + 2)),
    st.tuples(
        st.just("replace"),
        indices,
        st.sampled_from([{}, {"payload": 3}, {"type": "ERROR"}, {"headers": {"b": 1}}, {"other": 1}]),
    ),
    st.tuples(
        st.just("change"),
        indices,
        st.sampled_from(["set", "delete", "force", "remove"]),
        st.sampled_from(FIELDS),
    ),
    st.tuples(st.just("compare"), indices, indices),
)


@given(program=st.lists(operations, max_size=25))
def test_programs_play_the_same_natively_and_in_python(in_python: ModuleType, program: list[tuple[Any, ...]]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: 111.5)
        assert World(chosen).play(program) == World(in_python).play(program)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("DATA",), {}),
        (("DATA", 1, 2, {}, 5), {}),
        (("DATA", 1, 2, {}, 5, 6), {"other": 1}),
        (("DATA", 1), {"type": "DATA"}),
        (("DATA", 1), {"payload": 1}),
        (("DATA",), {"metadata": 1}),
        (("DATA", 1), {"other": 1}),
        ((), {"payload": 1}),
        (("data", 1), {}),
        (("DATA", 1), {"headers": 5}),
        (("DATA", 1), {"headers": Wrong()}),
    ],
)
def test_wrong_arguments_are_refused_with_the_same_words(
    in_python: ModuleType, args: tuple[Any, ...], kwargs: dict[str, Any]
):
    refused = []
    for each in (chosen, in_python):
        with pytest.raises((TypeError, ValueError, RuntimeError)) as raised:
            each.Message(*args, **kwargs)
        refused.append((raised.type, str(raised.value), raised.value.__suppress_context__))
    assert refused[0] == refused[1]


# ---- what a class is, beside what it does ----------------------------------------------------------------------------


@pytest.mark.req("N2.2")
def test_messages_are_native_where_the_extension_may_be_used():
    is_native = any(base.__module__ == "meridian_fast" for base in chosen.Message.__mro__)
    assert is_native is (select.native() is not None)


@pytest.mark.req("N2.2")
def test_python_is_asked_for_before_the_import_and_nothing_native_is_loaded():
    program = (
        "import sys; from meridian import Message; print([c.__name__ for c in Message.__mro__]);"
        "print('meridian_fast' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"MERIDIAN_ENGINE": "python"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "['Message', '_Fields', '_MessageSlots', 'Generic', 'object']",
        "False",
    ]


def test_a_second_copy_of_the_module_is_served_in_python():
    with pytest.MonkeyPatch.context() as patch:
        second = load(patch, "meridian_message_again")
        assert all(base.__module__ != "meridian_fast" for base in second.Message.__mro__)
        assert second.Message(second.DATA, 1).is_data()
    assert chosen.Message(chosen.DATA, 1).is_data()


def test_a_module_that_has_the_extension_out_of_its_sight_gives_engines_its_own_messages():
    pytest.importorskip("meridian_fast", reason="what is tested is in it")
    program = (
        "from meridian.core import message as m; import meridian_fast as fast\n"
        "made = fast._wrap(1, 2.5)\n"
        "assert type(made) is m.Message and (made.type, made.payload, made.get_timestamp()) == (m.DATA, 1, 2.5)\n"
        "assert fast._wrap(1, 2.5, m.ERROR).is_error()\n"
        "assert fast._derive(made, 2).get_parent_id() == made.get_id()\n"
        "assert fast._rewrap(made, 3).headers == made.headers\n"
        "assert fast._message_bases() is None\n"
    )
    subprocess.run([sys.executable, "-c", program], env={"MERIDIAN_ENGINE": "python"}, check=True)


def test_parameters_have_the_same_names_and_defaults(in_python: ModuleType):
    ours, theirs = inspect.signature(chosen.Message), inspect.signature(in_python.Message)
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


@pytest.mark.req("N1.1")
def test_a_message_takes_64_bytes_and_has_neither_dict_nor_weak_references(module: ModuleType):
    made = module.Message(module.DATA, 1)
    assert sys.getsizeof(made) == 64
    assert not hasattr(made, "__dict__")
    with pytest.raises(TypeError, match="cannot create weak reference to 'Message' object"):
        weakref.ref(made)


class Payload:
    """Can be seen dying."""

    def __init__(self) -> None:
        self.message: Any = None
        self.seen: list[Any] = []

    def __del__(self) -> None:
        self.seen.append(getattr(self.message, "payload", None) is self)


@pytest.mark.parametrize("place", ["payload", "metadata", "headers", "scope", "subclass"])
def test_cycles_through_a_message_are_collected(module: ModuleType, place: str):
    payload = Payload()
    seen = payload.seen
    if place == "payload":
        payload.message = module.Message(module.DATA, payload)
    elif place == "metadata":
        payload.message = module.Message(module.DATA, 1, {"payload": payload})
    elif place == "headers":
        payload.message = module.derive(module.Message(module.DATA, 1, None, {"payload": payload}), 2)
    elif place == "scope":
        payload.message = module.Scope()
        payload.message.handling = module.Message(module.DATA, payload)
    else:
        payload.message = type("Tagged", (module.Message,), {})(module.DATA, 1)
        object.__setattr__(payload.message, "tag", payload)
    died = weakref.ref(payload)
    del payload
    gc.collect()
    assert died() is None
    assert seen == [place == "payload"]


def test_a_message_without_a_cycle_needs_no_collector(module: ModuleType):
    payload = Payload()
    died = weakref.ref(payload)
    made = module.Message(module.DATA, payload)
    child = module.derive(made, payload)
    del payload, made
    assert child.get_parent_id()
    del child
    assert died() is None


def test_a_long_chain_of_messages_is_freed_without_recursion(module: ModuleType):
    made = None
    for _ in range(200_000):
        made = module.Message(module.DATA, made)
    del made


def test_nothing_is_leaked_by_what_messages_do(module: ModuleType):
    def work() -> None:
        scope = module.Scope(1.5)
        token = module.current_scope.set(scope)
        try:
            scope.handling = made = module.Message(module.DATA, payload, metadata=metadata)
            child = module.Message("ERROR", payload)
            module.derive(module.rewrap(module.wrap(payload, 2.5), payload), payload)
            module.derive(child, payload).headers
            module.derive(made.with_headers(a=1), payload)
            for wrong in (("data", payload), (payload,), (module.DATA, payload, metadata, 5)):
                with pytest.raises((TypeError, ValueError)):
                    module.Message(*wrong)
        finally:
            module.current_scope.reset(token)

    payload, metadata = object(), {"a": object()}
    counted: tuple[Any, ...] = (payload, metadata, module.DATA, module.ERROR, module.Message, module.Scope)
    work()
    gc.collect()
    before = [sys.getrefcount(each) for each in counted]
    for _ in range(50):
        work()
    gc.collect()
    after = [sys.getrefcount(each) for each in counted]
    assert after == before


# ---- the time a message is made --------------------------------------------------------------------------------------


def test_a_clock_that_was_put_in_place_of_time_time_is_asked(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "time", lambda: 2.5)
    assert module.Message(module.DATA, 1).get_timestamp() == 2.5


def test_an_error_of_the_clock_is_not_swallowed(module: ModuleType, monkeypatch: pytest.MonkeyPatch):
    def broken() -> float:
        raise RuntimeError("no time")

    monkeypatch.setattr(time, "time", broken)
    with pytest.raises(RuntimeError, match="no time"):
        module.Message(module.DATA, 1)


def test_the_time_is_the_systems_where_there_is_no_other(module: ModuleType):
    before = time.time()
    made = [module.Message(module.DATA, 1), module.wrap(1, None)]
    token = module.current_scope.set(module.Scope())
    try:
        made.append(module.Message(module.DATA, 1))
    finally:
        module.current_scope.reset(token)
    after = time.time()
    assert all(type(each._headers) is float and before <= each._headers <= after for each in made)
