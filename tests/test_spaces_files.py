"""Search-space files, the spaces that are shipped, and the flags."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_spaces import scalars, spaces

from tuneapp.errors import UsageError
from tuneapp.settings import Metric, Resources, SchedulerSettings, SearchSettings
from tuneapp.spaces import Categorical, Derived, Fixed, Float, Int, Normal, Ordinal, SearchSpace
from tuneapp.spaces import files as space_files
from tuneapp.spaces.files import SpaceFile, dump, load, parse, parse_param, parse_set, shipped, table

DESIGN = """\
version: 1
task: cifar10                        # built-in name, or package.module:function
metric: {name: val_accuracy, mode: max}
search: {algorithm: bayes, samples: 30, warmup: 10, repeats: 1, seed: 0}
scheduler: {type: asha, max_iterations: 30, grace: 3, reduction: 3}
resources: {cpus: 2, gpus: 0.25}
hyperparameters:
  lr:           {type: float, low: 1e-4, high: 0.3, log: true}
  batch_size:   {type: ordinal, choices: [32, 64, 128, 256]}
  optimizer:    {type: categorical, choices: [sgd, adam]}
  momentum:     {type: float, low: 0.8, high: 0.99, when: {optimizer: [sgd]}}
  model: small_cnn                   # a bare value is fixed
  epochs: 30
  steps:        {derived: "epochs * 50000 // batch_size"}      # whitelisted arithmetic, never exec
points:                              # evaluated first
  - {lr: 0.05, batch_size: 128, optimizer: sgd, momentum: 0.9}
"""


def test_the_whole_file_is_read():
    file = parse(DESIGN)
    assert file.task == "cifar10"
    assert file.metric == Metric("val_accuracy", "max")
    assert SearchSettings(**file.search) == SearchSettings(samples=30, warmup=10)
    assert SchedulerSettings(**file.scheduler) == SchedulerSettings(max_iterations=30, grace=3)
    assert Resources(**file.resources) == Resources(cpus=2, gpus=0.25)
    assert file.space == SearchSpace(
        {
            "lr": Float(1e-4, 0.3, log=True),
            "batch_size": Ordinal([32, 64, 128, 256]),
            "optimizer": Categorical(["sgd", "adam"]),
            "momentum": Float(0.8, 0.99, when={"optimizer": ["sgd"]}),
            "model": Fixed("small_cnn"),
            "epochs": 30,
            "steps": Derived("epochs * 50000 // batch_size"),
        },
        points=[{"lr": 0.05, "batch_size": 128, "optimizer": "sgd", "momentum": 0.9}],
    )


def test_hyperparameters_are_all_a_file_must_have():
    assert parse("hyperparameters: {x: {type: int, low: 1, high: 3}}") == SpaceFile(
        SearchSpace({"x": Int(1, 3)})
    )


def test_numbers_that_yaml_reads_as_strings_are_numbers():
    file = parse(
        "hyperparameters:\n"
        "  a: {type: float, low: 1e-4, high: '1e3', log: true}\n"
        "  b: {type: categorical, choices: [1e-4, 1E+2, -.5e1, '1e-4']}\n"
        "  c: 5e-4\n"
        "search: {samples: '12'}\n"
        "resources: {cpus: 5e-1}\n"
    )
    assert file.space.hyperparameters == {
        "a": Float(1e-4, 1000.0, log=True),
        "b": Categorical([1e-4, 100.0, -5.0, "1e-4"]),
        "c": Fixed(5e-4),
    }
    assert file.search == {"samples": 12}
    assert file.resources == {"cpus": 0.5}


def test_anchors_spare_repeating_a_condition():
    file = parse(
        "hyperparameters:\n"
        "  kind: {type: categorical, choices: [a, b]}\n"
        "  x: {type: int, low: 1, high: 3, when: &only {kind: [a]}}\n"
        "  y: {type: int, low: 1, high: 3, when: *only}\n"
    )
    assert file.space.hyperparameters["y"].when == {"kind": ["a"]}


def test_what_steers_may_count_at_its_best_and_be_traded_off():
    text = "metric: {name: val_loss, mode: min, at: best}\nalso: [{name: seconds}]\nhyperparameters: {}"
    file = parse(text)
    assert file.metric == Metric("val_loss", "min", "best")
    assert file.also == (Metric("seconds", "min"),)
    assert file.guessed == file.also  # its mode is left to its name
    assert parse(dump(file)) == file
    assert "at: last" not in dump(parse(DESIGN))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("also: [{name: a}]", "`also` must be a list of metrics beside `metric`"),
        ("metric: {name: a}\nalso: [{nam: b}]", r"`also\[0\].nam` is no key of `also`"),
        ("metric: {name: a, at: frist}", "line 1, column 23.*must be last or best, but got 'frist'"),
        ("options: {examples: 0}", "line 1, column 21: `options.examples` must be at least 1"),
        ("run: {backend: lcal}", "line 1, column 16: `run.backend` must be .*Did you mean 'local'"),
        ("run: {log: [mlfow]}", "Did you mean 'mlflow'"),
        ("run: {json: true}", "`run.json` is no key of `run`"),
    ],
)
def test_what_is_wrong_in_a_section_is_said_with_its_line(text, message):
    with pytest.raises(UsageError, match=message):
        parse(f"{text}\nhyperparameters: {{}}")


def test_sampling_is_read_by_its_old_name_too():
    old = parse("hyperparameters: {n: {type: int, low: 1, high: 9, strategy: random}}").space
    assert old.hyperparameters["n"] == Int(1, 9, sampling="random") == Int(1, 9, strategy="random")
    assert "strategy" not in dump(SpaceFile(old))
    with pytest.raises(UsageError, match="Did you mean 'random'"):
        parse("hyperparameters: {n: {type: int, low: 1, high: 9, strategy: randm}}")


@st.composite
def files(draw: st.DrawFn) -> SpaceFile:
    space = draw(spaces())
    D = len(space.searched)
    rows = draw(st.lists(st.lists(st.floats(0, 1), min_size=D, max_size=D), max_size=2))
    search = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "algorithm": st.sampled_from(["bayes", "random"]),
                "samples": st.integers(1, 99),
                "warmup": st.none() | st.integers(0, 99),
            },
        )
    )
    return SpaceFile(
        space=SearchSpace(space.hyperparameters, [space.decode(np.array(row)) for row in rows]),
        task=draw(st.none() | st.text(min_size=1)),
        metric=draw(st.none() | st.builds(Metric, st.text(), st.sampled_from(["max", "min"]))),
        search=search,
        scheduler=draw(st.fixed_dictionaries({}, optional={"max_iterations": st.integers(1, 99)})),
        resources=draw(st.fixed_dictionaries({}, optional={"gpus": st.floats(0, 1), "address": st.text()})),
    )


@given(files())
def test_a_file_comes_back_from_its_yaml(file):
    assert parse(dump(file)) == file


@given(st.dictionaries(st.sampled_from(["no", "y", "null", "x1", "é"]), scalars, min_size=1))
def test_odd_names_and_values_come_back_from_yaml(values):
    space = SearchSpace({name: Fixed(value) for name, value in values.items()})
    assert parse(dump(SpaceFile(space))).space.decode([]) == values


def test_a_dumped_file_has_one_line_a_hyperparameter():
    assert dump(replace(parse(DESIGN), resources={})).splitlines()[4:9] == [
        "scheduler: {type: asha, max_iterations: 30, grace: 3, reduction: 3}",
        "hyperparameters:",
        "  lr: {type: float, low: 0.0001, high: 0.3, log: true}",
        "  batch_size: {type: ordinal, choices: [32, 64, 128, 256]}",
        "  optimizer: {type: categorical, choices: [sgd, adam]}",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),  # § stands where the error must point
    [
        ("lr:           {", "lr: §{type: float} # {", "`lr` must have `low` and `high`"),
        ("type: float, low: 1e-4", "type: §flaot, low: 1e-4", "Did you mean 'float'?"),
        ("low: 1e-4", "§lwo: 1e-4", "Did you mean 'low'?"),
        ("low: 1e-4", "low: §0.5", "`lr.low` must be below high"),
        ("low: 1e-4", "low: §0", "`lr.low` must be above 0 with log: true"),
        ("log: true", "log: §1", "`lr.log` must be true or false, but got 1"),
        ("log: true", "step: §0", "`lr.step` must be above 0"),
        ("log: true", "§low: 0", "`lr.low` comes twice, first at line 8, column 31"),
        ("[32, 64, 128, 256]", "§[]", "`batch_size.choices` must hold at least one value"),
        ("32, 64", "§on, 64", "YAML reads on, off, yes and no as booleans"),
        ("{optimizer: [sgd]}", "{§optimiser: [sgd]}", "Did you mean 'optimizer'?"),
        ("{optimizer: [sgd]}", "{optimizer: [sgd, §adma]}", "Did you mean 'adam'?"),
        ("{optimizer: [sgd]}", "{optimizer: §adma}", "Did you mean 'adam'?"),
        ("{optimizer: [sgd]}", "{§steps: [1]}", "`momentum.when.steps` must be searched or fixed"),
        ("{optimizer: [sgd]}", "{§lr: [0.1]}", "`momentum.when.lr` must have values that can be listed"),
        ("{optimizer: [sgd]}", "§[sgd]", "`momentum.when` must be a mapping like {optimizer: [sgd]}"),
        ('"epochs * 50000 // batch_size"', '§"epochs // bach_size"', "Did you mean 'batch_size'?"),
        ('"epochs * 50000 // batch_size"', "§epochs ** 50000", "'epochs ** 50000' has no value at epochs=30"),
        ('"epochs * 50000 // batch_size"', "§print(1)", "`steps.derived` may call min, max"),
        ('"epochs * 50000 // batch_size"', "§1 + + * 2", "must be an arithmetic expression"),
        ("{lr: 0.05,", "{lr: §5,", "`points[0].lr` must lie from 0.0001 to 0.3"),
        (
            "{lr: 0.05,",
            "{§lrr: 0.05,",
            "`points[0].lrr` is no hyperparameter of this space. Did you mean 'lr'?",
        ),
        ("sgd, momentum", "adam, §momentum", "is active only when optimizer is sgd"),
        ("search:", "§serach:", "Did you mean 'search'?"),
        ("samples: 30", "§smaples: 30", "Did you mean 'samples'?"),
        ("samples: 30", "samples: §0", "`search.samples` must be at least 1, but got 0"),
        ("samples: 30", "samples: §3.5", "must be a whole number, but got 3.5"),
        ("samples: 30", "samples: §null", "must be a whole number, but got None"),
        ("samples: 30", "deterministic: §3", "must be true or false, but got 3"),
        ("bayes", "§byaes", "Did you mean 'bayes'?"),
        ("bayes", "§[bayes]", "`search.algorithm` must be a word"),
        ("type: asha", "type: §asah", "Did you mean 'asha'?"),
        ("gpus: 0.25", "gpus: §1.5", "a fraction or a whole number, but got 1.5"),
        ("gpus: 0.25", "§gpu: 0.25", "Did you mean 'gpus'?"),
        ("cpus: 2", "cpus: §many", "must be a finite number, but got 'many'"),
        ("mode: max", "mode: §up", "must be max or min, but got 'up'"),
        ("{name: val_accuracy, mode", "§{mode", "`metric` must have a `name`"),
        ("{name: val_accuracy, mode: max}", "§loss", "`metric` must map keys to values, but got 'loss'"),
        ("version: 1", "version: §2", "`version` must be 1, but got 2"),
        ("task: cifar10", "task: §10", "`task` must be a name or module:function"),
        ("model: small_cnn", "model: §[a, b]", "{type: categorical, choices: ['a', 'b']}"),
        ("model: small_cnn", "model:§", "`model` must have a value"),
        (
            "model: small_cnn",
            "§on: small_cnn",
            "`on` must be a name, but YAML reads it as True; quote it",
        ),
        ("model: small_cnn", "§my-model: small_cnn", "must be a name of letters"),
        ("model: small_cnn", "§lr: 3", "`lr` comes twice, first at line 8, column 3"),
        ("model: small_cnn", "model: §2026-02-31", "must be quoted"),
        ("model: small_cnn", "model: §2026-02-03", "but got date"),
        ("model: small_cnn", "model: §!!python/name:os.system", "no valid YAML"),
        ("model: small_cnn", "model: §.nan", "must be finite"),
        ("model: small_cnn", "model: {§<<: 3}", "no valid YAML"),
        ("model: small_cnn", "§\tmodel: small_cnn", "no valid YAML"),
        ("model: small_cnn", "model: a§: b", "no valid YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line_and_column(old, new, message):
    before, found, after = DESIGN.partition(old)
    assert found
    start = before + new.partition("§")[0]
    line, column = start.count("\n") + 1, len(start.rpartition("\n")[2]) + 1
    with pytest.raises(UsageError) as caught:
        parse(before + new.replace("§", "") + after, "my.yaml")
    assert str(caught.value).startswith(f"my.yaml, line {line}, column {column}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_cycle_of_conditions_is_shown():
    text = (
        "hyperparameters:\n"
        "  a: {type: categorical, choices: [x, y], when: {b: [1]}}\n"
        "  b: {type: int, low: 1, high: 3, when: {a: [x]}}\n"
    )
    with pytest.raises(
        UsageError, match=r"line 2, column 6: `a` must not depend on itself, but does: a -> b -> a"
    ):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must map keys to values, but is empty"),
        ("# nothing\n", "must map keys to values, but is empty"),
        ("- lr\n", "must map keys to values, but got list"),
        ("just words", "must map keys to values, but got str"),
        ("task: digits", "must have `hyperparameters`"),
        ("hyperparameters: 3", "line 1, column 18: `hyperparameters` must map names to domains"),
        ("hyperparameters: {x: 1}\npoints: {x: 1}", "line 2, column 9: `points` must be a list"),
        ("hyperparameters: {x: 1}\npoints: [3]", "line 2, column 10: `points[0]` must map names to values"),
        ("hyperparameters: {x: 1}\n---\nmore: 1", "line 2, column 1: it is no valid YAML"),
        ("hyperparameters: {x: *nothing}", "line 1, column 22: it is no valid YAML"),
        ("a: &a [*a]", "must nest at most 20 levels"),
        ("[" * 3000, "must nest at most 20 levels"),
        ("hyperparameters: {[1, 2]: 3}", "`[1, 2]` must be a name"),
        ("a\x00b", "no valid YAML"),
        ("hyperparameters: {x: \ud800}", "no valid YAML"),
    ],
)
def test_a_text_that_is_no_space_file_gives_one_clear_line(text, message):
    with pytest.raises(UsageError) as caught:
        parse(text, "my.yaml")
    assert str(caught.value).startswith("my.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_that_multiply_without_end_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(UsageError, match="at most 100000 values"):
        parse("\n".join(lines))


@given(st.text(max_size=60) | st.text("{}[]:,-&*!|>'\"#% \n\tab1.", max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text):
    refused = ""
    try:
        file = parse(f"hyperparameters:\n  x: {text}")
        assert parse(dump(file)) == file
    except UsageError as error:
        refused = str(error)
    assert "\n" not in refused


@given(
    st.integers(0, len(DESIGN)),
    st.integers(0, 20),
    st.sampled_from("{}[]:,-&*!|>'\"#% \n\t=?@`")
    | st.sampled_from(["!!bool x", "!!timestamp x", "!!set", "<<", "on"]),
)
def test_a_damaged_file_is_read_or_refused_in_one_line(start, length, put):
    refused = ""
    try:
        parse(DESIGN[:start] + put + DESIGN[start + length :])
    except UsageError as error:
        refused = str(error)
    assert "\n" not in refused


def test_a_file_that_cannot_be_read_gives_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"no 'digist'\. Did you mean 'digits'\?"):
        load("digist")
    with pytest.raises(UsageError, match=r"there is no '.*nothing\.yaml'"):
        load(str(tmp_path / "nothing.yaml"))
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load(str(tmp_path))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"task: caf\xe9")
    with pytest.raises(UsageError, match="must be a text in UTF-8, but is not at byte 9"):
        load(str(latin))


def test_a_file_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("\ufeff" + DESIGN, encoding="utf-8")
    assert load(str(path)) == parse(DESIGN)
    assert load(str(path)).source == str(path)


# --- flags


@pytest.mark.parametrize(
    ("text", "name", "domain"),
    [
        ("lr=float:1e-4:0.3:log", "lr", Float(1e-4, 0.3, log=True)),
        ("x=float:-5:5", "x", Float(-5, 5)),
        ("x=float:0:1:0.1", "x", Float(0, 1, step=0.1)),
        ("x=float:0.1:1:0.1:log", "x", Float(0.1, 1, step=0.1, log=True)),
        ("n=int:1:9:log", "n", Int(1, 9, log=True)),
        ("n=int:1:9:log:2", "n", Int(1, 9, log=True, step=2)),
        ("n = int:1:9:random", "n", Int(1, 9, sampling="random")),
        ("noise=normal:0:2", "noise", Normal(0, 2)),
        ("kind=cat:a,b", "kind", Categorical(["a", "b"])),
        ("kind=categorical:a, 1, 2.5, on", "kind", Categorical(["a", 1, 2.5, "on"])),
        ("kind=cat:true,false", "kind", Categorical([True, False])),
        ("kind=cat:null,5", "kind", Categorical([None, 5])),
        ("url=cat:http://a,http://b", "url", Categorical(["http://a", "http://b"])),
        ("size=ord:8,16,32", "size", Ordinal([8, 16, 32])),
        ("size=ordinal:8,16:random", "size", Ordinal([8, 16], sampling="random")),
    ],
)
def test_a_param_flag_is_a_domain(text, name, domain):
    assert parse_param(text) == (name, domain)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "must be given as in lr=float:1e-4:0.3:log, but got 'lr'"),
        ("=float:0:1", "must be given as in"),
        ("l-r=float:0:1", "must be given as in"),
        ("lr=", "must be given as in"),
        ("lr=flaot:0:1", "--param lr: No type of hyperparameter named 'flaot'"),
        ("lr=flaot:0:1", "Did you mean 'float'?"),
        ("lr=float", "--param lr: must be float:low:high"),
        ("lr=float:1", "--param lr: must be float:low:high"),
        ("lr=float:0:1:0.1:7", "--param lr: must be float:low:high"),
        ("lr=float:1:0", "--param lr: `low` must be below high"),
        ("lr=float:0:1:log", "--param lr: `low` must be above 0"),
        ("lr=float:0:1:lgo", "--param lr: `step` must be a finite number, but got 'lgo'"),
        ("n=int:0:1.5", "--param n: `high` must be a whole number, but got '1.5'"),
        ("kind=cat", "--param kind: `choices` must hold at least one value"),
        ("kind=cat:a,a", "--param kind: `choices[1]` must differ"),
        ("kind=cat:true,a", "--param kind: `choices[0]` must all be booleans or none"),
    ],
)
def test_a_param_flag_that_cannot_be_says_what_must_hold(text, message):
    with pytest.raises(UsageError) as caught:
        parse_param(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("optimizer=adam", "optimizer", "adam"),
        ("lr=1e-3", "lr", 1e-3),
        ("n=12", "n", 12),
        ("nesterov=true", "nesterov", True),
        ("depth=null", "depth", None),
        ("augment=none", "augment", "none"),
        ("word=on", "word", "on"),
        ("zip='01234'", "zip", "01234"),
        ("a=b=c", "a", "b=c"),
        ("x=nan", "x", "nan"),
    ],
)
def test_a_set_flag_is_a_value(text, name, value):
    assert parse_set(text) == (name, value)
    assert type(parse_set(text)[1]) is type(value)


def test_a_set_flag_without_a_value_is_refused():
    with pytest.raises(UsageError, match="as in optimizer=adam, but got 'optimizer'"):
        parse_set("optimizer")


# --- the table


def test_the_table_shows_each_hyperparameter():
    space = SearchSpace({**parse(DESIGN).space.hyperparameters, "noise": Normal(0, 1, sampling="random")})
    assert table(space) == [
        ("hyperparameter", "type", "range", "scale", "active", "first"),
        ("lr", "float", "0.0001 to 0.3", "log", "", ""),
        ("batch_size", "ordinal", "32, 64, 128, 256", "", "", ""),
        ("optimizer", "categorical", "sgd, adam", "", "", ""),
        ("momentum", "float", "0.8 to 0.99", "linear", "when optimizer is sgd", ""),
        ("model", "fixed", "small_cnn", "", "", ""),
        ("epochs", "fixed", "30", "", "", ""),
        ("steps", "derived", "= epochs * 50000 // batch_size", "", "", ""),
        ("noise", "normal", "0.0 ± 1.0", "random", "", ""),
    ]
    assert [row.first for row in table(parse(DESIGN).space)][1:5] == ["0.05", "128", "sgd", "0.9"]
    assert table(SearchSpace({"n": Int(1, 1_000_000, step=3)}))[1].range == "1 to 1000000 by 3"


# --- what is shipped


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_space_comes_back_from_its_own_dump(name):
    file = load(name)
    assert parse(dump(file)) == file
    assert yaml.safe_load(Path(file.source).read_text(encoding="utf-8"))["version"] == 1
    assert file.metric == Metric("val_accuracy", "max")


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "images"])
def test_a_shipped_space_of_pictures_is_searched_by_default(name):
    file = load(name)
    assert file.task == (None if name == "images" else name)
    assert SearchSettings(**file.search).warmup_trials == 10
    assert SchedulerSettings(**file.scheduler).type == "asha"
    assert file.space.points == ()  # the warm-up is counted as such


def test_shipped_spaces_are_found_in_the_package_of_a_wheel(tmp_path, monkeypatch):
    folder = tmp_path / "tuneapp" / "search_spaces"
    folder.mkdir(parents=True)
    (folder / "digits.yaml").write_text(DESIGN)
    monkeypatch.setattr(space_files, "__file__", str(tmp_path / "tuneapp" / "spaces" / "files.py"))
    assert shipped() == {"digits": folder / "digits.yaml"}
    assert load("digits") == parse(DESIGN)
