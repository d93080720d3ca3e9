"""HTML and SVG that can't be broken out of: text is escaped because it is text, not because somebody remembered."""

from __future__ import annotations

from html import escape
from typing import Final

from meridian_conformance.reports.words import tamed

_VOID: Final = frozenset({"meta"})


class Markup(str):
    """Markup that is ready; everything else counts as text."""

    __slots__ = ()


def tag(name: str, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """Return one element.

    Args:
        name: Its name.
        *children: Its content in order; what isn't `Markup` is escaped, ``None`` is left out.
        **attributes: Its attributes; underscores stand for hyphens, one at the end is dropped (``class_``). ``None`` and
            ``False`` are left out, ``True`` gives the name alone.
    """
    told = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        told += f" {key.rstrip('_').replace('_', '-')}"
        if value is not True:
            told += f'="{escape(str(value), quote=True)}"'
    start = f"<{name}{told}>"
    return Markup(start) if name in _VOID else Markup(f"{start}{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Return several pieces as one."""
    return Markup("".join(as_markup(child) for child in children if child is not None))


def as_markup(child: str) -> Markup:
    """Return markup as it is, and text escaped."""
    return child if isinstance(child, Markup) else Markup(escape(child, quote=True))


def text(said: str, limit: int = 2_000) -> Markup:
    """Return text that came from elsewhere: tamed and escaped."""
    return as_markup(tamed(said, limit))


def link(address: str) -> Markup:
    """Return a link, if it leads to the web; otherwise the text alone."""
    if address.startswith(("https://", "http://")):
        return tag("a", text(address), href=tamed(address, 2_000), rel="noreferrer")
    return text(address)


def page(title: str, style: str, *body: str | None) -> str:
    """Return a whole page that needs nothing but itself, and lets nothing else in.

    Args:
        title: Its title.
        style: Its style sheet; of the kit's own, as it isn't escaped.
        *body: Its content.
    """
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'",
        ),
        tag("title", text(title)),
        Markup(f"<style>\n{style}</style>"),
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{join(*body)}\n</body>\n</html>\n'
    )
