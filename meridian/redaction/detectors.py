"""What finds secrets and personal data in texts.

A detector returns spans. Its ``needs`` are texts, in lower case, of which one must be present: most texts have none, and
then nothing else is done. Where a shape alone would find too much, a checksum or a table decides: cards by Luhn and
issuer, IBANs by country and remainder, addresses by parsing.

Entropy is only a second signal: it is asked about strings that are shaped like a token. Strings of hexadecimal digits
aren't, so commits and UUIDs stay readable.
"""

from __future__ import annotations

from binascii import Error as BadBase64
from binascii import a2b_base64
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise, takewhile
from math import log2
from typing import TYPE_CHECKING

from meridian.redaction.patterns import pattern
from meridian.redaction.vocabulary import Classification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Span = tuple[int, int]

MIN_SECRET_LENGTH = 4
MIN_TOKEN_LENGTH = 20
MIN_TOKEN_BITS = 3.5
"""Shannon entropy per character from which on a token-shaped string counts as random."""
MIN_TOKEN_TURNS = 0.3
"""Share of neighbours that belong to different classes (upper, lower, digit, other); words have far fewer."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of thing that is found in texts.

    Attributes:
        name: As rules and policies call it.
        classification: What it finds: ``secret`` or ``pii``.
        find: Yields spans of a text.
        needs: One of these must be in the text in lower case, or nothing can be found; none means any text.
        needs_digit: A digit must be in the text.
    """

    name: str
    classification: Classification
    find: Callable[[str], Iterator[Span]]
    needs: tuple[str, ...] = ()
    needs_digit: bool = False

    def may_find(self, lower: str, has_digit: bool) -> bool:
        """Return whether there is any use in looking: no, for most texts and most detectors.

        Args:
            lower: The text in lower case.
            has_digit: There is a digit in it.
        """
        if self.needs_digit and not has_digit:
            return False
        if not self.needs:
            return True
        for need in self.needs:  # noqa: SIM110 - any() costs several times as much
            if need in lower:
                return True
        return False


def _whole(name: str, accept: Callable[[str], bool] | None = None) -> Callable[[str], Iterator[Span]]:
    """Find whole matches of a pattern, or only accepted ones."""

    def find(text: str) -> Iterator[Span]:
        for found in pattern(name).finditer(text):
            if accept is None or accept(found[0]):
                yield found.span()

    return find


# --- secrets -----------------------------------------------------------------------------------------------------------


def _is_mixed(text: str) -> bool:
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text)) and text.lower() != text


def _is_vendors(text: str) -> bool:
    # Two of them are beginnings of ordinary names, too, such as npm_config_registry.
    return _is_mixed(text) or not text.startswith(("npm_", "hf_"))


def _has_digit_or_is_long(text: str) -> bool:
    return any(map(str.isdigit, text)) or len(text) >= MIN_TOKEN_LENGTH


def _find_authorization(text: str) -> Iterator[Span]:
    for found in pattern("bearer").finditer(text):
        value = found["value"]
        if any(map(str.isdigit, value)) or (len(value) >= MIN_TOKEN_LENGTH and value.lower() != value):
            yield found.span("value")
    for found in pattern("basic").finditer(text):
        if b":" in _unbase64(found["value"]):
            yield found.span("value")
    for found in pattern("authorization").finditer(text):
        yield found.span("value")


def _unbase64(text: str) -> bytes:
    try:
        return a2b_base64(text.rstrip("=") + "==")
    except (BadBase64, ValueError):
        return b""


def _find_private_key(text: str) -> Iterator[Span]:
    begin, end = "-----BEGIN ", "-----END "
    at = text.find(begin)
    while at >= 0:
        if "PRIVATE KEY" not in text[at : at + 64]:
            at = text.find(begin, at + len(begin))
            continue
        last = text.find(end, at)
        if last < 0:  # cut off: the rest of it is key
            yield at, len(text)
            return
        closed = text.find("-----", last + len(end))
        stop = closed + 5 if 0 <= closed <= last + 64 else len(text)
        yield at, stop
        at = text.find(begin, stop)


_LONGEST_QUOTED = 4_096
_HARMLESS = {
    "none",
    "null",
    "true",
    "false",
    "str",
    "bytes",
    "string",
    "optional",
    "int",
    "bool",
    "self",
    "any",
}


def _find_assigned(text: str) -> Iterator[Span]:
    at, assigned, unquoted = 0, pattern("assigned"), pattern("unquoted")
    while (found := assigned.search(text, at)) is not None:
        begin = at = found.end()
        quote = found["quote"]
        if quote:
            last = min(begin + _LONGEST_QUOTED, len(text))
            end = text.find(quote, begin, last)
            line = text.find("\n", begin, last)
            if end < 0 or 0 <= line < end:
                end = line if line >= 0 else last
        else:
            value = unquoted.match(text, begin)
            end = value.end() if value is not None else begin
        if _is_secret(text[begin:end], strong=found["strong"] is not None):
            yield begin, end
            at = end
    for found in pattern("option").finditer(text):
        if _has_digit_or_is_long(found["value"]):
            yield found.span("value")


def _is_secret(value: str, *, strong: bool) -> bool:
    if len(value) < MIN_SECRET_LENGTH or value.lower() in _HARMLESS or value[0] in "[<{$%.":
        return False  # what stands in for a value isn't one
    return strong or _has_digit_or_is_long(value)


def _find_url_credentials(text: str) -> Iterator[Span]:
    for found in pattern("authority").finditer(text):
        rest = found["rest"]
        cut = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
        last = rest.rfind("@", 0, cut)
        if last < 0:
            # A password with a slash, unescaped; what follows the colon is no port, then.
            colon = rest.find(":", 0, cut)
            if colon < 0 or rest[colon + 1 : cut].isdigit():
                continue
            last = rest.rfind("@")
        if last > 0:
            yield found.start("rest"), found.start("rest") + last


def _find_token(text: str) -> Iterator[Span]:
    for found in pattern("token").finditer(text):
        if is_random(found[0]):
            yield found.span()


def is_random(text: str) -> bool:
    """Return whether a string of token characters looks drawn by lot: several classes, often changing, and high entropy."""
    classes = [0 if c.islower() else 1 if c.isupper() else 2 if c.isdigit() else 3 for c in text]
    seen = Counter(classes)
    if len(text) < MIN_TOKEN_LENGTH or min(seen[0], seen[1], seen[2]) < 2:
        return False
    turns = sum(a != b for a, b in pairwise(classes))
    if turns < MIN_TOKEN_TURNS * len(text):
        return False
    size = len(text)
    return -sum(n / size * log2(n / size) for n in Counter(text).values()) >= MIN_TOKEN_BITS


# --- personal data -----------------------------------------------------------------------------------------------------


def _is_address(text: str) -> bool:
    last = text.rpartition(".")[2]
    return len(last) >= 2 and last[:1].isalpha()


def _find_phone(text: str) -> Iterator[Span]:
    for found in pattern("phone_international").finditer(text):
        # Without separators, 00… is a padded number.
        if found[0].startswith("+") or not found[0].isdigit():
            yield found.span()
    for found in pattern("phone_american").finditer(text):
        yield found.span()
    for found in pattern("phone_national").finditer(text):
        if 9 <= sum(map(str.isdigit, found[0])) <= 12 and pattern("date").match(found[0]) is None:
            yield found.span()


_CARD_LENGTHS: tuple[tuple[tuple[int, int], tuple[int, ...]], ...] = (
    # First four digits from and to, and how long such numbers are.
    ((2221, 2720), (16,)),
    ((3000, 3059), (14,)),
    ((3400, 3499), (15,)),
    ((3528, 3589), (16,)),
    ((3600, 3699), (14,)),
    ((3700, 3799), (15,)),
    ((3800, 3999), (14,)),
    ((4000, 4999), (13, 16, 19)),
    ((5018, 5018), (16, 17, 18, 19)),
    ((5020, 5020), (16, 17, 18, 19)),
    ((5038, 5038), (16, 17, 18, 19)),
    ((5100, 5599), (16,)),
    ((5600, 5899), (16, 17, 18, 19)),
    ((6000, 6999), (16, 17, 18, 19)),
)


def is_card(digits: str) -> bool:
    """Return whether these digits are a card number: an issuer's beginning and length, and Luhn's checksum."""
    issuer = int(digits[:4])
    if not any(low <= issuer <= high and len(digits) in sizes for (low, high), sizes in _CARD_LENGTHS):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


_FIRST_GROUP = 4
_LONGEST_CARD = 37  # 19 digits with a separator between any two


def _is_hashlike(beside: str) -> bool:
    word = "".join(takewhile(str.isalnum, beside))
    return any(map(str.isdigit, word))


def _find_card(text: str) -> Iterator[Span]:
    for found in pattern("digits").finditer(text):
        run = found[0]
        # A number beside it may be part of the run: cards begin and end where groups do.
        begins = [0, *(at + 1 for at, c in enumerate(run) if not c.isdigit())]
        ends = [*(at for at, c in enumerate(run) if not c.isdigit()), len(run)]
        # Digits at either end may belong to a hash, which goes on with letters and further digits.
        if _is_hashlike(text[max(found.start() - _LONGEST_CARD, 0) : found.start()][::-1]):
            del begins[0]
        if _is_hashlike(text[found.end() : found.end() + _LONGEST_CARD]):
            del ends[-1]
        done = 0
        for begin in begins:
            if begin < done:
                continue
            if not run[begin : begin + _FIRST_GROUP].isdigit():
                continue  # whoever groups the digits of a card begins with four
            within = ends[bisect_right(ends, begin) : bisect_right(ends, begin + _LONGEST_CARD)]
            for end in reversed(within):
                digits = "".join(filter(str.isdigit, run[begin:end]))
                if 13 <= len(digits) <= 19 and is_card(digits):
                    yield found.start() + begin, found.start() + end
                    done = end
                    break


_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18 "
    "FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 "
    "LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 "
    "ST25 SV28 TN24 TR26 UA29 VA22 VG24 XK20"
)
_IBAN_LENGTHS = {each[:2]: int(each[2:]) for each in _IBANS.split()}


def is_iban(text: str) -> bool:
    """Return whether this is an IBAN without separators: its country's length, and remainder 1 modulo 97."""
    if len(text) != _IBAN_LENGTHS.get(text[:2].upper()):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _find_iban(text: str) -> Iterator[Span]:
    for found in pattern("iban").finditer(text):
        begin = at = found.start()
        wanted, taken = _IBAN_LENGTHS.get(text[begin : begin + 2].upper(), 0), ""
        while len(taken) < wanted and at < len(text):
            if text[at].isascii() and text[at].isalnum():
                taken += text[at]
            elif text[at] not in " -":
                break
            at += 1
        goes_on = at < len(text) and text[at].isalnum()
        if wanted and not goes_on and is_iban(taken):
            yield begin, at


def _find_ipv4(text: str) -> Iterator[Span]:
    for found in pattern("ipv4").finditer(text):
        parts = [int(part) for part in found[0].partition("/")[0].split(".")]
        if max(parts) > 255 or parts[0] in (0, 127) or parts == [255] * 4:
            continue  # no address, or one that every machine has
        if found["prefix"] and int(found["prefix"][1:]) <= 24 and parts[3] == 0:
            continue  # a network, such as this module's own answer
        yield found.span()


def _find_ipv6(text: str) -> Iterator[Span]:
    for found in pattern("ipv6").finditer(text):
        run = found[0].rstrip(".")
        run = run[:-1] if run.endswith(":") and not run.endswith("::") else run
        begin = found.start()
        if run.startswith(":") and not run.startswith("::"):
            run, begin = run[1:], begin + 1
        if ("::" not in run and run.count(":") != 7) or sum(map(str.isalnum, run)) < 4:
            continue
        if not any(map(str.isdigit, run)):
            continue  # words, such as `abc::def`
        end = begin + len(run)
        after = text[end : end + 4]
        prefix = after[1:].rstrip() if after.startswith("/") else ""
        digits = "".join(c for c in prefix if c.isdigit())
        if _is_ipv6(run) and not (digits and int(digits) <= 48 and run.endswith("::")):
            yield begin, end + (1 + len(digits) if digits else 0)


def _is_ipv6(text: str) -> bool:
    from ipaddress import AddressValueError, IPv6Address

    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


_PII, _SECRET = Classification.PII, Classification.SECRET

DETECTORS: tuple[Detector, ...] = (
    Detector("private_key", _SECRET, _find_private_key, ("private key",)),
    Detector("aws_key", _SECRET, _whole("aws_key"), ("akia", "asia", "aroa", "aida", "abia", "acca")),
    Detector(
        "github_token",
        _SECRET,
        _whole("github_token"),
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    Detector("slack_token", _SECRET, _whole("slack_token"), ("xox", "xapp-", "hooks.slack.com")),
    Detector("stripe_key", _SECRET, _whole("stripe_key"), ("_live_", "_test_", "whsec_")),
    Detector("google_key", _SECRET, _whole("google_key"), ("aiza", "ya29.", "gocspx-")),
    Detector("model_key", _SECRET, _whole("model_key", _is_mixed), ("sk-",)),
    Detector(
        "vendor_token",
        _SECRET,
        _whole("vendor_token", _is_vendors),
        ("npm_", "hf_", "glpat-", "dop_v1_", "shpat_", "pypi-age", "sg."),
    ),
    Detector("jwt", _SECRET, _whole("jwt", lambda text: "." in text), ("eyj",)),
    Detector("authorization", _SECRET, _find_authorization, ("bearer", "basic", "token", "authorization")),
    Detector("url_credentials", _SECRET, _find_url_credentials, ("://",)),
    Detector(
        "assigned_secret",
        _SECRET,
        _find_assigned,
        (
            "passw",
            "passphrase",
            "pwd",
            "secret",
            "token",
            "key",
            "auth",
            "credential",
            "cookie",
            "session",
            "sig",
        ),
    ),
    Detector("email", _PII, _whole("email", _is_address), ("@",)),
    Detector("iban", _PII, _find_iban, needs_digit=True),
    Detector("card", _PII, _find_card, needs_digit=True),
    Detector("phone", _PII, _find_phone, needs_digit=True),
    Detector("ipv4", _PII, _find_ipv4, (".",), needs_digit=True),
    Detector("ipv6", _PII, _find_ipv6, (":",), needs_digit=True),
    Detector("random_token", _SECRET, _find_token, needs_digit=True),
)
"""All detectors; where two find the same, the first one names it."""
