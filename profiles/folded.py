"""Folded stacks, the primary artefact: a line for each stack that was seen, outermost function first, and how often.

::

    <module> (play.py:8);run (asyncio/runners.py:190);Run._slice (meridian/runtime/run.py:516) 158

As py-spy writes them they name the process and lines of code, of Rust functions the hash of what they were compiled from, and of
libraries without symbols the address in memory. `tidy` takes out what would make two runs of one program look different, and the machinery of imports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

Stack: TypeAlias = tuple[str, ...]

PROCESS: Final = re.compile(r'process \d+:".*"')
LINE: Final = re.compile(r":\d+\)$")
ADDRESS: Final = re.compile(r"^0x[0-9a-f]+ ")
RUST_HASH: Final = re.compile(r"::h[0-9a-f]{16}(?= |$)")
RUST_SIGNS: Final = {
    "$LT$": "<",
    "$GT$": ">",
    "$RF$": "&",
    "$BP$": "*",
    "$u20$": " ",
    "$C$": ",",
    "$LP$": "(",
    "$RP$": ")",
}
"""What the compiler writes for signs that a linker doesn't like."""
NAMELESS: Final = "? "
"""How a native function without a symbol begins."""
IMPORTLIB: Final = "(<frozen importlib._bootstrap"
IMPORTING: Final = "import (importlib)"
"""What the machinery of imports becomes: it is seven functions deep for each module that imports another."""
NOWHERE: Final[Stack] = ("(no Python function)",)
"""The stack of a process that hasn't begun to run Python."""


class FoldedError(ValueError):
    """A text that isn't folded stacks, or was cut off; says where."""


def read(text: str) -> Counter[Stack]:
    """Return the stacks of a folded text.

    Raises:
        FoldedError: a line isn't a stack and a count, or the last one has no end.
    """
    stacks = Counter[Stack]()
    if text and not text.endswith("\n"):
        raise FoldedError("its last line has no end: it was cut off")
    for number, line in enumerate(text.splitlines(), 1):
        functions, _, count = line.rpartition(" ")
        if not functions or not count.isdigit():
            raise FoldedError(f"line {number} is not a stack and a count")
        stacks[tuple(functions.split(";"))] += int(count)
    return stacks


def write(stacks: Mapping[Stack, int]) -> str:
    """Return ``stacks`` as folded text, in an order that is the same each time."""
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count in sorted(stacks.items()))


def tidy(stacks: Mapping[Stack, int]) -> Counter[Stack]:
    """Return ``stacks`` without processes, lines of code and addresses."""
    tidied = Counter[Stack]()
    for stack, count in stacks.items():
        kept: list[str] = []
        for frame in stack:
            if PROCESS.fullmatch(frame):
                continue
            function = IMPORTING if IMPORTLIB in frame else _function(frame)
            if function != IMPORTING or kept[-1:] != [IMPORTING]:
                kept.append(function)
        tidied[tuple(kept) or NOWHERE] += count
    return tidied


def _function(frame: str) -> str:
    function = RUST_HASH.sub("", ADDRESS.sub(NAMELESS, LINE.sub(")", frame)))
    for written, sign in RUST_SIGNS.items():
        function = function.replace(written, sign)
    return function


def self_time(stacks: Mapping[Stack, int]) -> Counter[str]:
    """Return how often each function was the innermost one: what it did itself, without what it called."""
    found = Counter[str]()
    for stack, count in stacks.items():
        found[stack[-1]] += count
    return found


def functions(stacks: Iterable[Stack]) -> set[str]:
    """Return every function that stands in one of ``stacks``."""
    return {function for stack in stacks for function in stack}
