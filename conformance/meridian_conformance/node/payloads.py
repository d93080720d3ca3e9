"""What the kit puts into nodes, and how it knows it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian_conformance.node.contract import LEFT, RIGHT, NodeSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def made(spec: NodeSpec, n: int, trait: int) -> Any:
    """Return the payload of data number ``n``.

    Args:
        spec: What it is made for.
        n: Its number, which is in it.
        trait: 0 is kept, and goes left; 1 isn't, and goes right; 2 is kept, and goes nowhere; for 3 tests and rules raise. By type the
            last two are neither kept nor do they go anywhere.
    """
    if spec.by == "type":
        return (f"s{n}", n, n + 0.5, {"n": n})[trait]
    return (
        {"n": n, "keep": True, "to": LEFT},
        {"n": n, "keep": 0, "to": RIGHT},
        {"n": n, "keep": "yes", "to": "nowhere"},
        {"n": n},
    )[trait]


def number(payload: Any) -> int:
    """Return the number in a payload of the kit's; -1 if it is none."""
    try:
        return int(
            payload["n"] if isinstance(payload, dict) else str(payload).removeprefix("s").split(".")[0]
        )
    except (KeyError, TypeError, ValueError):
        return -1


def numbers(payloads: Iterable[Any]) -> list[int]:
    """Return the numbers in payloads of the kit's."""
    return [number(payload) for payload in payloads]


def is_as_put(payload: Any, put: Sequence[Any]) -> bool:
    """Say whether a payload is one of those that were put: equal, and of the same type."""
    n = number(payload)
    return 0 <= n < len(put) and type(payload) is type(put[n]) and payload == put[n]
