from __future__ import annotations

import io
import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meridian.redaction.errors
from meridian.core.errors import BackpressureError, GraphError, MeridianError
from meridian.redaction import ErrorDescription, describe_error, expose, exposure, type_name
from meridian.redaction.names import class_name, clean, module_name

CANARY = "4111-1111-1111-1111"


def raised(make: Any) -> BaseException:
    try:
        raise make
    except BaseException as error:
        return error


# --- type


def test_a_builtin_goes_by_its_bare_name():
    assert describe_error(KeyError(CANARY)).type == "KeyError"


class Local(Exception):
    class Nested(Exception):
        pass


def test_a_class_goes_by_its_qualified_name():
    assert describe_error(Local.Nested()).type == f"{__name__}.Local.Nested"


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(CANARY)

    def __repr__(cls) -> str:
        raise RuntimeError(CANARY)


class Hostile(Exception, metaclass=Meta):
    @property  # type: ignore[misc]  # a lie on purpose
    def __class__(self) -> Any:
        raise RuntimeError(CANARY)

    def __str__(self) -> str:
        raise RuntimeError(CANARY)

    __repr__ = __str__


@pytest.mark.req("X2")
def test_a_hostile_exception_is_described_all_the_same():
    assert describe_error(Hostile()) == ErrorDescription(f"{__name__}.Hostile", "unknown", "[redacted]")
    with expose(error_messages=True):
        assert describe_error(Hostile()).message == "[unprintable]"


def test_type_name_is_a_placeholder():
    assert [type_name(value) for value in (1, "x", None, int, Local())] == [
        "<int>",
        "<str>",
        "<NoneType>",
        "<type>",
        "<Local>",
    ]
    assert type_name(Hostile()) == "<Hostile>"
    assert type_name(Hostile) == "<Meta>"


def test_a_class_without_a_proper_module_goes_by_its_qualified_name():
    odd = type("Odd", (Exception,), {"__module__": 5})
    namespace: dict[str, Any] = {"type": type, "Exception": Exception, "__builtins__": {}}
    exec("gone = type('Gone', (Exception,), {})", namespace)  # no __name__ to take the module from
    gone = namespace["gone"]
    assert (class_name(odd), class_name(gone), module_name(gone)) == ("Odd", "Gone", "")


@given(st.text())
def test_a_generated_name_can_neither_forge_nor_flood_a_line(name: str):
    shown = clean(name, limit=10)
    assert len(shown) <= 10
    assert shown.isprintable()
    assert clean("short", limit=10) == "short"


# --- where


def test_an_error_that_was_not_raised_comes_from_nowhere():
    assert describe_error(ValueError()).where == "unknown"


def test_where_names_file_line_and_function_of_the_innermost_frame():
    def fail() -> None:
        raise ValueError(CANARY)

    with pytest.raises(ValueError) as caught:
        fail()
    line = fail.__code__.co_firstlineno + 1
    assert (
        describe_error(caught.value).where == f"test_describe_error.py:{line} in {fail.__code__.co_qualname}"
    )


def run(source: str, filename: str, **names: Any) -> BaseException:
    try:
        exec(compile(source, filename, "exec"), names)
    except Exception as error:
        return error
    raise AssertionError("it should have raised")


def test_where_is_the_innermost_frame_outside_meridian():
    def user() -> None:
        error = run("1/0", meridian.redaction.errors.__file__)
        raise error

    with pytest.raises(ZeroDivisionError) as caught:
        user()
    assert describe_error(caught.value).where.startswith("test_describe_error.py:")


def test_where_is_in_meridian_if_nothing_else_is_left():
    error = run("1/0", meridian.redaction.errors.__file__)
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    assert describe_error(error).where == "errors.py:1 in <module>"


@pytest.mark.req("X2")
@pytest.mark.parametrize(
    "filename", ["/home/somebody/secret/flow.py", "C:\\Users\\somebody\\secret\\flow.py"]
)
def test_where_shows_no_folders(filename: str):
    assert describe_error(run("1/0", filename)).where == "flow.py:1 in <module>"


# --- message


@pytest.mark.req("X2")
@pytest.mark.parametrize(
    "error", [ValueError(CANARY), KeyError(CANARY), ExceptionGroup(CANARY, [ValueError(CANARY)])]
)
def test_the_text_of_somebody_elses_error_is_redacted(error: Exception):
    assert describe_error(raised(error)).message == "[redacted]"


@pytest.mark.req("X2")
def test_notes_cause_and_context_are_never_shown():
    error = MeridianError("edge e is full")
    error.add_note(CANARY)
    error.__cause__ = ValueError(CANARY)
    error.__context__ = ValueError(CANARY)
    with expose(error_messages=True):
        assert CANARY not in repr(describe_error(error))


@pytest.mark.req("X2")
def test_the_text_of_meridians_own_errors_is_shown():
    own = BackpressureError("a:x->b:y", 4, "a", "x", CANARY)
    assert describe_error(own).message == "Backpressure: Edge a:x->b:y is full (capacity: 4)"
    assert describe_error(GraphError([])).message.startswith("the graph has 0 errors")


class Derived(MeridianError):
    pass


class Vouching(Exception):
    payload_free: ClassVar[bool] = True


class Revoking(Vouching):
    payload_free = False


class Truthy(Exception):
    payload_free = "yes"


@pytest.mark.req("X2")
@pytest.mark.parametrize(
    ("cls", "shown"),
    [(Derived, "[redacted]"), (Vouching, "text"), (Revoking, "[redacted]"), (Truthy, "[redacted]")],
)
def test_a_stranger_is_trusted_only_where_its_own_class_vouches(cls: type[Exception], shown: str):
    assert describe_error(cls("text")).message == shown


def test_a_long_text_is_cut_and_control_characters_are_replaced():
    assert describe_error(Vouching("a\x1b[31m\nb")).message == "a?[31m\nb"
    assert len(describe_error(Vouching("x" * 5000)).message) == 1000


class Str(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    def __getitem__(self, key: Any) -> str:
        raise RuntimeError


class StrReturning(Vouching):
    payload_free = True

    def __str__(self) -> str:
        return Str("text")


def test_a_text_of_a_class_of_its_own_is_made_plain():
    assert describe_error(StrReturning()).message == "text"


# --- exposure


@pytest.mark.req("X2")
def test_nothing_is_exposed_out_of_the_box():
    assert exposure().error_messages is False


@pytest.mark.req("X2")
def test_exposing_shows_texts_until_it_is_switched_off(lines: io.StringIO):
    before = expose(error_messages=True)
    assert before.error_messages is False
    assert exposure().error_messages is True
    assert describe_error(ValueError("no such day")).message == "no such day"
    assert describe_error(ValueError(CANARY)).message == "[redacted:card]"
    assert expose(error_messages=False).error_messages is True
    assert describe_error(ValueError(CANARY)).message == "[redacted]"


@pytest.mark.req("X2")
def test_a_block_puts_the_previous_exposure_back():
    with expose(error_messages=True), expose(error_messages=False):
        assert exposure().error_messages is False
    assert exposure().error_messages is False
    with expose(error_messages=True):
        with expose(error_messages=True):
            pass
        assert exposure().error_messages is True
    assert exposure().error_messages is False


@pytest.mark.req("X2")
def test_widening_is_announced_once_and_narrowing_is_not(lines: io.StringIO):
    expose(error_messages=True)
    expose(error_messages=True)
    expose(error_messages=False)
    expose(error_messages=False)
    (record,) = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert (record["event"], record["level"]) == ("redaction.exposure_widened", "WARN")
