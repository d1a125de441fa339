"""A fake of GitHub's REST API for comments, on a free loopback port.

It refuses what GitHub refuses (a missing, wrong or read-only token, an unknown repository or pull
request, an empty or oversized body, another comment's id), returns lists in pages with a ``Link``
header, and stores what it accepts:

    with GitHubServer() as github:
        github.pull_request(12)
        write_comment(client(github.url, github.token), github.repository, 12, "contest", "text")
        assert [comment["body"] for comment in github.comments] == ["<!-- laurel:contest -->\ntext"]
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.loopback import Handler, LoopbackServer

LONGEST = 65_536
_LISTED = re.compile(r"/repos/(?P<repository>[^/]+/[^/]+)/issues/(?P<number>\d+)/comments")
_ONE = re.compile(r"/repos/(?P<repository>[^/]+/[^/]+)/issues/comments/(?P<id>\d+)")


class GitHubServer(LoopbackServer):
    """``comments`` as GitHub stores them, oldest first; ``requests`` are method, path and status of
    each call.
    """

    def __init__(
        self, repository: str = "team/models", token: str = "ghs_job", read_only: str = "ghs_fork"
    ) -> None:
        self.repository, self.token, self.read_only = repository, token, read_only
        self.numbers: set[int] = set()
        self.comments: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, int]] = []
        super().__init__(_Handler)

    def pull_request(self, number: int) -> None:
        """Open a pull request with that number."""
        self.numbers.add(number)

    def write(self, number: int, body: str, kind: str = "Bot") -> dict[str, Any]:
        """Add somebody's comment; ``kind`` is ``Bot`` or ``User``."""
        comment = {
            "id": 1000 + len(self.comments),
            "number": number,
            "body": body,
            "user": {"login": "somebody", "type": kind},
        }
        self.comments.append(comment)
        return comment

    def answer(
        self, method: str, target: str, headers: Any, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, JSON and headers of GitHub's answer."""
        path = urlsplit(target).path
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if not token or scheme != "Bearer" or token not in (self.token, self.read_only):
            return 401, {"message": "Bad credentials"}, {}
        if not headers.get("User-Agent") or not headers.get("X-GitHub-Api-Version"):
            return 403, {"message": "Request forbidden by administrative rules."}, {}
        listing, single = _LISTED.fullmatch(path), _ONE.fullmatch(path)
        match = listing or single
        if (
            match is None
            or match["repository"] != self.repository
            or (listing and int(listing["number"]) not in self.numbers)
        ):
            return 404, {"message": "Not Found"}, {}
        if method == "GET" and listing:
            return self._page(int(listing["number"]), path, parse_qs(urlsplit(target).query))
        if token == self.read_only:
            return 403, {"message": "Resource not accessible by integration"}, {}
        return self._write(method, listing, single, body)

    def _page(
        self, number: int, path: str, query: dict[str, list[str]]
    ) -> tuple[int, Any, dict[str, str]]:
        size, page = (
            min(int(query.get("per_page", ["30"])[0]), 100),
            int(query.get("page", ["1"])[0]),
        )
        comments = [comment for comment in self.comments if comment["number"] == number]
        more = len(comments) > page * size
        headers = (
            {"Link": f'<{self.url}{path}?per_page={size}&page={page + 1}>; rel="next"'}
            if more
            else {}
        )
        return 200, comments[(page - 1) * size : page * size], headers

    def _write(
        self, method: str, listing: Any, single: Any, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        document = json.loads(body or b"{}")
        text = document.get("body") if isinstance(document, dict) else None
        if not isinstance(text, str) or not text.strip():
            return (
                422,
                {
                    "message": "Validation Failed",
                    "errors": [{"code": "missing_field", "field": "body"}],
                },
                {},
            )
        if len(text) > LONGEST:
            return (
                422,
                {
                    "message": "Validation Failed",
                    "errors": [{"message": "body is too long (maximum is 65536 characters)"}],
                },
                {},
            )
        if method == "POST" and listing:
            return 201, self.write(int(listing["number"]), text), {}
        for comment in self.comments if method == "PATCH" and single else []:
            if comment["id"] == int(single["id"]):
                comment["body"] = text
                return 200, comment, {}
        return 404, {"message": "Not Found"}, {}


class _Handler(Handler):
    def _any(self) -> None:
        status, document, headers = self.owner.answer(
            self.command, self.path, self.headers, self.body()
        )
        self.owner.requests.append((self.command, self.path, status))
        self.reply(
            status,
            json.dumps(document).encode(),
            {"Content-Type": "application/json; charset=utf-8", **headers},
        )

    do_GET = do_POST = do_PATCH = _any
