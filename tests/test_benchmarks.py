"""The benchmarks run: what they find is in benchmarks/README.md, not here."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize(
    ("script", "says"),
    [("search_quality.py", "tuneapp better than random in"), ("training_speed.py", "small_cnn")],
)
def test_a_benchmarks_smoke_run_ends_with_numbers(script: str, says: str) -> None:
    process = subprocess.run(
        [sys.executable, FOLDER / script, "--smoke"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert says in process.stdout
