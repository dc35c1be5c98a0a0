"""A function's module, and what it imports from its folder, reach the workers of a cluster that is joined."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

DRIVER = """
from tuneapp.backends import ray  # sets what Ray reads when it is imported
from ray.cluster_utils import Cluster
import tuneapp
from tuneapp.errors import UsageError

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    options = dict(samples=2, address=cluster.address, quiet=True, pictures=False)
    study = tuneapp.tune("own/objective.py:where", {"x": tuneapp.Float(0, 1)}, **options)
    print([study.value(trial) for trial in study.trials])
    cluster.shutdown()
"""


def test_the_folder_of_a_function_is_sent_to_the_cluster(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "objective.py").write_text(
        textwrap.dedent("""
        import neighbour
        def where(x):
            return float("working_dir_files" in __file__) + float("working_dir_files" in neighbour.__file__)
        """)
    )
    (tmp_path / "own" / "neighbour.py").write_text("")
    (tmp_path / "driver.py").write_text(DRIVER)
    answer = subprocess.run(
        [sys.executable, "driver.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200
    )
    assert answer.stdout.splitlines()[-1:] == ["[2.0, 2.0]"], answer.stderr
