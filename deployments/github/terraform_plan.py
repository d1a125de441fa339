"""Make a comment from ``terraform show``'s text of a plan: the summary as heading, the whole text
folded.

    terraform show -no-color plan | \\
        python -m deployments.github.terraform_plan --title "cluster" plan.md
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

_SUM = re.compile(r"^(Plan: .+|No changes\..*|Changes to Outputs:)", re.MULTILINE)
_CHANGE = re.compile(
    r"^  # (?P<what>.+?) (?P<how>(?:will be|must be|has moved to|is tainted).*)$", re.MULTILINE
)


def plan_comment(text: str, title: str) -> str:
    """The plan ``text`` as Markdown. Destroyed and replaced resources are listed before the fold.
    Raises ``ValueError`` if it is not a plan.
    """
    summary = _SUM.search(text)
    if summary is None:
        raise ValueError(
            "This is not the text of a Terraform plan: it has neither 'Plan: ...' nor 'No changes.'"
        )
    losses = [
        f"- `{change['what']}` {change['how']}"
        for change in _CHANGE.finditer(text)
        if "destroyed" in change["how"] or "replaced" in change["how"]
    ]
    parts = [f"## Terraform, {title}: {summary[1].removeprefix('Plan: ').rstrip('.:')}"]
    if losses:
        parts.append("\n".join(["**Destroyed or replaced:**", *losses]))
    # No line of a plan begins with a fence; inside a fence, text from a pull request cannot become
    # markup.
    fenced = text.strip().replace("```", "'''")
    parts.append(f"<details>\n<summary>The plan</summary>\n\n```text\n{fenced}\n```\n\n</details>")
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1 if standard input holds no plan."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.github.terraform_plan",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("file", type=Path, help="Markdown to write")
    parser.add_argument("--title", required=True, help="the stack's name")
    options = parser.parse_args(arguments)
    try:
        options.file.write_text(plan_comment(sys.stdin.read(), options.title))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
