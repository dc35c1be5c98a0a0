"""What a trial prints: the cut in the middle never takes the end with it."""

import re
import subprocess
import sys
from pathlib import Path

LINES = 20_000
PROGRAM = f"""
import sys
from pathlib import Path
from tuneapp.backends import output

output.WATCH, output.LIMIT, output.HEAD, output.TAIL = 0, 4_000, 1_000, 1_000
kept = output.Output(Path(sys.argv[1]))
for line in range({LINES}):
    print(f"{{line:09d}}")
kept.close()
"""


def test_a_cut_loses_nothing_that_is_printed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "output.txt"
    subprocess.run([sys.executable, "-c", PROGRAM, path], check=True)
    head, count, tail = re.split(r"\n… ([\d,]+) bytes left out …\n", path.read_text(encoding="utf-8"))
    everything = "".join(f"{line:09d}\n" for line in range(LINES))
    assert everything.startswith(head)
    assert everything.endswith(tail[-990:])
    # The count is of the program's own bytes and of the notices of earlier cuts, which are cut too.
    assert len(everything) <= len(head) + len(tail) + int(count.replace(",", "")) < len(everything) * 1.1
