from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.observability import logging as log
from meridian.observability import metrics
from meridian.runtime import cpu
from meridian.runtime.cpu import CpuTopology, apply_affinity, detect, publish

ON = {"MERIDIAN_SET_CPU_AFFINITY": "1"}
FOUR = CpuTopology(8, frozenset(range(4)), "online", frozenset({0, 1}), 1.5, "cgroup2", ("a note",))


@pytest.fixture(autouse=True)
def observed() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Returns what was logged."""
    kept, stream, provider = log.get_logger().config, io.StringIO(), metrics.get_metrics()
    log.replace_config(log.LogConfig(level="DEBUG", stream=stream))
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.replace_config(kept)
    metrics.configure_metrics(provider)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CpuTopology]:
    """Detects on a made-up machine of eight CPUs, given its files."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2}, raising=False)

    def detected(**files: str) -> CpuTopology:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return detect(tmp_path)

    return detected


def v2(files: dict[str, str], where: str = "/") -> dict[str, str]:
    """Files of a version 2 hierarchy; the process lives in ``where``."""
    return {"proc__self__cgroup": f"0::{where}\n"} | {
        f"sys__fs__cgroup__{name}": text for name, text in files.items()
    }


# --- detection


@pytest.mark.req("N3.1")
def test_this_machine_is_detected():
    topology = detect()
    assert topology.logical == os.cpu_count()
    assert topology.visible >= 1
    if hasattr(os, "sched_getaffinity"):
        assert topology.affinity == frozenset(os.sched_getaffinity(0))


@pytest.mark.req("N3.1")
def test_without_any_file_what_is_visible_is_what_the_system_counts(machine: Any):
    topology = machine()
    assert (topology.logical, topology.visible, topology.visible_source) == (8, 8, "cpu_count")
    assert (topology.affinity, topology.affinity_count) == (frozenset({0, 2}), 2)
    assert (topology.quota, topology.quota_source) == (None, "none")
    assert topology.notes == (
        "cgroup: FileNotFoundError",
        "visible: neither a cpuset nor the list of CPUs that are online can be read",
    )


@pytest.mark.req("N3.1")
def test_a_system_that_says_nothing_has_one_cpu(machine: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.delattr(os, "sched_getaffinity")
    topology = machine()
    assert (topology.logical, topology.visible, topology.visible_source) == (None, 1, "default")
    assert (topology.affinity, topology.affinity_count) == (None, None)
    assert topology.notes[0] == "cgroup: FileNotFoundError"
    assert topology.notes[1] == "logical: the system doesn't say"
    assert topology.notes[3] == f"affinity: not supported on {sys.platform}"


@pytest.mark.req("N3.1")
def test_an_affinity_that_cannot_be_read_is_noted(machine: Any, monkeypatch: pytest.MonkeyPatch):
    def refuse(pid: int) -> set[int]:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", refuse)
    topology = machine()
    assert topology.affinity is None
    assert topology.notes[-1] == "affinity: PermissionError"


@pytest.mark.req("N3.1")
def test_cpus_that_are_online_are_visible(machine: Any):
    topology = machine(sys__devices__system__cpu__online="0-3,6\n")
    assert (topology.visible_cpus, topology.visible_source) == (frozenset({0, 1, 2, 3, 6}), "online")


@pytest.mark.req("N3.1")
def test_a_cpuset_limits_what_is_visible(machine: Any):
    files = v2({"pod__cpuset.cpus.effective": "2-3\n", "cpuset.cpus.effective": "0-7\n"}, "/pod")
    topology = machine(**files, sys__devices__system__cpu__online="0-7\n")
    assert (topology.visible_cpus, topology.visible_source) == (frozenset({2, 3}), "cpuset")


@pytest.mark.req("N3.1")
def test_the_cpuset_of_an_outer_group_counts_where_the_inner_has_none(machine: Any):
    assert machine(**v2({"cpuset.cpus.effective": "1\n"}, "/a/b")).visible_cpus == {1}


@pytest.mark.req("N3.1")
def test_the_cpuset_of_version_1_counts(machine: Any):
    topology = machine(
        proc__self__cgroup="5:cpuset:/job\n",
        **{"sys__fs__cgroup__cpuset__job__cpuset.effective_cpus": "0,4\n"},
    )
    assert topology.visible_cpus == {0, 4}


# --- quota


@pytest.mark.req("N3.1")
@pytest.mark.parametrize(
    ("text", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("max\n", None), ("50000\n", 0.5)]
)
def test_a_quota_is_in_cpus(machine: Any, text: str, quota: float | None):
    topology = machine(**v2({"cpu.max": text}))
    assert topology.quota == quota
    assert topology.quota_source == ("none" if quota is None else "cgroup2")


@pytest.mark.req("N3.1")
def test_the_tightest_quota_around_the_process_counts(machine: Any):
    files = {"cpu.max": "max 100000", "a__cpu.max": "200000 100000", "a__b__cpu.max": "400000 100000"}
    assert machine(**v2(files, "/a/b")).quota == 2.0


@pytest.mark.req("N3.1")
@pytest.mark.parametrize("text", ["junk\n", "100 0\n", "0 100000\n", "-5 100000\n", "1.5 2\n"])
def test_a_quota_that_makes_no_sense_is_noted(machine: Any, text: str):
    topology = machine(**v2({"cpu.max": text}))
    assert topology.quota is None
    assert "quota: can't be read from cgroup2" in topology.notes


@pytest.mark.req("N3.1")
@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_a_quota_of_version_1_counts(machine: Any, mount: str):
    base = f"sys__fs__cgroup__{mount}"
    topology = machine(
        proc__self__cgroup="4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\nnonsense\n",
        **{f"{base}__cpu.cfs_quota_us": "250000\n", f"{base}__cpu.cfs_period_us": "100000\n"},
    )
    assert (topology.quota, topology.quota_source) == (2.5, "cgroup1")


@pytest.mark.req("N3.1")
def test_version_1_without_limit_has_no_quota(machine: Any):
    base = "sys__fs__cgroup__cpu"
    files = {f"{base}__cpu.cfs_quota_us": "-1\n", f"{base}__cpu.cfs_period_us": "100000\n"}
    topology = machine(proc__self__cgroup="4:cpu:/\n", **files)
    assert topology.quota is None
    assert not [note for note in topology.notes if note.startswith("quota")]


@pytest.mark.req("N3.1")
def test_a_hybrid_hierarchy_is_read_where_it_is(machine: Any):
    files = {"unified__cpu.max": "100000 100000", "unified__cpuset.cpus.effective": "0"}
    assert machine(**v2(files)).quota == 1.0


@pytest.mark.req("N3.1")
def test_a_path_outside_of_the_namespace_leads_no_further_than_the_top(machine: Any):
    assert machine(**v2({"cpu.max": "300000 100000"}, "/../../elsewhere")).quota == 3.0


@pytest.mark.req("N3.1")
@given(st.binary(max_size=60), st.binary(max_size=20))
def test_no_file_content_makes_detection_fail(tmp_path_factory: Any, cgroup: bytes, content: bytes):
    root = tmp_path_factory.mktemp("root")
    for name, data in {
        "proc/self/cgroup": b"0::/\n" + cgroup,
        "sys/fs/cgroup/cpu.max": content,
        "sys/fs/cgroup/cpuset.cpus.effective": content,
        "sys/devices/system/cpu/online": content,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    assert detect(root).visible >= 1


def test_a_list_of_cpus_is_bounded():
    assert len(cpu._parse_cpus("0-99999999999")) == 65_537
    assert cpu._parse_cpus("3-1") == frozenset()


# --- publishing


@pytest.mark.req("N3.1")
def test_publishing_sets_both_gauges_and_logs(observed: Any):
    provider = metrics.PrometheusMetrics(metrics.PrometheusConfig(namespace=""))
    metrics.configure_metrics(provider)
    publish(FOUR)
    gauges = {key: gauge.value for key, gauge in provider.get_all_gauges().items()}
    assert gauges == {"runtime_cpu_visible": 4.0, "runtime_cpu_affinity_count": 2.0}
    (record,) = observed()
    del record["ts"], record["message"]
    assert record == {
        "level": "INFO",
        "event": "runtime.cpu",
        "logical": 8,
        "visible": 4,
        "visible_source": "online",
        "affinity_count": 2,
        "quota": 1.5,
        "quota_source": "cgroup2",
        "notes": ["a note"],
    }


@pytest.mark.req("N3.1")
def test_without_an_affinity_mask_every_visible_cpu_counts():
    provider = metrics.PrometheusMetrics()
    metrics.configure_metrics(provider)
    publish(CpuTopology(4, frozenset(range(4)), "online", None, None, "none"))
    assert provider.gauge("runtime_cpu_affinity_count").value == 4.0


# --- setting the affinity


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> dict[int, frozenset[int]]:
    """A Linux whose calls only note what they were told, by thread; 0 is the process."""
    told: dict[int, frozenset[int]] = {0: frozenset({0})}
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(told[pid]), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: told.__setitem__(pid, cpus), raising=False)
    monkeypatch.setattr(os, "listdir", lambda path: ["11", "12", "odd"])
    return told


@pytest.mark.req("N3.2")
@pytest.mark.parametrize(
    "env", [{}, {"MERIDIAN_SET_CPU_AFFINITY": "0"}, {"MERIDIAN_SET_CPU_AFFINITY": "yes"}]
)
def test_the_affinity_stays_unless_it_is_asked_for(env: dict[str, str], linux: Any, observed: Any):
    assert apply_affinity(env, FOUR) is False
    assert linux == {0: {0}}
    assert observed() == []


@pytest.mark.req("N3.2")
def test_the_affinity_becomes_all_that_is_visible_for_every_thread(linux: Any, observed: Any):
    assert apply_affinity(ON, FOUR) is True
    assert linux == {0: FOUR.visible_cpus, 11: FOUR.visible_cpus, 12: FOUR.visible_cpus}
    (record,) = observed()
    assert (record["event"], record["level"], record["applied"]) == ("runtime.cpu_affinity", "INFO", True)
    assert (record["visible"], record["affinity_count_before"], record["affinity_count"]) == (4, 1, 4)


@pytest.mark.req("N3.2")
def test_the_environment_is_asked_by_default(linux: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MERIDIAN_SET_CPU_AFFINITY", "1")
    monkeypatch.setattr(cpu, "detect", lambda: FOUR)
    assert apply_affinity() is True
    assert linux[0] == FOUR.visible_cpus


@pytest.mark.req("N3.2")
@pytest.mark.parametrize("error", [OSError, PermissionError, ValueError, OverflowError])
def test_a_refusal_is_logged_and_nothing_fails(
    error: type[Exception], linux: Any, observed: Any, monkeypatch: Any
):
    def refuse(pid: int, cpus: Any) -> None:
        raise error

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert apply_affinity(ON, FOUR) is False
    (record,) = observed()
    assert (record["event"], record["level"]) == ("runtime.cpu_affinity", "WARN")
    assert (record["applied"], record["reason"]) == (False, error.__name__)


@pytest.mark.req("N3.2")
def test_threads_that_cannot_be_listed_are_left_alone(linux: Any, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: str) -> list[str]:
        raise OSError

    monkeypatch.setattr(os, "listdir", refuse)
    assert apply_affinity(ON, FOUR) is True
    assert list(linux) == [0]


@pytest.mark.req("N3.2")
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_platforms_log_and_go_on(
    platform: str, linux: Any, observed: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "platform", platform)
    assert apply_affinity(ON, FOUR) is False
    (record,) = observed()
    assert (record["applied"], record["reason"]) == (False, f"not supported on {platform}")


@pytest.mark.req("N3.2")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_the_affinity_of_this_process_can_be_set_for_real():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert apply_affinity(ON) is True
        assert os.sched_getaffinity(0) >= before
    finally:
        os.sched_setaffinity(0, before)
