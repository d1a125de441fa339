"""A fake of IAM: whether policies allow a request, and an S3 that refuses as IAM would.

It evaluates ``Effect``, ``Action``, ``Resource`` with stars, and the conditions that the stacks
use. An unknown condition raises, so that it never counts as fulfilled."""

import fnmatch
import http.client
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

Context = Mapping[str, str]


@dataclass(frozen=True)
class Policies:
    """All statements of a role."""

    statements: list[dict[str, Any]]

    @classmethod
    def of(cls, *documents: str | dict[str, Any]) -> Self:
        parsed = [
            json.loads(document) if isinstance(document, str) else document
            for document in documents
        ]
        return cls([statement for document in parsed for statement in _list(document["Statement"])])

    def allow(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Whether a statement allows the action and none denies it."""
        matching = [
            statement["Effect"]
            for statement in self.statements
            if _matches(statement, action, resource, context or {})
        ]
        return "Allow" in matching and "Deny" not in matching


def _matches(statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    actions = [pattern.lower() for pattern in _list(statement.get("Action", []))]
    if not any(fnmatch.fnmatchcase(action.lower(), pattern) for pattern in actions):
        return False
    if not any(_like(resource, pattern) for pattern in _list(statement.get("Resource", "*"))):
        return False
    conditions = statement.get("Condition", {})
    return all(
        _holds(test, context.get(key), _list(expected))
        for test, keys in conditions.items()
        for key, expected in keys.items()
    )


def _holds(test: str, value: str | None, expected: list[str]) -> bool:
    """Whether the condition holds. Of a key that the request lacks, only Null can hold."""
    if test == "Null":
        return (value is None) == (expected == ["true"])
    if value is None:
        return False
    if test in ("StringLike", "ArnLike", "ArnEquals"):
        return any(_like(value, pattern) for pattern in expected)
    if test in ("StringEquals", "Bool"):
        return value in expected
    raise NotImplementedError(f"This fake does not know the condition {test}.")


def _like(value: str, pattern: str) -> bool:
    """Match IAM's stars and question marks; a bracket means itself."""
    return bool(
        re.fullmatch(
            "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern),
            value,
            re.DOTALL,
        )
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Call:
    """The right that a request to S3 needs: action, resource, and the context of conditions."""

    action: str
    resource: str
    context: dict[str, str]


def calls(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> list[Call]:
    """Return the rights that a request to S3 needs, by AWS's table of actions. Raises
    ``NotImplementedError`` for a request that is not in it.
    """
    split = urlsplit(path)
    query = {
        name: values[-1] for name, values in parse_qs(split.query, keep_blank_values=True).items()
    }
    bucket, _, key = unquote(split.path).lstrip("/").partition("/")
    if not key and method == "POST" and "delete" in query:
        keys = re.findall(r"<Key>([^<]*)</Key>", body.decode())
        return [Call("s3:DeleteObject", f"arn:aws:s3:::{bucket}/{name}", {}) for name in keys]
    if not key:
        return [_of_bucket(method, f"arn:aws:s3:::{bucket}", query)]
    resource = f"arn:aws:s3:::{bucket}/{key}"
    if method in ("GET", "HEAD"):
        return [
            Call(
                "s3:ListMultipartUploadParts" if "uploadId" in query else "s3:GetObject",
                resource,
                {},
            )
        ]
    if method == "DELETE":
        return [
            Call(
                "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject",
                resource,
                {},
            )
        ]
    if method in ("PUT", "POST"):
        condition = headers.get("if-none-match")
        write = Call(
            "s3:PutObject", resource, {} if condition is None else {"s3:if-none-match": condition}
        )
        source = headers.get("x-amz-copy-source")
        return [
            write,
            *(
                [Call("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/')}", {})]
                if source
                else []
            ),
        ]
    raise NotImplementedError(f"{method} {path}")


def _of_bucket(method: str, arn: str, query: dict[str, str]) -> Call:
    if method == "HEAD":
        return Call("s3:ListBucket", arn, {})
    if method == "GET" and "location" in query:
        return Call("s3:GetBucketLocation", arn, {})
    if method == "GET" and ("list-type" in query or "prefix" in query):
        return Call(
            "s3:ListBucket",
            arn,
            {
                f"s3:{name}": query[name]
                for name in ("prefix", "delimiter", "max-keys")
                if name in query
            },
        )
    if method == "PUT" and not query:
        return Call("s3:CreateBucket", arn, {})
    raise NotImplementedError(f"{method} of {arn} with {query}")


@dataclass
class GuardedS3:
    """An S3 at ``url`` that passes on what the policies allow; ``refused`` has the refused
    calls.
    """

    url: str
    policies: Policies
    refused: list[Call] = field(default_factory=list)


@contextmanager
def guarded_s3(upstream: str, policies: Policies) -> Iterator[GuardedS3]:
    """Put a guard before the S3 at ``upstream``, which itself refuses nobody."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            body = self._body()
            needed = calls(
                self.command,
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                body,
            )
            refused = [
                call
                for call in needed
                if not policies.allow(call.action, call.resource, call.context)
            ]
            s3.refused += refused
            if refused:
                self._refuse(refused[0])
                return
            link = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=30)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("transfer-encoding", "content-length")
            }
            link.request(self.command, self.path, body, headers)
            answer = link.getresponse()
            content = answer.read()
            bucket = needed[0].resource.partition("/")[0]
            if (
                answer.status == 404
                and needed[0].action == "s3:GetObject"
                and not policies.allow("s3:ListBucket", bucket)
            ):
                # Without the right to list, a caller does not learn that an object is missing.
                s3.refused.append(Call("s3:ListBucket", bucket, {}))
                self._refuse(needed[0])
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (
                    "transfer-encoding",
                    "connection",
                    "content-length",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            length = (
                answer.getheader("content-length") if self.command == "HEAD" else str(len(content))
            )
            self.send_header("content-length", length or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _refuse(self, call: Call) -> None:
            text = (
                "<Error><Code>AccessDenied</Code><Message>not authorized to perform: "
                f"{call.action}</Message></Error>"
            ).encode()
            self.send_response(403)
            self.send_header("content-type", "application/xml")
            self.send_header("content-length", "0" if self.command == "HEAD" else str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the library's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    s3 = GuardedS3(f"http://127.0.0.1:{server.server_address[1]}", policies)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
