"""The line of a use case's file that a finding is about."""

import ast
import re
from collections.abc import Iterator
from functools import cached_property

from usecases.definition import file_of

_PLACE = re.compile(r"^(usecases/\S+?)(?: line (\d+))?: (.+)$", re.DOTALL)


class Lines:
    """The calls in the file of the use case ``name``, which need not exist or be Python.

    A column, candidate or behaviour is found by its name: at the call that has it as an argument,
    such as ``Column(name="age")`` or a function of the file's own, or where else it is written."""

    def __init__(self, name: str) -> None:
        self._file = file_of(name)

    def at(self, line: int | None) -> str:
        """The place of a line; of the file if there is none."""
        if self._file is None:
            return ""
        parent = f"{self._file.parent.name}/" if self._file.name == "__init__.py" else ""
        shown = f"usecases/{parent}{self._file.name}"
        return f"{shown}:{line}" if line else shown

    def named(self, name: str, kind: str = "Column") -> str:
        """The place of the column (or the ``kind``) of that name, or of one of its traits."""
        own = name.partition(".")[0] if kind == "Column" else name
        calls = [node for node in self._calls if own in _texts(node)]
        line = next((node.lineno for node in calls if _called(node) == kind), None)
        line = line or min((node.lineno for node in calls if _called(node) != "UseCase"), default=0)
        line = line or next((text.lineno for text in self._constants if text.value == own), 0)
        return self.at(line) if line else self.field(f"{kind.lower()}s")

    def field(self, *names: str) -> str:
        """The place of the first of these fields that is written in ``UseCase(...)``; of
        ``USE_CASE`` itself if none is."""
        for call in self._calls:
            if _called(call) == "UseCase":
                written = {word.arg: word.value.lineno for word in call.keywords}
                for name in names:
                    if name in written:
                        return self.at(written[name])
        return self.at(self._line_of_use_case())

    def of_message(self, message: str) -> tuple[str, str]:
        """The place at the beginning of a ``UseCaseError``, and the rest of its message."""
        match = _PLACE.match(message)
        if match is None:
            return self.at(None), message
        file, line, rest = match.groups()
        return (f"{file}:{line}" if line else file), rest

    @cached_property
    def _tree(self) -> ast.Module:
        try:
            return ast.parse(self._file.read_bytes()) if self._file else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):
            return ast.Module([], [])

    @cached_property
    def _calls(self) -> list[ast.Call]:
        """Inner calls first, so that a column is found before what has it as an argument."""
        calls = [node for node in ast.walk(self._tree) if isinstance(node, ast.Call)]
        return sorted(calls, key=lambda node: (node.end_lineno or 0) - node.lineno)

    @property
    def _constants(self) -> Iterator[ast.Constant]:
        return (node for node in ast.walk(self._tree) if isinstance(node, ast.Constant))

    def _line_of_use_case(self) -> int | None:
        for node in self._tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(name, ast.Name) and name.id == "USE_CASE" for name in targets):
                return node.lineno
        return None


def _called(node: ast.Call) -> str:
    function = node.func
    return getattr(function, "id", getattr(function, "attr", ""))


def _texts(node: ast.Call) -> set[object]:
    """The texts among the arguments of a call."""
    values = [*node.args, *(word.value for word in node.keywords)]
    return {value.value for value in values if isinstance(value, ast.Constant)}
