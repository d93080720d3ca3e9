"""What actions make of a value."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

from meridian.redaction.patterns import pattern
from meridian.redaction.vocabulary import Drop, Generalise, Hash, Mask, Truncate

if TYPE_CHECKING:
    from meridian.redaction.vocabulary import Rule

STARS = "*" * 8
MAX_KEPT = 8
CUT = "…"


def placeholder(rule: Rule) -> str:
    """Return what stands in place of a value that is gone."""
    return f"[redacted:{rule.name}]"


def act(rule: Rule, text: str, salt: bytes) -> str:
    """Return what the action of ``rule`` leaves of a value's text."""
    action = rule.action
    match action:
        case Drop():
            return placeholder(rule)
        case Hash():
            return f"[hash:{digest(text, salt)}]"
        case Mask(keep):
            return STARS + (text[-keep:] if keep and len(text) >= 2 * keep else "")
        case Generalise(bucket):
            return generalised(text, bucket) or placeholder(rule)
        case Truncate(length):
            return text if len(text) <= length else text[:length] + CUT


def digest(text: str, salt: bytes) -> str:
    """Return a keyed digest, 16 hexadecimal digits."""
    from hashlib import blake2b

    return blake2b(text.encode("utf-8", "surrogatepass"), key=salt[:64], digest_size=8).hexdigest()


def generalised(text: str, bucket: float) -> str | None:
    """Return what ``text`` lies in, or ``None`` if it is neither an address, nor a timestamp, nor a number."""
    timestamp = pattern("timestamp").match(text)
    if timestamp is not None:
        return timestamp["day"]
    if pattern("number").match(text) is not None:
        return _bucket(float(text), bucket)
    return _network(text)


def _bucket(value: float, width: float) -> str:
    if width > 0:
        low = floor(value / width) * width
        return f"{low:g} to {low + width:g}"
    if value == 0:
        return "0"
    tens = floor(log10(abs(value)))
    near, far = f"1e{tens}", f"1e{tens + 1}"
    return f"{near} to {far}" if value > 0 else f"-{far} to -{near}"


def _network(text: str) -> str | None:
    from ipaddress import ip_network

    address, _, prefix = text.partition("/")
    try:
        network = ip_network(address)
        wide = 24 if network.version == 4 else 48
        return str(network.supernet(new_prefix=min(wide, int(prefix) if prefix.isdecimal() else wide)))
    except ValueError:
        return None
