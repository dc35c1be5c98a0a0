"""What the house promises of its own lists and files."""

import re
from importlib.metadata import version
from pathlib import Path

import tuneapp

TESTS = Path(__file__).parent


def test_the_tests_that_take_long_are_there() -> None:
    names = {
        (path.name, name)
        for path in TESTS.glob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    listed = (TESTS / "long_tests.txt").read_text().split()
    assert listed == sorted(set(listed))
    gone = [line for line in listed if (line.split("::")[0], line.split("::")[-1]) not in names]
    assert not gone, "renamed or deleted; tests/long_tests.txt should follow"


def test_the_version_is_the_same_wherever_it_stands() -> None:
    assert tuneapp.__version__ == version("tuneapp")
