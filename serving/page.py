"""The two pages of the service: plain HTML, nothing from outside, no build step."""

from html import escape
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def home_page(prefect_url: str, mlflow_url: str) -> str:
    """The page at ``/``: a card for each champion, kept fresh by ``fetch`` of ``/v1``."""
    page = (_FOLDER / "page.html").read_text(encoding="utf-8")
    return page.replace("{{prefect}}", escape(prefect_url, quote=True)).replace("{{mlflow}}", escape(mlflow_url, quote=True))


def routes_page(document: dict[str, Any]) -> str:
    """The page at ``/docs``: every route of the OpenAPI document and what it is for."""
    rows = [
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td><td>{escape(route['description'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]
    page = (_FOLDER / "routes.html").read_text(encoding="utf-8")
    return page.replace("{{version}}", escape(document["info"]["version"])).replace("{{routes}}", "\n".join(rows))
