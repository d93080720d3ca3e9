"""Texts within texts: base64, hexadecimal, percent signs, escapes of JSON and Python, UTF-16.

What is found in the decoded form takes the encoded form with it as a whole, since half of a base64 string still tells.
"""

from __future__ import annotations

import re
from binascii import Error as BadBase64
from binascii import a2b_base64
from typing import TYPE_CHECKING

from meridian.redaction.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 2
"""So many encodings within each other are looked through."""

_MIN_TEXT = 7  # characters; nothing shorter is found by any detector but in a context
_PRINTABLE = re.compile(rb"[\x20-\x7e\t\r\n\x80-\xf4]{7,}+")
_ASCII = re.compile(rb"[\x20-\x7e]{5,}+")
_URLSAFE = str.maketrans("-_", "+/")
_MIME_LINE = 60


def encoded_parts(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield each part of a text that may be one in another form: where it begins and ends, and what it says."""
    if "\0" in text:
        yield 0, len(text), text.replace("\0", "")
    if pattern("escape").search(text) is not None:
        for found in pattern("word").finditer(text):
            if pattern("escape").search(found[0]) is not None:
                yield *found.span(), unescape(found[0])
    for begin, end in _base64_runs(text):
        if _is_word(text[begin:end]):
            continue
        run = text[begin:end].replace("\r", "").replace("\n", "").rstrip("=").translate(_URLSAFE)
        # What stands before it may look like a part of it, so it may begin at any of four places.
        for skipped in range(4):
            for said in _texts_in(_base64(run[skipped:])):
                yield begin, end, said
    for found in pattern("hex").finditer(text):
        for skipped in range(2):
            run = found[0][skipped:]
            for said in _texts_in(bytes.fromhex(run[: len(run) & ~1])):
                yield *found.span(), said


def unescape(text: str) -> str:
    """Return a text without percent signs and escapes; a plus sign among them is a space."""

    def plain(found: re.Match[str]) -> str:
        digits = found["percent"] or found["u"] or found["x"]
        code = int(digits, 16) if digits else int(found["entity"])
        return chr(code) if code <= 0x10FFFF else ""

    decoded = pattern("escape").sub(plain, text.replace("+", " "))
    # Each %XX is a byte; whoever wrote %C3%BC meant one character.
    try:
        return decoded.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return decoded


def _base64_runs(text: str) -> Iterator[tuple[int, int]]:
    begin = end = -1
    for found in pattern("base64").finditer(text):
        # Lines of one body, as in a mail, belong together.
        if begin >= 0 and end - begin >= _MIME_LINE and text[end : found.start()] in ("\n", "\r\n"):
            end = found.end()
            continue
        if begin >= 0:
            yield begin, end
        begin, end = found.span()
    if begin >= 0:
        yield begin, end


def _is_word(run: str) -> bool:
    # Of so many characters of base64, one is a capital or a digit: all but one time in ten thousand.
    return run.islower() and not any(map(str.isdigit, run))


def _base64(run: str) -> bytes:
    run = run[: len(run) - (len(run) % 4 == 1)]
    try:
        return a2b_base64(run + "=" * (-len(run) % 4))
    except (BadBase64, ValueError):
        return b""


def _texts_in(data: bytes) -> Iterator[str]:
    """Yield readable texts within bytes; arbitrary bytes have next to none."""
    if len(data) < _MIN_TEXT:
        return
    if data.count(0) * 4 >= len(data):  # UTF-16, either way round
        data = data.replace(b"\0", b"")
    for found in _PRINTABLE.finditer(data):
        # Random bytes have printable runs too, but hardly plain ones.
        if _ASCII.search(found[0]) is not None:
            yield found[0].decode("utf-8", "replace")
