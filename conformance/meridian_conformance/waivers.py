"""Waivers: broken rules that are known, by rule id, each with a reason, an issue and a day on which it ends."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from meridian_conformance import rules
from meridian_conformance.backends import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Waiver:
    """One known deviation.

    Attributes:
        rule: The rule's id.
        reason: Why it is broken.
        issue: Where that is followed up.
        expires: The last day on which it holds.
    """

    rule: str
    reason: str
    issue: str
    expires: date

    def expired(self, today: date) -> bool:
        """Say whether it doesn't hold any more."""
        return today > self.expires

    def to_json(self) -> dict[str, str]:
        """Return the form of ``result.json``."""
        return {"reason": self.reason, "issue": self.issue, "expires": self.expires.isoformat()}


def read(path: Path) -> list[Waiver]:
    """Read a file of waivers: ``[[waiver]]`` tables with rule, reason, issue and expires, all of them needed.

    Raises:
        UsageError: it can't be read, or an entry is wrong.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from error
    unknown = sorted(set(data) - {"waiver"})
    if unknown:
        raise UsageError(f"{path}: {unknown[0]!r} is unknown; waivers are [[waiver]] tables")
    made: list[Waiver] = []
    for entry in data.get("waiver", []):
        waiver = _waiver(path, entry)
        if any(waiver.rule == other.rule for other in made):
            raise UsageError(f"{path}: {waiver.rule} is waived twice")
        made.append(waiver)
    return made


def _waiver(path: Path, entry: dict[str, Any]) -> Waiver:
    rule = entry.get("rule", "?")
    wanted = set(Waiver.__dataclass_fields__)
    if set(entry) != wanted:
        raise UsageError(
            f"{path}: waiver of {rule} has {', '.join(sorted(entry)) or 'nothing'}; it needs {', '.join(sorted(wanted))}"
        )
    if rule not in rules.load():
        raise UsageError(f"{path}: there is no rule {rule}")
    expires = entry["expires"]
    try:
        day = expires if isinstance(expires, date) else date.fromisoformat(expires)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: waiver of {rule}: expires is a day such as 2027-06-30") from error
    if not str(entry["reason"]).strip() or not str(entry["issue"]).strip():
        raise UsageError(f"{path}: waiver of {rule}: reason and issue can't be empty")
    return Waiver(rule, str(entry["reason"]), str(entry["issue"]), day)
