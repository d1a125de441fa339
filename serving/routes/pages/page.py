"""The two pages of the service: plain HTML, each with one style, the first with one script. Nothing
comes from outside, and nothing is built.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from serving.edge.security_headers import page_headers
from serving.routes.pages.routes_page import describe_routes, list_routes
from serving.service.service import Service

_FOLDER = Path(__file__).parent
_SCRIPTS = (
    "words",
    "draw",
    "ask",
    "champion",
    "image",
    "fields",
    "predict",
    "traffic",
    "history",
    "decisions",
    "charts",
    "fleet",
    "ledger",
    "operate",
    "rollout",
    "main",
)  # one script, in this order
_LOGO = (
    '<svg viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke="currentColor" '
    'stroke-width="2" stroke-linecap="round">'
    '<path d="M13 28C6 25 3 18 6 8"/><path d="M19 28c7-3 10-10 7-20"/>'
    '<g fill="currentColor" stroke="none"><path d="M6 9C3 8 2 5 3 2c3 1 4 4 3 7Z"/><path '
    'd="M5 16c-3 0-5-2-5-5 3 0 5 2 5 5Z"/>'
    '<path d="M8 22c-3 1-5 0-7-3 3-1 6 0 7 3Z"/><path d="M7 13c0-3 1-5 4-6 1 3-1 5-4 '
    '6Z"/><path d="M8 19c0-3 2-5 5-5 0 3-2 5-5 5Z"/>'
    '<path d="M26 9c3-1 4-4 3-7-3 1-4 4-3 7Z"/><path d="M27 16c3 0 5-2 5-5-3 0-5 2-5 '
    '5Z"/><path d="M24 22c3 1 5 0 7-3-3-1-6 0-7 3Z"/>'
    '<path d="M25 13c0-3-1-5-4-6-1 3 1 5 4 6Z"/><path d="M24 19c0-3-2-5-5-5 0 3 2 5 5 '
    '5Z"/></g></svg>'
)


def home_page(prefect_url: str, mlflow_url: str, prefix: str = "") -> str:
    """The page at ``/``: the champion, a form to predict, live traffic, drift and decisions,
    refreshed from ``/v1`` below ``prefix``.
    """
    script = "\n".join(
        (_FOLDER / "web" / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS
    )
    filled = {
        "prefect": escape(prefect_url, quote=True),
        "mlflow": escape(mlflow_url, quote=True),
        "script": f'\n"use strict";\n{script}',
    }
    return _fill("page.html", filled | {"prefix": prefix})


def routes_page(document: Mapping[str, object]) -> str:
    """The page at ``/docs``: the OpenAPI document for people."""
    version = escape(str(document["info"]["version"]))  # type: ignore[index]
    prefix = document["servers"][0]["url"] if "servers" in document else ""  # type: ignore[index]
    return _fill(
        "routes.html",
        {
            "version": version,
            "prefix": prefix,
            "contents": list_routes(document),
            "routes": describe_routes(document),
        },
    )


def _fill(template: str, filled: Mapping[str, str]) -> str:
    html = (_FOLDER / template).read_text(encoding="utf-8")
    style = (_FOLDER / "web" / "style.css").read_text(encoding="utf-8")
    for name, value in {"style": style, "logo": _LOGO, **filled}.items():
        html = html.replace(f"{{{{{name}}}}}", value)
    return html


def add_routes(app: FastAPI, service: Service) -> None:
    """``/`` and ``/docs``. The files are read now, so that a broken page keeps the service from
    starting.
    """
    home = home_page(
        service.settings.prefect_pages,
        service.settings.mlflow_pages,
        service.settings.serving_path_prefix,
    )
    home_headers = dict(page_headers(home))
    routes: dict[tuple[str | None, ...], tuple[str, dict[str, str]]] = {}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(home, headers=home_headers)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        served = tuple(
            watch.champion.version if watch.champion else None
            for watch in service.use_cases.watches.values()
        )
        if (
            served not in routes
        ):  # the document changes with the champions, and takes a while to make
            routes.clear()
            html = routes_page(app.openapi())
            routes[served] = html, dict(page_headers(html))
        html, headers = routes[served]
        return HTMLResponse(html, headers=headers)
