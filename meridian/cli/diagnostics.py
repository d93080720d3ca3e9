"""``meridian diagnostics``: a bundle for support, collected, looked into, and checked."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from meridian.cli.codes import Code, CommandError
from meridian.cli.process import choose, inspected
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import MOST_ROWS, Column, console_for, print_table
from meridian.cli.target import parse
from meridian.diagnostics import Bundle, BundleError, Collected, Manifest, Request, open_bundle
from meridian.diagnostics import collect as collect_bundle
from meridian.diagnostics.archive import write_file
from meridian.diagnostics.gather import TIMEOUT_S, WINDOW_S
from meridian.diagnostics.manifest import MANIFEST
from meridian.inspect import columns
from meridian.inspect.reader import presentable, presentable_finding
from meridian.inspect.summary import headline, stuck
from meridian.introspect import Finding, Snapshot
from meridian.redaction.names import clean


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options of ``meridian diagnostics collect`` say.

    Attributes:
        target: TARGET, or ``None``.
        args: What its own code finds in ``sys.argv[1:]``.
        pid: Number of a process, or ``None``.
        socket: Path of its socket, or ``None``.
        out: File, folder, ``-`` for stdout, or ``None`` for a name of its own.
        log: A log file, or ``None``.
        force: Replace a file that is there.
        timeout_s: Most seconds to wait for each, or ``None``.
        window_s: Seconds between two looks, or ``None``.
        as_json: One JSON object on stdout.
    """

    target: str | None = None
    args: Sequence[str] = ()
    pid: int | None = None
    socket: str | None = None
    out: str | None = None
    log: str | None = None
    force: bool = False
    timeout_s: float | None = None
    window_s: float | None = None
    as_json: bool = False


# ---- collect -------------------------------------------------------------------------------------------------------


def collect(settings: Settings) -> Code:
    """Collect a bundle; return the exit code."""
    return answer(settings.target, settings.as_json, lambda out: _collect(settings, out))


def _collect(settings: Settings, out: TextIO) -> Code:
    to_stdout = settings.out == "-"
    if to_stdout and settings.as_json:
        raise CommandError("--out - and --json both want stdout: give one of them")
    if to_stdout and sys.stdout.isatty():
        raise CommandError("--out - writes a zip file, and stdout is a terminal: send it to a file or a pipe")
    if settings.target is not None:
        parse(settings.target)
    place = None if settings.out is None or to_stdout else Path(settings.out)
    if place is not None:
        _check_place(place, settings.force)
    request = Request(
        process=_process(settings),
        target=settings.target,
        args=settings.args,
        log=None if settings.log is None else Path(settings.log),
        timeout_s=TIMEOUT_S if settings.timeout_s is None else settings.timeout_s,
        window_s=WINDOW_S if settings.window_s is None else settings.window_s,
    )
    told = console_for("stderr")
    made = collect_bundle(request, tell=lambda name, reason: _tell(told, name, reason))
    failed = [each for each in made.manifest.missing if each.failed]
    if to_stdout:
        sys.stdout.buffer.write(made.content)
        sys.stdout.buffer.flush()
        where = "stdout"
    else:
        where = str(_write(made, place, settings.force, told))
    if settings.as_json:
        write_json(
            out,
            settings.target,
            {"path": where, "bytes": len(made.content), "manifest": asdict(made.manifest)},
        )
    else:
        console = told if to_stdout else console_for("stdout")
        n = len(made.manifest.members) + 1
        console.print(Text(f"bundle: {where} ({len(made.content):,} bytes, {n} members)"), soft_wrap=True)
    if failed:
        names = ", ".join(each.name for each in failed)
        told.print(
            Text.assemble(("incomplete", "bold yellow"), f": could not be had: {names}"), soft_wrap=True
        )
    return Code.OK


def _process(settings: Settings) -> int | Path | None:
    """Return the process that is meant; none is needed where TARGET is given, or where there is none."""
    if settings.pid is None and settings.socket is None:
        try:
            if settings.target is not None or not inspected():
                return None
        except CommandError:  # where sockets are looked for can't be looked into, or isn't even known
            return None
    return choose(settings.pid, settings.socket)


def _tell(console: Console, name: str, reason: str | None) -> None:
    how = ("gathered", "green") if reason is None else (f"left out: {reason}", "yellow")
    console.print(Text.assemble(f"{name:<20} ", how), soft_wrap=True)


def _check_place(place: Path, force: bool) -> None:
    if place.is_dir():
        return
    if place.exists() and not force:
        raise CommandError(
            f"{place} is there already: give another name, or --force to replace it", code=Code.FAILED
        )
    if not place.parent.is_dir():
        raise CommandError(f"there is no folder {place.parent}: make it, or give another", code=Code.FAILED)


def _write(made: Collected, place: Path | None, force: bool, told: Console) -> Path:
    """Write a bundle where it is wanted, or else where it can be; return where."""
    stamp = made.manifest.made_at.translate({ord(c): None for c in "-:"})
    name = f"meridian-bundle-{stamp}.zip"
    if place is not None:
        place = place / name if place.is_dir() else place
        try:
            write_file(place, made.content, replace=force)
        except OSError as error:
            raise _unwritten(place, error) from error
        return place
    try:
        return _write_new(Path(), name, made.content)
    except OSError as error:
        why = error.strerror
    try:
        folder = Path(tempfile.gettempdir())
        told.print(Text(f"the current folder can't be written to ({why}): taking {folder}"), soft_wrap=True)
        return _write_new(folder, name, made.content)
    except OSError as error:
        text = f"can't write {name}, neither here nor among the temporary files: {why}; {error.strerror}"
        raise CommandError(f"{text}. Name a place with --out", code=Code.FAILED) from error


def _write_new(folder: Path, name: str, content: bytes) -> Path:
    """Write a file under a name that is free."""
    stem, _, suffix = name.rpartition(".")
    number = 1
    while True:
        place = folder / (name if number == 1 else f"{stem}-{number}.{suffix}")
        try:
            write_file(place, content, replace=False)
        except FileExistsError:
            number += 1
        else:
            return place


def _unwritten(place: Path, error: OSError) -> CommandError:
    if isinstance(error, FileExistsError):
        text = f"{place} is there already: give another name, or --force to replace it"
    else:
        text = f"can't write {place}: {error.strerror}"
    return CommandError(text, code=Code.FAILED)


# ---- verify --------------------------------------------------------------------------------------------------------


def verify(place: str, *, as_json: bool) -> Code:
    """Check a bundle; return the exit code."""
    return answer(None, as_json, lambda out: _verify(place, as_json, out))


def _verify(place: str, as_json: bool, out: TextIO) -> Code:
    bundle = _opened(place)
    if as_json:
        write_json(out, None, {"path": place, "valid": True, "manifest": asdict(bundle.manifest)})
    else:
        console_for("stdout").print(
            Text.assemble(("whole", "bold green"), f": {_headline(bundle.manifest)}"), soft_wrap=True
        )
    return Code.OK


def _opened(place: str) -> Bundle:
    try:
        return open_bundle(place)
    except BundleError as error:
        extra = {"path": place, "valid": False, "member": error.member}
        raise CommandError(f"{place} is not a whole bundle: {error}", code=Code.FAILED, extra=extra) from None
    except OSError as error:
        raise CommandError(f"can't read {place}: {error.strerror}") from None


def _headline(manifest: Manifest) -> str:
    return clean(
        f"{len(manifest.members) + 1} members, schema {manifest.schema_version}, made by {manifest.made_by} at {manifest.made_at}"
    )


# ---- inspect -------------------------------------------------------------------------------------------------------


def inspect(place: str, member: str | None, *, as_json: bool) -> Code:
    """Show what is in a bundle; return the exit code."""
    return answer(None, as_json, lambda out: _inspect(place, member, as_json, out))


def _inspect(place: str, member: str | None, as_json: bool, out: TextIO) -> Code:
    bundle = _opened(place)
    names = [MANIFEST, *(each.name for each in bundle.manifest.members)]
    if member is not None:
        if member not in names:
            raise CommandError(f"{place} has no member {member!r}: it has {', '.join(names)}")
        text = bundle.member(member).decode("utf-8", "replace")
        if as_json and member.endswith(".json"):
            write_json(out, None, {"path": place, "member": member, "content": bundle.data(member)})
        elif as_json:
            write_json(out, None, {"path": place, "member": member, "content": text})
        else:
            # A stranger's file mustn't steer a terminal.
            out.write("\n".join(clean(line, len(line)) for line in text.split("\n")))
        return Code.OK
    try:
        if as_json:
            members = {
                name: bundle.data(name)
                if name.endswith(".json")
                else bundle.member(name).decode("utf-8", "replace")
                for name in names[1:]
            }
            write_json(out, None, {"path": place, "manifest": bundle.data(MANIFEST), "members": members})
        else:
            _show(bundle, console_for("stdout"))
    except BundleError as error:
        raise CommandError(f"{place}: {error}", code=Code.FAILED) from None
    return Code.OK


def _show(bundle: Bundle, console: Console) -> None:
    manifest = bundle.manifest

    def section(title: str, wanted: Sequence[Column]) -> None:
        if wanted and wanted[0].cells:
            console.print()
            console.print(Text(title, style="bold"), soft_wrap=True)
            print_table(console, wanted)

    console.print(Text(_headline(manifest), style="bold"), soft_wrap=True)
    for line in _said(bundle, "runtime.json", _runtime_line):
        console.print(Text(line), soft_wrap=True)
    for finding in _said(bundle, "findings.json", _findings):
        style = "bold red" if finding.severity == "error" else "yellow"
        console.print(
            Text(f"{finding.severity} [{finding.rule}] {finding.what}", style=style), soft_wrap=True
        )
        console.print(Text(f"  why: {finding.why}\n  fix: {finding.fix}"), soft_wrap=True)
    section(
        "In it",
        [
            Column("Member", [each.name for each in manifest.members]),
            Column("Bytes", [each.size for each in manifest.members]),
            Column("What", [clean(each.means) for each in manifest.members]),
        ],
    )
    section(
        "Missing",
        [
            Column("Member", [clean(each.name) for each in manifest.missing]),
            Column("Why", [clean(each.reason, 400) for each in manifest.missing]),
        ],
    )
    if manifest.exposes:
        console.print()
        said = clean(f"policy {manifest.policy} lets out: {', '.join(manifest.exposes)}", 400)
        console.print(Text(said, style="bold yellow"), soft_wrap=True)
    section(
        "Scrubbed",
        [
            Column("Rule", [clean(rule) for rule in manifest.scrubbed]),
            Column("Times", list(manifest.scrubbed.values())),
        ],
    )
    for name, read in (("snapshots.json", _runs), ("topology.json", _declared), ("issues.json", _issues)):
        for title, wanted in _said(bundle, name, read):
            section(title, wanted)


def _said(bundle: Bundle, name: str, read: Callable[[Any], list[Any]]) -> list[Any]:
    """Return what a member says, or nothing if there is none.

    Raises:
        BundleError: it has a shape that this Meridian doesn't know.
    """
    data = bundle.data(name)
    if data is None:
        return []
    try:
        return read(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BundleError(f"member {name} isn't made as this Meridian knows it", name) from None


def _runtime_line(said: Any) -> list[str]:
    state = said["state"] or "in an unknown state"
    answered = "it answered" if said["answered"] else "it didn't answer"
    return [clean(f"process {said['pid']}, {state}: {answered}")]


def _findings(said: Any) -> list[Finding]:
    names = [field.name for field in fields(Finding)]
    return [presentable_finding(Finding(*(each[name] for name in names))) for each in said["findings"]]


_Section = tuple[str, list[Column]]


def _runs(said: Any) -> list[_Section]:
    found: list[_Section] = []
    for pair in said["runs"]:
        now = presentable(Snapshot.from_dict(pair["now"]))
        title = f"{headline(now)}\n{stuck(now)}" if now.loop.stuck else headline(now)
        found.append((title, _rows(columns.NODES, now.nodes)))
        found.append((_share("edges", now.edges), _rows(columns.EDGES, now.edges)))
    return found


def _rows(wanted: Sequence[columns.Column[Any]], rows: Sequence[Any]) -> list[Column]:
    return [Column(each.head, [each.text(row) for row in rows[:MOST_ROWS]]) for each in wanted]


def _declared(said: Any) -> list[_Section]:
    """Return what TARGET declares; what runs is in the snapshots."""
    found: list[_Section] = []
    for graph in said["graphs"]:
        if graph["of"] != "target":
            continue
        for what, keys in (("nodes", ("name", "type")), ("edges", ("id", "policy", "capacity"))):
            rows = graph[what][:MOST_ROWS]
            cells = [Column(key.capitalize(), [clean(str(row[key])) for row in rows]) for key in keys]
            found.append((f"TARGET: {_share(what, graph[what])}", cells))
    return found


def _issues(said: Any) -> list[_Section]:
    found: list[_Section] = []
    for what, text in (("issues", "message"), ("smells", "what")):
        rows = said[what][:MOST_ROWS]
        cells = [
            Column(key.capitalize(), [clean(str(row[key]), 1000) for row in rows])
            for key in ("level", "rule", text)
        ]
        found.append((f"TARGET: {_share(what, said[what])}", cells))
    return found


def _share(what: str, there: Sequence[Any]) -> str:
    return f"{what}: {len(there):,}" + (f", of which {MOST_ROWS} are shown" if len(there) > MOST_ROWS else "")
