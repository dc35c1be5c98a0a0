"""What every kind of task promises, whatever it is; and what a study is told at its start."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest

from tuneapp import tasks
from tuneapp.errors import UsageError
from tuneapp.session import make_request
from tuneapp.settings import Request, Settings
from tuneapp.spaces import Fixed, Float, SearchSpace
from tuneapp.tasks import KINDS, Command, Task
from tuneapp.training.loop import EPOCHS

HERE = Path(__file__)


def score(x: Annotated[float, Float(0, 1)]) -> float:
    return x


def steps(x: Annotated[float, Float(0, 1)]) -> Iterator[dict[str, float]]:
    yield {"loss": x}


def told(x: float, context: Any) -> float:
    return x * context.max_iterations


told.max_iterations = 7  # type: ignore[attr-defined]

PROGRAM = Command("python train.py {x}", ("loss={number}",))
# kind -> what a user names, and the space where the task has none of its own
NAMED: dict[str, tuple[Any, SearchSpace | None]] = {
    "images": ("digits", None),
    "federated": ("fed-digits", None),
    "function": (f"{HERE}:score", None),
    "command": (PROGRAM, SearchSpace({"x": Float(0, 1)})),
}


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest) -> Task:
    return tasks.find(*NAMED[request.param])


def request_of(task: Task, space: SearchSpace | None = None, **rest: Any) -> Request:
    return make_request(task, space or task.file.space, Settings.of(task.file.sections, rest))[0]


def test_a_task_comes_back_from_its_record(task: Task) -> None:
    request = Request.from_json(json.loads(json.dumps(request_of(task).to_json())))
    assert tasks.from_record(request) == task
    assert {"task": request.task, "options": request.options} == task.record()
    assert tasks.moved(request, Path("/elsewhere")).task.startswith("/elsewhere/") == task.name.startswith(
        "/"
    )


def test_a_task_moves_with_the_folder_that_its_files_are_in(task: Task) -> None:
    moved = tasks.moved(request_of(task), Path("/elsewhere"))
    assert moved.options.get("folder", "/elsewhere") == "/elsewhere"
    assert moved.task == task.name.replace(str(HERE.parent), "/elsewhere")


def test_the_space_of_a_task_searches_something(task: Task) -> None:
    assert task.file.space.searched


def test_a_task_names_each_kind_that_takes_it(task: Task) -> None:
    takers = [name for name, kind in KINDS.items() if kind.takes(task.name)]
    assert KINDS[takers[-1]] is type(task)


def test_a_task_refuses_a_config_that_it_could_not_run(task: Task) -> None:
    hyperparameters = {**task.file.space.hyperparameters, "nosuch": Fixed(1)}
    hyperparameters.pop("x", None)
    with pytest.raises(UsageError, match=r"nosuch|x"):
        task.check(request_of(task, SearchSpace(hyperparameters)))


def test_a_task_refuses_an_option_of_another_kind(task: Task) -> None:
    request = replace(request_of(task), options={"nosuch": 1})
    with pytest.raises(UsageError, match=r"`nosuch` means nothing to .*, an? .+ that takes"):
        task.check(request)


def test_a_task_whose_config_fits_is_built_with_what_it_promises(task: Task) -> None:
    runnable = task.check(request_of(task))
    assert callable(runnable.objective)
    assert (runnable.conclude is not None) == task.has_test_set


@pytest.mark.parametrize("name", ["images", "federated", "function"])
def test_what_is_loaded_is_loaded_once_in_a_process(name: str) -> None:
    task = tasks.find(*NAMED[name])
    request = request_of(task)
    assert tasks.build(request) is task.build(request)


def test_a_task_is_built_in_a_fresh_process_from_its_record_alone(task: Task) -> None:
    code = (
        "import json, sys; from tuneapp import tasks; from tuneapp.settings import Request\n"
        "built = tasks.build(Request.from_json(json.loads(sys.stdin.read())))\n"
        "print(callable(built.objective))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(request_of(task).to_json()),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert answer.stdout.strip() == "True", answer.stderr


def test_the_process_of_a_plain_function_imports_neither_torch_nor_ray(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("def score(x): return x")
    code = (
        "import sys; from tuneapp import tasks\n"
        f"task = tasks.find('{tmp_path}/plain.py:score'); task.function\n"
        "print(sorted({'torch', 'ray', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_new_kind_needs_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Constant(tasks.Task):
        @classmethod
        def takes(cls, target: Any) -> bool:
            return isinstance(target, str) and target.startswith("constant:")

        @classmethod
        def find(cls, target: Any, file: Any, data_dir: Any) -> Task:
            return cls(target, file=file)

        def build(self, request: Request) -> tasks.Runnable:
            return tasks.Runnable(lambda config, context: float(self.name.partition(":")[2]))

    monkeypatch.setitem(KINDS, "constant", Constant)
    task = tasks.find("constant:4", SearchSpace({"x": Float(0, 1)}))
    request = request_of(task)
    assert tasks.from_record(request) == task
    assert tasks.build(request).objective({}, None) == 4.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (None, "A task must be named"),
        ("digit", "Did you mean 'digits'"),
        ("fed-digit", "Did you mean 'digits'"),
        ("command", "--command 'python"),
        (3, "must be a name, a function or a Command, but got int: 3"),
        ("nosuch.py:score", "nosuch.py does not"),
    ],
)
def test_what_is_no_task_is_refused(target: Any, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        tasks.find(target)
    assert says in str(raised.value)


def test_options_that_flags_add_are_looked_at_before_a_study_starts() -> None:
    task = tasks.find("digits")
    request = request_of(task, options={"examples": 3})
    with pytest.raises(UsageError, match="10 examples or more"):
        task.check(request)


def test_a_function_given_to_a_task_that_takes_none_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no function"):
        tasks.from_record(request_of(tasks.find("digits")), score)


def test_a_task_names_its_limit_where_nobody_else_does() -> None:
    bare = SearchSpace({"lr": Float(1e-3, 1)})
    assert request_of(tasks.find("digits")).scheduler.max_iterations == 20  # its shipped space says so
    assert request_of(tasks.find("digits", bare)).scheduler.max_iterations == EPOCHS
    assert request_of(tasks.find("fed-digits", bare)).scheduler.max_iterations == 32
    assert request_of(tasks.find(steps)).scheduler.max_iterations is None
    assert request_of(tasks.find(told, SearchSpace({"x": 1}))).scheduler.max_iterations == 7


def test_who_knows_the_limit_ends_by_itself() -> None:
    assert tasks.find("digits").knows_limit
    assert tasks.find(told).knows_limit
    assert not tasks.find(steps).knows_limit


@pytest.mark.parametrize("limit", [0, -1, 2.5, "9"])
def test_a_functions_own_limit_must_be_a_number_of_iterations(limit: Any) -> None:
    def limited(x: float) -> float:
        return x

    limited.max_iterations = limit  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"limited\.max_iterations must be a whole number"):
        _ = tasks.find(limited).max_iterations


@pytest.mark.parametrize(
    ("target", "space", "notes"),
    [
        (
            score,
            None,
            [
                "space: 1 hyperparameter, from the annotations of score() (--space, --param, --set)",
                "metric: 'score', the number that score() gives, to be maximised (--metric, --mode)",
            ],
        ),
        (
            steps,
            SearchSpace({"x": Float(0, 1)}),
            [
                "metric: 'score', the number that steps() gives, to be maximised (--metric, --mode)",
                "limit: none, a trial runs until steps() ends (--max-iterations)",
            ],
        ),
        (
            "digits",
            None,
            [
                "space: 9 hyperparameters, shipped for digits (--space, --param, --set)",
                "limit: 20 epochs per trial (--max-iterations)",
            ],
        ),
        (
            PROGRAM,
            SearchSpace({"x": Float(0, 1)}),
            ["metric: 'score', the number that matches 'loss={number}', to be maximised (--metric, --mode)"],
        ),
    ],
)
def test_what_was_guessed_is_told_in_a_line_each(target: Any, space: Any, notes: list[str]) -> None:
    task = tasks.find(target, space)
    assert task.notes(request_of(task)) == notes
