"""The comment on a pull request, against a server that refuses what GitHub refuses."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deployments.github.pull_request_comment import (
    LIMIT,
    CommentRefused,
    client,
    fitted,
    main,
    marker,
    write_comment,
)
from tests.fakes.github import GitHubServer
from tests.fixtures.processes import free_port


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        server.pull_request(12)
        yield server


@pytest.fixture
def speaking(github: GitHubServer) -> Iterator[httpx.Client]:
    with client(github.url, github.token) as http:
        yield http


def test_second_writing_changes_the_first_comment_and_makes_no_other(
    github: GitHubServer, speaking: httpx.Client
) -> None:
    outcomes = [
        write_comment(speaking, github.repository, 12, "contest-flights", body)
        for body in ("first", "second", "second")
    ]
    assert outcomes == ["created", "updated", "unchanged"]
    assert [comment["body"] for comment in github.comments] == [
        "<!-- laurel:contest-flights -->\nsecond"
    ]


def test_comments_of_other_names_stand_beside_each_other(
    github: GitHubServer, speaking: httpx.Client
) -> None:
    for name in ("contest-flights", "contest-churn", "plan"):
        write_comment(speaking, github.repository, 12, name, name)
    assert [comment["body"].splitlines()[1] for comment in github.comments] == [
        "contest-flights",
        "contest-churn",
        "plan",
    ]


def test_comment_is_found_behind_hundreds_of_others(
    github: GitHubServer, speaking: httpx.Client
) -> None:
    for number in range(250):
        github.write(12, f"comment {number}")
    ours = github.write(12, f"{marker('plan')}\nold")
    github.write(12, "later")
    assert write_comment(speaking, github.repository, 12, "plan", "new") == "updated"
    assert ours["body"].endswith("new") and len(github.comments) == 252


def test_comment_of_a_person_is_never_changed_whatever_it_holds(
    github: GitHubServer, speaking: httpx.Client
) -> None:
    theirs = github.write(12, f"{marker('plan')}\ntheirs", kind="User")
    quoting = github.write(12, f"see {marker('plan')}")
    assert write_comment(speaking, github.repository, 12, "plan", "ours") == "created"
    assert (theirs["body"].endswith("theirs"), quoting["body"].startswith("see")) == (True, True)


@pytest.mark.parametrize(
    ("change", "status", "advice"),
    [
        ({"token": "ghs_wrong"}, 401, "The token is wrong or has expired"),
        ({"token": "ghs_fork"}, 403, "a pull request from a fork never has it"),
        ({"number": 13}, 404, "Check repository and number"),
        ({"repository": "team/other"}, 404, "Check repository and number"),
        ({"body": "x", "name": "plan", "closed": True}, 401, ""),
    ],
    ids=[
        "wrong token",
        "read-only token of a fork",
        "no such pull request",
        "no such repository",
        "no token",
    ],
)
def test_refusal_says_what_github_said_and_what_to_do(
    change: dict[str, object], status: int, advice: str, github: GitHubServer
) -> None:
    token = "" if change.get("closed") else str(change.get("token", github.token))
    repository, number = (
        str(change.get("repository", github.repository)),
        int(str(change.get("number", 12))),
    )
    with (
        client(github.url, token or "-") as speaking,
        pytest.raises(CommentRefused, match=f"GitHub answered {status} to .*{advice}") as raised,
    ):
        write_comment(speaking, repository, number, "plan", "text")
    assert github.comments == [] and "ghs_" not in str(raised.value)


def test_github_that_is_away_is_said() -> None:
    with (
        client(f"http://127.0.0.1:{free_port()}", "x") as speaking,
        pytest.raises(CommentRefused, match="does not answer"),
    ):
        write_comment(speaking, "team/models", 12, "plan", "text")


def test_text_that_is_too_long_is_cut_and_taken(
    github: GitHubServer, speaking: httpx.Client
) -> None:
    lines = "\n".join(f"+ resource {number} " + "ü" * 40 for number in range(3000))
    write_comment(
        speaking,
        github.repository,
        12,
        "plan",
        f"<details>\n\n```diff\n{lines}\n```\n\n</details>\n",
    )
    (comment,) = github.comments
    assert len(comment["body"]) <= LIMIT
    assert comment["body"].count("```") == 2 and comment["body"].count("</details>") == 1
    assert "*Cut here: a comment holds 65,536 characters" in comment["body"]


@pytest.mark.parametrize("length", [LIMIT - 1, LIMIT])
def test_text_that_just_fits_is_left_alone(length: int) -> None:
    assert fitted("x" * length) == "x" * length


def test_one_character_too_many_is_cut_below_the_limit() -> None:
    assert len(fitted("line\n" * (LIMIT // 5) + "xx")) <= LIMIT


@pytest.mark.parametrize("name", ["", "a --> b", "Contest", "a b", "a\nb"])
def test_name_that_could_leave_the_marker_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters, digits"):
        marker(name)


def test_command_takes_the_token_from_the_setting_alone(
    github: GitHubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.md").write_text("text")
    arguments = [
        str(tmp_path / "text.md"),
        "--repository",
        github.repository,
        "--number",
        "12",
        "--name",
        "plan",
        "--api-url",
        github.url,
    ]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "LAUREL_GITHUB_TOKEN is not set" in capsys.readouterr().err
    monkeypatch.setenv("LAUREL_GITHUB_TOKEN", github.read_only)
    assert main(arguments) == 1
    assert "403" in capsys.readouterr().err and github.comments == []
    monkeypatch.setenv("LAUREL_GITHUB_TOKEN", github.token)
    assert main(arguments) == 0
    assert capsys.readouterr().out == "created  comment plan on pull request 12\n"
