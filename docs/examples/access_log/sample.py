"""A web server's log that never happened: the same bytes for the same seed, on every machine.

``python sample.py [LINES] [SEED] > access.log`` writes one. Addresses are from the ranges that are set aside for
documentation; one line in a hundred is broken, in one of the ways in which real logs are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import TypeVar

T = TypeVar("T")

PAGES = [
    "/",
    "/about",
    "/blog",
    "/blog/2026/a-queue-is-not-a-plan",
    "/blog/2026/backpressure",
    "/docs/quickstart",
]
FILES = [
    f"/static/{name}" for name in ("site.css", "site.js", "logo.svg", "fonts/inter.woff2", "photo-1.jpg")
]
LARGE = ["/downloads/meridian.tar.gz", "/downloads/manual.pdf", "/talks/2026.mp4"]
ODD = ["/search?q=%22quoted%22&page=2", r"/wp-login.php\"", "/über/uns", "/" + "a/" * 60]
STATUS = {200: 9000, 304: 480, 404: 260, 301: 150, 206: 60, 500: 30, 403: 15, 416: 5}
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    r"curl/8.5 (\"quoted\" \\ and backslashed)",
    "ExampleBot/2.1 (+https://bot.example/why)",
    "-",
]
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def lines(count: int = 10_000, seed: int = 2026, bad: float = 0.01) -> Iterator[bytes]:
    """Yield ``count`` lines with their line breaks; a share of about ``bad`` of them is broken."""
    # Only Random.random() is used: its sequence is promised to be the same in every version of Python.
    draw = Random(seed).random
    hosts = [_host(draw()) for _ in range(max(1, count // 6))]
    weights = list(accumulate(STATUS.values()))
    codes = list(STATUS)
    second = 0
    for _ in range(count):
        second += int(draw() * 4)
        host = hosts[int(draw() ** 2 * len(hosts))]
        kind = draw()
        path = _one_of(
            PAGES if kind < 0.55 else FILES if kind < 0.95 else LARGE if kind < 0.98 else ODD, draw()
        )
        at = draw() * weights[-1]
        status = next(code for code, weight in zip(codes, weights, strict=True) if at < weight)
        size = (
            "-" if status == 304 else str(int(200 + draw() ** 4 * (90_000_000 if path in LARGE else 200_000)))
        )
        referer = "-" if draw() < 0.4 else "https://meridian.example" + _one_of(PAGES, draw())
        line = (
            f'{host} - {"-" if draw() < 0.97 else "ada"} [{_time(second)}] "{"GET" if draw() < 0.96 else "HEAD"} '
            f'{path} HTTP/1.1" {status} {size} "{referer}" "{_one_of(AGENTS, draw())}"\n'
        ).encode()
        yield line if draw() >= bad else _broken(line, draw(), draw())


def _one_of(items: Sequence[T], drawn: float) -> T:
    return items[int(drawn * len(items))]


def _host(drawn: float) -> str:
    number = int(drawn * 1024)
    return (
        f"2001:db8::{number:x}"
        if number >= 768
        else f"{('192.0.2', '198.51.100', '203.0.113')[number // 256]}.{number % 256}"
    )


def _time(second: int) -> str:
    minutes, second = divmod(second, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours + 10, 24)
    return f"{1 + days % 28:02}/{MONTHS[days // 28 % 12]}/2026:{hour:02}:{minute:02}:{second:02} +0000"


def _broken(line: bytes, kind: float, drawn: float) -> bytes:
    if kind < 0.4:  # binary garbage: half of a disk block, or a protocol that isn't HTTP
        return (
            bytes(1 + (byte * 7 + int(drawn * 251)) % 255 for byte in line[:60]).replace(b"\n", b"\xff")
            + b"\n"
        )
    if kind < 0.8:  # the server died while it wrote
        return line[: 20 + int(drawn * 60)] + b"\n"
    if kind < 0.95:
        return b"\n"
    return line[:-1] + b"x" * 70_000 + b"\n"  # somebody tried to overflow a buffer


if __name__ == "__main__":
    for each in lines(*map(int, sys.argv[1:3])):
        sys.stdout.buffer.write(each)
