"""Search-space files: YAML in and out, every error with its line; the spaces that tuneapp ships; flags."""

import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tuneapp.declarations import declared
from tuneapp.errors import UsageError, lookup, nearest
from tuneapp.settings import (
    Budget,
    Metric,
    Options,
    Resources,
    RunSettings,
    SchedulerSettings,
    SearchSettings,
    usual_mode,
)
from tuneapp.spaces import (
    DOMAINS,
    Derived,
    Domain,
    Fixed,
    Normal,
    SearchSpace,
    SpaceError,
    describe_condition,
)
from tuneapp.spaces.base import known_keys
from tuneapp.spaces.ranges import Number
from tuneapp.spaces.section import EffectsSection

VERSION = 1
SECTIONS = {
    "search": SearchSettings,
    "scheduler": SchedulerSettings,
    "budget": Budget,
    "resources": Resources,
    "options": Options,
    "run": RunSettings,
}
METRIC_KEYS = ("name", "mode", "at")
KEYS = ("version", "task", "metric", "also", *SECTIONS, "hyperparameters", "points", "effects")
MAX_NODES = 100_000  # of a file with its aliases written out; nine nested lists of nine would be 10**9
MAX_DEPTH = 20


@dataclass(frozen=True)
class SpaceFile:
    """A search-space file as read. What it does not say is left to the defaults and to flags."""

    space: SearchSpace
    task: str | None = None  # a built-in name, or package.module:function
    metric: Metric | None = None
    also: tuple[Metric, ...] = ()  # others, traded off against it
    search: dict[str, Any] = field(default_factory=dict)  # keywords of SearchSettings
    scheduler: dict[str, Any] = field(default_factory=dict)  # keywords of SchedulerSettings
    budget: dict[str, Any] = field(default_factory=dict)  # keywords of Budget
    resources: dict[str, Any] = field(default_factory=dict)  # keywords of Resources
    options: dict[str, Any] = field(default_factory=dict)  # keywords of Options
    run: dict[str, Any] = field(default_factory=dict)  # keywords of RunSettings
    effects: dict[str, Any] | None = None  # tables of `tuneapp effects`: see EffectsSection
    source: str = field(default="", compare=False)  # the file, as it was named
    guessed: tuple[Metric, ...] = field(default=(), compare=False)  # whose mode the file leaves open

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """What `Settings.of` takes."""
        return {
            name: {key: declared(name, kind)[key].read(value) for key, value in getattr(self, name).items()}
            for name, kind in SECTIONS.items()
        }


def load(name_or_path: str) -> SpaceFile:
    """A shipped space by its name, or a file by its path.

    Raises UsageError, with line and column where there is one, for anything that could not be run.
    """
    known = shipped()
    path = known.get(name_or_path, Path(name_or_path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"A search space must be a file or one of {', '.join(known)}, but there is no "
            f"'{name_or_path}'.{nearest(name_or_path, known)}"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} must be a text in UTF-8, but is not at byte {error.start}.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    return parse(text, str(path))


def shipped() -> dict[str, Path]:
    """Name -> file of the spaces that come with tuneapp."""
    package = Path(__file__).parent.parent
    inside = package / "search_spaces"  # of an installed wheel
    folder = inside if inside.is_dir() else package.parent / "search_spaces"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def parse(text: str, source: str = "search space") -> SpaceFile:
    """A file's text; `source` is what errors call it."""
    document = _Document(text, source)
    try:
        return _space_file(document.data, source)
    except SpaceError as error:
        raise UsageError(f"{source}, {document.where(error)}: {error}") from None


def dump(file: SpaceFile) -> str:
    """The YAML text, one line per hyperparameter. `parse(dump(f)) == f`."""
    space = file.space.to_dict()
    lines = [f"version: {VERSION}"]
    if file.task is not None:
        lines.append(_line("task", file.task))
    if file.metric is not None:
        lines.append(_line("metric", _metric_keys(file.metric)))
    if file.also:
        lines.append(_line("also", [_metric_keys(metric) for metric in file.also]))
    lines += [_line(section, getattr(file, section)) for section in SECTIONS if getattr(file, section)]
    lines.append("hyperparameters:" if space["hyperparameters"] else "hyperparameters: {}")
    lines += [f"  {_line(name, spec)}" for name, spec in space["hyperparameters"].items()]
    if "points" in space:
        lines += ["points:", *(f"  - {_flow(point)}" for point in space["points"])]
    if file.effects is not None:
        lines.append(_line("effects", file.effects))
    return "\n".join(lines) + "\n"


def parse_param(text: str) -> tuple[str, Domain]:
    """A domain from a flag.

    `lr=float:1e-4:0.3:log`, `x=float:0:1:0.1` (step), `n=int:1:9:log`, `noise=normal:0:1`, `kind=cat:a,b`,
    `size=ord:8,16,32`; `:random` at the end keeps the hyperparameter out of the model.
    """
    name, value = _split(text, "lr=float:1e-4:0.3:log")
    kind_name, *parts = value.split(":")
    try:
        kind: Any = DOMAINS[lookup(kind_name, FLAG_TYPES, "type of hyperparameter")]
        fixed: dict[str, Any] = {}
        if parts and parts[-1] == "random":
            fixed["sampling"] = parts.pop()
        if kind_name in ("cat", "categorical", "ord", "ordinal"):
            choices = ":".join(parts)
            return name, kind(choices=[_scalar(c) for c in choices.split(",")] if choices else (), **fixed)
        if issubclass(kind, Number) and "log" in parts[2:]:
            parts.remove("log")
            fixed["log"] = True
        names = ["mean", "sd"] if kind is Normal else ["low", "high", "step"]
        if not 2 <= len(parts) <= len(names):
            expected = ":".join(names[:2])
            raise UsageError(f"must be {kind_name}:{expected}, but got {value}.")
        return name, kind(**dict(zip(names, parts, strict=False)), **fixed)
    except UsageError as error:
        raise UsageError(f"--param {name}: {error}") from None


def parse_set(text: str) -> tuple[str, Any]:
    """A value from a flag: `optimizer=adam`, `lr=1e-3`, `nesterov=true`, `kind=null`, `zip="01234"`."""
    name, value = _split(text, "optimizer=adam")
    return name, _scalar(value)


class TableRow(NamedTuple):
    """One line of the table that shows a space."""

    name: str
    type: str
    range: str
    scale: str
    condition: str
    first: str  # the value in the first point, where there is one


def table(space: SearchSpace) -> list[TableRow]:
    """The hyperparameters in order, below a row of titles."""
    first = space.points[0] if space.points else {}
    rows = [TableRow("hyperparameter", "type", "range", "scale", "active", "first")]
    for name, domain in space.hyperparameters.items():
        shown = str(first.get(name, ""))
        condition = describe_condition(domain)
        rows.append(TableRow(name, domain.type, _range(domain), _scale(domain), condition, shown))
    return rows


def _space_file(data: Any, source: str) -> SpaceFile:
    if not isinstance(data, Mapping):
        came = "is empty" if data is None else f"got {type(data).__name__}"
        raise SpaceError(f"A search-space file must map keys to values, but {came}.")
    known_keys(data, KEYS, "a search-space file")
    version = data.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise SpaceError(f"must be {VERSION}, but got {version!r}; a newer tuneapp may read it.", "version")
    task = data.get("task")
    if task is not None and (not isinstance(task, str) or not task):
        raise SpaceError(f"must be a name or module:function, but got {task!r}.", "task")
    if "hyperparameters" not in data:
        raise SpaceError("A search-space file must have `hyperparameters`.")
    if "effects" in data:
        EffectsSection.read(data["effects"])
    metrics = [_metric(data["metric"], "metric")] if "metric" in data else []
    also = data.get("also", [])
    if not isinstance(also, list) or (also and not metrics):
        raise SpaceError(f"must be a list of metrics beside `metric`, but got {also!r:.60}.", "also")
    metrics += [_metric(each, "also", position) for position, each in enumerate(also)]
    return SpaceFile(
        space=SearchSpace.from_dict({key: data[key] for key in ("hyperparameters", "points") if key in data}),
        task=task,
        metric=metrics[0][0] if metrics else None,
        also=tuple(metric for metric, _ in metrics[1:]),
        **{section: _section(section, data.get(section)) for section in SECTIONS},
        effects=data.get("effects"),
        source=source,
        guessed=tuple(metric for metric, guessed in metrics if guessed),
    )


def _metric(data: Any, *path: str | int) -> tuple[Metric, bool]:
    """A metric, and whether the file leaves its mode open."""
    if not isinstance(data, Mapping):
        raise SpaceError(f"must map keys to values, but got {data!r:.60}.", *path)
    _known_keys(data, METRIC_KEYS, *path)
    for key, value in data.items():
        if not isinstance(value, str):
            raise SpaceError(f"must be a word, but got {value!r}.", *path, key)
    if "name" not in data:
        raise SpaceError("must have a `name`.", *path)
    name = data["name"]
    for key in ("name", "mode", "at"):
        try:
            Metric(**{"name": name, **({key: data[key]} if key in data else {})})
        except UsageError as error:
            raise SpaceError(f"cannot be: {error}", *path, key) from None
    return Metric(**{"mode": usual_mode(name), **data}), "mode" not in data


def _metric_keys(metric: Metric) -> dict[str, str]:
    keys = {"name": metric.name, "mode": metric.mode, "at": metric.at}
    return {key: value for key, value in keys.items() if (key, value) != ("at", "last")}


def _section(section: str, data: Any) -> dict[str, Any]:
    """The settings of a section as plain keywords, each checked."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise SpaceError(f"must map keys to values, but got {data!r:.60}.", section)
    settings = declared(section, SECTIONS[section])
    _known_keys(data, settings, section)
    read = {}
    for key, value in data.items():
        try:
            read[key] = _plain(settings[key].read(value))
        except UsageError as error:
            raise SpaceError(str(error), section, key) from None
    return read


def _plain(value: Any) -> Any:
    """As YAML writes it."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _known_keys(data: Mapping[Any, Any], known: Iterable[str], *path: str | int) -> None:
    try:
        known_keys(data, known, f"`{path[0]}`")
    except SpaceError as error:
        raise error.under(*path) from None


class _Loader(yaml.SafeLoader):
    """Reads `1e-4` as the number it is in YAML 1.2, where YAML 1.1 wants a dot."""


class _Dumper(yaml.SafeDumper):
    """Quotes what _Loader would not read as a string; spells shared lists out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


class _Document:
    """A YAML text as plain data, and the line and column of each key and value by its path."""

    def __init__(self, text: str, source: str) -> None:
        self.keys: dict[tuple[str | int, ...], yaml.Mark] = {}
        self.values: dict[tuple[str | int, ...], yaml.Mark] = {}
        try:
            self.loader = _Loader(text)
            node = self.loader.get_single_node()
            self.data = None if node is None else self._read(node, ())
        except SpaceError as error:
            raise UsageError(f"{source}, {self.where(error)}: {error}") from None
        except RecursionError:
            raise UsageError(f"{source} must nest at most {MAX_DEPTH} levels, but nests more.") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f", {_position(mark)}" if mark else ""
            raise UsageError(f"{source}{where}: it is no valid YAML: {error.problem}.") from None
        except yaml.YAMLError as error:
            raise UsageError(f"{source} is no valid YAML: {error}.".replace("\n", " ")) from None

    def where(self, error: SpaceError) -> str:
        """`line 3, column 12`, of the innermost part of the error's path that stands in the text."""
        path = error.path
        if error.key and path in self.keys:
            return _position(self.keys[path])
        while path and path not in self.values:
            path = path[:-1]
        return _position(self.values[path]) if path in self.values else "line 1, column 1"

    def _read(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        self.values[path] = node.start_mark
        if len(path) > MAX_DEPTH:
            raise SpaceError(f"must nest at most {MAX_DEPTH} levels, but nests more.", *path[:3])
        if len(self.values) > MAX_NODES:
            raise SpaceError(f"must hold at most {MAX_NODES} values, aliases written out.", *path[:3])
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError, AttributeError) as error:  # the 31st of February, !!bool maybe
            raise SpaceError(f"must be quoted, or a value that there is: {error}.", *path) from None

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self._read(key_node, (*path, "?"))
            name = str(key_node.value if isinstance(key_node, yaml.ScalarNode) else key)
            first, self.keys[*path, name] = self.keys.get((*path, name)), key_node.start_mark
            if not isinstance(key, str):
                message = f"must be a name, but YAML reads it as {key!r:.40}; quote it."
                raise SpaceError(message, *path, name, key=True)
            if key in mapping and first is not None:
                raise SpaceError(f"comes twice, first at {_position(first)}.", *path, key, key=True)
            mapping[key] = self._read(value_node, (*path, key))
        return mapping


def _position(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _line(key: str, value: Any) -> str:
    return _flow({key: value})[1:-1]


def _flow(value: Any) -> str:
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=math.inf)
    return str(text).rstrip("\n")


def _split(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.strip().isidentifier() and value.strip()):
        raise UsageError(f"A hyperparameter must be given as in {example}, but got '{text}'.")
    return name.strip(), value.strip()


def _scalar(text: str) -> Any:
    """What a word on the command line stands for; quotes make it a string. On and off are words here."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text == "null":  # none is a word, of `augment` for one
        return None
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if abs(number) <= sys.float_info.max else text
    return text


def _range(domain: Domain) -> str:
    match domain:
        case Number():
            by = "" if domain.step == domain.smallest_step else f" by {domain.step}"
            return f"{domain.low} to {domain.high}{by}"
        case Normal():
            return f"{domain.mean} ± {domain.sd}"
        case Fixed():
            return str(domain.value)
        case Derived():
            return f"= {domain.expression}"
    return ", ".join(map(str, getattr(domain, "choices", ())))


def _scale(domain: Domain) -> str:
    scale = ""
    if isinstance(domain, Number):
        scale = "log" if domain.log else "linear"
    return f"{scale}, random".lstrip(", ") if domain.sampling else scale


FLAG_TYPES = {
    "float": "float",
    "int": "int",
    "cat": "categorical",
    "categorical": "categorical",
    "ord": "ordinal",
    "ordinal": "ordinal",
    "normal": "normal",
}
