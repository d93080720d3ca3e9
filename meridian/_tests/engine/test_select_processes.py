"""The real extension in processes of their own: forked, spawned, sub-interpreted, and with its end missing."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.req("N2.2", "N2.3")


@pytest.fixture
def engine() -> None:
    """The choice itself is under test, so nothing chooses before."""


SPEC = importlib.util.find_spec("meridian_fast")
needs_extension = pytest.mark.skipif(
    SPEC is None, reason="meridian_fast is not installed here: cargo was not found"
)

PROGRAM = """
from meridian import Scheduler, graph, sink, source
from meridian.engine.select import choose, native

def run():
    got = []
    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(3)) >> sink(got.append)))
    scheduler.run()
    return got, scheduler.report().engine, scheduler.report().engine_reason, native() is not None
"""


def python(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MERIDIAN_ENGINE"}
    return subprocess.run(
        [sys.executable, "-W", "error", *args], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_runs_on_the_engine_of_its_parent(tmp_path: Path, method: str):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "main.py").write_text(
        "import multiprocessing\n"
        "import program\n"
        "if __name__ == '__main__':\n"
        "    own = program.run()\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        others = [pool.apply(program.run) for _ in range(2)]\n"
        "    assert own[0] == [0, 1, 2], own\n"
        "    assert others == [own, own], (own, others)\n"
        "    print('the same')\n",
        encoding="utf-8",
    )
    ran = python(tmp_path, "main.py")
    assert (ran.returncode, ran.stdout) == (0, "the same\n"), ran.stderr


# One that shares the GIL: CPython itself would let it load the extension.
SUB_INTERPRETER = """
try:
    import _interpreters as interpreters
    own, exec_in = interpreters.create("legacy"), interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    own, exec_in = interpreters.create(isolated=False), interpreters.run_string
{first}
failed = exec_in(own, '''{code}''')
assert failed is None, failed
interpreters.destroy(own)
print("main still runs")
"""


def in_sub_interpreter(folder: Path, code: str, first: str = "") -> subprocess.CompletedProcess[str]:
    return python(folder, "-c", SUB_INTERPRETER.format(code=code, first=first))


@pytest.mark.parametrize("first", ["", "import meridian.engine.select as s; s.native()"])
def test_a_sub_interpreter_runs_on_python(tmp_path: Path, first: str):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    ran = in_sub_interpreter(tmp_path, f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
                                       "import program; print(program.run()[:3], flush=True)", first)  # fmt: skip
    reason = (
        "meridian_fast is not installed" if SPEC is None else "meridian_fast doesn't run in sub-interpreters"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{([0, 1, 2], 'python', reason)}\nmain still runs\n"
    told = [line for line in ran.stderr.splitlines() if json.loads(line)["event"] == "engine.refused"]
    assert len(told) == (0 if SPEC is None else 1)


@needs_extension
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_real_library_that_is_cut_short_kills_no_process(tmp_path: Path, kept: float):
    shutil.copytree(Path(SPEC.origin).parent, tmp_path / "meridian_fast")
    (library,) = (tmp_path / "meridian_fast").glob("meridian_fast*.so")
    content = library.read_bytes()
    library.write_bytes(content[: int(len(content) * kept)])
    ran = python(tmp_path, "-c", f"{PROGRAM}\nfor _ in range(2):\n    print(run())")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("([0, 1, 2], 'python', \"meridian_fast can't be loaded: ") == 2
    told = [json.loads(line) for line in ran.stderr.splitlines() if "engine.refused" in line]
    assert len(told) == 1
    assert str(library) in told[0]["reason"]
