"""Arithmetic of `derived` hyperparameters: a whitelisted syntax tree is walked, nothing is executed."""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from tuneapp.errors import UsageError, nearest

MAX_LENGTH = 500  # characters
MAX_DEPTH = 40  # nested operations
MAX_BITS = 1024  # of a whole number on the way: 10**300 passes, a tower of powers does not


class MissingError(Exception):
    """The expression needs a name that has no value now (an inactive hyperparameter)."""


def parse(text: str) -> ast.expr:
    """The checked syntax tree of an expression; raises UsageError that says what is not allowed."""
    if len(text) > MAX_LENGTH:
        raise UsageError(f"must have at most {MAX_LENGTH} characters, but has {len(text)}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on `1if x else 2` is no news to a tuner
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"must be an arithmetic expression, but got '{text}' ({_why(error)}).") from None
    _check(tree, text, 0)
    return tree


def names(tree: ast.expr) -> list[str]:
    """The hyperparameters an expression refers to, each once, in order of appearance."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = (n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in functions)
    return list(dict.fromkeys(found))


def evaluate(tree: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of a tree that `parse` gave: a finite number, a bool or a string.

    Only the branch taken of an if-else is evaluated. Raises MissingError where it needs a name that `values`
    lacks, UsageError where it has no finite value (a division by zero, say).
    """
    try:
        result = _value(tree, values)
    except (ArithmeticError, ValueError, TypeError) as error:
        raise UsageError(f"'{ast.unparse(tree)}' has no value {_where(tree, values)}: {error}.") from None
    if isinstance(result, float) and not math.isfinite(result):
        raise UsageError(f"'{ast.unparse(tree)}' must be finite, but is {result} {_where(tree, values)}.")
    return result


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            if name not in values:
                raise MissingError(name)
            return values[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, values)
        case ast.UnaryOp(op=op, operand=operand):
            return UNARY[type(op)](_number(_value(operand, values)))
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(BINARY[type(op)], _number(_value(left, values)), _number(_value(right, values)))
        case ast.BoolOp(op=op, values=operands):
            stop = isinstance(op, ast.Or)
            for operand in operands[:-1]:
                value = _value(operand, values)
                if bool(value) is stop:
                    return value
            return _value(operands[-1], values)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            first = _value(left, values)
            for comparison, comparator in zip(ops, comparators, strict=True):
                second = _value(comparator, values)
                if not COMPARISONS[type(comparison)](first, second):
                    return False
                first = second
            return True
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, values) else orelse, values)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _bounded(FUNCTIONS[name], *(_number(_value(arg, values)) for arg in args))
    raise AssertionError(f"{node} passed the check")


def _check(node: ast.expr, text: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UsageError(f"must nest at most {MAX_DEPTH} operations, but '{text:.60}…' nests more.")
    if isinstance(node, ast.Call):
        known = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        if not known or node.keywords:
            called = ast.unparse(node.func)
            raise UsageError(
                f"may call {', '.join(FUNCTIONS)} with plain arguments, but got '{ast.unparse(node)}'."
                + ("" if known else nearest(called, FUNCTIONS))
            )
    allowed = (
        isinstance(node, ast.Name | ast.BoolOp | ast.IfExp | ast.Call)
        or (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str))
        or (isinstance(node, ast.UnaryOp) and type(node.op) in (*UNARY, ast.Not))
        or (isinstance(node, ast.BinOp) and type(node.op) in BINARY)
        or (isinstance(node, ast.Compare) and all(type(op) in COMPARISONS for op in node.ops))
    )
    if not allowed:
        raise UsageError(
            "may use numbers, hyperparameters, + - * / // % **, comparisons, and, or, not, if-else and "
            f"{', '.join(FUNCTIONS)}, but got '{ast.unparse(node)}'."
        )
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and not (isinstance(node, ast.Call) and child is node.func):
            _check(child, text, depth + 1)


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise TypeError(f"arithmetic needs numbers, but got {value!r}")
    return value


def _bounded(function: Callable[..., Any], *args: int | float) -> Any:
    """Call it; whole numbers stay below 2**MAX_BITS, so that no expression can hang or fill the memory."""
    result = function(*args)
    if isinstance(result, complex):
        raise ValueError("a root of a negative number")
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
        raise ValueError(f"a whole number of more than {MAX_BITS} bits")
    return result


def _power(base: int | float, exponent: int | float) -> Any:
    # Checked before it is computed: 9**9**9 would take hours.
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > 2 * MAX_BITS:
        raise ValueError("a power that is too large")
    return base**exponent


def _round(value: int | float, digits: int | float = 0) -> int | float:
    if digits != int(digits) or abs(digits) > 300:  # round(1, -10**9) would compute 10**10**9
        raise ValueError(f"round needs a whole number of digits from -300 to 300, but got {digits}")
    return round(value, int(digits)) if digits else round(value)


def _where(tree: ast.expr, values: Mapping[str, Any]) -> str:
    return "at " + ", ".join(f"{name}={values[name]!r}" for name in names(tree) if name in values)


def _why(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__


UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "round": _round,
    "int": int,
    "float": float,
    "abs": abs,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "floor": math.floor,
    "ceil": math.ceil,
}
