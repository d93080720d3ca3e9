"""Checks that need no search: a handful of situations, made on purpose."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import EMPTY, POLICIES, Capability, EdgeSpec
from meridian_conformance.failures import Step
from meridian_conformance.payloads import payload
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import discard

if TYPE_CHECKING:
    from collections.abc import Generator

IMPOSSIBLE: Final = (
    EdgeSpec(0),
    EdgeSpec(-1, "drop"),
    EdgeSpec(0, "latest"),
    EdgeSpec(0, "coalesce", "collect"),
    EdgeSpec(1, "newest"),
    EdgeSpec(4, ""),
)


@check("core", judges=["EDGE-105"])
def impossible_specs(exam: Examination) -> None:
    """Open edges that can't be."""
    for spec in IMPOSSIBLE:
        exam.runs += 1
        try:
            refuses(exam.backend, spec)
        except RuleViolation as violation:
            exam.found([violation], spec, [], player="refusal")


def refuses(backend: Any, spec: EdgeSpec) -> None:
    """Require that ``spec`` is refused with ValueError."""
    seen("EDGE-105", "impossible spec tried")
    answer = "opened"
    try:
        discard(backend, backend.open(spec))
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        if isinstance(error, ValueError):
            return
        answer = type(error).__name__
    require(
        "EDGE-105", False, capacity=spec.capacity, policy=spec.policy, answer=answer, expected="ValueError"
    )


@check("core", judges=["EDGE-109"])
def isolation(exam: Examination) -> None:
    """Use two edges of one backend in turn."""
    for policy in POLICIES:
        spec = EdgeSpec(2, policy, "collect" if policy == "coalesce" else None)
        exam.runs += 1
        try:
            shares_nothing(exam.backend, spec)
        except RuleViolation as violation:
            exam.found([violation], spec, [], player="isolation")


def shares_nothing(backend: Any, spec: EdgeSpec) -> None:
    """Require that two edges, opened alike, know nothing of each other, and that a third one opened later is empty."""
    seen("EDGE-109", "two edges used in turn")
    one, other = backend.open(spec), backend.open(spec)
    later: Any = None
    try:
        results = [
            str(edge.put(item)) for edge, item in ((one, 1), (other, 2), (one, 3), (other, 4), (one, 5))
        ]
        depths = (one.depth(), other.depth())
        require("EDGE-109", results[:4] == ["OK"] * 4, results=results)
        require("EDGE-109", depths == (2, 2), depths=depths)
        later = backend.open(spec)
        fresh = (later.depth(), later.get(), later.counters()["accepted"])
        require("EDGE-109", fresh == (0, EMPTY, 0), fresh_edge=repr(fresh))
        accepted = other.counters()["accepted"]
        require("EDGE-109", accepted == 2, accepted_by_the_other=accepted)
        one.close()
        came = [other.get(), other.get(), other.get()]
        require("EDGE-109", came == [2, 4, EMPTY], came_out=repr(came), expected="[2, 4, EMPTY]")
    except RuleViolation:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        require("EDGE-109", False, raised=type(error).__name__)
    finally:
        for edge in (one, other, later):
            if edge is not None:
                discard(backend, edge)


# ---- privacy ---------------------------------------------------------------------------------------------------------

CANARY: Final = "canary-7c1d5e"
"""What must not be seen anywhere."""


@check("core", judges=["EDGE-131"])
def privacy(exam: Examination) -> None:
    """Put canaries into every kind of trouble, and look for them wherever words come out."""
    specs = [
        EdgeSpec(1, "block"),
        EdgeSpec(2, "drop"),
        EdgeSpec(2, "latest"),
        EdgeSpec(1, "coalesce", "collect"),
        EdgeSpec(1, "coalesce", "fail"),
    ]
    if Capability.BYTES_LIMIT in exam.claims:
        specs += [EdgeSpec(2, policy, "fail", max_bytes=20) for policy in POLICIES]
    for spec in specs:
        exam.runs += 1
        try:
            keeps_quiet(exam.backend, spec)
        except RuleViolation as violation:
            exam.found([violation], spec, [Step("put", (CANARY,))], player="privacy")


def keeps_quiet(backend: Any, spec: EdgeSpec) -> None:
    """Require that no canary is seen in reprs, errors, logs, warnings, output or counters."""
    edge = backend.open(spec)
    try:
        with _listening() as heard:
            for item in (CANARY, [CANARY], {CANARY: 1}, CANARY * 5, CANARY.encode(), {"$tuple": [CANARY]}):
                seen("EDGE-131", "canary put")
                _try(heard, edge.put, payload(item) if isinstance(item, dict) else item)
                seen("EDGE-131", "looked at a repr")
                heard.append(("repr of the edge", repr(edge)))
                heard.append(("text of the edge", str(edge)))
            heard.append(("counters", json.dumps(edge.counters(), default=str)))
            if hasattr(edge, "put_control"):
                _try(heard, edge.put_control, CANARY)
            edge.close()
            _try(heard, edge.put, CANARY)
            _try(heard, edge.get)
            heard.append(("repr of the closed edge", repr(edge)))
            heard.append(("repr of the backend", repr(backend)))
        for where, text in heard:
            require("EDGE-131", CANARY not in text, seen_in=where)
    finally:
        discard(backend, edge)


def _try(heard: list[tuple[str, str]], call: Any, *args: Any) -> None:
    try:
        call(*args)
    except Exception as error:  # noqa: BLE001 - its text is what is looked at
        heard.append((f"{type(error).__name__} of {call.__name__}", "".join(_texts(error))))


def _texts(error: BaseException | None, depth: int = 0) -> list[str]:
    """Return all that a traceback would show of an error, its causes and its notes; not the source lines."""
    if error is None or depth > 8:
        return []
    own = ["".join(traceback.format_exception_only(error)), repr(error.args)]
    if error.__suppress_context__ and error.__cause__ is None:
        return own
    return own + _texts(error.__cause__ or error.__context__, depth + 1)


class _Ear(logging.Handler):
    def __init__(self, heard: list[tuple[str, str]]) -> None:
        super().__init__(0)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        told = {
            name: value for name, value in vars(record).items() if name not in ("exc_info", "msg", "args")
        }
        self.heard.append((f"log of {record.name}", f"{record.getMessage()} {told!r}"))
        if record.exc_info:
            self.heard.append((f"error in a log of {record.name}", "".join(_texts(record.exc_info[1]))))


@contextlib.contextmanager
def _listening() -> Generator[list[tuple[str, str]]]:
    """Hear everything that is logged, warned of or printed within the block."""
    heard: list[tuple[str, str]] = []
    root = logging.getLogger()
    before, ear, out = root.level, _Ear(heard), io.StringIO()
    root.addHandler(ear)
    root.setLevel(0)
    try:
        with (
            warnings.catch_warnings(record=True) as warned,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            warnings.simplefilter("always")
            yield heard
        heard += [("warning", str(warning.message)) for warning in warned]
        heard.append(("output", out.getvalue()))
    finally:
        root.removeHandler(ear)
        root.setLevel(before)
