"""A program's result is found where programs print it: on either stream, as they print numbers."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tuneapp.errors import TuneappError, UsageError
from tuneapp.objective import Context
from tuneapp.tasks import commands


def run(folder: Path, code: str, *patterns: str, timeout: float | None = None) -> dict[str, Any]:
    """What `code` reports by the patterns; the metric that steers is `loss`."""
    (folder / "program.py").write_text(code)
    call = commands.objective("loss", f"{sys.executable} program.py", patterns, str(folder))
    return call({}, Context(folder=folder, timeout=timeout))


def matched(text: str, pattern: str = "loss={number}") -> dict[str, float]:
    return commands._matches(text, [commands.compiled(pattern)], "loss")


@pytest.mark.parametrize(
    "code",
    [
        "import logging; logging.basicConfig(level=20, format='%(message)s'); logging.info('loss=%.4f', 0.5)",
        "import sys; sys.stderr.write('loss=0.5')",  # no end of the line
        "import sys; print('begun'); print('loss=0.5', file=sys.stderr); print('over')",
        "import warnings; warnings.warn('loss=0.5')",
        "import sys; sys.stderr.write('50%|##'); print('loss=0.5', flush=True); sys.stderr.write('\\n')",
    ],
)
def test_a_result_on_stderr_is_found(code: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, code, "^(?:.*: )?loss={number}") == {"loss": 0.5}
    assert "loss=0.5" in capfd.readouterr().out


def test_the_last_match_counts_on_whichever_stream_it_comes(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "for k, stream in enumerate([sys.stdout, sys.stderr] * 2):\n"
        "    print(f'loss={k}', file=stream, flush=True); time.sleep(0.1)"
    )
    assert run(tmp_path, code, "loss={number}") == {"loss": 3.0}


@pytest.mark.parametrize("end", ["\\r", "\\n", "\\r\\n", ""])
def test_a_carriage_return_ends_a_line(end: str, tmp_path: Path) -> None:
    code = f"import sys; sys.stdout.write('\\rstep 1 loss=3{end or ' '}'); sys.stdout.write('loss=0.25{end}')"
    pattern = "^loss={number}$" if end else "loss={number}$"
    assert run(tmp_path, code, pattern) == {"loss": 0.25}


def test_a_character_that_comes_in_two_pieces_is_one(tmp_path: Path) -> None:
    code = "import os, time\nfor byte in 'größe=2\\n'.encode(): os.write(1, bytes([byte])); time.sleep(0.01)"
    assert run(tmp_path, code, "größe={number}") == {"loss": 2.0}


def test_much_on_both_streams_blocks_nobody(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for k in range(3000): print('x' * 200); print('y' * 200, file=sys.stderr)\n"
        "print('z' * 200_000); print('loss=1')"
    )
    assert run(tmp_path, code, "^loss={number}") == {"loss": 1.0}


@pytest.mark.parametrize("detach", [False, True])
def test_a_child_that_outlives_the_program_holds_nobody_up(detach: bool, tmp_path: Path) -> None:
    child = "import time; time.sleep(60)"
    code = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session={detach})\n"
        "print('loss=1')"
    )
    began = time.monotonic()
    assert run(tmp_path, code, "loss={number}") == {"loss": 1.0}
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5), ("-0.5", -0.5), ("+3", 3), (".25", 0.25), ("7.", 7), ("1e-3", 1e-3), ("1.5E+06", 1.5e6),
        ("-1.e5", -1e5), ("1,234,567.5", 1234567.5), ("1,234", 1234), ("inf", math.inf),
        ("-Infinity", -math.inf), ("95%", 95), ("3 (best 2)", 3), ("0.5, acc=0.1", 0.5), ("0.5.", 0.5),
        ("12,34.5", 12), ("2e", 2),
    ],
)  # fmt: skip
def test_number_stands_for_a_number_as_programs_print_it(text: str, value: float) -> None:
    if text == "12,34.5":  # neither thousands nor decimals: nobody can tell
        with pytest.raises(TuneappError, match="must match a whole number"):
            matched(f"loss={text}")
    else:
        assert matched(f"epoch 1 loss={text}") == {"loss": value}


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_number_stands_for_nan_too(text: str) -> None:
    assert math.isnan(matched(f"loss={text} ")["loss"])


@pytest.mark.parametrize("text", ["nano", "--", "infinite", "None", "", "abc"])
def test_number_stands_for_no_word(text: str) -> None:
    assert matched(f"loss={text}") == {}


@pytest.mark.parametrize("text", ["0,995", "3,5"])
def test_a_decimal_comma_is_refused_rather_than_cut(text: str) -> None:
    with pytest.raises(TuneappError, match="must match a whole number"):
        matched(f"loss={text}")
    with pytest.raises(TuneappError, match="must match a number"):
        matched(f"loss={text}", "loss=([0-9.,]+)")


@pytest.mark.parametrize("text", ["1e-05", "2.5E7", "3e+2"])
def test_an_exponent_that_a_pattern_leaves_out_is_refused_rather_than_cut(text: str) -> None:
    with pytest.raises(
        TuneappError, match=r"must match a whole number, but found .*\{number\} reads exponents"
    ):
        matched(f"loss={text}", "loss=([0-9.]+)")
    assert matched(f"loss={text}") == {"loss": float(text)}


@pytest.mark.parametrize(
    ("line", "pattern", "metrics"),
    [
        ("val loss=2", "(train|val) loss={number}", {"loss": 2}),
        ("loss=2 acc=0.5", "loss=(?P<loss>{number}) acc=(?P<acc>{number})", {"loss": 2, "acc": 0.5}),
        ("1,0.5,7", "^{number},", {"loss": 1}),
        ("1,0.5,7", r"^\d+,{number},", {"loss": 0.5}),
        ('{"loss": 1e-3}', '"loss": {number}', {"loss": 1e-3}),
        ("b=2", r"a=(\d)|b=(\d)", {"loss": 2}),
        ("b=2", r"a=(?P<a>{number})|b=(?P<b>{number})", {"b": 2}),
        ("\x1b[1mloss=\x1b[32m0.5\x1b[0m", "loss={number}", {"loss": 0.5}),
        ("loss=0.5", "loss=([0-9.]+)", {"loss": 0.5}),
    ],
)
def test_patterns_say_which_numbers_count(line: str, pattern: str, metrics: dict[str, float]) -> None:
    assert matched(line, pattern) == metrics


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("loss", "must say where the number is: 'loss={number}'"),
        ("(", "no regular expression"),
        ("{number} {number}", r"must name each of its numbers: '(?P<loss>{number})'"),
        ("a=(?P<a>{number}) b={number}", "must name each of its numbers"),
    ],
)
def test_a_pattern_that_says_no_number_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        commands.compiled(pattern)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('Loss: 3')", "its last line is 'Loss: 3'. {number} stands for a number: 'loss={number}'."),
        ("pass", "it printed nothing"),
    ],
)
def test_a_result_that_is_not_found_teaches_the_pattern(code: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(TuneappError) as raised:
        run(tmp_path, code, "loss={number}")
    assert says in str(raised.value)
