"""What asv calls for each commit (asv.conf.json): builds the wheels of both distributions, and installs them.

    python wheels.py build SOURCE CACHE     meridian-runtime into CACHE, meridian-fast into CACHE/fast
    python wheels.py install CACHE          both into the environment of this interpreter, with the pinned requirements of the
                                            benchmarks (ci/requirements/asv.txt)

asv starts nothing but what is in the environment that it made, so this is a script for that environment's interpreter, which has
nothing installed yet. The second wheel lies in a folder of its own because asv gives up on two in one. Without cargo, and for a
commit that has no meridian-fast, there is none: the benchmarks on Rust are then skipped and say why. The builders are those of
.venv, which are pinned; what cargo makes is kept in build/asv/target, so that only what a commit changed is compiled again.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILDERS = ROOT / ".venv" / "bin"
REQUIREMENTS = ROOT / "ci" / "requirements" / "asv.txt"


def build(source: Path, cache: Path) -> None:
    _run(BUILDERS / "python", "-m", "build", "--no-isolation", "--wheel", "--outdir", cache, source)
    manifest = source / "fast" / "Cargo.toml"
    if not manifest.exists():
        print("wheels: this commit has no meridian-fast")
        return
    found = subprocess.run([ROOT / "ci" / "find-cargo"], check=False, stdout=subprocess.PIPE, text=True)
    if found.returncode:
        print("wheels: cargo was not found, so meridian-fast is not built")
        return
    interpreter = BUILDERS / "python"
    _run(
        *(BUILDERS / "maturin", "build", "--quiet", "--release", "--manifest-path", manifest),
        *("--interpreter", interpreter, "--out", cache / "fast"),
        PATH=f"{found.stdout.strip()}{os.pathsep}{os.environ['PATH']}",
        CARGO_TARGET_DIR=str(ROOT / "build" / "asv" / "target"),
    )


def install(cache: Path) -> None:
    pip = (sys.executable, "-m", "pip")
    wheels, native = list(cache.glob("*.whl")), list((cache / "fast").glob("*.whl"))
    _run(*pip, "install", "--quiet", "--require-hashes", "--requirement", REQUIREMENTS)
    _run(*pip, "uninstall", "--quiet", "--yes", "meridian-fast")  # what another commit has left
    _run(*pip, "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", *wheels, *native)


def _run(*command: str | Path, **environment: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, **environment})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", source, cache]:
            build(Path(source), Path(cache))
        case ["install", cache]:
            install(Path(cache))
        case _:
            sys.exit(__doc__)
