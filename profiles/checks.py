"""Is it a profile at all? No profile is better than a false one, so what fails here is told and thrown away.

py-spy ends with exit code 0 whatever it saw: nothing, another program, the few stacks that it could read while it
stumbled over all others (`--native` does that where Rust calls back into Python), or a tenth of the moments that it was
asked for because the machine was busy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from profiles.folded import NAMELESS, FoldedError, Stack, functions, read, tidy

ENOUGH: Final = 0.8
"""The share of the expected samples that has to be there."""
ERRORS: Final = 0.1
"""The share of the stacks that py-spy may fail to read."""
LEAST: Final = 100
"""Fewer samples than that say nothing: a share of a tenth is then anything from 5 to 18 %."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a recording.

    Attributes:
        text: The folded stacks, as py-spy wrote them.
        samples: How many it says it took; ``None`` if it didn't say.
        errors: How many stacks it says it couldn't read.
        rate: Samples a second that it was asked for.
        seconds: Seconds in which a sample was due: those on a CPU, or with `--idle` all. ``None`` where nobody can tell
            (`--gil`).
        known: Regular expressions; the program is the one that was meant if each matches some function.
        native: Native functions were asked for.
        extension: A native library that has to be seen, by name; nothing if none has.
    """

    text: str
    samples: int | None
    errors: int
    rate: int
    seconds: float | None
    known: tuple[str, ...]
    native: bool = False
    extension: str = ""


def problems(evidence: Evidence) -> list[str]:
    """Return what is wrong with a recording; nothing if it may be kept."""
    if not evidence.text.strip():
        return ["it is empty"]
    try:
        stacks = tidy(read(evidence.text))
    except FoldedError as error:
        return [str(error)]
    total = stacks.total()
    found = []
    if evidence.samples is None:
        found.append("py-spy did not say how many samples it took")
    elif evidence.samples != total:
        found.append(f"py-spy took {evidence.samples:,} samples and {total:,} are in the file")
    if evidence.errors > ERRORS * (total + evidence.errors):
        found.append(
            f"py-spy failed to read {evidence.errors:,} stacks and read {total:,}; at most {ERRORS:.0%} may fail"
        )
    if total < LEAST:
        found.append(f"{total} samples are too few to say anything; {LEAST} are the least")
    if evidence.seconds is not None and total < (due := evidence.rate * evidence.seconds) * ENOUGH:
        found.append(
            f"{total:,} samples where {due:,.0f} were due ({evidence.rate} a second for {evidence.seconds:.1f} s); "
            f"at least {ENOUGH:.0%} have to be there"
        )
    seen = functions(stacks)
    found += _strangers(seen, evidence.known)
    if evidence.native:
        found += _without_natives(seen, evidence.extension)
    return found


def _strangers(seen: set[str], known: tuple[str, ...]) -> list[str]:
    """Say which of the functions that the program surely calls never appears."""
    return [
        f"no function like {pattern!r} appears, so it may be another program"
        for pattern in known
        if not any(re.search(pattern, function) for function in seen)
    ]


def _without_natives(seen: set[str], extension: str) -> list[str]:
    native = {function for function in seen if not function.endswith(".py)") and "(" in function}
    if not native:
        return ["native functions were asked for and none appears"]
    if not extension:
        return []
    own = {function for function in native if extension in function or function.endswith(".rs)")}
    if not own:
        return [f"no function of {extension} appears"]
    if all(function.startswith(NAMELESS) for function in own):
        return [f"the functions of {extension} have no names: it was built without symbols"]
    return []


def timeline_problems(text: str, known: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a speedscope file; nothing if it may be kept."""
    try:
        content: Mapping[str, Any] = json.loads(text)
        seen = {str(frame["name"]) + f" ({frame.get('file', '')})" for frame in content["shared"]["frames"]}
        samples = sum(len(profile["samples"]) for profile in content["profiles"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"it is no speedscope file ({type(error).__name__})"]
    if samples == 0:
        return ["it is empty"]
    return _strangers(seen, known)


def kept(text: str) -> dict[Stack, int]:
    """Return the stacks of a recording that passed, tidied."""
    return tidy(read(text))
