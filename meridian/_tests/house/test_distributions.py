"""Three distributions, one version; no required dependency; extras and pins say the same."""

import importlib.metadata
import importlib.util
import os
import re
import tomllib
from pathlib import Path

import pytest

import meridian
from meridian.engine.select import NEEDED


def toml(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_three_distributions_have_one_version(root: Path):
    conformance = (root / "conformance/meridian_conformance/__init__.py").read_text(encoding="utf-8")
    versions = {
        "meridian/__init__.py": meridian.__version__,
        "fast/Cargo.toml": toml(root / "fast/Cargo.toml")["package"]["version"],
        "conformance/pyproject.toml": toml(root / "conformance/pyproject.toml")["project"]["version"],
        "conformance/meridian_conformance/__init__.py": re.search(r'__version__ = "(.+)"', conformance)[1],
    }
    assert set(versions.values()) == {meridian.__version__}, versions


def test_the_version_is_three_plain_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", meridian.__version__)


def test_dependencies_between_the_distributions_name_this_version(root: Path):
    exact = f"=={meridian.__version__}"
    extras = toml(root / "pyproject.toml")["project"]["optional-dependencies"]
    assert extras["fast"] == [f"meridian-fast{exact}"]
    assert f"meridian-runtime{exact}" in toml(root / "conformance/pyproject.toml")["project"]["dependencies"]


def test_the_runtime_requires_nothing(root: Path):
    assert toml(root / "pyproject.toml")["project"]["dependencies"] == []


def test_the_readme_is_the_page_of_the_distribution(root: Path):
    declared = toml(root / "pyproject.toml")["project"].get("readme")
    assert declared == ("README.md" if (root / "README.md").is_file() else None)


def test_the_extra_all_holds_every_other_extra(root: Path):
    extras = toml(root / "pyproject.toml")["project"]["optional-dependencies"]
    named = re.fullmatch(r"meridian-runtime\[(.+)\]", extras["all"][0])[1].split(",")
    assert sorted(named) == sorted(set(extras) - {"all"})


def pinned_sources(root: Path, *names: str) -> set[str]:
    return {
        line
        for name in names
        for line in (root / f"ci/requirements/{name}.in").read_text("utf-8").splitlines()
    }


def test_the_demo_installs_the_extra_cli(root: Path):
    extras = toml(root / "pyproject.toml")["project"]["optional-dependencies"]
    assert set(extras["cli"]) <= pinned_sources(root, "demo")


def test_the_tests_have_every_extra(root: Path):
    extras = toml(root / "pyproject.toml")["project"]["optional-dependencies"]
    wanted = {line for name, lines in extras.items() if name not in {"all", "fast"} for line in lines}
    assert wanted <= pinned_sources(root, "demo", "test")


def test_every_requirement_set_is_locked_with_hashes(root: Path):
    for source in sorted((root / "ci/requirements").glob("*.in")):
        locked = source.with_suffix(".txt").read_text(encoding="utf-8")
        pins = re.findall(r"^[a-z0-9].*?==.*$(?:\n {4}.*)*", locked, re.MULTILINE | re.IGNORECASE)
        assert pins, source.name
        for pin in pins:
            assert "--hash=sha256:" in pin, f"{source.name}: {pin.splitlines()[0]}"
        wanted = re.findall(r"^([A-Za-z0-9_.-]+)", source.read_text(encoding="utf-8"), re.MULTILINE)
        held = {pin.partition("==")[0].partition("[")[0].lower() for pin in pins}
        assert {name.lower() for name in wanted if not name.startswith("-")} <= held, source.name


def test_crates_are_pinned_exactly(root: Path):
    manifest = toml(root / "fast/Cargo.toml")
    for table in ("dependencies", "dev-dependencies", "build-dependencies"):
        for name, wanted in manifest.get(table, {}).items():
            version = wanted if isinstance(wanted, str) else wanted["version"]
            assert version.startswith("="), f"{table}.{name} = {version!r}"


def test_the_rust_extension_says_what_it_is():
    if importlib.util.find_spec("meridian_fast") is None:
        assert os.environ.get("CI") != "true", "CI must build meridian_fast"
        pytest.skip("meridian_fast is not built here: cargo was not found")
    import meridian_fast

    assert meridian_fast.__version__ == meridian.__version__
    assert importlib.metadata.version("meridian-fast") == meridian.__version__
    assert meridian_fast.build_info().startswith(f"meridian-fast {meridian.__version__} (release, ")
    assert set(NEEDED) <= set(meridian_fast.__all__)
