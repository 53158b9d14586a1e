"""Queries of cells in the syntax of pandas' `DataFrame.query`, without ``@``, calls and attribute access.

Parses and evaluates; knows nothing of matrices. pandas decides what an expression means, also where values are missing.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError, UsageError, shortened
from median_spark.options import CELLS

if TYPE_CHECKING:
    import pandas as pd

_LONGEST = 200

_QUOTED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`([^`\n]*)`|(@)|(`)""")
"""A text, a name in backticks, a mark that means something else in Python, a backtick that is not closed."""

_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Invert, ast.USub, ast.UAdd, ast.Compare,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.BinOp, ast.BitAnd, ast.BitOr, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.List, ast.Tuple, ast.Name, ast.Load, ast.Constant,
)  # fmt: skip

_REJECTED: dict[type[ast.AST], str] = {
    ast.Call: "calls a function",
    ast.Attribute: "takes an attribute with a dot (put names with dots in backticks)",
    ast.Subscript: "takes an item with brackets",
    ast.Lambda: "defines a function",
    ast.NamedExpr: "assigns a value",
    ast.JoinedStr: "has a formatted text",
    ast.IfExp: "has an if",
}
"""What a query must not have, in words; whatever else is not allowed is named by its class."""


@dataclass(frozen=True)
class CellQuery:
    """A query of cells.

    Attributes
    ----------
    text : str
        The query, such as ``tissue == 'lung' and n_genes >= 200``.
    names : tuple of str
        Attributes of cells that it names, in the order in which they appear, each once.

    Raises
    ------
    UsageError
        If it is no expression, or has what a query of cells must not have.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.CellQuery("tissue == 'lung' and n_genes >= 200").names
    ('tissue', 'n_genes')
    """

    text: str
    names: tuple[str, ...] = field(init=False)
    _expression: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain, quoted = _without_backticks(self.text)
        tree = _parsed(self.text, plain)
        for node in ast.walk(tree):
            if not isinstance(node, _ALLOWED):
                self._refuse(_REJECTED.get(type(node), f"has what is no part of a query ({type(node).__name__})"))
            if isinstance(node, ast.Constant) and not isinstance(node.value, (str, int, float, bool)):
                self._refuse(f"has the value {node.value!r}: it may have texts, numbers, True and False")
        found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        renamed, order = _renamed(plain, found)
        if not order:
            self._refuse("names no attribute of cells")
        object.__setattr__(self, "names", tuple(dict.fromkeys(quoted.get(name, name) for name in order)))
        places = {name: f"c{self.names.index(quoted.get(name, name))}" for name in order}
        object.__setattr__(self, "_expression", renamed(places))

    def evaluate(self, location: str, columns: "dict[str, pd.Series]") -> npt.NDArray[np.bool_]:
        """Return for which rows of the columns, one for each of `names`, it is true; `location` is for messages.

        Where a value is missing, pandas decides: a comparison is false, ``!=`` and ``not in`` are true; in a nullable
        column of integers or truth values both are false.
        """
        import pandas as pd  # half a second: only who chooses cells waits

        frame = pd.DataFrame({f"c{place}": columns[name] for place, name in enumerate(self.names)})
        try:
            # pd.eval, and not frame.query: the names are the columns' alone, and numexpr may be installed or not.
            answer = pd.eval(
                self._expression, parser="pandas", engine="python", local_dict={}, global_dict={}, resolvers=[frame]
            )
        except Exception as error:  # what operators of pandas raise has no common class; all of it is about the query
            kinds = ", ".join(f"'{name}' holds {_kind(columns[name])}" for name in self.names)
            message = (
                f"{location}: the query of cells ({self._shown}) cannot be evaluated ({_first_line(error)}): {kinds}"
            )
            raise InputError(message, kind="query not evaluated") from error
        sound = isinstance(answer, pd.Series) and answer.dtype in (np.dtype(bool), pd.BooleanDtype())
        if not sound and isinstance(answer, pd.Series) and answer.dtype == object:
            sound = bool(answer.map(lambda value: isinstance(value, (bool, np.bool_))).all())
        if not sound:
            message = (
                f"{location}: the query of cells ({self._shown}) must be true or false for each cell; it gives "
                f"{_kind(answer) if isinstance(answer, pd.Series) else type(answer).__name__}"
            )
            raise InputError(message, kind="query not boolean")
        if isinstance(answer.dtype, pd.BooleanDtype):
            answer = answer.fillna(value=False)
        return np.asarray(answer.to_numpy(dtype=np.bool_))

    @property
    def _shown(self) -> str:
        return shortened(self.text, _LONGEST)

    def _refuse(self, problem: str) -> None:
        message = (
            f"{CELLS:name}: the query ({self._shown}) {problem}; it may compare attributes of cells with texts and "
            "numbers, and join comparisons by and, or, not, as in \"tissue == 'lung' and n_genes >= 200\""
        )
        raise UsageError(message)


def _without_backticks(text: str) -> tuple[str, dict[str, str]]:
    """Return a query with plain names for those in backticks, and the names that they stand for."""
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        literal, name, at, open_backtick = match.groups()
        if literal is not None:
            return literal
        if at or open_backtick:
            what = "has an @: values must stand in the query itself" if at else "has a backtick that is not closed"
            message = f"{CELLS:name}: the query ({shortened(text, _LONGEST)}) {what}"
            raise UsageError(message)
        stand_in = next((known for known, held in quoted.items() if held == name), f"quoted{len(quoted)}_")
        while stand_in not in quoted and stand_in in text:
            stand_in += "_"
        quoted[stand_in] = name
        return f" {stand_in} "

    return _QUOTED.sub(plain, text).strip(), quoted


def _parsed(text: str, plain: str) -> ast.Expression:
    try:
        return ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        message = (
            f"{CELLS:name}: the query ({shortened(text, _LONGEST)}) cannot be read: {why}; it must be an expression as "
            "pandas' query takes it, such as \"tissue == 'lung' and n_genes >= 200\""
        )
        raise UsageError(message) from error


def _renamed(plain: str, names: set[str]) -> tuple[Callable[[dict[str, str]], str], list[str]]:
    """Return what puts other names into a query, and its names in order."""
    tokens = [
        (token.type, token.string)
        for token in tokenize.generate_tokens(io.StringIO(plain.replace("\n", " ")).readline)
        if token.type not in {tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER}
    ]
    order = [string for kind, string in tokens if kind == tokenize.NAME and string in names]

    def rename(places: dict[str, str]) -> str:
        return " ".join(places.get(string, string) if kind == tokenize.NAME else string for kind, string in tokens)

    return rename, order


def _kind(column: "pd.Series") -> str:
    if isinstance(column.dtype, np.dtype) and column.dtype == object:
        return "texts"
    return str(column.dtype)


def _first_line(error: Exception) -> Any:
    return (str(error).splitlines() or [type(error).__name__])[0]
