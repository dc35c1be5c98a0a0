"""The README is true: its commands run, word for word, in a folder of their own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line.split(" #")[0].rstrip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("tuneapp ")]


def needs_real_images(command: str) -> bool:
    return "cifar10" in command or command.startswith("tuneapp fed --clients")


# Minutes each: real images, or thirty trials of them.
SLOW = [command for command in commands() if needs_real_images(command) or "scenes --samples" in command]
QUICK = [command for command in commands() if command not in SLOW]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would be: beside docs/, with some images."""
    here = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "docs" / "examples", here / "docs" / "examples")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 6)):
        for label in ("day", "night"):
            place = here / "path" / "to" / "images" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 100, (70, 64, 3)) + (150 if label == "day" else 0)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return here


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.timeout(600)
def test_every_quick_command_runs_in_the_order_of_the_readme(folder: Path) -> None:
    assert len(QUICK) >= 12
    for command in QUICK:
        run([sys.executable, "-m", *shlex.split(command)], folder, TUNEAPP_DATA=str(folder / "data"))
    assert (folder / "exported" / "model.safetensors").is_file()
    reports = list((folder / "runs").glob("*/report.html"))
    assert len(reports) >= 5


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("command", SLOW)
def test_every_slow_command_runs_on_real_images(command: str, folder: Path, real_data: Path) -> None:
    own = ["--data-dir", str(folder / "data")] if "scenes" in command else []
    if own:
        imported = ["data", "import", "scenes", "path/to/images", "--size", "64", "--overwrite"]
        run([sys.executable, "-m", "tuneapp", *imported, *own], folder)
    done = run([sys.executable, "-m", *shlex.split(command), *own], folder)
    assert "test_accuracy" in done.stdout


def test_the_python_example_runs_as_a_script(folder: Path) -> None:
    (example,) = blocks("python")
    (folder / "example.py").write_text(example)
    found = yaml.safe_load(run([sys.executable, "example.py"], folder).stdout.splitlines()[-1])
    assert set(found) == {"x", "y"}


def test_the_space_file_shown_is_the_example_that_is_run() -> None:
    (shown,) = blocks("yaml")
    assert shown == (ROOT / "docs" / "examples" / "space.yaml").read_text()


def test_ci_runs_the_readmes_test_command() -> None:
    install_and_test = blocks("sh")[1].strip()
    assert install_and_test in (ROOT / ".ci" / "run").read_text()


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target
    for path in re.findall(
        r"\b(?:tuneapp|tests|docs|benchmarks|scripts)/[\w/.-]+\w", text.replace("\\_", "_")
    ):
        assert (ROOT / path).exists(), path


def test_the_readmes_picture_is_small() -> None:
    assert (ROOT / "docs" / "pictures" / "report.png").stat().st_size < 300_000
