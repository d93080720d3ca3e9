"""Ports on the command line: ``"a:int,b:dict[str, int]"``."""

from __future__ import annotations

from collections.abc import Iterator

_CLOSING = {"[": "]", "{": "}", "(": ")"}


def parse_ports(s: str) -> dict[str, str]:
    """Return the type of each port, as text, by the port's name.

    Args:
        s: Definitions ``name:type`` with commas between. A comma within brackets or quotes belongs to its type; blanks
            around names and types don't count.

    Raises:
        ValueError: a definition without a colon, a name or a type; a name that is no identifier or comes twice; a
            bracket or quote that doesn't fit.
    """
    ports: dict[str, str] = {}
    definitions = list(_split(s))
    if not definitions[-1]:  # after a last comma; or nothing at all
        definitions.pop()
    for definition in definitions:
        name, colon, type_ = (part.strip() for part in definition.partition(":"))
        if not (name and colon and type_):
            raise ValueError(f"Invalid port definition {definition!r}: write name:type, such as 'orders:int'")
        if not name.isidentifier():
            raise ValueError(
                f"Invalid port definition {definition!r}: {name!r} is no identifier; use letters, digits and _"
            )
        if name in ports:
            raise ValueError(f"Invalid port definition {definition!r}: there is a port {name!r} already")
        ports[name] = type_
    return ports


def _split(s: str) -> Iterator[str]:
    """Yield what stands between commas, except between those within brackets or quotes."""
    begin = 0
    open_: list[str] = []  # what closes what is open, the innermost last
    quote = ""
    for i, char in enumerate(s):
        if quote:
            if char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in _CLOSING:
            open_.append(_CLOSING[char])
        elif char in _CLOSING.values():
            if not open_ or open_.pop() != char:
                raise ValueError(f"Invalid port definition {s[begin:].strip()!r}: {char!r} closes nothing")
        elif char == "," and not open_:
            yield s[begin:i].strip()
            begin = i + 1
    if quote or open_:
        raise ValueError(f"Invalid port definition {s[begin:].strip()!r}: {quote or open_[-1]!r} is missing")
    yield s[begin:].strip()
