"""Which engine runs, and why: what is installed, what is asked for, and everything that can be wrong with it."""

import ast
import io
import json
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import meridian
from meridian import Scheduler, graph, sink, source
from meridian.core import scheduler as scheduler_module
from meridian.core.errors import EngineError
from meridian.engine import select
from meridian.engine.kernel import PythonEngine
from meridian.observability import logging as log

pytestmark = pytest.mark.req("N2.2", "N2.3")

VERSION = f"__version__ = {meridian.__version__!r}\n"
BUILD = "def build_info():\n    return 'made up'\ndef _message_bases(): ...\n"
CLASSES = "Budget = Engine = LimitedRing = ReadyQueue = Ring = Turn = type\n"
GOOD = VERSION + BUILD + CLASSES

Install = Callable[..., Path]


@pytest.fixture
def engine() -> None:
    """The choice itself is under test, so nothing chooses before."""


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known about the extension before a test, and after it."""
    caches = (select.choose, select._extension, select._rust_engine)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.delenv("MERIDIAN_ENGINE", raising=False)
    for name in [name for name in sys.modules if name.startswith("meridian_fast")]:
        monkeypatch.delitem(sys.modules, name)  # put back when whatever a test puts there is gone
    yield
    for name in [name for name in sys.modules if name.startswith("meridian_fast")]:
        del sys.modules[name]
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a package called meridian_fast in front of what is installed."""

    def install(text: str, **files: bytes) -> Path:
        folder = tmp_path / "meridian_fast"
        folder.mkdir()
        (folder / "__init__.py").write_text(text, encoding="utf-8")
        for name, content in files.items():
            (folder / f"{name}.so").write_bytes(content)
        monkeypatch.syspath_prepend(tmp_path)
        return folder

    return install


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meridian_fast", None)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for `meridian.engine.native`, the Python side of the Rust engine."""
    made: Any = ModuleType("meridian.engine.native")
    made.RustEngine = type("RustEngine", (), {})
    monkeypatch.setitem(sys.modules, "meridian.engine.native", made)
    return made


# ---- the choice ------------------------------------------------------------------------------------------------------


def test_python_is_chosen_without_a_look_at_the_extension(install: Install, monkeypatch: pytest.MonkeyPatch):
    install("raise RuntimeError('looked at')")
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    assert select.engine_factory() == (PythonEngine, ("python", "MERIDIAN_ENGINE=python", False))
    assert select.native() is None
    assert "meridian_fast" not in sys.modules


@pytest.mark.usefixtures("absent")
def test_an_extension_that_is_not_installed_is_no_refusal():
    assert select.choose("auto") == ("python", "meridian_fast is not installed", False)
    assert select.native() is None


def test_a_folder_of_that_name_is_not_the_extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "meridian_fast").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert select.choose("auto") == ("python", "meridian_fast is not installed", False)


@pytest.mark.usefixtures("absent")
def test_rust_without_the_extension_fails_and_says_what_to_install():
    with pytest.raises(EngineError) as caught:
        select.choose("rust")
    assert str(caught.value) == (
        "MERIDIAN_ENGINE=rust, but meridian_fast is not installed: pip install 'meridian-runtime[fast]'"
    )


def test_a_good_extension_is_used_without_being_asked_for(install: Install, shell: ModuleType):
    install(GOOD)
    assert select.choose("auto") == ("rust", "meridian_fast is installed", False)
    assert select.choose("rust") == ("rust", "MERIDIAN_ENGINE=rust", False)
    assert select.engine_type() is shell.RustEngine
    assert select.engine_factory() == (shell.RustEngine, select.choose("auto"))
    assert select.native() is sys.modules["meridian_fast"]


@pytest.mark.usefixtures("shell")
def test_the_python_engine_can_be_had_beside_a_good_extension(install: Install):
    install(GOOD)
    assert select.choose("auto").name == "rust"
    assert select.engine_type("python") is PythonEngine


def test_an_extension_without_an_engine_is_refused(install: Install):
    install(VERSION + BUILD)
    why = "meridian_fast lacks Budget, Engine, LimitedRing, ReadyQueue, Ring, Turn"
    assert select.choose("auto") == ("python", why, True)
    assert select.native() is None
    with pytest.raises(EngineError, match=f"^MERIDIAN_ENGINE=rust, but {why}: pip install"):
        select.engine_type("rust")


def test_the_extension_can_be_had_beside_the_python_engine(install: Install, monkeypatch: pytest.MonkeyPatch):
    install(GOOD)
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    assert select.native() is None
    assert select.extension() is sys.modules["meridian_fast"]


@pytest.mark.usefixtures("absent")
def test_who_needs_the_extension_itself_is_told_what_to_install():
    with pytest.raises(EngineError) as caught:
        select.extension()
    assert str(caught.value) == "meridian_fast is not installed: pip install 'meridian-runtime[fast]'"


def test_another_name_of_an_engine_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "fast")
    with pytest.raises(EngineError, match=r"^MERIDIAN_ENGINE='fast': use auto, python or rust$"):
        select.engine_factory()
    assert select.native() is None


def test_the_choice_is_made_once(install: Install):
    folder = install("raise ImportError('not yet')")
    first = select.choose("auto")
    (folder / "__init__.py").write_text(GOOD, encoding="utf-8")
    assert select.choose("auto") is first
    assert select.native() is None


def test_the_module_needs_nothing_above_the_errors_to_be_imported():
    tree = ast.parse(Path(select.__file__).read_text(encoding="utf-8"))
    needed = {
        node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module.startswith("meridian")
    }
    assert needed == {"meridian.core.errors"}


# ---- what can be wrong with the extension ----------------------------------------------------------------------------

CANT = "meridian_fast can't be loaded: "
BROKEN = {
    "ImportError": ("raise ImportError('undefined symbol: PyThing')", f"{CANT}ImportError: undefined symbol: PyThing"),
    "OSError": ("raise OSError(5, 'Input/output error')", f"{CANT}OSError: [Errno 5] Input/output error"),
    "SystemError": ("raise SystemError('initialization failed')", f"{CANT}SystemError: initialization failed"),
    "any exception": ("raise KeyError('x')", f"{CANT}KeyError: 'x'"),
    "a panic": (
        "class PanicException(BaseException): ...\nraise PanicException('index out of bounds')",
        f"{CANT}PanicException: index out of bounds",
    ),
    "a syntax error": ("def (:", f"{CANT}SyntaxError: "),
    "a missing library of its own": ("import meridian_fast.inner", f"{CANT}ModuleNotFoundError: No module named "),
    "a text of many lines": ("raise ImportError('one\\n  two')", f"{CANT}ImportError: one two"),
    "a text without end": ("raise ImportError('x' * 10_000)", f"{CANT}ImportError: {'x' * 299}…"),
    "a text that raises": (
        "class Mute(ImportError):\n    def __str__(self): raise ValueError\nraise Mute",
        f"{CANT}Mute: (no text)",
    ),
    "no version": (BUILD, "meridian_fast lacks __version__"),
    "nothing": ("", "meridian_fast lacks __version__, build_info"),
    "an older version": ("__version__ = '1.9.9'\n" + BUILD, f"meridian_fast is 1.9.9, and meridian is {meridian.__version__}"),
    "a version that is no text": ("__version__ = 2\n" + BUILD, f"meridian_fast is 2, and meridian is {meridian.__version__}"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_extension_is_a_reason_and_no_error(install: Install, what: str):
    text, reason = BROKEN[what]
    install(text)
    choice = select.choose("auto")
    assert choice.reason.startswith(reason)
    assert (choice.name, choice.refused, "\n" in choice.reason) == ("python", True, False)
    assert select.engine_factory() == (PythonEngine, choice)
    assert select.native() is None


@pytest.mark.parametrize("what", BROKEN)
def test_rust_with_a_broken_extension_fails_and_says_how_to_mend_it(install: Install, what: str):
    text, reason = BROKEN[what]
    install(text)
    with pytest.raises(EngineError) as caught:
        select.choose("rust")
    assert str(caught.value).startswith(f"MERIDIAN_ENGINE=rust, but {reason}")
    assert str(caught.value).endswith(
        f": pip install --force-reinstall 'meridian-fast=={meridian.__version__}'"
    )


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_during_the_import_is_not_taken_for_a_broken_extension(
    install: Install, signal: type[BaseException]
):
    folder = install(f"raise {signal.__name__}")
    with pytest.raises(signal):
        select.choose("auto")
    (folder / "__init__.py").unlink()
    (folder / "__init__.py").write_text(GOOD + "# mended", encoding="utf-8")
    assert not select.choose("auto").refused


def test_an_engine_whose_python_side_does_not_load_is_refused(install: Install, shell: ModuleType):
    install(GOOD)
    del shell.RustEngine
    choice = select.choose("auto")
    assert (choice.name, choice.refused) == ("python", True)
    assert choice.reason.startswith(f"{CANT}ImportError: cannot import name 'RustEngine'")


# ---- files that the loader must not see ------------------------------------------------------------------------------


def elf(*, wide: bool, order: str, length: int) -> bytes:
    """The head of an ELF file whose table of sections is 2 x 64 bytes at 1,000, and zeros up to a length."""
    head = bytearray(64)
    head[:6] = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2])
    struct.pack_into(f"{order}{'Q' if wide else 'I'}", head, 40 if wide else 32, 1000)
    struct.pack_into(f"{order}HH", head, 58 if wide else 46, 64, 2)
    return bytes(head).ljust(length, b"\0")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wide", [True, False])
def test_a_library_that_is_cut_short_is_never_shown_to_the_loader(install: Install, order: str, wide: bool):
    folder = install("import not_reached", library=elf(wide=wide, order=order, length=1127))
    choice = select.choose("auto")
    assert choice.refused
    assert choice.reason == f"{CANT}{folder / 'library.so'} is cut short"


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(
    "content",
    [
        elf(wide=True, order="<", length=1128),
        elf(wide=False, order=">", length=1128),
        elf(wide=True, order="<", length=64)[:63],
        b"MZ" + bytes(100),
        b"",
    ],
)
def test_other_libraries_are_left_to_the_loader(install: Install, content: bytes):
    install(GOOD, library=content)
    assert not select.choose("auto").refused


# ---- interpreters ----------------------------------------------------------------------------------------------------


def test_a_free_threaded_interpreter_is_refused_before_anything_is_loaded(
    install: Install, monkeypatch: pytest.MonkeyPatch
):
    install("raise RuntimeError('loaded')")
    monkeypatch.setattr(sys, "abiflags", "t")
    why = "meridian_fast needs the GIL, and this Python is free-threaded"
    assert select.choose("auto") == ("python", why, True)
    with pytest.raises(EngineError, match=f"{why}: use one with the GIL"):
        select.choose("rust")


@pytest.mark.usefixtures("absent")
def test_a_free_threaded_interpreter_without_the_extension_has_nothing_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sys, "abiflags", "t")
    assert select.choose("auto") == ("python", "meridian_fast is not installed", False)


@pytest.mark.parametrize("known_as", ["_interpreters", "_xxsubinterpreters"])
def test_a_sub_interpreter_is_refused_before_anything_is_loaded(
    install: Install, monkeypatch: pytest.MonkeyPatch, known_as: str
):
    install("raise RuntimeError('loaded')")
    for name in ("_interpreters", "_xxsubinterpreters"):
        monkeypatch.setitem(sys.modules, name, None)
    interpreters: Any = ModuleType(known_as)
    interpreters.get_current, interpreters.get_main = lambda: 1, lambda: 0
    monkeypatch.setitem(sys.modules, known_as, interpreters)
    assert select.choose("auto") == ("python", "meridian_fast doesn't run in sub-interpreters", True)


@pytest.mark.usefixtures("shell")
def test_a_python_without_sub_interpreters_has_none_to_refuse(
    install: Install, monkeypatch: pytest.MonkeyPatch
):
    install(GOOD)
    for name in ("_interpreters", "_xxsubinterpreters"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not select.choose("auto").refused


# ---- what is said about it -------------------------------------------------------------------------------------------


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged by a process that has told nothing yet."""
    monkeypatch.setattr(scheduler_module, "_refusal_to_tell", threading.Lock())
    kept, stream = log.get_logger().config, io.StringIO()
    log.replace_config(log.LogConfig(level="INFO", stream=stream))
    yield stream
    log.replace_config(kept)


def run(**options: Any) -> tuple[list[int], Any]:
    got: list[int] = []
    scheduler = Scheduler(**options)
    scheduler.register(graph("g", source(range(3)) >> sink(got.append)))
    scheduler.run()
    return got, scheduler.report()


def events(lines: io.StringIO, name: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [record for record in records if record["event"] == name]


def test_a_refused_extension_is_one_event_and_nothing_else_changes(install: Install, lines: io.StringIO):
    install("raise ImportError('undefined symbol')")
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got, report = run()
    reason = f"{CANT}ImportError: undefined symbol"
    assert got == [0, 1, 2]
    assert (report.engine, report.engine_reason) == ("python", reason)
    assert [record["reason"] for record in events(lines, "engine.refused")] == [reason]
    assert events(lines, "engine.refused")[0]["level"] == "WARN"
    begun = events(lines, "scheduler.start")
    assert [(record["engine"], record["engine_reason"]) for record in begun] == [("python", reason)] * 5


@pytest.mark.usefixtures("absent")
def test_an_extension_that_is_not_installed_is_no_event_of_its_own(lines: io.StringIO):
    _, report = run()
    assert events(lines, "engine.refused") == []
    assert events(lines, "scheduler.start")[0]["engine_reason"] == "meridian_fast is not installed"
    assert report.as_dict()["engine_reason"] == "meridian_fast is not installed"


@pytest.mark.usefixtures("absent")
def test_a_run_that_cannot_have_its_engine_does_not_begin(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "rust")
    with pytest.raises(EngineError, match="pip install"):
        run()
