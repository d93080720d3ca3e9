"""The house tests read the repository: these fixtures find it and its files."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    assert (ROOT / "pyproject.toml").is_file(), "the house tests run from a checkout"
    return ROOT


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """Every file that the repository holds; the ones that are only on this disk are nobody's business."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout (an unpacked source distribution, say)")
    names = listing.stdout.decode().split("\0")
    return [root / name for name in names if name and (root / name).is_file()]
