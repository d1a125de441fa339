"""What a flow shows on the page of its run. Each artifact, and each page in MLflow, says first what
it is, and then leads to the pages that belong to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.outside.blocks_of_run import registry, service

Links = Mapping[str, str | None]
NO_LINKS: Links = {}


def show_text(
    use_case: str, kind: str, text: str, title: str, sentence: str = "", links: Links = NO_LINKS
) -> None:
    """Show ``text``, which is Markdown."""
    create_markdown_artifact(
        text, key=artifact_key(use_case, kind), description=about(use_case, title, sentence, links)
    )


def show_table(
    use_case: str,
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    title: str,
    sentence: str = "",
    links: Links = NO_LINKS,
) -> None:
    """Show ``rows``; the keys of the first are the columns, and cells are Markdown."""
    create_table_artifact(
        [dict(row) for row in rows],
        key=artifact_key(use_case, kind),
        description=about(use_case, title, sentence, links),
    )


def show_picture(
    use_case: str, kind: str, run_id: str, path: str, title: str, words: str, links: Links
) -> None:
    """Show the PNG ``path`` of an MLflow run. ``words`` say the same where it cannot be seen, as by
    somebody who is not signed in to MLflow."""
    picture, page = registry().file_url(run_id, path), registry().artifact_url(run_id, path)
    show_text(use_case, kind, f"![{words}]({picture})", title, words, {**links, "picture": page})


def about(use_case: str, title: str, sentence: str = "", links: Links = NO_LINKS) -> str:
    """Return the head of a page as Markdown: its title, a sentence, the page of the use case, and
    ``links`` by their words; one without an address is left out."""
    pages = linked({"Laurel": service().page(use_case), **links})
    return "\n\n".join(part for part in (f"**{use_case}: {title}**", sentence, pages) if part)


def linked(links: Links) -> str:
    """Return the links as a line of Markdown."""
    return " · ".join(f"[{words}]({page})" for words, page in links.items() if page)


def artifact_key(use_case: str, kind: str) -> str:
    """The key of a use case's artifacts: Prefect takes no underscore there, and a module's name no
    dash.
    """
    return f"{use_case}-{kind}".replace("_", "-").lower()
