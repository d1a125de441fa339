"""The tables of variables and outputs in the READMEs of the Terraform folders.

``python -m infra.terraform.tables`` writes all of them; with folders (``modules/lake``), only
theirs.

Reads what ``terraform fmt`` has laid out: a block begins and ends at the margin, its attributes are
indented by two."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

TERRAFORM = Path(__file__).resolve().parent
BEGIN, END = "<!-- tables: written by python -m infra.terraform.tables -->", "<!-- /tables -->"
LONGEST_CELL = 60


class TablesError(Exception):
    """A README or a block does not fit; the message says which and what to do."""


def folders() -> list[Path]:
    """Every stack and module, in order of their paths."""
    return sorted(
        {path.parent for path in TERRAFORM.rglob("*.tf") if ".terraform" not in path.parts}
    )


def with_tables(readme: Path) -> str:
    """The README's text with its folder's tables. Raises ``TablesError`` if it has no markers."""
    before, begin, rest = (readme.read_text() if readme.exists() else "").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise TablesError(
            f"{readme} has no place for its tables: add these lines to it:\n{BEGIN}\n{END}"
        )
    return f"{before}{BEGIN}\n{tables(readme.parent)}\n{END}{after}"


def tables(folder: Path) -> str:
    """Both tables of a stack or module; a variable without a default is required."""
    inputs = "\n".join(
        (
            f"| `{name}` | {_code(block['type'])} | "
            f"{_code(block['default']) if 'default' in block else 'required'} | {_text(block)} |"
        )
        for name, block in blocks(folder, "variable")
    )
    outputs = "\n".join(
        f"| `{name}` | {_text(block)} |" for name, block in blocks(folder, "output")
    )
    parts = (
        [f"| Variable | Type | Default | What it is |\n|---|---|---|---|\n{inputs}"]
        if inputs
        else []
    )
    parts += [f"| Output | What it is |\n|---|---|\n{outputs}"] if outputs else []
    return "\n\n".join(parts)


def blocks(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and attributes (as written) of each ``variable`` or ``output``. Raises ``TablesError``
    if one has no description.
    """
    for path in sorted(folder.glob("*.tf")):
        text = path.read_text()
        matches = re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.DOTALL | re.MULTILINE)
        if len(matches) != len(re.findall(rf'^\s*{kind} "', text, re.MULTILINE)):
            raise TablesError(
                f"{path}: a {kind} is not laid out over several lines. Write one attribute per "
                "line; run terraform fmt."
            )
        for name, body in matches:
            attributes = dict(
                re.findall(r"^  (\w+) += (.+?)\n(?=  \w|\n|  #|\Z)", body, re.DOTALL | re.MULTILINE)
            )
            required = {"description", "type"} if kind == "variable" else {"description"}
            if missing := required - attributes.keys():
                raise TablesError(
                    f"{path}: {kind} {name!r} has no {' and no '.join(sorted(missing))}. Write it."
                )
            yield name, attributes


def _code(value: str) -> str:
    short = re.sub(r"\s+", " ", value)
    return (
        f"`{short}`"
        if len(short) <= LONGEST_CELL
        else f"`{short.partition('(')[0].partition('{')[0].strip()}(...)`"
    )


def _text(block: dict[str, str]) -> str:
    return block["description"].strip('"').replace('\\"', '"').replace("|", "\\|")


if __name__ == "__main__":
    for folder in [TERRAFORM / name for name in sys.argv[1:]] or folders():
        (folder / "README.md").write_text(with_tables(folder / "README.md"))
