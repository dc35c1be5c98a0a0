"""Any Python function as an objective: `package.module:name`, `path/to/file.py:name`, or passed by value."""

import importlib
import importlib.util
import inspect
import pickle
import shutil
import sys
import sysconfig
import typing
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from tuneapp.errors import UsageError, nearest
from tuneapp.objective import Context
from tuneapp.settings import Config, Request
from tuneapp.spaces import Domain, Searched, SearchSpace

Function = Callable[..., Any]
BY_VALUE = ":"  # begins the task of a function that no file holds: defined in a notebook, a script, a closure
WHOLE_CONFIG = ("config", "configuration")  # a function's only parameter of such a name gets all of it
FROZEN_FILES, FROZEN_BYTES = 200, 2**20  # at most so many, each at most so large, are kept in a run directory


def is_function(task: str) -> bool:
    """Whether a task's name points at a function rather than at a built-in task."""
    return ":" in task


def load(name: str, folder: Path | None = None) -> Function:
    """The function behind `package.module:name` or `file.py:name`; raises UsageError where there is none.

    The file's folder (for a module: `folder`, else the current one) is put on the import path, as Python does
    for scripts.
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
        path = Path(place).absolute()
        return f"{path}:{attribute}", path.parent
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


def moved(request: Request, folder: Path) -> Request:
    """The request as it reads where `folder` is a copy of its function's or command's own."""
    before = request.options.get("folder")
    if before is None:
        return request
    place, colon, attribute = request.task.rpartition(":")
    task = request.task
    if place.endswith(".py") and Path(place).is_relative_to(before):
        task = f"{folder / Path(place).relative_to(before)}{colon}{attribute}"
    return replace(request, task=task, options={**request.options, "folder": str(folder)})


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


def refuse_empty(space: SearchSpace, task: str) -> None:
    """Raises UsageError for a space in which nothing is searched."""
    if (
        not any(isinstance(domain, Searched) for domain in space.hyperparameters.values())
        and not space.points
    ):
        raise UsageError(
            f"{task} must have a space, but none was given; write a file for --space, give "
            "--param x=float:-5:5, or annotate its parameters: x: Annotated[float, tuneapp.Float(-5, 5)]."
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


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"The task's file must exist, but {path} does not; give path/to/file.py:function.")
    path = path.resolve()
    _prepend(path.parent)
    known = sys.modules.get(path.stem)
    if getattr(known, "__file__", None) == str(path):
        return typing.cast(ModuleType, known)
    # A file may be called as a module that is there already: random.py must not replace Python's.
    name = path.stem if known is None else f"{path.stem}_{abs(hash(path)):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
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
