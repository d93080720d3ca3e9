"""Structured log lines: one record, one line, never an exception.

A line says what happened (``event``, a stable key), in words (``message``), with the fields of its context. Payloads
have no place in it: an object is written as its type name, ``<Order>``, and never through its repr, and the whole record
goes through the redaction policy.

Out of the box INFO and above go to the standard error stream as JSON. `get_logger` returns one handle for the whole
process; it follows every later `configure`, so it may be kept.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TextIO, cast

from meridian.observability.context import (
    bump_generation,
    get_trace_id,
    log_fields,
    set_trace_id,
    with_context,
)
from meridian.redaction import redactor, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

__all__ = [
    "LogConfig",
    "LogLevel",
    "Logger",
    "configure",
    "get_logger",
    "get_trace_id",
    "set_trace_id",
    "with_context",
]

LIMIT_INTERVAL_S = 1.0
"""A rate-limited warning is written at most once in this many seconds, per key."""

MAX_LIMITED_KEYS = 4096
"""So many keys are remembered at a time; beyond, the oldest are forgotten and what they suppressed is summed up."""


class LogLevel(str, Enum):  # not StrEnum: str() names the member, as in v1
    """How urgent a record is; compares equal to its name.

    Attributes:
        rank: The same as a number; higher is more urgent.
    """

    rank: int

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"

    def __init__(self, name: str) -> None:
        self.rank = 10 * (1 + ("DEBUG", "INFO", "WARN", "ERROR").index(name))

    @classmethod
    def parse(cls, level: LogLevel | str) -> LogLevel:
        """Return the level of that name, in any case; ``WARNING`` means ``WARN``.

        Raises:
            ValueError: there is no such level.
        """
        if isinstance(level, LogLevel):
            return level
        name = str(level).upper()
        if name == "WARNING":
            return cls.WARN
        if name not in cls.__members__:
            raise ValueError(f"unknown log level {level!r}: use DEBUG, INFO, WARN or ERROR")
        return cls[name]


RECENT = 256
"""So many records are kept for whoever looks later."""

RECENT_KEYS = (
    "ts",
    "level",
    "event",
    "node",
    "edge_id",
    "graph",
    "port",
    "phase",
    "cause",
    "code",
    "error_type",
    "where",
    "state",
    "policy",
    "engine",
    "n",
    "attempt",
    "attempts",
    "dropped",
    "suppressed",
    "nodes_count",
    "edges_count",
    "capacity",
    "visible",
)
"""What is kept of a record: what it is and whom it is about, numbers, and no free text."""

_MAX_RECENT_TEXT = 300

_DEBUG, _INFO, _WARN = LogLevel.DEBUG.rank, LogLevel.INFO.rank, LogLevel.WARN.rank


def _current_stderr() -> TextIO:
    return sys.stderr


@dataclass
class LogConfig:
    """How a logger writes.

    Attributes:
        level: Less urgent records are skipped; a name works too.
        json: ``True`` for JSON lines, ``False`` for ``key=value`` pairs.
        stream: Where lines go. ``None`` means whatever ``sys.stderr`` is when a line is written.
        extra_fields: Added to every record.
    """

    level: LogLevel | str = LogLevel.INFO
    json: bool = True
    stream: TextIO | None = field(default_factory=_current_stderr)
    extra_fields: dict[str, object] = field(default_factory=dict[str, object])


class _Sink(NamedTuple):
    """A configuration as the logger uses it; replaced as a whole, so that no line mixes two of them."""

    level: LogLevel
    json: bool
    stream: TextIO | None
    extra_fields: Mapping[str, object]


class _Limit:
    """One key of a rate-limited record."""

    __slots__ = ("due_s", "event", "level", "suppressed")

    def __init__(self, level: LogLevel) -> None:
        self.due_s = float("-inf")
        self.suppressed = 0
        self.event = ""
        self.level = level


class Logger:
    """Writes records as single lines; no call ever raises.

    A record that can't be written, because its stream is closed or broken, is dropped and counted in `dropped`.

    Args:
        config: Level, form and stream; read once, here.
        wall_clock: Epoch seconds, for ``ts``.
        monotonic: Seconds for the rate limit.

    Attributes:
        also: Gets each record that is written, as the redaction policy shows it; an exporter, or ``None``.
    """

    def __init__(
        self,
        config: LogConfig,
        *,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._limits: dict[Hashable, _Limit] = {}
        self._dropped = 0
        self._forgotten = 0
        self._recent: deque[dict[str, object]] = deque(maxlen=RECENT)
        self.also: Callable[[Mapping[str, object]], None] | None = None
        self.renew_lock()
        self.reconfigure(config)

    def renew_lock(self) -> None:
        """Forget who holds the lock: for a forked child, where that thread doesn't exist."""
        # Reentrant: a stream's own write may log.
        self._lock = threading.RLock()

    def reconfigure(self, config: LogConfig) -> None:
        """Write as ``config`` says from the next record on.

        Raises:
            ValueError: unknown level; nothing was changed.
        """
        level = LogLevel.parse(config.level)
        self._sink = _Sink(level, config.json, config.stream, dict(config.extra_fields))
        self._threshold = level.rank

    @property
    def config(self) -> LogConfig:
        """The configuration in force, as a copy."""
        level, json, stream, extra_fields = self._sink
        return LogConfig(level, json, stream, dict(extra_fields))

    @property
    def dropped(self) -> int:
        """How many records could not be written."""
        return self._dropped

    def recent(self) -> list[dict[str, object]]:
        """Return the last `RECENT` records, oldest first: of each only `RECENT_KEYS`, after the redaction policy.

        Messages and other free texts aren't among them: what a stranger's code writes there may hold anything.
        """
        return list(self._recent)

    def is_enabled(self, level: LogLevel | str) -> bool:
        """Return whether records of that level are written; one comparison, so ask before building fields."""
        rank = level.rank if isinstance(level, LogLevel) else LogLevel.parse(level).rank
        return rank >= self._threshold

    def debug(self, event: str, message: str, **fields: object) -> None:
        """Write a record for whoever looks closely; off by default."""
        if self._threshold <= _DEBUG:
            self._write(LogLevel.DEBUG, event, message, fields)

    def info(self, event: str, message: str, **fields: object) -> None:
        """Write a record of something that is as it should be."""
        if self._threshold <= _INFO:
            self._write(LogLevel.INFO, event, message, fields)

    def warn(self, event: str, message: str, **fields: object) -> None:
        """Write a record of something that someone should look at."""
        if self._threshold <= _WARN:
            self._write(LogLevel.WARN, event, message, fields)

    def error(self, event: str, message: str, **fields: object) -> None:
        """Write a record of something that failed."""
        self._write(LogLevel.ERROR, event, message, fields)

    def warn_limited(self, key: Hashable, event: str, message: str, **fields: object) -> bool:
        """Write a warning at most once a second per key; the line's ``suppressed`` says how many went before it unseen.

        Args:
            key: What is limited, such as ``("drop", edge_id)``. Two edges with two keys don't hide each other.
            event: Stable key of the event.
            message: What happened, in words.
            fields: Further fields.

        Returns:
            Whether this record was let through.
        """
        return self._threshold <= _WARN and self._limited(LogLevel.WARN, key, event, message, fields)

    def error_limited(self, key: Hashable, event: str, message: str, **fields: object) -> bool:
        """Write a record of something that failed at most once a second per key; otherwise as `warn_limited`."""
        return self._limited(LogLevel.ERROR, key, event, message, fields)

    def _limited(
        self, level: LogLevel, key: Hashable, event: str, message: str, fields: dict[str, object]
    ) -> bool:
        with self._lock:
            now_s = self._monotonic()
            limit = self._limits.get(key)
            if limit is None:
                limit = self._add_limit(key, now_s, level)
            if now_s < limit.due_s:
                limit.suppressed += 1
                return False
            limit.due_s = now_s + LIMIT_INTERVAL_S
            limit.event = event
            suppressed, limit.suppressed = limit.suppressed, 0
        fields["suppressed"] = suppressed
        self._write(level, event, message, fields)
        return True

    def flush_limited(self) -> None:
        """Report what is still suppressed, one line per key, then forget all keys; call it when a run ends."""
        with self._lock:
            pending = [limit for limit in self._limits.values() if limit.suppressed]
            self._limits.clear()
            forgotten, self._forgotten = self._forgotten, 0
        for limit in pending:
            if limit.level.rank >= self._threshold:
                text = "More of the same was not written."
                self._write(limit.level, limit.event, text, {"suppressed": limit.suppressed})
        if forgotten:
            self.warn(
                "log.suppressed", "More warnings were not written than are told apart.", suppressed=forgotten
            )

    def _add_limit(self, key: Hashable, now_s: float, level: LogLevel) -> _Limit:
        if len(self._limits) >= MAX_LIMITED_KEYS:
            # Keys that may write at once anyway need no memory, except for what they still have to tell. Half are let
            # go, so that a flood of new keys doesn't pay for this each time.
            kept = [(k, v) for k, v in self._limits.items() if now_s < v.due_s or v.suppressed]
            gone = len(kept) - MAX_LIMITED_KEYS // 2
            self._forgotten += sum(limit.suppressed for _, limit in kept[: max(gone, 0)])
            self._limits = dict(kept[max(gone, 0) :])
        limit = self._limits[key] = _Limit(level)
        return limit

    def _write(self, level: LogLevel, event: str, message: str, fields: dict[str, object]) -> None:
        sink = self._sink
        try:
            record: dict[str, object] = {
                "ts": self._wall_clock(),
                "level": level.value,
                "event": event,
                "message": message,
            }
            # Later ones win, as in v1.
            record.update(log_fields())
            record.update(sink.extra_fields)
            record.update(fields)
            record = cast("dict[str, object]", redactor().data(record))
            self._recent.append(_brief(record))
            if self.also is not None:
                self.also(record)
            line = (_as_json(record) if sink.json else _as_pairs(record)) + "\n"
            stream = sys.stderr if sink.stream is None else sink.stream
            with self._lock:
                stream.write(line)
                # A line that explains a crash must not die in a buffer.
                flush = getattr(stream, "flush", None)
                if flush is not None:
                    flush()
        except Exception:  # noqa: BLE001
            # Whoever logs has something better to do than to handle a closed stream.
            self._dropped += 1


def _brief(record: Mapping[str, object]) -> dict[str, object]:
    """Return what is kept of a record."""
    kept: dict[str, object] = {}
    for key in RECENT_KEYS:
        value = record.get(key)
        if type(value) is str:
            kept[key] = value[:_MAX_RECENT_TEXT]
        elif type(value) in (int, float, bool):
            kept[key] = value
    return kept


@cache
def _encode() -> Callable[[object], str]:
    """Return the JSON encoder; json is imported with the first line and not with the package."""
    from json import JSONEncoder

    # Without NaN and infinity, which are no JSON.
    return JSONEncoder(separators=(",", ":"), allow_nan=False, default=type_name).encode


def _as_json(record: Mapping[str, object]) -> str:
    encode = _encode()
    try:
        return encode(record)
    except Exception:  # noqa: BLE001
        # One field is circular, too deep, not finite, or has keys that are no strings: spare the others.
        return (
            "{" + ",".join(f"{encode(str(key))}:{_field_json(value)}" for key, value in record.items()) + "}"
        )


def _field_json(value: object) -> str:
    """Return one value as JSON: itself where possible, else a name for it."""
    encode = _encode()
    try:
        return encode(value)
    except Exception:  # noqa: BLE001
        if type(value) is float:  # nan, inf, -inf
            return encode(repr(value))
        return encode(type_name(value))


def _as_pairs(record: Mapping[str, object]) -> str:
    return " ".join(f"{_bare(str(key))}={_pair_value(value)}" for key, value in record.items())


def _pair_value(value: object) -> str:
    return _bare(value) if type(value) is str else _field_json(value)


def _bare(text: str) -> str:
    """Return text as it is where that is unambiguous, else quoted, so that a value can't pose as another pair."""
    plain = text and text.isascii() and text.isprintable() and not set(text) & {" ", "=", '"', "<"}
    return text if plain else _encode()(text)


# The stream stays open-ended (None), so that redirecting sys.stderr later redirects the log too.
_logger = Logger(LogConfig(stream=None))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_logger.renew_lock)


def get_logger() -> Logger:
    """Return the process's logger; one object that follows every `configure`."""
    return _logger


def configure(
    level: LogLevel | str,
    stream: TextIO | None = None,
    extra: Mapping[str, object] | None = None,
    *,
    json: bool | None = None,
) -> None:
    """Set level, stream, extra fields and form of the process's logger.

    Args:
        level: A level or its name, in any case.
        stream: Where lines go; ``None`` keeps the current stream.
        extra: Fields for every record; ``None`` keeps the current ones, ``{}`` removes them.
        json: JSON lines or ``key=value`` pairs; ``None`` keeps the current form.

    Raises:
        ValueError: unknown level; nothing was changed.
    """
    config = _logger.config
    config.level = level
    if stream is not None:
        config.stream = stream
    if extra is not None:
        config.extra_fields = dict(extra)
    if json is not None:
        config.json = json
    replace_config(config)


def replace_config(config: LogConfig) -> None:
    """Give the process's logger this whole configuration.

    Raises:
        ValueError: unknown level; nothing was changed.
    """
    _logger.reconfigure(config)
    bump_generation()
