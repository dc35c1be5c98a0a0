"""Numbers about a package's structure, read from its source alone.

    python scripts/structure.py tuneapp [ANOTHER ...]

An import counts wherever it stands: at the top, inside a function, below TYPE_CHECKING. A *noun* is a module
or folder directly inside the package.
"""

import argparse
import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

Graph = Mapping[str, Set[str]]


@dataclass
class Structure:
    """By a module's dotted name: its syntax tree, its number of lines, the package's modules it imports."""

    package: str
    trees: dict[str, ast.Module] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)

    def noun(self, module: str) -> str:
        return module.split(".")[1] if "." in module else "__init__"


def read(folder: Path) -> Structure:
    """The structure of the package in this folder; raises OSError where there is none."""
    structure = Structure(folder.name)
    for path in sorted(folder.rglob("*.py")):
        parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        source = path.read_text(encoding="utf-8")
        structure.trees[name], structure.lines[name] = ast.parse(source), source.count("\n")
    if not structure.trees:
        raise FileNotFoundError(f"A package must hold .py files, but {folder} holds none.")
    for name, tree in structure.trees.items():
        targets = {target for node in ast.walk(tree) for target in _targets(node, structure.trees.keys())}
        structure.imports[name] = targets - {name}
    return structure


def _targets(node: ast.AST, modules: Set[str]) -> Iterator[str]:
    """`from a import b` imports a.b where that is a module, else a."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            if inner in modules or node.module in modules:
                yield inner if inner in modules else node.module


def cycles(graph: Graph) -> list[list[str]]:
    """Groups in which each reaches each other: the strongly connected components of two and more."""
    reached = {name: _reachable(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def _reachable(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), set()) - reached:
            reached.add(name)
            waiting.append(name)
    return reached


def nouns(structure: Structure) -> dict[str, set[str]]:
    """Which noun imports which others."""
    graph: dict[str, set[str]] = {structure.noun(module): set() for module in structure.trees}
    for importer, imported in crossings(structure):
        graph[importer].add(imported)
    return graph


def crossings(structure: Structure) -> Counter[tuple[str, str]]:
    """How many times modules of one noun import modules of another."""
    return Counter(
        (structure.noun(module), structure.noun(target))
        for module, targets in structure.imports.items()
        for target in targets
        if structure.noun(module) != structure.noun(target)
    )


def ways_upward(structure: Structure) -> int:
    """Imports between nouns that look up in whichever order of the nouns has the fewest of them."""
    weights = crossings(structure)

    @cache
    def fewest(group: frozenset[str]) -> int:
        """Over all orders of the group, by which noun stands lowest: its imports of the others look up."""
        return min(
            (sum(weights[lowest, other] for other in group) + fewest(group - {lowest}) for lowest in group),
            default=0,
        )

    return sum(fewest(frozenset(group)) for group in cycles(nouns(structure)))


def shared_names(structure: Structure) -> list[str]:
    """Names of files that stand in several folders; __init__ stands in all."""
    names = Counter(module.rsplit(".", 1)[-1] for module in structure.trees)
    return sorted(name for name, count in names.items() if count > 1)


def shared_classes(structure: Structure) -> list[str]:
    """Names of classes and type aliases that several modules define."""
    names: Counter[str] = Counter()
    for tree in structure.trees.values():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                names[node.name] += 1
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                names[name] += name[0].isupper() and not name.isupper()
    return sorted(name for name, count in names.items() if count > 1)


def functions(structure: Structure) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, tree in structure.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}.{node.name}", node


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    stars = (arguments.vararg is not None) + (arguments.kwarg is not None)
    return len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs) + stars


def any_per_1000_lines(structure: Structure) -> float:
    uses = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for tree in structure.trees.values()
        for node in ast.walk(tree)
    )
    return 1000 * uses / sum(structure.lines.values())


def table(structures: list[Structure]) -> list[list[str]]:
    """One row per number: its name, then one cell per structure."""

    def row(name: str, cells: Iterator[object]) -> list[str]:
        return [name, *(str(cell) for cell in cells)]

    longest = [max(functions(one), key=lambda item: lines(item[1])) for one in structures]
    widest = [max(functions(one), key=lambda item: parameters(item[1])) for one in structures]
    return [
        row("modules", (len(one.trees) for one in structures)),
        row("lines", (f"{sum(one.lines.values()):,}" for one in structures)),
        row("imports between nouns that look up", (ways_upward(one) for one in structures)),
        row("cycles of nouns", (len(cycles(nouns(one))) for one in structures)),
        row("cycles of modules", (len(cycles(one.imports)) for one in structures)),
        row("modules in those cycles", (sum(map(len, cycles(one.imports))) for one in structures)),
        row("file names in several folders", (len(shared_names(one)) for one in structures)),
        row("class names in several modules", (len(shared_classes(one)) for one in structures)),
        row("longest function, lines", (f"{lines(node)} ({name})" for name, node in longest)),
        row("widest signature, parameters", (f"{parameters(node)} ({name})" for name, node in widest)),
        row("`Any` per 1,000 lines", (f"{any_per_1000_lines(one):.1f}" for one in structures)),
    ]


def tree(folder: Path, indent: str = "    ") -> Iterator[str]:
    """Every module and folder with the first line of its docstring, folders before what they hold."""
    width = max(len(path.relative_to(folder).parts) * 2 + len(path.name) for path in folder.rglob("*.py"))
    for path in sorted(folder.rglob("*.py"), key=lambda path: _place(path.relative_to(folder))):
        parts = path.relative_to(folder).parts
        is_folder = parts[-1] == "__init__.py" and len(parts) > 1
        name = f"{parts[-2]}/" if is_folder else parts[-1]
        lead = "  " * (len(parts) - 1 - is_folder) + name
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        yield f"{indent}{lead:{width}} {docstring.partition(chr(10))[0]}".rstrip()


def _place(path: Path) -> list[tuple[bool, str]]:
    """Modules before folders; a folder's __init__ before the rest of it."""
    last = "" if path.name == "__init__.py" else path.name
    return [*((True, part) for part in path.parts[:-1]), (False, last)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print numbers about the structure of packages.")
    parser.add_argument("folders", nargs="+", type=Path, help="Folders of packages, compared side by side.")
    parser.add_argument("--names", action="store_true", help="List cycles and shared names as well.")
    parser.add_argument("--tree", action="store_true", help="List modules with what their docstrings say.")
    arguments = parser.parse_args()
    if arguments.tree:
        for folder in arguments.folders:
            print("\n".join(tree(folder)))
        return
    structures = [read(folder) for folder in arguments.folders]
    print("| | " + " | ".join(str(folder) for folder in arguments.folders) + " |")
    print("|---" * (len(structures) + 1) + "|")
    for row in table(structures):
        print("| " + " | ".join(row) + " |")
    if arguments.names:
        for structure in structures:
            print(f"\n{structure.package}: shared names: {', '.join(shared_names(structure))}")
            print(f"{structure.package}: shared classes: {', '.join(shared_classes(structure))}")
            for group in cycles(structure.imports):
                print(f"{structure.package}: cycle: {', '.join(group)}")


if __name__ == "__main__":
    main()
