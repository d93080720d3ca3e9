"""The kit against itself: every seeded fault is caught, by its own rule, under every seed; and the reference breaks nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance import backends, checks, contract, faults, rules, runner
from meridian_conformance.checks import EFFORTS, Effort, Examination
from meridian_conformance.require import Judge, judging
from meridian_conformance.verdicts import Verdict

if TYPE_CHECKING:
    from meridian_conformance.rules import Rule

UNSEEDED: Final = frozenset(
    {
        "impossible_specs",
        "isolation",
        "long_haul",
        "overhead",
        "small_limits",
        "torn",
        "privacy",
        "small_scope",
        "small_schedules",
        "idle",
        "ready_small_scope",
        "ready_band_changes",
        "ready_load",
        "ready_cost",
        "engine_small",
        "engine_async_small",
        "engine_limits_small",
        "node_small",
        "node_route_small",
        "node_batch_small",
        "node_throttle_small",
    }
)
"""Checks that do the same under every seed: once is as good as five times."""

PATIENCE: Final = 10
"""So many times as long as on a backend may a check take on a fault: what a seed finds must not depend on what else the machine does."""


@dataclass(slots=True)
class Caught:
    """How one fault fared.

    Attributes:
        fault: Its name.
        rule: The rule that has to catch it.
        seeds: Under how many seeds it did.
        wanted: Under how many it should.
        by: The checks that did.
        seconds: How long that took, over all seeds.
    """

    fault: str
    rule: str
    seeds: int
    wanted: int
    by: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it was caught under every seed."""
        return self.seeds == self.wanted


@dataclass(slots=True)
class Report:
    """How the selftest went.

    Attributes:
        caught: Each fault.
        problems: What is wrong with the rules, or with the reference.
    """

    caught: list[Caught]
    problems: list[str]

    @property
    def green(self) -> bool:
        """Whether everything is as it has to be."""
        return not self.problems and all(each.ok for each in self.caught)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "green": self.green,
            "caught": [asdict(each) | {"ok": each.ok} for each in self.caught],
            "problems": self.problems,
        }

    def text(self) -> str:
        """Return it as a table."""
        lines = [
            f"  {'caught' if each.ok else 'MISSED'}  {each.rule:10} {each.fault:34} {each.seeds}/{each.wanted}  {', '.join(each.by)}"
            for each in self.caught
        ]
        lines += [f"  {problem}" for problem in self.problems]
        n = sum(each.ok for each in self.caught)
        lines.append(
            f"{n} of {len(self.caught)} seeded faults were caught by their own rule"
            + ("" if self.green else ": RED")
        )
        return "\n".join(lines)


def run(
    *,
    seeds: int = 5,
    only: Sequence[str] | None = None,
    without: Collection[str] = (),
    effort: Effort = EFFORTS["pr"],
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Examine every seeded fault.

    Args:
        seeds: Under how many seeds each has to be caught.
        only: Names of the faults to examine; all by default. With names, neither rules nor references are checked.
        without: Rules that aren't judged: their faults are missed, so the report is red.
        effort: The budget within which they have to be caught.
        progress: Is told what is done next.

    Raises:
        UsageError: there is no such fault.
    """
    all_faults, all_rules = faults.load_all(), rules.load()
    for name in only or ():
        if name not in all_faults:
            raise backends.UsageError(f"there is no fault {name}; there are {', '.join(sorted(all_faults))}")
    problems = [] if only else [*consistency(), *sound(effort, progress)]
    caught: list[Caught] = []
    for name, fault in all_faults.items():
        if only is None or name in only:
            progress(name)
            rule = all_rules[fault.rule]
            caught.append(examine(fault(), rule, seeds, effort, frozenset(without)))
    return Report(sorted(caught, key=lambda each: (each.rule, each.fault)), problems)


def consistency() -> list[str]:
    """Return what is wrong with the rules, given the checks, faults and capabilities that there are."""
    return rules.problems(
        rules.load().values(),
        {name: each.judges for name, each in checks.load_all().items()},
        {name: fault.rule for name, fault in faults.load_all().items()},
        [str(capability) for capability in contract.Capability],
    )


def sound(effort: Effort, progress: Callable[[str], None] = lambda _: None) -> list[str]:
    """Return what is wrong with judging right backends: references break nothing, and what isn't claimed doesn't pass."""
    less = replace(effort, scope=min(effort.scope, 6), async_scope=min(effort.async_scope, 4))
    wrong: list[str] = []
    for target in backends.REFERENCES:
        progress(f"the reference of {target}")
        names = [
            name for name in checks.profiles(target) if name != "perf"
        ]  # cost isn't a matter of right and wrong
        result = runner.run(backends.load("python", target), names, target=target, effort=less, probe=False)
        wrong += [
            f"the reference of {target}: {found.rule} {found.verdict}"
            for found in result.rules
            if found.verdict in (Verdict.FAIL, Verdict.ERROR)
        ]
    modest = backends.load("python")
    modest.capabilities = frozenset()
    result = runner.run(modest, ["async", "threads", "durable"], effort=less, probe=False)
    wrong += [
        f"a backend that claims nothing: {found.rule} {found.verdict}"
        for found in result.rules
        if found.verdict is not Verdict.NOT_APPLICABLE
    ]
    return wrong


def examine(
    backend: Any, rule: Rule, seeds: int, effort: Effort, muted: frozenset[str] = frozenset()
) -> Caught:
    """Look for one fault with the checks of its rule, the quickest first.

    Args:
        backend: Has the fault, and its name.
        rule: The rule that has to catch it.
        seeds: Under how many seeds.
        effort: The budget within which it has to.
        muted: Rules that aren't judged.
    """
    all_checks = checks.load_all()
    outcome = Caught(contract.name_of(backend).removeprefix("fault "), rule.id, 0, seeds)
    began = time.monotonic()
    names = [name for name in rule.tests if name in all_checks]
    effort = replace(effort, seconds=PATIENCE * effort.seconds)
    small = replace(effort, scope=min(effort.scope, 5), async_scope=min(effort.async_scope, 4))
    plan = [(name, small, True) for name in names if name in UNSEEDED]
    plan += [(name, effort, False) for name in names if name not in UNSEEDED]
    plan += [(name, effort, True) for name in names if name in UNSEEDED]
    missing = set(range(seeds))
    for name, budget, unseeded in plan:
        for seed in sorted(missing):
            exam = Examination(
                backend, contract.claims(backend), budget, seed, until={rule.id}, judge=Judge(muted)
            )
            with judging(exam.judge):
                exam.begin(name)
                all_checks[name].run(exam)
            if rule.id in exam.failures:
                if name not in outcome.by:
                    outcome.by.append(name)
                missing -= set(range(seeds)) if unseeded else {seed}
            if unseeded:
                break
        if not missing:
            break
    outcome.seeds = seeds - len(missing)
    outcome.seconds = round(time.monotonic() - began, 3)
    return outcome
