"""The words in which redaction is stated: what a rule looks at, and what it does with it.

A rule looks at the *key* a value stands under, at the *path* to it, at its *type*, at what a *detector* finds in a text,
or at the *classification* a field was declared with. It then acts on the value.

Precedence is one sentence: **of all rules that match, the one with the strongest action wins; among equals, the first**.
From strong to weak, by how much is left of a value: `Drop` (nothing), `Hash` (whether two are equal), `Mask` (its last
characters), `Generalise` (its rough size or place), `Truncate` (its beginning). A policy's own rules stand before the
built-in ones, so they can only add to those; to weaken one, a policy has to lift it by name, with a reason (`Exposed`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import ClassVar


class Classification(str, Enum):
    """How sensitive a field is, as its declaration says: ``Annotated[str, Classification.PII]``.

    Dataclasses may say it in a field's metadata too: ``field(metadata={"classification": "pii"})``.
    """

    PUBLIC = "public"
    INTERNAL = "internal"
    PII = "pii"
    SECRET = "secret"  # noqa: S105 - the name of a class of values, not one of them


@dataclass(frozen=True, slots=True)
class Drop:
    """Leave nothing of the value: ``[redacted:RULE]`` stands in its place."""

    word: ClassVar[str] = "drop"


@dataclass(frozen=True, slots=True)
class Hash:
    """Replace the value by a keyed digest, so that equal ones can be seen to be equal; needs the policy's salt."""

    word: ClassVar[str] = "hash"


@dataclass(frozen=True, slots=True)
class Mask:
    """Replace all but the end by eight stars, however long it was.

    Args:
        keep: So many last characters stay, 0 to 8; none of a value that isn't at least twice as long.
    """

    keep: int = 0

    word: ClassVar[str] = "mask"


@dataclass(frozen=True, slots=True)
class Generalise:
    """Replace the value by what it lies in.

    IPv4 addresses become their /24, IPv6 addresses their /48, timestamps their day, numbers a bucket. What is none of
    these is dropped.

    Args:
        bucket: Width of a bucket; 0 means powers of ten.
    """

    bucket: float = 0

    word: ClassVar[str] = "generalise"


@dataclass(frozen=True, slots=True)
class Truncate:
    """Keep only the beginning; detectors have seen the whole before.

    Args:
        length: So many characters stay; at least 1.
    """

    length: int = 32

    word: ClassVar[str] = "truncate"


Action = Drop | Hash | Mask | Generalise | Truncate

ACTIONS: tuple[type[Action], ...] = (Drop, Hash, Mask, Generalise, Truncate)
"""All actions, the strongest first."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: it matches a value if any of its matchers does.

    Args:
        name: Under which it is counted, and which stands in place of what it dropped.
        action: What is done.
        key: Names of keys. Case and separators don't count: ``api_key`` is ``apiKey`` is ``API-KEY``; so is a longer key
            that ends in these words, such as ``stripe_api_key``.
        path: Paths from the outermost value, ``user.cards[*].number``; ``*`` is any key, ``[*]`` any position.
        type: Names of classes as in ``myapp.Order`` or ``int``; what derives from them matches too.
        detector: Names of detectors; the rule acts on what they find within texts.
        classification: What fields were declared to be.
    """

    name: str
    action: Action
    key: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    detector: tuple[str, ...] = ()
    classification: tuple[Classification, ...] = ()

    @property
    def strength(self) -> int:
        """Rank of its action; 0 is the strongest."""
        return ACTIONS.index(type_of(self.action))


def type_of(action: Action) -> type[Action]:
    """Return the class of an action; `Rule` has a field that hides the builtin of that name."""
    return type(action)


def strongest(rules: list[Rule]) -> Rule | None:
    """Return the rule that wins, or ``None`` if there is none; the rules come in the order of the policy."""
    return min(rules, key=lambda rule: rule.strength, default=None)


# --- names of keys ---------------------------------------------------------------------------------------------------

_WORDS = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+")
_MAX_KEY = 200


def words_of(key: str) -> list[str]:
    """Return the words of a key in lower case, without separators and digits: ``dbPassword2`` is ``db``, ``password``."""
    return [word.lower() for word in _WORDS.findall(key[-_MAX_KEY:])]


def endings_of(key: str) -> list[str]:
    """Return what rules may call this key: its last word, its last two joined, and so on up to the whole."""
    words = words_of(key)
    return ["".join(words[-n:]) for n in range(1, len(words) + 1)]


# --- paths -----------------------------------------------------------------------------------------------------------

Step = str | int
ANY_KEY = "*"
ANY_INDEX = -1

_STEP = re.compile(r"\[(\*|\d{1,9})\]|([^.\[\]]+)")


@cache
def parse_path(path: str) -> tuple[Step, ...] | None:
    """Return the steps of a path, names joined in lower case and positions as numbers; ``None`` if it is malformed."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        if path[at] == "." and steps:
            at += 1
            found = _STEP.match(path, at)
            if found is None or found[2] is None:
                return None
        else:
            found = _STEP.match(path, at)
            if found is None or (steps and found[2] is not None):
                return None
        if found[2] is not None:
            steps.append(ANY_KEY if found[2] == "*" else "".join(words_of(found[2])) or found[2])
        else:
            steps.append(ANY_INDEX if found[1] == "*" else int(found[1]))
        at = found.end()
    return tuple(steps) or None


def path_matches(pattern: tuple[Step, ...], path: tuple[Step, ...]) -> bool:
    """Return whether a parsed pattern names this path as a whole."""
    return len(pattern) == len(path) and all(
        wanted == step
        or (wanted == ANY_KEY and isinstance(step, str))
        or (wanted == ANY_INDEX and isinstance(step, int))
        for wanted, step in zip(pattern, path, strict=True)
    )
