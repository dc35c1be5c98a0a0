"""Settings: declared once and found everywhere; the frozen request is the same after a trip through JSON."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tuneapp.cli import app
from tuneapp.cli.flags import PANELS
from tuneapp.declarations import STUDIES, Declared, names_in
from tuneapp.errors import UnknownName, UsageError
from tuneapp.settings import (
    Metric,
    Request,
    Resources,
    SchedulerSettings,
    SearchSettings,
    Settings,
    SettingsDict,
    all_settings,
    by_section,
    markdown,
)
from tuneapp.spaces.files import dump, parse


def test_a_request_survives_json_and_ignores_what_a_newer_version_added() -> None:
    request = Request(
        "digits",
        {"hyperparameters": {"lr": 0.1}},
        Metric("val_loss", "min"),
        options={"examples": 100},
        search=SearchSettings(samples=7),
        scheduler=SchedulerSettings(max_iterations=9),
        resources=Resources(cpus=2, gpus=0.25),
    )
    data = json.loads(json.dumps(request.to_json()))
    data["search"]["invented_later"] = 1
    assert Request.from_json(data) == request


@pytest.mark.parametrize(("iterations", "grace"), [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3), (300, 30)])
def test_grace_is_a_tenth_of_the_iterations_rounded_up(iterations: int, grace: int) -> None:
    assert SchedulerSettings(max_iterations=iterations).grace_iterations == grace


@pytest.mark.parametrize(
    "make",
    [
        lambda: SearchSettings(samples=0),
        lambda: SearchSettings(repeats=0),
        lambda: SearchSettings(seed=-1),
        lambda: SearchSettings(warmup=-1),
        lambda: SchedulerSettings(max_iterations=0),
        lambda: SchedulerSettings(reduction=1),
        lambda: SchedulerSettings(grace=0),
        lambda: Resources(cpus=0),
        lambda: Resources(cpus=float("nan")),
        lambda: Resources(gpus=-0.5),
        lambda: Resources(gpus=1.5),
        lambda: Resources(concurrent=0),
        lambda: Metric("x", "maximum"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(UsageError, match="but got"):
        make()  # type: ignore[operator]


def test_names_that_others_own_are_checked_where_a_setting_comes_in() -> None:
    with pytest.raises(UnknownName, match=r"`search` must be .* but got 'bayess'\. Did you mean 'bayes'"):
        by_section({"search": "bayess"})
    with pytest.raises(UnknownName, match="Did you mean 'sobol'"):
        SearchSettings(warmup_design="sobl")  # type: ignore[arg-type]


def test_a_run_of_a_search_that_is_not_here_can_still_be_read() -> None:
    request = Request("digits", {}, Metric("x"), search=SearchSettings("a search of a plugin's"))
    assert Request.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("text", "mode", "metric", "guessed"),
    [
        ("val_accuracy", None, Metric("val_accuracy", "max"), True),
        ("val_loss", None, Metric("val_loss", "min"), True),
        ("seconds", None, Metric("seconds", "min"), True),
        ("seconds", "max", Metric("seconds", "max"), False),
        ("seconds:min", "max", Metric("seconds", "min"), False),
        ("val_loss:min:best", None, Metric("val_loss", "min", "best"), False),
        ("val_loss:best:min", None, Metric("val_loss", "min", "best"), False),
        ("f1:best", None, Metric("f1", "max", "best"), True),
        ("metrics/mAP50-95(B)", None, Metric("metrics/mAP50-95(B)"), True),
        ("val.loss:min", None, Metric("val.loss", "min"), False),
        ("a=b, c:max", None, Metric("a=b, c", "max"), False),
        ("ü", None, Metric("ü"), True),
        ("validation:top:1:max", None, Metric("validation:top:1"), False),
        ("validation:top:1:best", "max", Metric("validation:top:1", "max", "best"), False),
        ("mine:max:max", None, Metric("mine:max", "max"), False),
        ("min", None, Metric("min"), True),
    ],
)
def test_a_metric_is_read_from_its_end(text: str, mode: Any, metric: Metric, guessed: bool) -> None:
    assert Metric.parse(text, mode) == (metric, guessed)


@pytest.mark.parametrize("text", ["loss:mni", "loss:low", "loss:bst:min:best:", "", ":min"])
def test_a_metric_with_a_slip_in_its_mode_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="but got"):
        Metric.parse(text)


def test_later_layers_count_before_earlier_ones() -> None:
    settings = Settings.of({"search": {"samples": 5, "seed": 1}}, {"search": {"samples": 7}})
    assert settings.search == SearchSettings(samples=7, seed=1)
    assert Settings.of() == Settings()


def test_an_unknown_setting_names_the_nearest_and_one_of_others_says_whose() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'samples'"):
        by_section({"sampels": 3})
    with pytest.raises(UsageError, match="`gpus` is no setting of resume; it takes samples"):
        by_section({"gpus": 1}, "resume")
    assert by_section({"gpus": None, "search": "grid"}) == {"search": {"algorithm": "grid"}}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"samples": 2.5}, "`samples` must be a whole number, but got 2.5"),
        ({"samples": True}, "`samples` must be a whole number, but got True"),
        ({"cpus": "many"}, "`cpus` must be a finite number, but got 'many'"),
        ({"trial_timeout": 0}, "`trial_timeout` must be above 0 seconds, but got 0"),
        ({"deterministic": 1}, "`deterministic` must be true or false, but got 1"),
        ({"name": 3}, "`name` must be a word, but got 3"),
        ({"log": 3}, "`log` must be a word or a list of words, but got 3"),
        ({"log": ["tensorbord"]}, "Did you mean 'tensorboard'"),
        ({"runs_dir": 3}, "`runs_dir` must be a word, but got 3"),
        ({"mode": "up"}, "`mode` must be max or min, but got 'up'"),
    ],
)
def test_a_value_of_the_wrong_kind_says_what_must_hold(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        by_section(given)


def test_names_are_read_from_the_source_of_what_nobody_has_imported() -> None:
    code = (
        "import sys; from tuneapp.settings import all_settings\n"
        "chosen = [each for each in all_settings().values() if each.setting.choices]\n"
        "names = {each.setting.choices: each.names for each in chosen}\n"
        "assert not {'ray', 'torch', 'numpy'} & set(sys.modules)\n"
        "import json; print(json.dumps(names))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = json.loads(answer.stdout)
    assert len(names) >= 5
    for place, listed in {**names, **{place: names_in(place) for place in OF_FLAGS}}.items():
        module, _, name = place.partition(":")
        assert listed == list(getattr(importlib.import_module(module), name)), place


OF_FLAGS = (
    "tuneapp.models:MODELS",
    "tuneapp.federated.partitions:PARTITIONS",
    "tuneapp.federated.strategies:STRATEGIES",
)


class TestEverySetting:
    """Declared once, it is everywhere."""

    everyone = pytest.mark.parametrize("each", all_settings().values(), ids=all_settings().keys())

    @everyone
    def test_is_a_flag_of_its_commands_and_of_no_other(self, each: Declared) -> None:
        commands: Any = typer.main.get_command(app)
        for command in (*STUDIES, "resume"):
            spelled = {flag for parameter in commands.commands[command].params for flag in parameter.opts}
            wanted = set(each.flags(command))
            assert wanted <= spelled if command in each.setting.commands else not wanted & spelled, command

    @everyone
    def test_is_a_keyword_of_the_python_api(self, each: Declared) -> None:
        assert each.keyword in SettingsDict.__annotations__

    @everyone
    def test_is_a_key_of_a_search_space_file(self, each: Declared) -> None:
        section, key = each.yaml.split(".")
        value = _example(each)
        text = f"hyperparameters: {{}}\n{section}: {json.dumps({'name': 'loss', key: value})}"
        file = parse(text if section == "metric" else text.replace('"name": "loss", ', ""))
        if section == "metric":
            assert file.metric is not None
            assert getattr(file.metric, key) == value
        else:
            assert getattr(file, section) == {key: value}
            assert each.read(file.sections[section][each.name]) == each.read(value)
        assert parse(dump(file)) == file

    @everyone
    def test_says_what_it_means_in_a_sentence(self, each: Declared) -> None:
        assert each.setting.help[0].isupper()
        assert each.setting.help.endswith(".")
        assert each.setting.panel in PANELS

    def test_there_is_no_keyword_that_is_no_setting(self) -> None:
        assert list(SettingsDict.__annotations__) == list(all_settings())

    def test_docs_settings_md_is_current(self) -> None:
        page = Path(__file__).parent.parent / "docs" / "settings.md"
        assert page.read_text(encoding="utf-8") == markdown(), "python -m tuneapp.settings > docs/settings.md"


def _example(each: Declared) -> Any:
    """A value that a file may hold."""
    if each.keyword == "until":
        return "loss<=0.5"
    if each.names:
        return [each.names[-1]] if each.repeatable else each.names[-1]
    if each.kind in (int, float):
        return 2
    if each.kind is bool:
        return not each.default
    return ["x"] if each.repeatable and each.section != "metric" else "x"
