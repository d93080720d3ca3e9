"""The pytest plugin: options, the examination behind `meridian_conformance.suite`, and what is said at the end.

pytest imports this module at every start, wherever the kit is installed: it imports neither Hypothesis nor Meridian. All
options are here, because pytest ignores those of a conftest.py that comes with a package (``--pyargs``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from meridian_conformance import __version__

if TYPE_CHECKING:
    from meridian_conformance.suite_run import SuiteRun

RUN: pytest.StashKey[SuiteRun] = pytest.StashKey()
"""Where the configuration keeps the examination, if a backend was named."""

SUITE: Final = "meridian_conformance.suite"
RULES: Final = Path(__file__).parent / "suite" / "meridian_rules.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("meridian", "Meridian conformance (with --pyargs meridian_conformance.suite)")
    group.addoption(
        "--meridian-backend",
        metavar="NAME",
        help="who is examined: python (Meridian's own), module:attribute, or the name of an entry point",
    )
    group.addoption(
        "--meridian-target",
        metavar="NAME",
        default="edge",
        help="what the backend is for: edge, ready, engine or node (edge)",
    )
    group.addoption(
        "--meridian-profile",
        metavar="NAMES",
        default="core",
        help="profiles, separated by commas, or all (core)",
    )
    group.addoption(
        "--meridian-out",
        metavar="DIR",
        type=Path,
        help="write result.json, junit.xml, report.html, badges, failures",
    )
    group.addoption(
        "--meridian-waivers",
        metavar="FILE",
        type=Path,
        help="meridian-conformance.toml with known deviations",
    )
    group.addoption(
        "--meridian-suite-level", metavar="LEVEL", help="judge only rules that suite LEVEL (such as 2.0) had"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the kit's marker, so that adopters may keep strict markers on; find the backend, if one is named."""
    config.addinivalue_line("markers", "rule(*ids): the conformance rules that this test checks")
    options: Any = config.option
    if options.meridian_backend is None:
        if any(arg.partition("::")[0] in {SUITE, f"{SUITE}.{RULES.stem}"} for arg in config.args):
            raise pytest.UsageError(
                f"{SUITE} needs --meridian-backend: python (Meridian's own), module:attribute, or the name of an entry "
                "point of meridian.edge_backends"
            )
        return
    from meridian_conformance.backends import UsageError
    from meridian_conformance.suite_run import SuiteRun

    try:
        config.stash[RUN] = SuiteRun(
            options.meridian_backend,
            target=options.meridian_target,
            profiles=options.meridian_profile,
            out=options.meridian_out,
            waivers=options.meridian_waivers,
            level=options.meridian_suite_level,
            folder=config.invocation_params.dir,
        )
    except UsageError as error:
        raise pytest.UsageError(f"meridian-conformance: {error}") from error


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect the rules, whatever the project calls its own test files."""
    if file_path != RULES or RUN not in parent.config.stash:
        return None
    if any(file_path.match(pattern) for pattern in parent.config.getini("python_files")):
        return None  # pytest does so itself
    return pytest.Module.from_parent(parent, path=file_path)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say who is examined, where somebody is."""
    run = config.stash.get(RUN, None)
    return None if run is None else f"meridian-conformance {__version__}: {run.described}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports, if they were asked for and there is something to report."""
    run = session.config.stash.get(RUN, None)
    if run is not None:
        run.write()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was found."""
    run = config.stash.get(RUN, None)
    if run is None or run.result is None:
        return
    from meridian_conformance.reports import console

    terminalreporter.section("Meridian conformance")
    if config.get_verbosity() > 0:
        terminalreporter.write(
            console.table(run.result, colour=terminalreporter.hasmarkup, folder=run.out) + "\n"
        )
    else:
        terminalreporter.write(console.brief(run.result) + "\n")
    for path in run.written[:3]:
        terminalreporter.write(f"{path}\n")
