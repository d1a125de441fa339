"""The files that use cases are found in: each is loaded by itself, and a broken one is told in a
line.
"""

import difflib
import importlib
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from usecases.definition.columns import Frozen
from usecases.definition.metrics import constants
from usecases.definition.use_case import UseCase, UseCaseError, refuse_name

_OURS = Path(__file__).parent


def known() -> list[str]:
    """Names of the files of use cases, broken ones too, sorted. Nothing is imported."""
    return sorted(_files())


def load(name: str) -> UseCase:
    """The use case of that name.

    Raises ``UseCaseError``: an unknown name is answered with the known ones and the nearest, a file
    that cannot be used with its line and what to write.
    """
    files = _files()
    if name not in files:
        nearest = difflib.get_close_matches(name, known(), n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise UseCaseError(
            f"Unknown use case {name!r}. Known: {', '.join(known())}.{hint} "
            "A use case is a file usecases/<name>.py with a constant USE_CASE."
        )
    if refusal := refuse_name(name):
        raise UseCaseError(
            f"{_shown(files[name][0])}: {refusal}. Rename the file, or call a helper _*.py."
        )
    if len(files[name]) > 1:
        first, second = files[name][:2]
        raise UseCaseError(f"{first} and {second} are both named {name!r}: rename one of them.")
    return _checked(name, files[name][0], _imported(name, files[name][0]))


def folder_of(name: str) -> Path | None:
    """The folder of the use case's file, or of its package; ``None`` if it has no file."""
    file = file_of(name)
    return file.parent if file else None


def file_of(name: str) -> Path | None:
    """The file that defines the use case, which may be broken; ``None`` if there is none."""
    paths = _files().get(name)
    if not paths:
        return None
    return paths[0] / "__init__.py" if paths[0].is_dir() else paths[0]


def load_all(names: Iterable[str]) -> tuple[dict[str, UseCase], dict[str, UseCaseError]]:
    """The use cases of ``names`` that can be used, and why each other one cannot, by name."""
    cases, faults = dict[str, UseCase](), dict[str, UseCaseError]()
    for name in names:
        try:
            cases[name] = load(name)
        except UseCaseError as error:
            faults[name] = error
    return cases, faults


def _files() -> dict[str, list[Path]]:
    """Modules and packages of ``usecases`` that are no helpers, by name: one file, unless two
    collide.
    """
    import usecases

    files = dict[str, list[Path]]()
    for folder in dict.fromkeys(Path(entry).resolve() for entry in usecases.__path__):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            is_package = (path / "__init__.py").is_file()
            name = path.name if is_package else path.stem
            # Editors and macOS leave files such as .#returns.py and ._returns.py beside those of
            # people.
            if (
                (path.suffix == ".py" or is_package)
                and not name.startswith(("_", "."))
                and name != _OURS.name
            ):
                files.setdefault(name, []).append(path)
    return files


def _imported(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(f"usecases.{name}")
    except (Exception, SystemExit) as error:
        raise UseCaseError(f"{place_of(error) or _shown(path)}: {_reason(error)}") from error


def _checked(name: str, path: Path, module: Any) -> UseCase:
    file = _shown(path)
    if not hasattr(module, "USE_CASE"):
        raise UseCaseError(
            f"{file} has no constant USE_CASE = UseCase(...). Add it, or rename a helper to "
            f"_{name}.py."
        )
    case = module.USE_CASE
    if not isinstance(case, UseCase):
        comma = isinstance(case, tuple) and len(case) == 1
        hint = (
            "Is there a comma after the last parenthesis?"
            if comma
            else "Write USE_CASE = UseCase(...)."
        )
        raise UseCaseError(f"{file}: USE_CASE is a {type(case).__name__}, not a UseCase. {hint}")
    if case.name != name:
        raise UseCaseError(
            f"{file} defines a use case named {case.name!r}: name and file must agree."
        )
    try:
        _check(case)
    except ValidationError as error:
        raise UseCaseError(f"{file}: {_reason(error)}") from error
    return case


def _check(part: Any) -> None:
    """Check each part again: ``model_copy`` checks nothing. Raises ``ValidationError``."""
    if isinstance(part, Frozen):
        fields = dict(part)
        for value in fields.values():
            _check(value)
        type(part)(**fields)
    elif isinstance(part, tuple | list | Mapping):
        for value in part.values() if isinstance(part, Mapping) else part:
            _check(value)


def _shown(path: Path) -> str:
    """The file as messages name it: ``usecases/returns.py``."""
    return f"usecases/{path.name}"


def place_of(error: BaseException) -> str | None:
    """File and line of a use case that ``error`` comes from; ``None`` if it comes from no file of
    ``usecases``.
    """
    import usecases

    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(Path(error.filename))} line {error.lineno}"
    folders = [Path(folder).resolve() for folder in usecases.__path__]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename).resolve()
        if any(file.is_relative_to(folder) for folder in folders) and not file.is_relative_to(
            _OURS
        ):
            return f"{_shown(file)} line {frame.lineno}"
    return None


def _reason(error: BaseException) -> str:
    """The fault and its remedy, in a line."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False)
        # A tuple of which no part can be used is called too short as well.
        faults = [fault for fault in faults if fault["type"] != "too_short"] or faults
        return "; ".join(_explain(fault, error.title) for fault in faults)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{error}. Install it beside Laurel, or import it where it is used, inside "
            "build or "
            "read."
        )
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}. Correct the file."


def _explain(fault: Any, owner: str) -> str:
    """One fault that pydantic found, in the words of a use case's file."""
    where = ".".join(str(part) for part in fault["loc"] if "[" not in str(part))
    value, kind = fault["input"], fault["type"]
    if kind == "value_error":
        text = str(fault["ctx"]["error"])
        return f"{owner}: {text}" if not where or where in text else f"{owner}.{where}: {text}"
    if kind == "extra_forbidden":
        return f"{owner} has no field {where!r}{_nearest_field(owner, where)}"
    if kind == "missing":
        return f"{owner} needs the field {where!r}"
    if kind == "tuple_type" and isinstance(value, str):
        return f"{owner}.{where} is the text {value!r}: write ({value!r},) with a comma"
    example = (
        value if isinstance(value, str | int | float | bool | tuple | list | None) else type(value)
    )
    if kind == "model_type":
        return f"{owner}.{where} is {example!r}: write {_example(fault['ctx']['class_name'])}"
    if kind == "callable_type":
        return (
            f"{owner}.{where} is {example!r}: input should be callable: name the function, "
            "without "
            "quotes and parentheses"
        )
    return f"{owner}.{where} is {example!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _example(class_name: str) -> str:
    if class_name == "Metric":
        return f"{constants()}, imported from usecases.definition"
    return f"{class_name}(...)"


def _nearest_field(owner: str, name: str) -> str:
    import usecases.definition as definition

    model = getattr(definition, owner, None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    nearest = difflib.get_close_matches(name, list(model.model_fields), n=1)
    return (
        f"; did you mean {nearest[0]!r}?"
        if nearest
        else f"; it has {', '.join(model.model_fields)}"
    )
