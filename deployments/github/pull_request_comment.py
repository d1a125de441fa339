"""Write a Markdown file as a comment on a pull request, or update that comment.

    python -m deployments.github.pull_request_comment --repository our/models --number 12 \\
        --name contest-flights contest.md

The token is LAUREL_GITHUB_TOKEN; in a workflow it is the job's own, with the permission
``pull-requests: write``. A hidden marker identifies the comment, and only comments by bots are
searched: a person's comment is never changed, whatever it contains."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import httpx

from blocks.settings import Settings

LIMIT = 65_536  # characters of a comment, by GitHub's validation
_CUT = (
    "\n\n*Cut here: a comment holds {limit:,} characters, and this has {length:,}. The "
    "workflow run's summary has the whole text.*\n"
)
_FENCE, _FOLD = "```", "</details>"
_ADVICE = {
    401: "The token is wrong or has expired: set LAUREL_GITHUB_TOKEN to the job's own token.",
    403: (
        "The token may not write here: the job needs the permission pull-requests: write, and a "
        "pull request from a fork never has it."
    ),
    404: (
        "Check repository and number; a token without access to a private repository gets the "
        "same answer."
    ),
    422: "The pull request is locked, or GitHub refuses the text.",
}


class CommentRefused(RuntimeError):
    """GitHub refused the comment. The message has its answer, and what to do."""


def write_comment(
    github: httpx.Client, repository: str, number: int, name: str, body: str
) -> Literal["created", "updated", "unchanged"]:
    """Create or update the comment ``name`` on the pull request, with ``body`` as its text. Raises
    ``CommentRefused``.
    """
    mark = marker(name)
    text = fitted(f"{mark}\n{body}")
    comments = f"/repos/{repository}/issues/{number}/comments"
    existing = _find(github, comments, mark)
    if existing is None:
        _ask(github, "POST", comments, {"body": text})
        return "created"
    if existing["body"].replace("\r\n", "\n").strip() == text.strip():
        return "unchanged"
    _ask(github, "PATCH", f"/repos/{repository}/issues/comments/{existing['id']}", {"body": text})
    return "updated"


def marker(name: str) -> str:
    """The beginning of the comment. Raises ``ValueError`` for a name that could end the HTML
    comment.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ValueError(f"A comment's name has lower-case letters, digits, - and _; got {name!r}.")
    return f"<!-- laurel:{name} -->"


def fitted(text: str, limit: int = LIMIT) -> str:
    """``text``; if it is longer than ``limit``, cut at the end of a line, with a note, and with
    fences and folds closed.
    """
    if len(text) <= limit:
        return text
    note = _CUT.format(limit=limit, length=len(text))
    kept = text[: limit - len(note) - len(f"\n{_FENCE}\n\n{_FOLD}")].rpartition("\n")[0]
    if kept.count(_FENCE) % 2:
        kept += f"\n{_FENCE}"
    if kept.count("<details>") > kept.count(_FOLD):
        kept += f"\n\n{_FOLD}"
    return kept + note


def _find(github: httpx.Client, comments: str, mark: str) -> dict[str, Any] | None:
    page: str | None = f"{comments}?per_page=100"
    while page is not None:
        answer = _ask(github, "GET", page)
        for comment in answer.json():
            if comment["body"].startswith(mark) and comment["user"]["type"] == "Bot":
                return dict(comment)
        page = answer.links.get("next", {}).get("url")
    return None


def _ask(
    github: httpx.Client, method: str, path: str, body: dict[str, str] | None = None
) -> httpx.Response:
    try:
        response = github.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise CommentRefused(f"GitHub at {github.base_url} does not answer: {error}") from error
    if response.is_error:
        content = " ".join(response.text[:300].split())
        advice = _ADVICE.get(response.status_code, "")
        raise CommentRefused(
            f"GitHub answered {response.status_code} to {method} {path}: {content} {advice}".strip()
        )
    return response


def client(api_url: str, token: str) -> httpx.Client:
    """A client with GitHub's headers. It retries a failed connection twice, but not an answer of
    5xx.
    """
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    return httpx.Client(
        base_url=api_url, headers=headers, timeout=30, transport=httpx.HTTPTransport(retries=2)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1 if GitHub refuses the comment."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.github.pull_request_comment",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("file", type=Path, help="Markdown")
    parser.add_argument("--repository", required=True, metavar="OWNER/NAME")
    parser.add_argument("--number", required=True, type=int, help="number of the pull request")
    parser.add_argument(
        "--name", required=True, help="the comment's name: the next one with it replaces this one"
    )
    parser.add_argument(
        "--api-url", default="https://api.github.com", help="set it for GitHub Enterprise"
    )
    options, token = parser.parse_args(arguments), Settings.read().github_token
    if token is None:
        parser.error("LAUREL_GITHUB_TOKEN is not set: in a workflow it is ${{ github.token }}")
    try:
        with client(options.api_url, token.get_secret_value()) as github:
            change = write_comment(
                github, options.repository, options.number, options.name, options.file.read_text()
            )
    except CommentRefused as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{change}  comment {options.name} on pull request {options.number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
