"""Which processors this process may use.

Four answers that differ in a container: what the machine has (`os.cpu_count`), what is visible to the process (online, and
in its cpuset), what its affinity mask allows, and how much time its cgroup grants (a quota, in CPUs).

Nothing here fails a start: each part that can't be found out is ``None`` and leaves a note that says why.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from meridian.observability.logging import get_logger
from meridian.observability.metrics import get_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AFFINITY_VARIABLE = "MERIDIAN_SET_CPU_AFFINITY"


@dataclass(frozen=True, slots=True)
class CpuTopology:
    """What was found out.

    Attributes:
        logical: Logical CPUs of the machine, or ``None``.
        visible_cpus: Ids of the CPUs that are online and in the process's cpuset.
        visible_source: Where they were read: ``cpuset``, ``online``, ``cpu_count`` or ``default``.
        affinity: Ids that the affinity mask allows, or ``None`` where there is no such thing.
        quota: CPU time that the cgroup grants, in CPUs (1.5 = one and a half), or ``None`` if it sets no limit.
        quota_source: ``cgroup2``, ``cgroup1`` or ``none``.
        notes: Why parts are missing.
    """

    logical: int | None
    visible_cpus: frozenset[int]
    visible_source: str
    affinity: frozenset[int] | None
    quota: float | None
    quota_source: str
    notes: tuple[str, ...] = ()

    @property
    def visible(self) -> int:
        """How many CPUs are visible; at least 1."""
        return len(self.visible_cpus)

    @property
    def affinity_count(self) -> int | None:
        """How many CPUs the affinity mask allows, or ``None``."""
        return None if self.affinity is None else len(self.affinity)


def detect(root: str | os.PathLike[str] = "/") -> CpuTopology:
    """Find out which processors this process may use; never raises.

    Args:
        root: Where ``proc`` and ``sys`` are found.
    """
    notes: list[str] = []
    base = Path(root)
    groups = _cgroups(base, notes)
    logical = os.cpu_count()
    if logical is None:
        notes.append("logical: the system doesn't say")
    visible, visible_source = _visible(base, groups, logical, notes)
    quota, quota_source = _quota(groups, notes)
    return CpuTopology(
        logical=logical,
        visible_cpus=visible,
        visible_source=visible_source,
        affinity=_affinity(notes),
        quota=quota,
        quota_source=quota_source,
        notes=tuple(notes),
    )


def publish(topology: CpuTopology) -> None:
    """Set the gauges ``runtime_cpu_visible`` and ``runtime_cpu_affinity_count``, and log ``runtime.cpu``.

    Where there is no affinity mask the second gauge equals the first: nothing keeps the process from any CPU.
    """
    affinity_count = topology.affinity_count
    metrics = get_metrics()
    metrics.gauge("runtime_cpu_visible").set(topology.visible)
    metrics.gauge("runtime_cpu_affinity_count").set(
        topology.visible if affinity_count is None else affinity_count
    )
    get_logger().info(
        "runtime.cpu",
        "CPUs that this process may use.",
        logical=topology.logical,
        visible=topology.visible,
        visible_source=topology.visible_source,
        affinity_count=affinity_count,
        quota=topology.quota,
        quota_source=topology.quota_source,
        notes=list(topology.notes),
    )


def apply_affinity(env: Mapping[str, str] | None = None, topology: CpuTopology | None = None) -> bool:
    """Let the process run on every visible CPU, if ``MERIDIAN_SET_CPU_AFFINITY=1`` asks for it and this is Linux.

    Useful where a parent process pinned this one. Threads that exist already follow where the system lets them. Logs
    the result as ``runtime.cpu_affinity``; never raises.

    Args:
        env: Where the variable is looked up; ``None`` means ``os.environ``.
        topology: What is visible; ``None`` means to find out.

    Returns:
        Whether the affinity was set.
    """
    if (os.environ if env is None else env).get(AFFINITY_VARIABLE) != "1":
        return False
    if not sys.platform.startswith("linux") or not hasattr(os, "sched_setaffinity"):
        return _not_applied(f"not supported on {sys.platform}")
    wanted = (topology or detect()).visible_cpus
    notes: list[str] = []
    before = _affinity(notes)
    try:
        os.sched_setaffinity(0, wanted)
    except (OSError, ValueError, OverflowError) as error:
        return _not_applied(type(error).__name__)
    _set_other_threads(wanted)
    after = _affinity(notes)
    get_logger().info(
        "runtime.cpu_affinity",
        "CPU affinity was set to all visible CPUs.",
        applied=True,
        visible=len(wanted),
        affinity_count_before=None if before is None else len(before),
        affinity_count=None if after is None else len(after),
    )
    return True


def _not_applied(reason: str) -> bool:
    get_logger().warn("runtime.cpu_affinity", "CPU affinity was left as it is.", applied=False, reason=reason)
    return False


def _set_other_threads(cpus: frozenset[int]) -> None:
    """Set the affinity of threads that exist already, such as those of numeric libraries, as far as possible."""
    try:
        tasks = os.listdir("/proc/self/task")
    except OSError:
        return
    for task in tasks:
        try:
            os.sched_setaffinity(int(task), cpus)
        except (OSError, ValueError):
            pass  # it ended meanwhile


def _affinity(notes: list[str]) -> frozenset[int] | None:
    if not hasattr(os, "sched_getaffinity"):
        notes.append(f"affinity: not supported on {sys.platform}")
        return None
    try:
        return frozenset(os.sched_getaffinity(0))
    except OSError as error:
        notes.append(f"affinity: {type(error).__name__}")
        return None


# --- cgroups -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """One cgroup directory of this process.

    Attributes:
        version: 1 or 2.
        directory: Where its files are; may not exist, as a container sees only a part of the tree.
        mount: The top of the tree.
    """

    version: int
    directory: Path
    mount: Path

    def upwards(self) -> Iterator[Path]:
        """Yield the directory and all above it, the mount included."""
        path = self.directory
        yield path
        while path != self.mount:
            path = path.parent
            yield path


def _cgroups(base: Path, notes: list[str]) -> list[_Group]:
    """Return the cgroups that may limit CPUs, the more specific trees first."""
    try:
        lines = (base / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        notes.append(f"cgroup: {type(error).__name__}")
        return []
    top = base / "sys/fs/cgroup"
    groups: list[_Group] = []
    for line in lines:
        # id:controllers:path, with no controllers for version 2; the path may hold colons itself.
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, path = parts
        # A process outside of the cgroup namespace sees paths that begin with "/..": only the top is known then.
        steps = [step for step in path.split("/") if step]
        if ".." in steps:
            steps = []
        if not controllers:
            unified = top / "unified"
            mount = unified if unified.is_dir() else top
            groups.append(_Group(2, mount.joinpath(*steps), mount))
            continue
        for name in controllers.split(","):
            if name in ("cpu", "cpuset"):
                mount = next((top / m for m in (controllers, name) if (top / m).is_dir()), top / name)
                groups.append(_Group(1, mount.joinpath(*steps), mount))
    return groups


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _visible(
    base: Path, groups: list[_Group], logical: int | None, notes: list[str]
) -> tuple[frozenset[int], str]:
    for group in groups:
        name = "cpuset.cpus.effective" if group.version == 2 else "cpuset.effective_cpus"
        for directory in group.upwards():
            cpus = _parse_cpus(_read(directory / name))
            if cpus:
                return cpus, "cpuset"
    cpus = _parse_cpus(_read(base / "sys/devices/system/cpu/online"))
    if cpus:
        return cpus, "online"
    notes.append("visible: neither a cpuset nor the list of CPUs that are online can be read")
    if logical:
        return frozenset(range(logical)), "cpu_count"
    return frozenset({0}), "default"


def _parse_cpus(text: str | None) -> frozenset[int]:
    """Return the ids in a list such as ``0-3,8``; nothing if it is no such list."""
    cpus: set[int] = set()
    try:
        for part in (text or "").split(","):
            first, dash, last = part.partition("-")
            # A kernel knows some thousands; what claims more is no such list.
            cpus.update(range(int(first), min(int(last if dash else first), 1 << 16) + 1))
    except ValueError:
        return frozenset()
    return frozenset(cpus)


def _quota(groups: list[_Group], notes: list[str]) -> tuple[float | None, str]:
    """Return the tightest quota of all cgroups around this process: each level limits those below it."""
    found = [
        (quota, f"cgroup{group.version}")
        for group in groups
        for directory in group.upwards()
        if (quota := _group_quota(group.version, directory, notes)) is not None
    ]
    return min(found) if found else (None, "none")


def _group_quota(version: int, directory: Path, notes: list[str]) -> float | None:
    if version == 2:
        text = _read(directory / "cpu.max")
        quota, _, period = (text or "max").partition(" ")
    else:
        quota = _read(directory / "cpu.cfs_quota_us") or "-1"
        period = _read(directory / "cpu.cfs_period_us") or ""
    if quota in ("max", "-1"):
        return None
    try:
        # The kernel's own default period, where a file names none.
        cpus = int(quota) / int(period or "100000")
    except (ValueError, ZeroDivisionError):
        cpus = 0.0
    if cpus <= 0:
        notes.append(f"quota: can't be read from cgroup{version}")
        return None
    return cpus
