"""`tuneapp doctor` starts what tuneapp needs, and names what is broken."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuneapp.cli import app

ABOUT = ["versions", "torch", "machine", "matrix products", "GPUs", "data dir", "runs", "Ray", "extras"]


def doctor(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.stdout


@pytest.mark.ray
def test_a_machine_that_passes_the_tests_is_fit(tmp_path: Path) -> None:
    code, output = doctor("--data-dir", str(tmp_path), "--runs-dir", str(tmp_path / "not" / "there"))
    assert code == 0
    looked_at = [line.split(":")[0][2:] for line in output.splitlines() if line[:1] in "✓!✗"]
    assert looked_at == ABOUT
    assert "and a worker answers" in output
    assert not (tmp_path / "not").exists()  # it looks, and leaves nothing
    assert list(tmp_path.iterdir()) == []


def test_what_is_broken_is_named_with_what_to_do_and_fails(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("")
    code, output = doctor("--runs-dir", str(file / "runs"), "--address", "127.0.0.1:1")
    assert code == 1
    assert f"✗ runs: {file / 'runs'} is not writable: Not a directory\n    Choose another" in output
    assert "✗ Ray: does not serve: A Ray cluster must answer at --address 127.0.0.1:1, but none" in output
    assert output.endswith("Broken: runs, Ray.\n")


def test_kernels_held_below_what_the_cpu_can_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneapp.backends import doctor

    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert doctor._products().advice == ""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    for wide in (False, True):
        monkeypatch.setattr(doctor, "_has_avx512", lambda wide=wide: wide)
        assert ("unset it" in doctor._products().advice) is wide


@pytest.mark.parametrize("address", ["somewhere", "host:port", ":6379", "ray://host"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    from tuneapp.backends.ray import cluster
    from tuneapp.errors import UsageError
    from tuneapp.settings import Resources

    with (
        pytest.raises(UsageError, match=r"--address must be HOST:PORT"),
        cluster.connected(Resources(address=address)),
    ):
        raise AssertionError("nothing is started")
