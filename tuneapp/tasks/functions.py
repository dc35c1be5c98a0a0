"""Any Python function as an objective: `package.module:name`, `path/to/file.py:name`, or passed by value."""

import ast
import importlib
import importlib.machinery
import importlib.util
import inspect
import pickle
import shutil
import sys
import sysconfig
import typing
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tuneapp.errors import UsageError, nearest
from tuneapp.objective import Context
from tuneapp.settings import Config, Request
from tuneapp.spaces import Domain, SearchSpace
from tuneapp.spaces.files import SpaceFile
from tuneapp.tasks.base import Runnable, Target, Task, refuse_empty

Function = Callable[..., Any]
BY_VALUE = ":"  # begins the task of a function that no file holds: defined in a notebook, a script, a closure
WHOLE_CONFIG = ("config", "configuration")  # a function's only parameter of such a name gets all of it
FROZEN_FILES, FROZEN_BYTES = 200, 2**20  # at most so many, each at most so large, are kept in a run directory


@dataclass(frozen=True)
class FunctionTask(Task):
    """The name says where the function is; the option `folder` is where its imports start from."""

    passed: Function | None = field(default=None, compare=False)  # the function, where it travels by value

    noun = "a function"
    OPTIONS = ("folder",)
    open = True
    divergence_is_fault = True  # a diverging training is an answer; a function of the user's own has a fault

    @classmethod
    def takes(cls, target: Target) -> bool:
        return ":" in target if isinstance(target, str) else callable(target)

    @classmethod
    def find(cls, target: Target, file: SpaceFile | None, data_dir: Path | None) -> "FunctionTask":
        place: tuple[str, Path] | None
        if isinstance(target, str):
            place = located(target)
            function = load(*place)
        else:
            function = typing.cast(Function, target)
            place = reference(function)
        space = file or SpaceFile(SearchSpace(annotated_space(function)))
        origin = "" if file else f"from the annotations of {name_of(function)}()"
        origin = origin if space.space.hyperparameters else ""
        if place is None:
            return cls(BY_VALUE + name_of(function), {}, space, origin, function)
        return cls(place[0], {"folder": str(place[1])}, space, origin)

    @classmethod
    def from_record(cls, request: Request, function: Function | None = None) -> "FunctionTask":
        return cls(request.task, request.options, passed=function)

    @cached_property
    def function(self) -> Function:
        return self.passed or load(self.name, self._folder)

    @property
    def _folder(self) -> Path | None:
        return Path(self.options["folder"]) if "folder" in self.options else None

    @property
    def max_iterations(self) -> int | None:
        """The function's attribute of that name. Raises UsageError where it is no whole number above 0."""
        limit = getattr(self.function, "max_iterations", None)
        if limit is None or (isinstance(limit, int) and limit >= 1):
            return limit
        raise UsageError(
            f"{name_of(self.function)}.max_iterations must be a whole number of at least 1, but is {limit!r}."
        )

    @property
    def knows_limit(self) -> bool:
        return wants_context(self.function)

    def build(self, request: Request) -> Runnable:
        if self.passed is not None:
            return _runnable(self.passed)
        return _imported(self.name, self._folder)

    def check_space(self, space: SearchSpace) -> None:
        refuse_empty(space, self.name)
        check(self.function, space)

    def moved(self, folder: Path) -> "FunctionTask":
        before, (place, colon, attribute) = self._folder, self.name.rpartition(":")
        there = super().moved(folder)
        if before is None or not place.endswith(".py") or not Path(place).is_relative_to(before):
            return there
        return replace(there, name=f"{folder / Path(place).relative_to(before)}{colon}{attribute}")

    def pickled(self) -> bytes | None:
        return None if self.passed is None else pickled(self.passed)

    def freeze(self, target: Path) -> list[Path]:
        return freeze(self.function, self._folder or Path(), target)

    def _metric_note(self) -> str:
        return f"'{self.metric.name}', the number that {name_of(self.function)}() gives"

    def _limit_note(self, limit: int | None) -> str:
        function = self.function
        if not inspect.isgeneratorfunction(inspect.unwrap(function)):
            return ""  # it reports once, or nobody can tell
        if limit is None:
            return f"limit: none, a trial runs until {name_of(function)}() ends (--max-iterations)"
        return super()._limit_note(limit)


@lru_cache(maxsize=4)
def _imported(name: str, folder: Path | None) -> Runnable:
    return _runnable(load(name, folder))


def _runnable(function: Function) -> Runnable:
    return Runnable(objective(function), keeps=wants_context(function))


def load(name: str, folder: Path | None = None) -> Function:
    """The function behind `package.module:name` or `file.py:name`; raises UsageError where there is none.

    The file's folder (for a module: `folder`, else the current one) is put on the import path, as Python does
    for scripts. A file of a package is imported as its package's module, with the package's parent there.
    """
    place, _, attribute = name.rpartition(":")
    if not place:
        raise UsageError(
            f"The function {attribute}() was passed by value and is in no file that could be imported; go on "
            f"with tuneapp.resume(run, {attribute}) from where it is defined."
        )
    module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place, folder or Path.cwd())
    function: Any = module
    for part in attribute.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UsageError(
            f"{place} has no function '{attribute}'; it has {', '.join(functions) or 'none'}."
            f"{nearest(attribute, functions)}"
        )
    return typing.cast(Function, function)


def located(name: str) -> tuple[str, Path]:
    """A task's name as any process finds it, and the folder that its imports start from."""
    place, _, attribute = name.rpartition(":")
    if place.endswith(".py"):
        path = Path(place).resolve()
        return f"{path}:{attribute}", _root(path)
    return name, Path.cwd()


def reference(function: Function) -> tuple[str, Path] | None:
    """`located` of a function that another process can import; None where it must be passed by value."""
    name, qualified = getattr(function, "__module__", None), getattr(function, "__qualname__", "<")
    module = sys.modules.get(name or "")
    file = getattr(module, "__file__", None)
    if module is None or name is None or name == "__main__" or file is None or "<" in qualified:
        return None
    found: Any = module
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if found is not function:
        return None
    folder = Path(file).absolute().parent
    for _ in range(name.count(".") + (Path(file).name == "__init__.py")):
        folder = folder.parent
    return f"{name}:{qualified}", folder


def pickled(function: Function) -> bytes:
    """The function by value, for our own worker processes. Raises UsageError where it can't travel."""
    import cloudpickle

    try:
        return typing.cast(bytes, cloudpickle.dumps(function))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{name_of(function)}() must be picklable to reach the workers, but holds what is not ({error}); "
            "open files, locks and connections inside of it, or put it into a module."
        ) from error


def objective(function: Function) -> Callable[[Config, Context], Any]:
    """Call `function` with a config: as keyword arguments, or as one dict if that is all it takes.

    A parameter named `context` gets the Context (seed, device, checkpoint, folder …).
    """
    parameters = _parameters(function)
    with_context = wants_context(function)
    whole = _takes_whole_config(parameters)

    def call(config: Config, context: Context) -> Any:
        given: dict[str, Any] = {"context": context} if with_context else {}
        given |= {whole: config} if whole else config
        return function(**given)

    return call


def wants_context(function: Function) -> bool:
    """Whether it has a parameter for the Context, without which it cannot write checkpoints."""
    return "context" in _parameters(function)


def annotated_space(function: Function) -> dict[str, Domain]:
    """The hyperparameters that a function declares: `x: Annotated[float, tuneapp.Float(-5, 5)]`."""
    target = function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
    try:
        hints = typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise UsageError(f"An annotation of {name_of(function)}() cannot be read: {error}.") from error
    return {
        name: domain
        for name, hint in hints.items()
        for domain in getattr(hint, "__metadata__", ())
        if isinstance(domain, Domain)
    }


def check(function: Function, space: SearchSpace) -> None:
    """Raises UsageError where the function could never be called with a config of the space."""
    parameters = _parameters(function)
    if _takes_whole_config(parameters) or not parameters:
        return
    takes = [name for name in parameters if name != "context"]
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in space.hyperparameters:
            if name not in takes:
                raise UsageError(
                    f"{name_of(function)}() must take every hyperparameter, but has no parameter "
                    f"'{name}'; it has {', '.join(takes)}.{nearest(name, takes)}"
                )
    fixed = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for name in takes:
        parameter = parameters[name]
        required = parameter.default is inspect.Parameter.empty and parameter.kind not in fixed
        if required and name not in space.hyperparameters:
            raise UsageError(
                f"{name_of(function)}() needs '{name}', but the space has only "
                f"{', '.join(space.hyperparameters) or 'nothing'}; add --param {name}=float:0:1, "
                f"--set {name}=VALUE, or give it a default."
            )
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UsageError(
                f"{name_of(function)}() must take '{name}' by keyword, but takes it by position only."
            )


def freeze(function: Function, folder: Path, target: Path) -> list[Path]:
    """Copy the function's source, and what was imported from its folder, to `target`; returns the files."""
    located_at = reference(function)
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    if located_at is None or module is None or not _is_source(getattr(module, "__file__", None)):
        try:
            source = inspect.getsource(function)
        except (OSError, TypeError):  # typed into a plain interpreter, or written in C
            return []
        target.mkdir(parents=True, exist_ok=True)
        path = target / f"{name_of(function).rsplit('.', 1)[-1].strip('<>')}.py"
        path.write_text(inspect.cleandoc(source) + "\n", encoding="utf-8")
        return [path]
    return [_copied(file, folder, target) for file in _own_files(module, folder)]


def _own_files(module: ModuleType, folder: Path) -> list[Path]:
    """The module's file first, then those of the modules that were imported from the same folder."""
    known = [module, *sys.modules.values()]
    files = [
        Path(m.__file__).absolute() for m in known if _is_source(getattr(m, "__file__", None)) and m.__file__
    ]
    installed = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")]
    own = [
        file
        for file in dict.fromkeys(files)
        if file.is_relative_to(folder)
        and not any(file.is_relative_to(place) for place in installed)
        and not file.is_relative_to(Path(__file__).parent.parent)
        and file.stat().st_size <= FROZEN_BYTES
    ]
    return own[:FROZEN_FILES]


def _copied(file: Path, folder: Path, target: Path) -> Path:
    path = target / file.relative_to(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(file, path))


def _is_source(file: Any) -> bool:
    return isinstance(file, str) and file.endswith(".py") and Path(file).is_file()


def _parameters(function: Function) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # written in C, without a signature
        return {}


def _takes_whole_config(parameters: Iterable[str]) -> str | None:
    named = [name for name in parameters if name != "context"]
    return named[0] if len(named) == 1 and named[0] in WHOLE_CONFIG else None


def name_of(function: Function | str) -> str:
    """For messages: `Model.score`; of a lambda or a closure what Python calls it."""
    return (
        function
        if isinstance(function, str)
        else str(getattr(function, "__qualname__", type(function).__name__))
    )


def _root(path: Path) -> Path:
    """The folder that a file's imports start from: its own, or the parent of the package that has the file.

    A folder is of a package where it has an __init__.py, or where the file's relative imports reach it.
    """
    reach = _reach(path)
    for level, folder in enumerate(path.parents, start=1):
        if level > reach and not (folder / "__init__.py").is_file():
            return folder
    return Path(path.anchor)


def _reach(path: Path) -> int:
    """How many folders above it a file's relative imports start from: 2 of `from ..util import x`."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # told when it is imported
        return 0
    levels = [node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return max(levels, default=0)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"The task's file must exist, but {path} does not; give path/to/file.py:function.")
    path = path.resolve()
    root = _root(path)
    _prepend(root)
    try:
        return _alone(path) if root == path.parent else _of_package(path, root)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error


def _alone(path: Path) -> ModuleType:
    """A file that is in no package, as a module of its own name."""
    loaded = sys.modules.get(path.stem)
    if getattr(loaded, "__file__", None) == str(path):
        return typing.cast(ModuleType, loaded)
    # A file may be called as a module that is there already: random.py must not replace Python's.
    name = path.stem if loaded is None else _alias(path)
    return sys.modules.get(name) or _execute(importlib.util.spec_from_file_location(name, path))


def _of_package(path: Path, root: Path) -> ModuleType:
    """A file of the package whose parent is `root`, as that package's module."""
    if str(path.parent) not in sys.path:  # last: siblings that a script imports by their bare names
        sys.path.append(str(path.parent))
    top, *middle = path.parent.relative_to(root).parts
    package = ".".join([_package(root / top), *middle])
    if path.name == "__init__.py":
        return importlib.import_module(package)
    name = f"{package}.{path.stem}"
    if "." not in path.stem:
        return importlib.import_module(name)
    importlib.import_module(package)  # a dot in a file's name means nothing to Python's import
    name = f"{package}.{_alias(path)}"
    return sys.modules.get(name) or _execute(importlib.util.spec_from_file_location(name, path))


def _package(folder: Path) -> str:
    """The name by which the package of a folder can be imported: its own, or another where that is taken."""
    name = folder.name
    loaded = sys.modules.get(name)
    try:
        spec = importlib.util.find_spec(name) if loaded is None and "." not in name else None
    except ValueError:
        spec = None
    places = getattr(loaded, "__path__", None) or (spec.submodule_search_locations if spec else None) or []
    if any(Path(place).resolve() == folder for place in places):
        return name
    alias = _alias(folder)
    if alias not in sys.modules:
        init = folder / "__init__.py"
        spec = importlib.machinery.ModuleSpec(alias, None, is_package=True)
        if init.is_file():
            spec = importlib.util.spec_from_file_location(
                alias, init, submodule_search_locations=[str(folder)]
            )
        elif spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(str(folder))
        _execute(spec)
    return alias


def _alias(path: Path) -> str:
    """A name that is the same in every process, and no other module's."""
    return f"{path.stem.replace('.', '_')}_{zlib.crc32(str(path).encode()):x}"


def _execute(spec: importlib.machinery.ModuleSpec | None) -> ModuleType:
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _from_name(name: str, folder: Path) -> ModuleType:
    _prepend(folder)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"The task's module '{name}' cannot be imported from {folder}: {type(error).__name__}: {error}"
        ) from error


def _prepend(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
