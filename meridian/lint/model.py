"""What a rule is, and what it finds."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from meridian.redaction import redactor

if TYPE_CHECKING:
    from meridian.lint.view import View

Level = Literal["error", "warning", "note"]

LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "note")
"""Most severe first. An error is surely wrong, a warning is right most of the time, a note is worth knowing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Its name, as suppressions and options write it.
        level: How severe what it finds is.
        sentence: What it finds.
        reason: Why that is a smell.
        fix: What to do instead.
        bad: A module in which it finds something: source text that defines ``build``.
        good: The same, mended.
    """

    id: str
    level: Level
    sentence: str
    reason: str
    fix: str
    bad: str
    good: str


@dataclass(frozen=True, slots=True)
class Lint:
    """One finding. Its texts have gone through the redaction policy.

    Attributes:
        rule: Id of the rule.
        level: ``"error"``, ``"warning"`` or ``"note"``.
        node: Name of the node, within the whole plan, or ``None``.
        edge: Id of the edge, or ``None``.
        what: What was found, with the names of what it is about.
        why: Why that is a smell.
        fix: What to do instead.
        file: Where it stands, if that is known.
        line: The line there, from 1.
    """

    rule: str
    level: Level
    node: str | None
    edge: str | None
    what: str
    why: str
    fix: str
    file: str | None = None
    line: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON knows."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}:{self.line}: "
        return f"{place}{self.level} {self.rule}: {self.what}"


class Spot(NamedTuple):
    """A place in a file; ``last`` is the last line of what stands there."""

    file: str
    line: int
    last: int


class Found(NamedTuple):
    """What a rule's function yields.

    Attributes:
        what: What was found.
        node: Index of the node in the view, or ``None``.
        edge: Id of the edge, or ``None``.
        spot: Where it stands, or ``None`` for where its node stands.
    """

    what: str
    node: int | None = None
    edge: str | None = None
    spot: Spot | None = None


Look = Callable[["View"], Iterator[Found]]

looks: dict[str, Look] = {}
"""The function behind each rule, by id. Rules without one are told by `meridian.lint.linting` itself."""


def looks_for(id: str) -> Callable[[Look], Look]:
    """Declare a function as the one that looks for what the rule ``id`` is about."""

    def declare(look: Look) -> Look:
        looks[id] = look
        return look

    return declare


@cache
def rules() -> dict[str, Rule]:
    """Return all rules by id, in the order of ``rules.toml``."""
    text = files("meridian.lint").joinpath("rules.toml").read_text(encoding="utf-8")
    return {entry["id"]: Rule(**entry) for entry in tomllib.loads(text)["rule"]}


def find_rule(id: str) -> Rule:
    """Return one rule.

    Raises:
        ValueError: there is none of that name; says which are like it.
    """
    if id in rules():
        return rules()[id]
    raise ValueError(unknown(id))


def unknown(id: str) -> str:
    """Say that there is no rule ``id``, and which ones are like it."""
    close = get_close_matches(id, rules(), n=2, cutoff=0.5)
    near = f"did you mean {' or '.join(map(repr, close))}?" if close else "meridian lint --list shows them"
    return f"there is no rule {redactor().text(id)!r}: {near}"


def check_ids(ids: Iterable[str]) -> frozenset[str]:
    """Return ids of rules as a set.

    Raises:
        ValueError: one of them is no rule's.
    """
    return frozenset(find_rule(id).id for id in ids)
