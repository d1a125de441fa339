"""The OpenAPI document for people: each route with its scope, parameters, bodies and an example."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from serving.keys.scopes import scope_of

Document = Mapping[str, Any]

_TITLES = {"mlflow": "MLflow"}


def list_routes(document: Document) -> str:
    """Bodies of a table: the routes of each tag, linked to their descriptions."""
    groups: dict[str, list[str]] = {}
    for method, path, route in _routes(document):
        name = (
            f'<a href="#{_anchor(method, path)}"><code>{method.upper()} {escape(path)}</code></a>'
        )
        groups.setdefault(_tag(route), []).append(
            f"<tr><td>{name}</td><td>{_purpose(route)}</td></tr>"
        )
    return "\n".join(
        (
            '<tbody><tr><th scope="rowgroup" '
            f'colspan="2">{escape(_TITLES.get(tag, tag.capitalize()))}</th></tr>'
            f"{''.join(rows)}</tbody>"
        )
        for tag, rows in groups.items()
    )


def describe_routes(document: Document) -> str:
    return "\n".join(
        _describe(document, method, path, route) for method, path, route in _routes(document)
    )


def _routes(document: Document) -> Iterator[tuple[str, str, Document]]:
    """The routes, those that most callers need first."""
    routes = [
        (method, path, route)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]
    tags = list(dict.fromkeys(["model", "history", *(_tag(route) for *_, route in routes)]))
    last = {"operation": len(tags)}
    yield from sorted(
        routes,
        key=lambda item: (
            last.get(_tag(item[2]), tags.index(_tag(item[2]))),
            not item[1].endswith("/predict"),
        ),
    )


def _tag(route: Document) -> str:
    return (route.get("tags") or ["other"])[0]


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""), quote=True)


def _purpose(route: Document) -> str:
    return re.sub(
        "``(.+?)``",
        r"<code>\1</code>",
        escape(route.get("description") or route.get("summary", "")),
    )


def _describe(document: Document, method: str, path: str, route: Document) -> str:
    scope = scope_of(method.upper(), path)
    needs = (
        f"Needs a key with the scope <code>{scope}</code>, if the service requires keys."
        if scope
        else "Needs no key."
    )
    parts = [
        f'<section class="card route" id="{_anchor(method, path)}">',
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>",
        f'<p class="lead">{_purpose(route)}</p><p class="hint">{needs}</p>',
        _table("Parameters", [_parameter(parameter) for parameter in route.get("parameters", ())]),
    ]
    if body := route.get("requestBody"):
        parts += [_content(document, "What goes in", body)]
    for status, answer in route["responses"].items():
        if status.startswith("2"):
            parts += [
                _content(
                    document, f"What comes out: {status} {answer.get('description', '')}", answer
                )
            ]
    refusals = [
        f"<code>{status}</code> {escape(answer['description'])}"
        for status, answer in route["responses"].items()
        if status[0] in "45"
    ]
    parts += [
        f'<p class="hint">Otherwise: {", ".join(refusals)}.</p>' if refusals else "",
        "</section>",
    ]
    return "\n".join(filter(None, parts))


def _parameter(parameter: Document) -> tuple[str, str, str]:
    schema = parameter.get("schema", {})
    words = [
        parameter.get("description", schema.get("description", "")),
        "" if "default" not in schema else f"default {_text(schema['default'])}",
    ]
    return f"{parameter['name']} ({parameter['in']})", _type(schema), "; ".join(filter(None, words))


def _content(document: Document, title: str, described: Document) -> str:
    """Every content type with its fields and an example."""
    parts = [
        f"<h3>{escape(title)}</h3>",
        f'<p class="hint">{escape(described["description"])}</p>'
        if "What goes" in title and described.get("description")
        else "",
    ]
    for kind, content in described.get("content", {}).items():
        schema = _resolved(document, content.get("schema", {}))
        parts.append(f"<p><code>{escape(kind)}</code> {escape(schema.get('description', ''))}</p>")
        if "json" not in kind:
            continue
        fields = [
            (name, _type(field), field.get("description", ""))
            for name, field in _fields(document, schema)
        ]
        example = content.get("example", sketch(document, schema))
        if example not in ({}, None):
            parts.append(f'<pre tabindex="0"><code>{escape(_text(example))}</code></pre>')
        if fields:
            parts.append(
                f"<details><summary>Its {len(fields)} "
                f"fields</summary>{_table('', fields)}</details>"
            )
    return "\n".join(filter(None, parts)) if len(parts) > 2 else ""


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td>"
        f"<td>{escape(about)}</td></tr>"
        for name, kind, about in rows
    )
    head = (
        '<thead><tr><th scope="col">Name</th><th scope="col">Allowed</th><th '
        'scope="col">Meaning</th></tr></thead>'
    )
    region = (
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(title or "Fields", quote=True)}">'
    )
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return f"{heading}{region}<table>{head}<tbody>{body}</tbody></table></div>"


def _fields(
    document: Document, schema: Document, before: str = ""
) -> Iterator[tuple[str, Document]]:
    """Every field below an object, as ``rows[].distance``. Of alternatives only the first is
    listed, as in the example.
    """
    schema = _resolved(document, schema)
    if "anyOf" in schema and "properties" in (first := _resolved(document, schema["anyOf"][0])):
        schema = first
    for name, field in schema.get("properties", {}).items():
        resolved = _resolved(document, field)
        yield f"{before}{name}", resolved
        yield from _fields(
            document,
            resolved.get("items", {}) if resolved.get("type") == "array" else resolved,
            f"{before}{name}{'[]' if 'items' in resolved else ''}.",
        )


def _type(schema: Document) -> str:
    """In a few words: the type and its bounds."""
    if "enum" in schema:
        return "one of " + ", ".join(_text(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(option) for option in schema["anyOf"]))
    kind = schema.get("type", "anything")
    words = " or ".join(kind) if isinstance(kind, list) else kind
    bounds = [
        f"{sign} {schema[name]:g}"
        for name, sign in (("minimum", "≥"), ("maximum", "≤"))
        if name in schema
    ]
    return ", ".join([words, *bounds])


def sketch(document: Document, schema: Document) -> Any:
    """A value of the schema's shape, for a schema without an example."""
    schema = _resolved(document, schema)
    if "example" in schema:
        return schema["example"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema and "properties" not in schema:
        return sketch(document, schema["anyOf"][0])
    kind = schema.get("type")
    kind = next(name for name in kind if name != "null") if isinstance(kind, list) else kind
    if kind == "object":
        return {
            name: sketch(document, field) for name, field in schema.get("properties", {}).items()
        }
    if kind == "array":
        return [sketch(document, schema["items"])] if "items" in schema else []
    return {
        "string": "text",
        "boolean": True,
        "integer": schema.get("minimum", 1),
        "number": 0.5,
    }.get(str(kind))


def _resolved(document: Document, schema: Document) -> Document:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
