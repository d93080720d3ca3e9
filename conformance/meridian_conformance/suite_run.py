"""One examination of one backend inside one run of pytest."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from meridian_conformance import backends, checks, levels, reports, rules, runner
from meridian_conformance import waivers as waiver_files
from meridian_conformance.contract import name_of

if TYPE_CHECKING:
    from pathlib import Path

    from meridian_conformance.rules import Rule
    from meridian_conformance.verdicts import Result, RuleResult


class SuiteRun:
    """Knows who is examined and how, examines once, when the first rule is asked for, and answers for each rule.

    A check judges several rules at once, so there is nothing to gain from examining for each rule by itself. Whatever is
    selected with ``-k``, whole profiles are run, and what is reported is true for them.

    Args:
        name: The backend's name; see `backends.load`.
        target: What the backend is for.
        profiles: Names of profiles, separated by commas, or ``all``.
        out: Folder for the reports.
        waivers: File of waivers.
        level: Level of the suite; see `levels`.
        folder: Where pytest was started; a backend that isn't installed is found there.

    Attributes:
        result: What was found, once something was asked for.
        written: Reports, once they are written.

    Raises:
        UsageError: one of these names nothing.
    """

    def __init__(
        self,
        name: str,
        *,
        target: str = "edge",
        profiles: str,
        out: Path | None,
        waivers: Path | None,
        level: str | None,
        folder: Path,
    ) -> None:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        if target not in backends.GROUPS:
            raise backends.UsageError(
                f"there is no target {target!r}; there are {', '.join(backends.GROUPS)}"
            )
        self.name = name
        self.target = target
        self.backend = backends.load(name, target)
        known = checks.profiles(target)
        self.profiles = (
            known if profiles == "all" else [each.strip() for each in profiles.split(",") if each.strip()]
        )
        for profile in self.profiles:
            if profile not in known:
                raise backends.UsageError(f"there is no profile {profile!r}; there are {', '.join(known)}")
        self.waivers = waiver_files.read(waivers) if waivers else []
        self.level = level
        if level is not None:
            levels.parse(level)
        self.out = out
        self.result: Result | None = None
        self.written: list[Path] = []

    @property
    def described(self) -> str:
        """Who is examined, and how."""
        level = f", level {self.level}" if self.level else ""
        return f"suite {rules.suite_version()}{level}, {'+'.join(self.profiles)}, {name_of(self.backend)}"

    def rules(self) -> list[Rule]:
        """Return the rules that are judged, in order."""
        of_profiles = [
            rule
            for rule in rules.load().values()
            if rule.target == self.target and rule.profile in self.profiles
        ]
        return [rule for rule in of_profiles if self.level is None or levels.has(self.level, rule)]

    def found(self, rule: str) -> RuleResult:
        """Return what was found about one rule; the first call examines."""
        if self.result is None:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "default"
                )  # what the project under pytest makes of warnings judges nobody's edge
                examined = runner.run(self.backend, self.profiles, target=self.target, waivers=self.waivers)
            examined.loads = self.name
            self.result = examined if self.level is None else levels.at_level(examined, self.level)
        return self.result.of(rule)

    def write(self) -> None:
        """Write the reports, if they were asked for and something was examined."""
        if self.out is not None and self.result is not None:
            self.written = reports.write(self.result, self.out)
