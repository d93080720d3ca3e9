"""Counters, gauges and histograms, and who keeps them.

A provider (`Metrics`) hands out instruments. `NoopMetrics` is the default and costs next to nothing; `PrometheusMetrics`
keeps values in memory and writes the Prometheus text format, without needing the client library.

Two things keep metrics off the hot path:

* **Late binding.** `bound_counter` and its siblings give handles that look up the provider when used, so that a handle
  made early follows a later `configure_metrics`.
* **Collectors.** Whoever counts anyway (the runtime has its ring indices) registers a function that publishes totals
  when somebody reads. Between two reads nothing is paid per message. Any provider that has ``register_collector`` and
  ``unregister_collector``, as `PrometheusMetrics` has them, is served in this way; another one is told when a run ends, and of each
  put and get on an edge that is used without a run.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from meridian.observability.accounts import close_book
from meridian.observability.context import bump_generation
from meridian.redaction import describe_error, redactor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meridian.observability.exposition import Family
    from meridian.redaction import Redactor

__all__ = [
    "DEFAULT_LATENCY_BUCKETS",
    "BoundCounter",
    "BoundGauge",
    "BoundHistogram",
    "Counter",
    "Gauge",
    "Histogram",
    "Metrics",
    "NoopMetrics",
    "PrometheusConfig",
    "PrometheusCounter",
    "PrometheusGauge",
    "PrometheusHistogram",
    "PrometheusMetrics",
    "bound_counter",
    "bound_gauge",
    "bound_histogram",
    "configure_metrics",
    "get_metrics",
    "is_metrics_enabled",
    "time_block",
]

DEFAULT_LATENCY_BUCKETS: list[float] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5]
"""Upper bounds in seconds, inclusive."""

Labels = Mapping[str, str]
LabelPairs = tuple[tuple[str, str], ...]


class Counter(Protocol):
    """A number that only grows."""

    def inc(self, n: int = 1) -> None:
        """Add ``n``."""
        ...


class Gauge(Protocol):
    """A number that goes up and down."""

    def set(self, v: float) -> None:
        """Replace the value."""
        ...


class Histogram(Protocol):
    """A distribution of numbers."""

    def observe(self, v: float) -> None:
        """Add one number."""
        ...


class Metrics(Protocol):
    """A provider: same name and labels, same instrument."""

    def counter(self, name: str, labels: Labels | None = None) -> Counter:
        """Return the counter of that name and labels."""
        ...

    def gauge(self, name: str, labels: Labels | None = None) -> Gauge:
        """Return the gauge of that name and labels."""
        ...

    def histogram(self, name: str, labels: Labels | None = None) -> Histogram:
        """Return the histogram of that name and labels."""
        ...


# --- nothing -------------------------------------------------------------------------------------------------------


class _NoopInstrument:
    """Takes every number and keeps none."""

    __slots__ = ()

    def inc(self, n: int = 1) -> None:
        """Do nothing."""

    def set(self, v: float) -> None:
        """Do nothing."""

    def observe(self, v: float) -> None:
        """Do nothing."""


_NOOP = _NoopInstrument()


class NoopMetrics:
    """Keeps nothing; every instrument it hands out is one and the same object."""

    __slots__ = ()

    def counter(self, name: str, labels: Labels | None = None) -> Counter:
        """Return the instrument that does nothing."""
        return _NOOP

    def gauge(self, name: str, labels: Labels | None = None) -> Gauge:
        """Return the instrument that does nothing."""
        return _NOOP

    def histogram(self, name: str, labels: Labels | None = None) -> Histogram:
        """Return the instrument that does nothing."""
        return _NOOP


# --- in memory -----------------------------------------------------------------------------------------------------


@dataclass
class PrometheusConfig:
    """How a `PrometheusMetrics` names and bins.

    Attributes:
        namespace: Prefix of every key. Made legal only in `PrometheusMetrics.render`, as v1 kept the dash.
        default_buckets: Upper bounds of histograms, inclusive; sorted, and infinity is added.
        max_series: Most label sets of one name. What has further ones is counted together, with the label ``overflow="true"``;
            gauges of further ones aren't shown, as they don't add up. The warning ``metrics.overflow`` tells which name it is.
    """

    namespace: str = "meridian-runtime"
    default_buckets: Sequence[float] = field(default_factory=lambda: list(DEFAULT_LATENCY_BUCKETS))
    max_series: int = 20_000


class _Instrument:
    """One series: a name, its labels, and a lock, so that increments from several threads add up."""

    __slots__ = ("_labels", "_lock", "_name")

    def __init__(self, name: str, labels: Labels | None = None) -> None:
        self._name = name
        self._labels = dict(labels or {})
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Name without the namespace."""
        return self._name

    @property
    def labels(self) -> dict[str, str]:
        """Labels, as a copy."""
        return dict(self._labels)


class PrometheusCounter(_Instrument):
    """A number that only grows."""

    __slots__ = ("_value",)

    def __init__(self, name: str, labels: Labels | None = None) -> None:
        super().__init__(name, labels)
        self._value = 0.0

    @property
    def value(self) -> float:
        """The total so far."""
        return self._value

    def inc(self, n: float = 1) -> None:
        """Add ``n``.

        Raises:
            ValueError: ``n`` is negative.
        """
        if n < 0:
            raise ValueError(f"a counter only grows: can't add {n}")
        with self._lock:
            self._value += n

    def set_total(self, v: float) -> None:
        """Raise the total to ``v``, for collectors that count elsewhere; a lower total than the current is ignored."""
        with self._lock:
            self._value = max(self._value, float(v))


class PrometheusGauge(_Instrument):
    """A number that goes up and down."""

    __slots__ = ("_value",)

    def __init__(self, name: str, labels: Labels | None = None) -> None:
        super().__init__(name, labels)
        self._value = 0.0

    @property
    def value(self) -> float:
        """The number that was set last."""
        return self._value

    def set(self, v: float) -> None:
        """Replace the value."""
        self._value = float(v)


class PrometheusHistogram(_Instrument):
    """A distribution of numbers over fixed bins.

    Attributes:
        bounds: Upper bounds of the bins, inclusive, ascending. One more bin takes everything above the last.
    """

    __slots__ = ("_counts", "_sum", "bounds")

    def __init__(
        self,
        name: str,
        labels: Labels | None = None,
        buckets: Sequence[float] = tuple(DEFAULT_LATENCY_BUCKETS),
    ) -> None:
        super().__init__(name, labels)
        self.bounds: tuple[float, ...] = tuple(sorted({float(b) for b in buckets if b < float("inf")}))
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    @property
    def sum(self) -> float:
        """The sum of everything observed."""
        return self._sum

    @property
    def count(self) -> int:
        """How many numbers were observed."""
        return sum(self._counts)

    @property
    def buckets(self) -> dict[float, int]:
        """Upper bound to how many numbers were at most that; the last bound is infinity."""
        return self.read()[0]

    def read(self) -> tuple[dict[float, int], float]:
        """Return buckets and sum that belong together, also while another thread observes."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        return dict(zip((*self.bounds, float("inf")), accumulate(counts), strict=True)), total

    def observe(self, v: float) -> None:
        """Add one number; one that is not a number is ignored, as it would make the sum useless for ever."""
        if v != v:
            return
        with self._lock:
            self._counts[bisect_left(self.bounds, v)] += 1
            self._sum += v

    def merge(self, counts: Sequence[int], total: float) -> None:
        """Add numbers that were binned elsewhere.

        Args:
            counts: How many fell into each bin (not cumulative); shape ``(len(bounds) + 1,)``.
            total: Their sum.

        Raises:
            ValueError: wrong number of bins, or a negative count.
        """
        if len(counts) != len(self._counts) or min(counts) < 0:
            raise ValueError(f"need {len(self._counts)} counts that are not negative, got {list(counts)}")
        with self._lock:
            self._counts = [a + b for a, b in zip(self._counts, counts, strict=True)]
            self._sum += total


_I = TypeVar("_I", bound=_Instrument)

_OVERFLOW = {"overflow": "true"}
"""Labels of what has more label sets than are kept."""

_MOST_REMEMBERED = 65_536  # label sets as they were asked for, of one kind of instrument


class _Family(Generic[_I]):
    """All instruments of one kind, by name and labels."""

    __slots__ = ("_asked", "_lock", "_made", "_make", "_most", "_numbers", "_over", "_prefix", "_shown")

    def __init__(self, config: PrometheusConfig, make: Callable[[str, Labels | None], _I]) -> None:
        self._prefix = f"{config.namespace}_" if config.namespace else ""
        self._make = make
        self._made: dict[tuple[str, LabelPairs], _I] = {}
        self._most = config.max_series
        self._numbers: dict[str, int] = {}
        """How many there are of each name."""
        self._over: dict[str, _I] = {}
        """What stands for all further ones of a name."""
        # Collectors ask for the same series at each read, and a read shows the same again.
        self._asked: tuple[Redactor, dict[tuple[str, LabelPairs], _I]] = (redactor(), {})
        self._shown: tuple[Redactor, list[tuple[tuple[str, LabelPairs], _I]]] = (redactor(), [])
        self._lock = threading.Lock()

    def get(self, name: str, labels: Labels | None) -> _I:
        # By pairs and not by the readable key: two different label sets can read the same.
        asked_for = name, tuple(sorted(labels.items())) if labels else ()
        policy, asked = self._asked
        if policy is not redactor():  # what was asked for before may be shown otherwise now
            policy, asked = self._asked = redactor(), {}
        made = asked.get(asked_for)
        if made is None:
            if len(asked) >= _MOST_REMEMBERED:
                asked.clear()
            made = asked[asked_for] = self._redacted(policy, name, labels)
        return made

    def _redacted(self, policy: Redactor, name: str, labels: Labels | None) -> _I:
        # Before anything is counted: two addresses of one network become one series, whose numbers add up.
        name = policy.text(name)
        if labels:
            labels = cast("dict[str, str]", policy.data(dict(labels)))
        pairs = tuple(sorted(labels.items())) if labels else ()
        made = self._made.get((name, pairs))
        if made is None:
            with self._lock:
                made = self._made.get((name, pairs))
                number = self._numbers.get(name, 0)
                if made is None and (number < self._most or not pairs):
                    self._numbers[name] = number + 1
                    made = self._made[name, pairs] = self._make(name, labels)
        return self._overflow(name) if made is None else made

    def _overflow(self, name: str) -> _I:
        """Return what stands for all label sets of a name that there is no room for."""
        with self._lock:
            known = self._over.get(name)
            if known is not None:
                return known
            made = self._over[name] = self._make(name, _OVERFLOW)
            if not isinstance(made, PrometheusGauge):
                self._made[name, tuple(_OVERFLOW.items())] = made
        _report_overflow(self._prefix + name, self._most)
        return made

    def items(self) -> list[tuple[tuple[str, LabelPairs], _I]]:
        with self._lock:
            return list(self._made.items())

    def by_key(self) -> dict[str, _I]:
        return {self._prefix + name + _readable(pairs): made for (name, pairs), made in self.shown()}

    def shown(self) -> list[tuple[tuple[str, LabelPairs], _I]]:
        """Return the same by what the policy of this moment shows, which may be less than when they were made."""
        policy, items = redactor(), self.items()
        if self._shown[0] is not policy or len(self._shown[1]) != len(items):
            shown: dict[tuple[str, LabelPairs], _I] = {}
            for (name, pairs), made in items:
                labels = cast("dict[str, str]", policy.data(dict(pairs)))
                name, pairs = policy.text(name), tuple(labels.items())
                key, number = (name, pairs), 2
                while (
                    key in shown
                ):  # their numbers are kept apart, as a scrape refuses two series of one name
                    key, number = (name, (*pairs, ("series", str(number)))), number + 1
                shown[key] = made
            self._shown = policy, list(shown.items())
        return self._shown[1]


def _readable(pairs: LabelPairs) -> str:
    return "{" + ",".join(f"{key}={value}" for key, value in pairs) + "}" if pairs else ""


class PrometheusMetrics:
    """Keeps values in memory and writes them in the Prometheus text format.

    Instruments may be used and read from any thread. Keys of the ``get_all_*`` methods read
    ``<namespace>_<name>{label=value,…}``, labels sorted by name and unquoted, or without braces if there are none.
    """

    def __init__(self, config: PrometheusConfig | None = None) -> None:
        self._config = config or PrometheusConfig()
        buckets = tuple(self._config.default_buckets)
        self._counters = _Family(self._config, PrometheusCounter)
        self._gauges = _Family(self._config, PrometheusGauge)
        self._histograms = _Family(
            self._config, lambda name, labels: PrometheusHistogram(name, labels, buckets)
        )
        # Not the lock below: to come and go never waits for a collector that is running.
        self._registering = threading.Lock()
        self._collectors: list[Callable[[PrometheusMetrics], None]] = []
        # Reentrant: a collector may read. One at a time: two that publish the same difference would count it twice.
        self._collecting = threading.RLock()
        self._in_collect = False

    @property
    def config(self) -> PrometheusConfig:
        """The configuration it was made with."""
        return self._config

    def counter(self, name: str, labels: Labels | None = None) -> PrometheusCounter:
        """Return the counter of that name and labels."""
        return self._counters.get(name, labels)

    def gauge(self, name: str, labels: Labels | None = None) -> PrometheusGauge:
        """Return the gauge of that name and labels."""
        return self._gauges.get(name, labels)

    def histogram(self, name: str, labels: Labels | None = None) -> PrometheusHistogram:
        """Return the histogram of that name and labels."""
        return self._histograms.get(name, labels)

    def register_collector(self, collect: Callable[[PrometheusMetrics], None]) -> None:
        """Call ``collect(self)`` before every read; registering it twice has no further effect.

        It runs in the thread that reads, one collector at a time. If it raises, the others still run, the read goes
        on, and the event ``metrics.collector_failed`` is logged (at most once a second).
        """
        with self._registering:
            if collect not in self._collectors:
                self._collectors = [*self._collectors, collect]

    def unregister_collector(self, collect: Callable[[PrometheusMetrics], None]) -> None:
        """Stop calling ``collect``; unknown ones are ignored. A read under way in another thread may still call it."""
        with self._registering:
            self._collectors = [known for known in self._collectors if known != collect]

    def collect(self) -> None:
        """Let all collectors publish now; reads do it by themselves."""
        with self._collecting:
            if self._in_collect:
                return
            self._in_collect = True
            try:
                for collector in self._collectors:
                    try:
                        collector(self)
                    except Exception as error:  # noqa: BLE001  # a stranger's code; reported
                        collector_failed(error)
            finally:
                self._in_collect = False

    def get_all_counters(self) -> dict[str, PrometheusCounter]:
        """Return all counters by key, after collecting; a copy of the table, not of the instruments."""
        self.collect()
        return self._counters.by_key()

    def get_all_gauges(self) -> dict[str, PrometheusGauge]:
        """Return all gauges by key, after collecting; a copy of the table, not of the instruments."""
        self.collect()
        return self._gauges.by_key()

    def get_all_histograms(self) -> dict[str, PrometheusHistogram]:
        """Return all histograms by key, after collecting; a copy of the table, not of the instruments."""
        self.collect()
        return self._histograms.by_key()

    def render(self) -> str:
        """Return everything in the Prometheus text format, after collecting.

        Names are made legal: a dash becomes an underscore, so ``meridian-runtime`` reads ``meridian_runtime``.
        """
        from meridian.observability.exposition import render

        return render(self.families())

    def families(self, taken: Iterable[str] = ()) -> list[Family]:
        """Return everything as families of series under legal names, after collecting; for exporters.

        Args:
            taken: Names that the exporter uses itself.
        """
        # Imported here: only whoever is scraped pays for it.
        from meridian.observability.exposition import families

        self.collect()
        return families(
            self._config.namespace,
            [(name, pairs, made.value) for (name, pairs), made in self._counters.shown()],
            [(name, pairs, made.value) for (name, pairs), made in self._gauges.shown()],
            [(name, pairs, made.read()) for (name, pairs), made in self._histograms.shown()],
            taken,
        )


def _report_overflow(name: str, max_series: int) -> None:
    from meridian.observability.logging import get_logger

    get_logger().warn(
        "metrics.overflow",
        "A metric has more label sets than are kept; further ones are counted together.",
        name=name,
        max_series=max_series,
    )


def collector_failed(error: Exception) -> None:
    """Log that somebody's collector raised, at most once a second."""
    from meridian.observability.logging import get_logger

    told = describe_error(error)
    get_logger().warn_limited(
        "metrics.collector_failed",
        "metrics.collector_failed",
        "A collector raised; its numbers are out of date.",
        error_type=told.type,
        where=told.where,
        error_msg=told.message,
    )


# --- the current provider ------------------------------------------------------------------------------------------

_provider: Metrics = NoopMetrics()


def get_metrics() -> Metrics:
    """Return the current provider."""
    return _provider


def configure_metrics(metrics: Metrics) -> None:
    """Make ``metrics`` the current provider, for handles that exist already too."""
    global _provider
    close_book()  # what was counted until now is the former one's
    _provider = metrics
    bump_generation()


def is_metrics_enabled() -> bool:
    """Return whether the current provider keeps anything."""
    return not isinstance(_provider, NoopMetrics)


def is_read(metrics: Metrics) -> bool:
    """Return whether ``metrics`` calls collectors when it is read, so that it needn't be told of each change at once."""
    return hasattr(metrics, "register_collector")


_Kind = TypeVar("_Kind")


class _Bound(ABC, Generic[_Kind]):
    """A name and labels, and the instrument they meant when last looked up."""

    __slots__ = ("_instrument", "_labels", "_name", "_seen")

    _instrument: _Kind

    def __init__(self, name: str, labels: Labels | None = None) -> None:
        self._name = name
        self._labels = dict(labels) if labels else None
        self._seen: Metrics | None = None

    @abstractmethod
    def _look_up(self, provider: Metrics) -> _Kind:
        """Return a provider's instrument."""

    def resolve(self) -> _Kind:
        """Return the current provider's instrument."""
        provider = _provider
        if self._seen is not provider:
            self._instrument = self._look_up(provider)
            self._seen = provider
        return self._instrument


class BoundCounter(_Bound[Counter]):
    """A counter of whichever provider is current."""

    __slots__ = ()

    def _look_up(self, provider: Metrics) -> Counter:
        return provider.counter(self._name, self._labels)

    def inc(self, n: int = 1) -> None:
        """Add ``n``."""
        self.resolve().inc(n)


class BoundGauge(_Bound[Gauge]):
    """A gauge of whichever provider is current."""

    __slots__ = ()

    def _look_up(self, provider: Metrics) -> Gauge:
        return provider.gauge(self._name, self._labels)

    def set(self, v: float) -> None:
        """Replace the value."""
        self.resolve().set(v)


class BoundHistogram(_Bound[Histogram]):
    """A histogram of whichever provider is current."""

    __slots__ = ()

    def _look_up(self, provider: Metrics) -> Histogram:
        return provider.histogram(self._name, self._labels)

    def observe(self, v: float) -> None:
        """Add one number."""
        self.resolve().observe(v)


def bound_counter(name: str, labels: Labels | None = None) -> BoundCounter:
    """Return a counter that follows `configure_metrics`; safe to keep."""
    return BoundCounter(name, labels)


def bound_gauge(name: str, labels: Labels | None = None) -> BoundGauge:
    """Return a gauge that follows `configure_metrics`; safe to keep."""
    return BoundGauge(name, labels)


def bound_histogram(name: str, labels: Labels | None = None) -> BoundHistogram:
    """Return a histogram that follows `configure_metrics`; safe to keep."""
    return BoundHistogram(name, labels)


@contextmanager
def time_block(name: str, labels: Labels | None = None) -> Generator[None, None, None]:
    """Observe how long a block takes, in seconds, in the histogram of that name; also when the block raises."""
    started_s = time.perf_counter()
    try:
        yield
    finally:
        _provider.histogram(name, labels).observe(time.perf_counter() - started_s)
