"""``laurel predict`` and ``laurel open``: the running service, and the pages of the stack."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from laurel import names
from laurel.output import CommandFailed, Json, print_json
from laurel.servers import service_api, stack_settings

SHOWN = 20


def predict(
    use_case: Annotated[str, typer.Argument(metavar="USE_CASE", show_default=False)],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="JSON; - is the standard input.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Send the champion's own example, and show it.")
    ] = False,
    log: Annotated[
        bool, typer.Option("--log", help="Keep the answer in the prediction log.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask the champion about a row: {"column": value, ...}, or a list of rows.

    Without FILE the row comes from the standard input:
    echo '{"age": 41, "plan": "basic"}' | laurel predict churn

    Example: laurel predict flights --example
    """
    from blocks.clients.service import ServiceAway

    service = service_api(stack_settings())
    try:
        if example:
            rows = [_example(service.ask("GET", f"/v1/{use_case}"))]
        else:
            rows = read_rows(_text(file, use_case))
        path = f"/v1/{use_case}/predict{'' if log else '?log=false'}"
        answer = service.ask("POST", path, {"rows": rows})
    except ServiceAway as error:
        if error.status == 0:
            raise
        raise CommandFailed(error.said or str(error)) from error
    if as_json:
        print_json({**answer, "rows": rows} if example else answer)
        return
    if example:
        typer.echo(json.dumps(rows[0], ensure_ascii=False))
    typer.echo("\n".join(in_words(use_case, answer)))


def _example(described: Mapping[str, Any]) -> dict[str, Any]:
    if not described["ready"]:
        use_case = described["use_case"]
        raise CommandFailed(f"{use_case} has no champion yet. laurel run retrain {use_case}")
    row: dict[str, Any] = described["example"]
    return row


def _text(file: Path | None, use_case: str) -> str:
    if file is None and sys.stdin.isatty():
        raise CommandFailed(
            f"Give a row: a file, JSON on the standard input, or laurel predict {use_case} "
            "--example",
            exit_code=2,
        )
    if file is None or str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{file} is not UTF-8: {error.reason}.") from error


def read_rows(text: str) -> list[dict[str, Any]]:
    """The rows of a JSON object, of a list of objects, or of ``{"rows": [...]}``. Raises
    ``CommandFailed``."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"The row is not JSON: {error}.", exit_code=2) from error
    if isinstance(content, dict) and isinstance(content.get("rows"), list):
        content = content["rows"]
    rows = content if isinstance(content, list) else [content]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise CommandFailed('A row is a JSON object: {"column": value, ...}.', exit_code=2)
    return rows


def in_words(use_case: str, answer: Mapping[str, Any]) -> list[str]:
    """What a terminal shows of an answer."""
    predictions = answer["predictions"]
    lines = [f"{use_case} v{answer['model_version']}"]
    for prediction in predictions[:SHOWN]:
        values = {name: value for name, value in prediction.items() if name != "id"}
        lines.append("  " + "  ".join(f"{name} {_shown(value)}" for name, value in values.items()))
    if len(predictions) > SHOWN:
        lines.append(f"  ... and {len(predictions) - SHOWN:,} more rows: --json prints all")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def open(  # noqa: A001 - the command's name
    page: Annotated[
        str, typer.Argument(metavar="[PAGE]", help="service, prefect, mlflow or a use case.")
    ] = "service",
    browser: Annotated[bool, typer.Option(help="Open it in a browser, if there is one.")] = True,
    as_json: Json = False,
) -> None:
    """Print the address of a page, and open it in a browser if there is one.

    Example: laurel open flights
    """
    settings = stack_settings()
    service = settings.serving_pages
    pages = {"service": service, "prefect": settings.prefect_pages, "mlflow": settings.mlflow_pages}
    use_cases = names.use_cases()
    if page not in pages and page not in use_cases:
        raise CommandFailed(names.unknown("page", page, [*pages, *use_cases]), exit_code=2)
    url = pages.get(page, f"{service}/#{page}")
    if as_json:
        print_json({"page": page, "url": url})
        return
    typer.echo(url)
    if browser:
        _open_in_browser(url)


def _open_in_browser(url: str) -> None:
    """Nothing on a machine without a screen: a browser of text would take the terminal."""
    import webbrowser

    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return
    if type(found) is not webbrowser.GenericBrowser:
        found.open(url)
