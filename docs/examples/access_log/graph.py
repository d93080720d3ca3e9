"""A web-server log pipeline: from a file, a pipe or a file that grows, to counts, a lookup and a database.

::

    read -> split -> parse -+-> status ----+
                            +-> volume ----+--> totals
                            +-> lookup -------> visits
                            +-> store           (SQLite, in transactions)
                            +-> dashboard       (latest: slower than the stream, misses most of it)
                            +-> dead_letter     (lines that are none, with the reason, without the line)
    flush ---- CONTROL ---> status, volume, store

What to look at, from top to bottom: what travels, how lines are parsed, where bytes come from, nodes that are classes
because they keep a batch and have a life cycle, and in `build` the nodes that are plain functions, and the wiring.

Run it with ``demo.py`` beside this file.
"""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from time import time
from typing import Any, NamedTuple

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    PortSpec,
    Subgraph,
    To,
    coalesce,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian.core.policies import ErrorPolicy

CHUNK_BYTES = 64 * 1024
"""Most bytes of one read."""
MAX_LINE_BYTES = 64 * 1024
"""A longer line is rejected; no more than this of it is ever held."""
MAX_UNSPLIT_BYTES = 4 * 1024 * 1024
"""Most bytes that may wait between reading and splitting."""
BATCH_ROWS = 500
"""Rows of one transaction, unless a flush comes first."""
MAX_PATHS = 50_000
"""Paths that are counted apart; above that the least heavy half is added up under `OTHER_PATHS`."""
OTHER_PATHS = "(other paths)"


# ---- what travels ----------------------------------------------------------------------------------------------------

WHOLE, UNFINISHED, TOO_LONG = "whole", "unfinished", "too long"
"""How a line ended: in a line break; at the end of the input; not within `MAX_LINE_BYTES`."""


class Block(NamedTuple):
    """Whole lines as they were read; ``end`` tells about the last one, ``size`` is what they took in the input."""

    data: bytes
    end: str
    size: int


class Line(NamedTuple):
    """One line without its line break, and its number from 1."""

    number: int
    data: bytes
    end: str = WHOLE


class Entry(NamedTuple):
    """One request. ``at`` is in seconds since 1970, ``size`` in bytes."""

    number: int
    host: str
    user: str
    at: int
    method: str
    path: str
    status: int
    size: int
    referer: str
    agent: str


class Rejected(NamedTuple):
    """A line that is no request: which, and why. Deliberately without the line."""

    number: int
    reason: str


class Visit(NamedTuple):
    """A request's host and where the lookup says that it is."""

    host: str
    region: str


class Counts(NamedTuple):
    """What one counter has added up since its last flush."""

    of: str
    amounts: dict[Any, int]


def add_counts(old: Counts, new: Counts) -> Counts:
    """Merge two sets of counts: a coalesce edge loses nothing by it."""
    amounts = dict(old.amounts)
    for key, amount in new.amounts.items():
        amounts[key] = amounts.get(key, 0) + amount
    return Counts(old.of, amounts)


@dataclass
class Results:
    """What a run found out; grows while it runs."""

    lines: int = 0
    parsed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, int] = field(default_factory=dict)
    status: Counter[int] = field(default_factory=Counter)
    bytes_by_path: Counter[str] = field(default_factory=Counter)
    hosts: set[str] = field(default_factory=set)
    regions: Counter[str] = field(default_factory=Counter)
    lookups: int = 0
    read_bytes: int = 0
    """Bytes of the input that were handed to the graph."""
    split_bytes: int = 0
    """Bytes of the input whose lines are all counted."""
    read_error: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """The input is at its end; `arrived` tells how far the lines came that were read until then."""
    arrived: Counter[str] = field(default_factory=Counter)

    @property
    def bytes(self) -> int:
        """Bytes that the server sent, added up."""
        return sum(self.bytes_by_path.values())

    def progress(self) -> tuple[int, ...]:
        """Return numbers that change whenever a line gets further."""
        return self.lines, self.parsed, self.rejected.total(), self.arrived.total()

    def all_arrived(self) -> bool:
        """Say whether every line that was read has reached every node that keeps a batch."""
        split = self.split_bytes == self.read_bytes
        settled = split and self.lines == self.parsed + self.rejected.total()
        return settled and all(self.arrived[each] == self.parsed for each in ("status", "volume", "store"))


# ---- parsing ---------------------------------------------------------------------------------------------------------

# Inside quotes the server writes a quote as \" and a backslash as \\. The possessive quantifiers never go back, so a
# hostile line costs no more than its length. A server that limits its lines may cut the user agent, and its closing quote
# with it: such a line is read, as long as it ends in a line break.
_OPEN = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)'
_COMBINED = re.compile(
    r"(\S++) \S++ "  # %h %l
    r'([^"\[]+?) '  # %u, which may contain blanks
    r"\[([^\]]{26})\] "  # %t
    rf'{_OPEN}" ([1-5][0-9]{{2}}) (-|[0-9]{{1,18}}) '  # "%r" %>s %b
    rf'{_OPEN}" {_OPEN}("?)',  # "%{Referer}i" "%{User-agent}i"
    re.ASCII,
)
_TIME = re.compile(r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_ESCAPED = re.compile(r'\\(["\\])')


def parse_line(line: Line) -> Entry | Rejected:
    """Read one line of a log in Apache's combined format, or say what is wrong with it; never raises."""
    number, data, end = line
    if end == TOO_LONG:
        return Rejected(number, "too long")
    if not data.strip():
        return Rejected(number, "blank")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return Rejected(number, "not text")
    if _NOT_TEXT.search(text):  # the server escapes these, so whoever wrote them was no server
        return Rejected(number, "not text")
    match = _COMBINED.fullmatch(text)
    if match is None:
        return Rejected(number, "cut off" if end == UNFINISHED else "not a request")
    host, user, written, request, status, size, referer, agent, closed = match.groups()
    if not closed and end == UNFINISHED:
        return Rejected(number, "cut off")
    at = seconds(written)
    if at is None:
        return Rejected(number, "impossible time")
    method, path = _request(request)
    return Entry(
        number,
        host,
        user,
        at,
        method,
        path,
        int(status),
        0 if size == "-" else int(size),
        _unescaped(referer),
        _unescaped(agent),
    )


@lru_cache(4096)
def seconds(written: str) -> int | None:
    """Read ``17/May/2015:10:05:03 +0000`` as seconds since 1970; ``None`` if there is no such moment."""
    match = _TIME.fullmatch(written)
    if match is None or match[2] not in _MONTHS:
        return None
    month = 1 + _MONTHS.index(match[2])
    day, year, hour, minute, second = (int(match[n]) for n in (1, 3, 4, 5, 6))
    offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
    try:
        zone = timezone(-offset if match[7] == "-" else offset)
        return int(datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp())
    except (ValueError, OverflowError):
        return None


def _request(request: str) -> tuple[str, str]:
    """Split ``GET /path?query HTTP/1.1``; what a port scanner sent instead has no method, and ``-`` for a path."""
    parts = _unescaped(request).split(" ")
    if len(parts) < 2:
        return "", "-"
    end = -1 if len(parts) > 2 and parts[-1].startswith("HTTP/") else len(parts)
    return parts[0], " ".join(parts[1:end]).partition("?")[0]


def _unescaped(text: str) -> str:
    # Only quotes and backslashes: \x1b stays four harmless characters, also on a terminal.
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


# ---- where bytes come from -------------------------------------------------------------------------------------------

REPLACED = b""
"""Stands in the stream of chunks where a followed file was replaced or truncated."""


class Reader:
    """Reads a file, or a pipe, in a thread of its own, so that waiting for it never stops the event loop.

    Args:
        path: What to read; ``"-"`` is the standard input.
        follow: At the end wait for more, as ``tail -f`` does; a file that is replaced or truncated is read anew.
        poll_s: Seconds between two looks at the end of a followed file.

    The thread reads one chunk at a time and only when asked, so that a slow graph is what limits it. It is a daemon:
    nobody can interrupt a read from a pipe, and an interrupted program must not wait for one.
    """

    def __init__(self, path: str | os.PathLike[str], *, follow: bool = False, poll_s: float = 0.1) -> None:
        self.path = path
        self.follow = follow and path != "-"
        self.poll_s = poll_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield chunks, and `REPLACED` where a followed file began anew; raises ``OSError``."""
        loop = asyncio.get_running_loop()
        asked: SimpleQueue[asyncio.Future[bytes | None] | None] = SimpleQueue()
        threading.Thread(
            target=self._serve, args=(loop, asked), name="access-log-reader", daemon=True
        ).start()
        try:
            while True:
                answer: asyncio.Future[bytes | None] = loop.create_future()
                asked.put(answer)
                chunk = await answer
                if chunk is not None:
                    yield chunk
                elif self.follow:
                    await asyncio.sleep(self.poll_s)
                else:
                    return
        finally:
            asked.put(None)

    def _serve(
        self, loop: asyncio.AbstractEventLoop, asked: SimpleQueue[asyncio.Future[bytes | None] | None]
    ) -> None:
        file: int | None = None
        try:
            while (answer := asked.get()) is not None:
                try:
                    if file is None:
                        file = self._open()
                    chunk = os.read(file, CHUNK_BYTES) or None
                    if chunk is None and self.follow and self._is_replaced(file):
                        fresh = self._open()
                        os.close(file)
                        file, chunk = fresh, REPLACED
                except OSError as error:
                    loop.call_soon_threadsafe(_settle, answer, None, error)
                    return
                loop.call_soon_threadsafe(_settle, answer, chunk, None)
        except RuntimeError:  # the loop is closed: the run is over
            pass
        finally:
            if file is not None and self.path != "-":
                os.close(file)

    def _open(self) -> int:
        return 0 if self.path == "-" else os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def _is_replaced(self, file: int) -> bool:
        here = os.fstat(file)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:  # between the two steps of a rotation
            return False
        return not os.path.samestat(here, there) or there.st_size < os.lseek(file, 0, os.SEEK_CUR)


def _settle(answer: asyncio.Future[bytes | None], chunk: bytes | None, error: OSError | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(chunk)
    else:
        answer.set_exception(error)


class Chunks:
    """Bytes that are there already, cut into the chunks that a `Reader` would give."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield them."""
        held = bytearray()
        for part in self.parts:
            held += part
            while len(held) >= CHUNK_BYTES:
                yield bytes(held[:CHUNK_BYTES])
                del held[:CHUNK_BYTES]
        if held:
            yield bytes(held)


async def blocks(chunks: Reader | Chunks) -> AsyncIterator[Block]:
    """Cut chunks at line breaks. Holds one chunk and one line at most, however long lines are."""
    begun = b""  # the start of a line whose end is still to come
    skipped = 0  # or, of one that is too long, how much was thrown away
    async for chunk in chunks:
        if not chunk:  # REPLACED
            if skipped or begun:
                yield Block(b"", TOO_LONG, skipped) if skipped else Block(begun, UNFINISHED, len(begun))
            begun, skipped = b"", 0
            continue
        if skipped:
            end = chunk.find(b"\n") + 1
            skipped += end or len(chunk)
            if not end:
                continue
            yield Block(b"", TOO_LONG, skipped)
            chunk, skipped = chunk[end:], 0
        end = chunk.rfind(b"\n") + 1
        if end:
            yield Block(begun + chunk[:end], WHOLE, len(begun) + end)
            begun = chunk[end:]
        else:
            begun += chunk
        if len(begun) > MAX_LINE_BYTES + 1:  # and one for the carriage return, which doesn't count
            begun, skipped = b"", len(begun)
    if skipped or begun:
        yield Block(b"", TOO_LONG, skipped) if skipped else Block(begun, UNFINISHED, len(begun))


def lines_of(block: Block) -> Iterator[tuple[bytes, str]]:
    """Yield the lines of a block, with how each ended."""
    if block.end == TOO_LONG:
        yield b"", TOO_LONG
        return
    lines = block.data.split(b"\n")
    last = lines.pop()
    for data in lines:
        data = data.removesuffix(b"\r")
        yield (data, WHOLE) if len(data) <= MAX_LINE_BYTES else (b"", TOO_LONG)
    if last:
        yield (last, UNFINISHED) if len(last) <= MAX_LINE_BYTES else (b"", TOO_LONG)


# ---- nodes that keep something ---------------------------------------------------------------------------------------


def _input(name: str, schema: Any = None) -> Port:
    return Port(name, PortDirection.INPUT, spec=PortSpec(name, schema))


class Tally(Node):
    """Adds up one number per key, and sends the sums on when it is told to flush.

    Args:
        name: Name of the node, and of what it counts.
        results: Gets what is still here when the run ends.
        key: What to count by.
        amount: How much a request counts.
    """

    def __init__(
        self, name: str, results: Results, key: Callable[[Entry], Any], amount: Callable[[Entry], int]
    ) -> None:
        output = Port("counts", PortDirection.OUTPUT, spec=PortSpec("counts", Counts))
        super().__init__(name, [_input("entry", Entry), _input("flush")], [output])
        self.results, self.key, self.amount = results, key, amount
        self.amounts: dict[Any, int] = {}

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if msg.type is MessageType.CONTROL:
            if self.amounts:
                amounts, self.amounts = self.amounts, {}
                self.emit("counts", Message(MessageType.DATA, Counts(self.name, amounts)))
            return
        entry: Entry = msg.payload
        key = self.key(entry)
        self.amounts[key] = self.amounts.get(key, 0) + self.amount(entry)
        self.results.arrived[self.name] += 1

    def on_stop(self) -> None:
        """A run that was interrupted ends without a last flush: what was counted counts."""
        keep(self.results, Counts(self.name, self.amounts))
        self.amounts = {}


def keep(results: Results, counts: Counts) -> None:
    """Add counts to the results, within bounds."""
    if counts.of == "status":
        results.status.update(counts.amounts)
        return
    by_path = results.bytes_by_path
    by_path.update(counts.amounts)
    if len(by_path) > MAX_PATHS:
        heavy = by_path.most_common(MAX_PATHS // 2)
        rest = by_path.total() - sum(size for _, size in heavy)
        by_path.clear()
        by_path.update(dict(heavy))
        by_path[OTHER_PATHS] += rest


class StoreError(Exception):
    """The database refused; the text says why, and holds nothing of what was to be stored."""

    payload_free = True


class Store(Node):
    """Writes requests to SQLite: a transaction for `BATCH_ROWS` rows, for what there is at a flush, and at the end.

    Args:
        name: Name of the node.
        results: Is told how many rows came here.
        file: The database; ``""`` is a temporary one on disk that SQLite removes, ``":memory:"`` one in memory.
        wait_s: Seconds to wait for another program that is writing to the same database.

    Rows are appended, and each carries the id of its run: several runs, also at once, share a database. One that
    refuses stops the run; what was not stored is counted in `unstored`.
    """

    error_policy = ErrorPolicy.RAISE_EXCEPTION

    def __init__(self, name: str, results: Results, file: str | os.PathLike[str], wait_s: float) -> None:
        super().__init__(name, [_input("entry", Entry), _input("flush")], [])
        self.results, self.file, self.wait_s = results, os.fspath(file), wait_s
        self.run = f"{time():.6f}-{os.getpid()}"
        self.batch: list[Entry] = []
        self.stored = self.unstored = 0
        self.error: StoreError | None = None
        self.connection: sqlite3.Connection | None = None
        self._writing: Future[None] | None = None

    async def on_start(self) -> None:
        """Open the database, in the one thread that ever touches it."""
        self._thread = ThreadPoolExecutor(1, "access-log-store")
        try:
            await asyncio.wrap_future(self._thread.submit(self._open))
        except StoreError:
            await asyncio.wrap_future(self._thread.submit(self._close))
            self._thread.shutdown()
            raise

    async def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if msg.type is not MessageType.CONTROL:
            self.batch.append(msg.payload)
            self.results.arrived[self.name] += 1
            if len(self.batch) < BATCH_ROWS:
                return
        await self._flush()

    async def _flush(self) -> None:
        if self.batch and self.error is None:
            rows, self.batch = self.batch, []
            self._writing = self._thread.submit(self._write, rows)
            # Shielded: a run that is cancelled leaves the transaction alone; on_stop waits for it.
            await asyncio.shield(asyncio.wrap_future(self._writing))

    async def on_stop(self) -> None:
        """Store what is left and close."""
        if self.connection is None:
            return
        try:
            if self._writing is not None:
                await asyncio.gather(asyncio.wrap_future(self._writing), return_exceptions=True)
            await self._flush()
        finally:
            self.unstored += len(self.batch)
            self.batch = []
            await asyncio.wrap_future(self._thread.submit(self._close))
            self._thread.shutdown()

    # What follows runs in the thread.

    def _open(self) -> None:
        try:
            # autocommit: BEGIN and COMMIT stand below, where one can see them
            self.connection = sqlite3.connect(self.file, timeout=self.wait_s, isolation_level=None)
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS requests (run TEXT NOT NULL, line INTEGER NOT NULL, host TEXT NOT NULL, "
                "user TEXT NOT NULL, at INTEGER NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, "
                "status INTEGER NOT NULL, size INTEGER NOT NULL, referer TEXT NOT NULL, agent TEXT NOT NULL)"
            )
        except sqlite3.Error as error:
            raise self._refused(error) from None

    def _write(self, rows: list[Entry]) -> None:
        assert self.connection is not None
        execute = self.connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            self.connection.executemany(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(self.run, *row) for row in rows],
            )
            execute("COMMIT")
        except sqlite3.Error as error:
            self.unstored += len(rows)
            if self.connection.in_transaction:
                self.connection.rollback()
            raise self._refused(error) from None
        self.stored += len(rows)

    def _refused(self, error: sqlite3.Error) -> StoreError:
        self.error = StoreError(f"the database refused: {error}")
        return self.error

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Remote:
    """Stands for a service across the network: it takes its time, and what it said is remembered.

    Args:
        delay_s: Seconds that one answer takes.
        remembered: Most answers to remember; the oldest is forgotten first.
    """

    def __init__(self, delay_s: float, remembered: int = 100_000) -> None:
        self.delay_s = delay_s
        self.remembered = remembered
        self.asked = 0
        self._answers: dict[str, str] = {}
        self._asking: dict[str, asyncio.Event] = {}

    async def region(self, host: str) -> str:
        """Return where ``host`` is, by a rule that is as good as any."""
        while (answer := self._answers.get(host)) is None:
            if (asking := self._asking.get(host)) is not None:  # one question is enough
                await asking.wait()
                continue
            asking = self._asking[host] = asyncio.Event()
            try:
                self.asked += 1
                await asyncio.sleep(self.delay_s)
                if len(self._answers) >= self.remembered:
                    del self._answers[next(iter(self._answers))]
                self._answers[host] = ("north", "east", "south", "west")[zlib.crc32(host.encode()) % 4]
            finally:
                del self._asking[host]
                asking.set()
        return answer


# ---- the graph -------------------------------------------------------------------------------------------------------


class AccessLog(Subgraph):
    """The graph, with what a caller wants to look at while it runs and afterwards.

    Attributes:
        results: What was found out.
        store: The node that writes to SQLite, which knows how many rows are stored.
        show: Called with the results now and then, to draw them; may be set until the run begins.
    """

    results: Results
    store: Store
    show: Callable[[Results], None] | None = None


def build(
    log: str | os.PathLike[str] | Iterable[bytes] | None = None,
    *,
    follow: bool = False,
    capacity: int = 1024,
    db: str | os.PathLike[str] = "",
    db_wait_s: float = 10.0,
    flush_s: float = 0.25,
    lookup_s: float = 0.001,
    poll_s: float = 0.1,
    show_s: float = 0.1,
) -> AccessLog:
    """Declare the graph.

    Args:
        log: A file, ``"-"`` for the standard input, or bytes; a generated sample if there is none.
        follow: Go on at the end of the file when it grows.
        capacity: Most items on each blocking edge.
        db: The SQLite file; see `Store`.
        db_wait_s: Seconds to wait for another program that is writing to it.
        flush_s: Seconds between two flushes of counters and store.
        lookup_s: Seconds that the simulated service takes for an answer.
        poll_s: Seconds between two looks at a file that is followed.
        show_s: Seconds that drawing takes.
    """
    results = Results()
    remote = Remote(lookup_s)
    if log is None:
        log = runpy.run_path(str(Path(__file__).with_name("sample.py")))["lines"]()
    chunks = Reader(log, follow=follow, poll_s=poll_s) if isinstance(log, (str, os.PathLike)) else Chunks(log)

    @source
    async def read() -> AsyncIterator[Block]:
        """Blocks of lines, as fast as the graph takes them."""
        try:
            async for block in blocks(chunks):
                results.read_bytes += block.size
                yield block
        except OSError as error:
            results.read_error = error.strerror or type(error).__name__
        results.ended.set()

    @node
    def split(block: Block) -> Iterator[Line]:
        """A generator: it is paused in the middle of a block while the next edge is full."""
        for data, end in lines_of(block):
            results.lines += 1
            yield Line(results.lines, data, end)
        results.split_bytes += block.size

    @node(outputs={"entry": Entry, "rejected": Rejected})
    def parse(line: Line) -> Any:
        """Two outputs: requests, and the dead-letter edge."""
        parsed = parse_line(line)
        if parsed.__class__ is Rejected:
            return To("rejected", parsed)
        results.parsed += 1
        return parsed

    @node
    def dead_letter(line: Rejected) -> None:
        """Counts what was rejected, and remembers where it stands."""
        results.rejected[line.reason] += 1
        results.first_rejected.setdefault(line.reason, line.number)

    status = Tally("status", results, key=lambda entry: entry.status, amount=lambda entry: 1)
    volume = Tally("volume", results, key=lambda entry: entry.path, amount=lambda entry: entry.size)

    @node
    def totals(counts: Counts) -> None:
        """Adds up what the counters flush."""
        keep(results, counts)

    @node(concurrency=8)
    async def lookup(entry: Entry) -> Visit:
        """Waits for eight answers at a time; meanwhile everything else goes on."""
        region = await remote.region(entry.host)
        results.lookups = remote.asked
        return Visit(entry.host, region)

    @node
    def visits(visit: Visit) -> None:
        """Counts hosts and regions."""
        results.hosts.add(visit.host)
        results.regions[visit.region] += 1

    store = Store("store", results, db, db_wait_s)

    async def draw(entry: Entry) -> None:
        """Slower than the stream on purpose: a latest edge gives it what is newest, and holds nobody up."""
        if graph.show is not None:
            graph.show(results)
        await asyncio.sleep(show_s)

    dashboard = sink(draw, name="dashboard")

    @source
    async def flush() -> AsyncIterator[Message[str]]:
        """A CONTROL message now and then, and a last one when the last line has arrived everywhere."""
        tell = Message(MessageType.CONTROL, "flush")
        while not results.ended.is_set():
            try:
                async with asyncio.timeout(flush_s):
                    await results.ended.wait()
            except TimeoutError:
                yield tell
        # What was read is on its way. Nodes also flush when they are stopped, so a line that is stuck somewhere must not
        # keep the run from ending: a second without progress is enough.
        clock = asyncio.get_running_loop().time
        seen, changed, flushed = results.progress(), clock(), clock()
        while not results.all_arrived() and clock() - changed < 1:
            await asyncio.sleep(0.005)
            if (now := results.progress()) != seen:
                seen, changed = now, clock()
            if clock() - flushed >= flush_s:
                flushed = clock()
                yield tell
        yield tell

    def full() -> Any:
        return via(capacity=capacity)

    graph = AccessLog("access_log")
    graph.results, graph.store = results, store
    graph.add_flow(
        read
        >> via(capacity=capacity, max_bytes=MAX_UNSPLIT_BYTES, size=lambda block: len(block.data))
        >> split,
        split >> full() >> parse,
        parse["entry"] >> full() >> [status["entry"], volume["entry"], lookup, store["entry"]],
        parse["entry"] >> via(capacity=1, policy=latest()) >> dashboard,
        parse["rejected"] >> full() >> dead_letter,
        [status, volume] >> via(capacity=1, policy=coalesce(add_counts)) >> totals,
        lookup >> full() >> visits,
        flush >> full() >> [status["flush"], volume["flush"], store["flush"]],
    )
    return graph
