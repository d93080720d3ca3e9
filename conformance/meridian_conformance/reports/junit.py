"""junit.xml: one case for each rule, as continuous integration understands it.

A case fails exactly where the exit code of `meridian-conform` says so: a broken MUST and a waiver that has become untrue are
failures, a MUST that couldn't be judged is an error, everything else that isn't a pass is skipped and says why.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from meridian_conformance.reports.words import (
    call,
    counts,
    exercised,
    level,
    opened,
    replay_command,
    sentence,
    suite_name,
    tamed,
    word,
)
from meridian_conformance.verdicts import Result, RuleResult, Verdict


def dumps(result: Result) -> str:
    """Return the text of ``junit.xml``."""
    root = Element("testsuites", name="meridian-conform")
    for profile in dict.fromkeys(found.profile for found in result.rules):
        _suite(root, result, profile)
    for attribute in ("tests", "failures", "errors", "skipped"):
        root.set(attribute, str(sum(int(suite.get(attribute, "0")) for suite in root)))
    root.set("time", f"{result.seconds:.3f}")
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, result: Result, profile: str) -> None:
    judged = [found for found in result.rules if found.profile == profile]
    suite = SubElement(root, "testsuite", name=f"{tamed(result.backend)} {profile}", timestamp=result.started)
    told = {
        "suite": suite_name(result),
        "backend": result.backend,
        "target": result.target,
        "claims": " ".join(result.claims),
        "settings": result.settings,
        "seed": str(result.seed),
        "counts": counts(result),
    }
    _properties(suite, {**told, **result.environment})
    outcomes = [_case(suite, result, found) for found in judged]
    suite.set("tests", str(len(judged)))
    for kind in ("failure", "error", "skipped"):
        suite.set({"failure": "failures", "error": "errors"}.get(kind, kind), str(outcomes.count(kind)))
    # The kit times checks, each of which judges several rules, so there is no time of a single rule to tell.
    suite.set("time", f"{result.seconds:.3f}" if judged and judged[0] is result.rules[0] else "0.000")


def outcome(found: RuleResult) -> str:
    """Return what a case says about a rule: ``passed``, ``failure``, ``error`` or ``skipped``."""
    if found.verdict is Verdict.PASS:
        return "passed"
    if found.broken:
        return "failure"
    if found.level == "MUST" and found.verdict in (Verdict.ERROR, Verdict.VACUOUS, Verdict.INCONCLUSIVE):
        return "error"
    return "skipped"


def _case(suite: Element, result: Result, found: RuleResult) -> str:
    case = SubElement(
        suite, "testcase", classname=f"meridian_conformance.{found.profile}", name=found.rule, time="0.000"
    )
    _properties(case, properties(found))
    kind = outcome(found)
    if kind != "passed":
        why = SubElement(case, kind, type=found.verdict, message=message(found))
        if kind != "skipped":
            why.text = story(result, found)
    if found.failures and kind == "skipped":
        SubElement(case, "system-out").text = story(result, found)
    return kind


def properties(found: RuleResult) -> dict[str, str]:
    """Return what is attached to a rule's case, for those who filter by it."""
    told = {
        "rule": found.rule,
        "level": found.level,
        "binds": found.binds,
        "profile": found.profile,
        "verdict": found.verdict.value,
        "exercised": exercised(found),
    }
    return {name: value for name, value in told.items() if value}


def _properties(parent: Element, told: dict[str, str]) -> None:
    inside = SubElement(parent, "properties")
    for name, value in told.items():
        SubElement(inside, "property", name=tamed(name), value=tamed(value))


def message(found: RuleResult) -> str:
    """Return one line about a rule that didn't pass."""
    parts = [f"{found.rule} ({level(found)}) {word(found.verdict)}", found.reason]
    if found.waiver:
        parts.append("waived: " + ", ".join(f"{name} {value}" for name, value in found.waiver.items()))
    if not found.reason and not found.waiver:
        parts.append(sentence(found.rule))
    return tamed(": ".join(part for part in parts if part))


def story(result: Result, found: RuleResult, folder: str | None = ".") -> str:
    """Return all that is known about a rule that was broken, as lines: facts, history, and the command to see it again.

    Args:
        result: The whole result.
        found: What was found about the rule.
        folder: Where the reports are, as the reader sees it; None if there are none, and so nothing to replay.
    """
    lines = [sentence(found.rule)] if sentence(found.rule) else []
    lines += [tamed(found.reason)] if found.reason else []
    lines += [
        f"{tamed(each.name)}: {each.seen} of the {each.needed} that are needed"
        for each in found.situations
        if each.seen < each.needed and not found.reason
    ]
    for failure in found.failures[:1]:
        lines += [f"{tamed(name.replace('_', ' '))}: {tamed(value)}" for name, value in failure.facts.items()]
        lines += [f"opened with {opened(failure.trace.spec)}"]
        for number, step in enumerate(failure.trace.steps, 1):
            line = f"{number:3}. {call(step)}"
            line += f" -> {tamed(step.got)}" if step.got is not None else ""
            differs = step.expected is not None and step.got is not None and step.expected != step.got
            lines.append(line + (f"   (expected {tamed(step.expected or '')})" if differs else ""))
        lines += [] if folder is None else [f"again: {replay_command(result, found, folder)}"]
    return "\n".join(lines)
