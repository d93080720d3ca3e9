"""A policy: what may leave the process, stated in one frozen object or one TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from meridian.redaction.actions import MAX_KEPT
from meridian.redaction.detectors import DETECTORS
from meridian.redaction.vocabulary import (
    Classification,
    Drop,
    Generalise,
    Hash,
    Mask,
    Rule,
    Truncate,
    parse_path,
)

if TYPE_CHECKING:
    import os

MIN_SALT = 16
"""Bytes of a salt, at least; a shorter one could be guessed."""

EXPOSABLE = ("error_messages", "payloads", "reprs")
"""What can be exposed beside built-in rules."""

SECRET_KEYS = (
    "password", "passwd", "pwd", "passphrase", "secret", "client_secret", "api_key", "apikey_id", "access_key",
    "secret_key", "secret_access_key", "private_key", "signing_key", "account_key", "encryption_key", "token",
    "access_token", "refresh_token", "id_token", "auth_token", "session_token", "bearer", "authorization", "auth",
    "credential", "credentials", "cookie", "set_cookie", "session_id", "csrf", "signature", "otp", "pin", "cvv", "cvc",
    "connection_string", "dsn", "salt",
)  # fmt: skip
PII_KEYS = (
    "email", "email_address", "mail", "phone", "phone_number", "telephone", "mobile", "fax", "iban", "card_number",
    "credit_card", "pan", "account_number", "ssn", "social_security_number", "tax_id", "passport", "passport_number",
    "date_of_birth", "dob", "birthday", "first_name", "last_name", "surname", "full_name", "street", "postal_address",
)  # fmt: skip
PAYLOAD_KEYS = ("payload", "payloads", "original_payload")


class PolicyError(ValueError):
    """A redaction policy can't be used; nothing was changed.

    Its text names the file, the line, what is wrong and the nearest right word. It shows no salt.

    Attributes:
        file: Name of the file, or ``None`` for a policy made in code.
        line: Number of the line, from 1, or ``None``.
        key: Key of the rule or exposure that is wrong, or ``None``.
        said: What is wrong, without place and hint.
        nearest: What was probably meant, or ``None``.
    """

    payload_free: ClassVar[bool] = True

    def __init__(
        self,
        said: str,
        *,
        key: str | None = None,
        nearest: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.file = file
        self.line = line
        self.key = key
        self.said = said
        self.nearest = nearest
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        hint = "" if nearest is None else f"; did you mean {nearest!r}?"
        super().__init__(f"{place}{said}{hint}")


@dataclass(frozen=True, slots=True)
class Exposed:
    """One thing that a policy lets out, which the default doesn't.

    Args:
        what: ``"error_messages"`` (texts of other people's errors, with notes and causes), ``"payloads"`` (contents of
            payloads, fields of dataclasses, bytes), ``"reprs"`` (of other objects), or the name of a built-in rule that no
            longer holds. Whatever is let out, the other rules are applied to it.
        reason: Why; stands in the event that says so.
    """

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What may leave the process.

    Without arguments it is the default: no payloads, no texts of other people's errors, no reprs, and the built-in rules.

    Args:
        name: For logs.
        rules: Further rules; they stand before the built-in ones.
        expose: What is let out all the same, each with a reason.
        salt: Key for `Hash`, at least 16 bytes; never shown.

    Raises:
        PolicyError: two rules of one name, an unknown detector, a malformed path, a number out of range, `Hash` without a
            salt, or an exposure without a reason.
    """

    name: str = "default"
    rules: tuple[Rule, ...] = ()
    expose: tuple[Exposed, ...] = ()
    salt: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.salt and len(self.salt) < MIN_SALT:
            raise PolicyError(f"the salt is too short: it needs {MIN_SALT} bytes")
        taken: set[str] = set()
        for rule in self.rules:
            check_rule(rule, taken, salted=bool(self.salt))
            taken.add(rule.name)
        for exposed in self.expose:
            check_exposed(exposed)

    def exposes(self, what: str) -> bool:
        """Return whether ``what`` is let out."""
        return any(exposed.what == what for exposed in self.expose)

    @property
    def in_force(self) -> tuple[Rule, ...]:
        """All rules that hold: its own, then the built-in ones that it doesn't lift."""
        lifted = {exposed.what for exposed in self.expose}
        if "payloads" in lifted:
            lifted.add("payload_key")
        return self.rules + tuple(rule for rule in BUILT_IN if rule.name not in lifted)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy from a TOML file.

        Raises:
            PolicyError: it has a mistake; the text names file, line, and the nearest right word.
            OSError: it can't be read.
        """
        from meridian.redaction.policy_file import load

        return load(path)


def check_rule(rule: Rule, taken: set[str], *, salted: bool) -> None:
    """Check one rule.

    Args:
        rule: The rule.
        taken: Names of the policy's rules before it.
        salted: The policy has a salt.

    Raises:
        PolicyError: it can't be used.
    """
    if not rule.name.strip() or not rule.name.isprintable() or len(rule.name) > 64:
        raise PolicyError("a rule needs a name of 1 to 64 printable characters", key="name")
    if rule.name in taken or rule.name in (built_in.name for built_in in BUILT_IN):
        raise PolicyError(f"two rules are called {rule.name!r}", key="name")
    if not (rule.key or rule.path or rule.type or rule.detector or rule.classification):
        raise PolicyError(f"rule {rule.name!r} matches nothing: give it a {', a '.join(MATCHERS)}")
    for path in rule.path:
        if parse_path(path) is None:
            said = f"rule {rule.name!r} has a malformed path; paths are like 'user.cards[*].number'"
            raise PolicyError(said, key="path")
    for name in rule.detector:
        if name not in DETECTOR_NAMES:
            said = f"rule {rule.name!r} names an unknown detector {name!r}"
            raise PolicyError(said, key="detector", nearest=nearest(name, DETECTOR_NAMES))
    match rule.action:
        case Hash() if not salted:
            raise PolicyError(f"rule {rule.name!r} hashes, and the policy has no salt", key="action")
        case Mask(keep) if not 0 <= keep <= MAX_KEPT:
            said = f"rule {rule.name!r} keeps {keep} characters: it must be 0 to {MAX_KEPT}"
            raise PolicyError(said, key="keep")
        case Truncate(length) if length < 1:
            said = f"rule {rule.name!r} truncates to {length}: it must be at least 1"
            raise PolicyError(said, key="length")
        case Generalise(bucket) if not 0 <= bucket < float("inf"):
            said = f"rule {rule.name!r} has buckets of {bucket}: they must be 0 or wider"
            raise PolicyError(said, key="bucket")
        case _:
            pass


def check_exposed(exposed: Exposed) -> None:
    """Check one exposure.

    Raises:
        PolicyError: there is no such thing, or no reason.
    """
    known = (*EXPOSABLE, *(rule.name for rule in BUILT_IN))
    if exposed.what not in known:
        said = f"nothing called {exposed.what!r} can be exposed"
        raise PolicyError(said, key="what", nearest=nearest(exposed.what, known))
    if not exposed.reason.strip():
        raise PolicyError(f"exposing {exposed.what!r} needs a reason", key="reason")


def nearest(word: str, known: tuple[str, ...]) -> str | None:
    """Return the known word that is most like ``word``; the first of all if none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word.lower(), known, n=1, cutoff=0.3)), known[0] if known else None)


MATCHERS = ("key", "path", "type", "detector", "classification")
DETECTOR_NAMES = tuple(detector.name for detector in DETECTORS)

BUILT_IN: tuple[Rule, ...] = (
    Rule("classified", Drop(), classification=(Classification.SECRET, Classification.PII)),
    Rule("secret_key", Drop(), key=SECRET_KEYS),
    Rule("pii_key", Drop(), key=PII_KEYS),
    Rule("payload_key", Drop(), key=PAYLOAD_KEYS),
    *(
        Rule(
            detector.name,
            Generalise() if detector.name in ("ipv4", "ipv6") else Drop(),
            detector=(detector.name,),
        )
        for detector in DETECTORS
    ),
)
"""The rules that every policy has: keys that name secrets and personal data, declared fields, one per detector."""
