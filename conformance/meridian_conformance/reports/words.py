"""What all reports say alike: the order of verdicts, the headline, and text that came from elsewhere, tamed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from meridian_conformance import rules
from meridian_conformance.verdicts import ExitCode, Result, RuleResult, Situation, Verdict, summary

if TYPE_CHECKING:
    from meridian_conformance.failures import Step

ORDER: Final = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.VACUOUS,
    Verdict.INCONCLUSIVE,
    Verdict.WAIVED,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
    Verdict.UNTESTABLE,
)
"""Verdicts, the one that wants attention first."""

MEANING: Final[Mapping[Verdict, str]] = {
    Verdict.FAIL: "it was broken",
    Verdict.ERROR: "the kit could not judge it",
    Verdict.VACUOUS: "not broken, but hardly tried",
    Verdict.INCONCLUSIVE: "tried, but the machine was too noisy to tell",
    Verdict.WAIVED: "broken, and a waiver says why",
    Verdict.PASS: "it held",
    Verdict.NOT_APPLICABLE: "needs a capability that is not claimed",
    Verdict.UNTESTABLE: "listed, judged by nobody",
}

MOST_CHARACTERS: Final = 400


def tamed(text: str, limit: int = MOST_CHARACTERS) -> str:
    """Return text that a backend may have had a say in: one line, printable, at most ``limit`` characters.

    Its names, answers and versions come from a stranger's code. They mustn't forge a line, break a format or flood a page.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(character if character.isprintable() else "�" for character in text)


def word(verdict: Verdict) -> str:
    """Return a verdict for people: ``not applicable`` rather than ``not_applicable``."""
    return verdict.replace("_", " ")


def suite_name(result: Result) -> str:
    """Return suite and profiles, such as ``Meridian 2.0 core+async``."""
    return f"Meridian {'.'.join(result.suite.split('.')[:2])} {'+'.join(result.profiles)}"


def counts(result: Result) -> str:
    """Return what was counted, such as ``23/23 MUST`` or ``21/23 MUST, 1 waived``; never a percentage."""
    return summary(result).removeprefix("+".join(result.profiles)).strip()


def headline(result: Result) -> str:
    """Return the whole result in one sentence."""
    match result.exit_code:
        case ExitCode.PASSED:
            waived = result.count(Verdict.WAIVED, "MUST")
            return (
                f"Every MUST held, but for {waived} that {'is' if waived == 1 else 'are'} waived."
                if waived
                else "Every MUST held."
            )
        case ExitCode.BROKEN:
            untrue = sum(found.broken and found.waiver is not None for found in result.rules)
            broken = sum(found.broken for found in result.rules) - untrue
            said = [f"{broken} MUST {'was' if broken == 1 else 'were'} broken."] if broken else []
            if untrue:
                said.append(f"{untrue} {'waiver has' if untrue == 1 else 'waivers have'} become untrue.")
            return " ".join(said)
        case _:
            return "Inconclusive: not every MUST could be judged, so this is no pass."


def level(found: RuleResult) -> str:
    """Return the level of a rule, and that of the next suites if it is another, such as ``SHOULD, MUST from 2.2``."""
    return f"{found.level}, MUST from {tamed(found.binds)}" if found.binds else found.level


def sentence(rule: str) -> str:
    """Return the sentence of a rule; empty if this suite doesn't know it (a result of another suite)."""
    known = rules.load().get(rule)
    return known.sentence if known else ""


def causes(rule: str) -> tuple[str, ...]:
    """Return what breaks a rule most often."""
    known = rules.load().get(rule)
    return known.causes if known else ()


def exercised(found: RuleResult) -> str:
    """Return how often the rarest situation of a rule occurred, over how often it had to, such as ``212/50``."""
    if not found.situations:
        return ""
    rarest = min(found.situations, key=_share)
    return f"{rarest.seen}/{rarest.needed}"


def _share(situation: Situation) -> float:
    return situation.seen / max(situation.needed, 1)


def call(step: Step) -> str:
    """Return a step as a call, such as ``put(0)``."""
    return tamed(f"{step.op}({', '.join(map(repr, step.args))})")


def replay_command(result: Result, found: RuleResult, folder: str = ".") -> str:
    """Return the command that shows a failure again, seen from where the reports' folder is ``folder``."""
    file = (PurePath(folder) / "failures" / f"{found.rule}.json").as_posix()
    return f"meridian-conform replay {quoted(file)} --backend {quoted(result.loads or result.backend)}"


def quoted(name: str) -> str:
    """Return a name as one word of a shell, whatever it holds."""
    return shlex.quote(tamed(name))


def opened(spec: Mapping[str, object]) -> str:
    """Return what was opened, such as ``capacity 2, policy block``; what isn't set isn't told."""
    return tamed(
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in spec.items() if value is not None)
    )
