"""Reports of real runs: equal for equal input, and without what a backend's errors tell."""

import logging
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from meridian_conformance import reports, runner
from meridian_conformance.checks import EFFORTS
from meridian_conformance.contract import EMPTY
from meridian_conformance.reports import console, result_file
from meridian_conformance.verdicts import Verdict

pytestmark = pytest.mark.req("X5")

QUICK = replace(EFFORTS["pr"], examples=20, steps=15, scope=3)
SECRET = "hunter2"


class Forgetful:
    """Loses the second item of each edge, so that there is something to tell."""

    capabilities = frozenset()

    class Edge:
        def __init__(self, spec):
            self.spec, self.items, self.puts, self.taken = spec, deque(), 0, 0

        def put(self, item):
            if len(self.items) >= self.spec.capacity:
                return "BLOCKED"
            self.puts += 1
            if self.puts != 2:
                self.items.append(item)
            return "OK"

        def get(self):
            if not self.items:
                return EMPTY
            self.taken += 1
            return self.items.popleft()

        def depth(self):
            return len(self.items)

        def counters(self):
            return {"accepted": self.puts, "delivered": self.taken, "merged": 0, "lost": {}}

        def close(self):
            pass

    def open(self, spec):
        if spec.capacity < 1:
            raise ValueError("no")
        return self.Edge(spec)


class Talkative(Forgetful):
    """Tells its password wherever it can."""

    class Edge(Forgetful.Edge):
        def put(self, item):
            logging.getLogger("talkative").debug(SECRET)
            if self.puts == 3:
                raise ConnectionError(f"redis://:{SECRET}@host refused {item!r}")
            return super().put(item)

        def __repr__(self):
            return f"Edge({SECRET})"


def files(folder: Path, backend) -> dict[str, str]:
    result = runner.run(backend(), effort=QUICK, probe=False)
    assert result.count(Verdict.FAIL) > 0
    reports.write(result, folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()} | {
        "table": console.table(result),
        "stable": repr(result_file.without_varying(result.to_json())),
    }


def test_two_runs_tell_the_same_but_for_what_the_schema_declares(tmp_path: Path):
    one, other = (files(tmp_path / name, Forgetful) for name in ("one", "other"))
    assert one["stable"] == other["stable"]
    for name in ("badge.json", "badge.svg", "table"):
        assert one[name] == other[name], name
    failures = [name for name in one if name.startswith("EDGE-")]
    assert failures != []
    for name in failures:
        assert one[name] == other[name], name


@pytest.mark.req("X2")
def test_no_report_tells_what_a_backend_says_in_its_errors(tmp_path: Path):
    told = files(tmp_path, Talkative)
    assert [name for name, text in told.items() if SECRET in text] == []
