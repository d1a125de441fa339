"""The names that a person types: use cases, flows, programs of the stack, pages."""

import difflib
import re
from collections.abc import Iterable

from laurel.output import CommandFailed

SHOWN = 12
PAGES = ("service", "prefect", "mlflow")


def use_cases() -> list[str]:
    """The use cases with a file here, or in the folders of the running stack; none of them is
    imported."""
    from deployments.local.settings import read_stack_settings
    from usecases.definition import known

    read_stack_settings()
    return known()


def flows() -> list[str]:
    """The flows with a deployment for each use case, as ``prefect.yaml`` lists them."""
    from blocks.settings import REPOSITORY

    text = (REPOSITORY / "prefect.yaml").read_text(encoding="utf-8")
    return re.findall(r"^ +entrypoint: flows\.(\w+)\.", text, re.MULTILINE)


def flow_words() -> list[str]:
    """The flows as they are typed: ``drift-check``."""
    return [name.replace("_", "-") for name in flows()]


def flow_named(word: str) -> str:
    """The flow's name; ``drift-check`` and ``drift_check`` are the same. Raises
    ``CommandFailed``."""
    name = word.replace("-", "_")
    if name in flows():
        return name
    raise CommandFailed(unknown("flow", word, flow_words()), exit_code=2)


def number(version: str | None) -> str | None:
    """A version's number as MLflow has it; ``v7`` is how we show it."""
    return re.sub(r"^v(?=\d+$)", "", version) if version else version


def programs() -> list[str]:
    """The programs of the stack, each with a log."""
    from deployments.local.settings import read_stack_settings
    from deployments.supervision.programs import programs as of_settings

    return [program.name for program in of_settings(read_stack_settings())]


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """A sentence on a name that does not exist, with the nearest one or all of them."""
    listed = sorted(names)
    close = difflib.get_close_matches(name, listed, n=1)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    there = f"There are: {', '.join(listed[:SHOWN])}{more}." if listed else "There is none."
    hint = f'Did you mean "{close[0]}"?' if close else there
    return f'There is no {kind} "{name}". {hint}'
