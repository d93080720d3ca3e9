import pytest

from meridian_conformance import __version__, cli


def test_version_is_printed_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"meridian-conform {__version__}\n"


def test_without_profiles_the_result_is_inconclusive_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "nothing was checked" in said.err


def test_an_unknown_argument_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--profile", "core"])
    assert stop.value.code == 2
