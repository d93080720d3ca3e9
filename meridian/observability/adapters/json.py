"""The numbers of runs and of the program as one plain object, for those who have neither Prometheus nor OpenTelemetry."""

from __future__ import annotations

import json
from math import isfinite
from threading import Lock
from typing import TYPE_CHECKING, Any

from meridian.introspect.look import look_at_all
from meridian.observability.metrics import PrometheusMetrics, get_metrics

if TYPE_CHECKING:
    from meridian.core.scheduler import Scheduler
    from meridian.introspect.model import Snapshot

__all__ = ["JsonReader"]


class JsonReader:
    """Reads everything at once, from any thread, also while a loop is stuck.

    Args:
        scheduler: Whose run, or the last one after it has ended; without one, all runs that are under way.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._scheduler = scheduler
        self._before: dict[str, Snapshot] = {}
        self._lock = Lock()

    def read(self) -> dict[str, Any]:
        """Return plain dicts, lists, texts and numbers.

        ``runs`` are snapshots, with rates since the last time (see `Snapshot.as_dict`); ``metrics`` is what the program's own
        `PrometheusMetrics` hold, if that is the provider in force: names, kinds and samples as Prometheus gets them, where a number
        that JSON doesn't have is ``None``.

        Cost: O(nodes + edges + series).
        """
        with self._lock:
            shots = look_at_all(self._before, self._scheduler)
            self._before = {shot.run: shot for shot in shots}
        provider = get_metrics()
        families = provider.families() if isinstance(provider, PrometheusMetrics) else ()
        return {
            "runs": [shot.as_dict() for shot in shots],
            "metrics": [
                {
                    "name": family.name,
                    "kind": family.kind,
                    "samples": [
                        {
                            "name": family.name + each.suffix,
                            "labels": dict(each.labels),
                            "value": each.value if isfinite(each.value) else None,
                        }
                        for each in family.samples
                    ],
                }
                for family in families
            ],
        }

    def line(self) -> str:
        """Return `read` as one line of JSON, without a line feed."""
        return json.dumps(self.read(), separators=(",", ":"), allow_nan=False)
