"""What a regular expression costs, read from its parse tree and counted step by step.

`cost` proves a bound: most steps that one attempt at one place can take, or None if there is none. `Machine` runs a pattern
as a backtracking matcher does and counts its steps, so that growth can be seen without a clock.
"""

import re
from collections.abc import Callable, Iterator
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

UNBOUNDED = c.MAXREPEAT
Tree = Any


def parse(pattern: str) -> Tree:
    return _parser.parse(pattern)


# --- the proof ---------------------------------------------------------------------------------------------------------


class Superlinear(Exception):
    """A pattern could take more than linear time, or nobody can tell."""


def cost(tree: Tree) -> int:
    """Return most steps of one attempt, tails that run to the end of their characters aside.

    Such a tail is a possessive repeat of one character class without an upper bound, after which nothing can fail: what it
    consumes is consumed for good by `finditer`, so all tails together are linear in the text.

    Raises:
        Superlinear: an unbounded repeat anywhere else, or one that could be left in several ways and is repeated.
    """
    steps, _ = _sequence(list(tree), tail=True)
    return steps


def _sequence(items: list[Any], *, tail: bool) -> tuple[int, int]:
    """Return steps, and in how many ways the sequence can be left."""
    steps, ways = 0, 1
    for place, (op, argument) in enumerate(items):
        is_last = tail and all(_cannot_fail(each) for each in items[place + 1 :])
        one_steps, one_ways = _item(op, argument, tail=is_last)
        # Whatever comes after a choice may be tried once for each way of making it.
        steps += ways * one_steps
        ways *= one_ways
    return steps, ways


def _item(op: Any, argument: Any, *, tail: bool) -> tuple[int, int]:
    if op in (c.LITERAL, c.NOT_LITERAL, c.IN, c.ANY, c.AT):
        return 1, 1
    if op is c.SUBPATTERN:
        return _sequence(list(argument[3]), tail=tail)
    if op is c.ATOMIC_GROUP:
        return _sequence(list(argument), tail=tail)[0], 1
    if op in (c.ASSERT, c.ASSERT_NOT):
        return _sequence(list(argument[1]), tail=False)[0], 1
    if op is c.BRANCH:
        made = [_sequence(list(branch), tail=tail) for branch in argument[1]]
        return sum(steps for steps, _ in made), sum(ways for _, ways in made)
    if op in (c.POSSESSIVE_REPEAT, c.MAX_REPEAT, c.MIN_REPEAT):
        low, high, body = argument
        steps, ways = _sequence(list(body), tail=False)
        if high == UNBOUNDED:
            if op is not c.POSSESSIVE_REPEAT or not tail or ways > 1:
                raise Superlinear(f"an unbounded repeat: {argument}")
            return max(low, 1) * steps, 1
        if op is c.POSSESSIVE_REPEAT:
            if ways > 1 and high > 8:
                raise Superlinear(f"a choice within a long repeat: {argument}")
            return high * steps * ways ** min(high, 8 if ways > 1 else 1), 1
        if ways > 1 and high > 1:
            raise Superlinear(f"a choice within a repeat that gives back: {argument}")
        return high * steps + 1, high * ways - low + 1
    raise Superlinear(f"unknown: {op}")


def _cannot_fail(item: Any) -> bool:
    op, argument = item
    if op is c.POSSESSIVE_REPEAT:
        return bool(argument[0] == 0)
    return op is c.SUBPATTERN and all(_cannot_fail(each) for each in argument[3])


# --- the machine -------------------------------------------------------------------------------------------------------

Next = Callable[[int], Iterator[int]]


class Machine:
    """Matches one pattern, slowly, and counts."""

    def __init__(self, pattern: str) -> None:
        self.tree = parse(pattern)
        self.flags = self.tree.state.flags
        self.steps = 0

    def finditer(self, text: str) -> list[tuple[int, int]]:
        """Return what `re.finditer` would, spans alone."""
        self.text = text
        found: list[tuple[int, int]] = []
        at = 0
        while at <= len(text):
            end = next(self._all(list(self.tree), at, self.flags), None)
            if end is None:
                at += 1
                continue
            found.append((at, end))
            at = end if end > at else at + 1
        return found

    def _all(self, items: list[Any], at: int, flags: int) -> Iterator[int]:
        if not items:
            yield at
            return
        for middle in self._one(items[0], at, flags):
            yield from self._all(items[1:], middle, flags)

    def _one(self, item: Any, at: int, flags: int) -> Iterator[int]:
        self.steps += 1
        op, argument = item
        if op in (c.LITERAL, c.NOT_LITERAL, c.IN, c.ANY):
            if at < len(self.text) and self._takes(op, argument, self.text[at], flags):
                yield at + 1
        elif op is c.AT:
            if self._holds(argument, at):
                yield at
        elif op is c.SUBPATTERN:
            yield from self._all(list(argument[3]), at, (flags | argument[1]) & ~argument[2])
        elif op is c.ATOMIC_GROUP:
            yield from self._first(list(argument), at, flags)
        elif op is c.BRANCH:
            for branch in argument[1]:
                yield from self._all(list(branch), at, flags)
        elif op in (c.ASSERT, c.ASSERT_NOT):
            direction, body = argument
            start = at if direction > 0 else at - body.getwidth()[0]
            held = start >= 0 and any(True for _ in self._first(list(body), start, flags))
            if held is (op is c.ASSERT):
                yield at
        elif op is c.POSSESSIVE_REPEAT:
            low, high, body = argument
            done = 0
            while done < high:
                end = next(self._all(list(body), at, flags), None)
                if end is None or (end == at and done >= low):
                    break
                at, done = end, done + 1
            if done >= low:
                yield at
        else:
            assert op is c.MAX_REPEAT, op
            yield from self._greedy(argument, at, flags, 0)

    def _greedy(self, argument: Any, at: int, flags: int, done: int) -> Iterator[int]:
        low, high, body = argument
        if done < high:
            for end in self._all(list(body), at, flags):
                if end > at:
                    yield from self._greedy(argument, end, flags, done + 1)
        if done >= low:
            yield at

    def _first(self, items: list[Any], at: int, flags: int) -> Iterator[int]:
        end = next(self._all(items, at, flags), None)
        if end is not None:
            yield end

    def _takes(self, op: Any, argument: Any, char: str, flags: int) -> bool:
        if op is c.ANY:
            return char != "\n"
        forms = {char, char.lower(), char.upper()} if flags & re.IGNORECASE else {char}
        if op is c.LITERAL:
            return any(ord(form) == argument for form in forms)
        if op is c.NOT_LITERAL:
            return all(ord(form) != argument for form in forms)
        negated = argument[0][0] is c.NEGATE
        return negated != any(self._within(each, form) for each in argument for form in forms)

    def _within(self, part: Any, char: str) -> bool:
        op, argument = part
        if op is c.LITERAL:
            return ord(char) == argument
        if op is c.RANGE:
            return bool(argument[0] <= ord(char) <= argument[1])
        if op is c.CATEGORY:
            name = {c.CATEGORY_DIGIT: r"\d", c.CATEGORY_SPACE: r"\s", c.CATEGORY_WORD: r"\w"}.get(argument)
            inverse = {c.CATEGORY_NOT_WORD: r"\w", c.CATEGORY_NOT_SPACE: r"\s", c.CATEGORY_NOT_DIGIT: r"\d"}
            if name is None:
                return re.match(inverse[argument], char) is None
            return re.match(name, char) is not None
        return False

    def _holds(self, place: Any, at: int) -> bool:
        if place is c.AT_END_STRING:
            return at == len(self.text)
        assert place is c.AT_BOUNDARY, place
        before = at > 0 and re.match(r"\w", self.text[at - 1]) is not None
        after = at < len(self.text) and re.match(r"\w", self.text[at]) is not None
        return before != after
