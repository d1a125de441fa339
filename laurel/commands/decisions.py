"""``laurel champion``, ``approve``, ``reject`` and ``audit``: who has the crown, and who says
so."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laurel import figures
from laurel.flow_runs import Request, finish_run, person
from laurel.ledger import Ledger, last_move, read_ledger
from laurel.names import number, unknown
from laurel.output import CommandFailed, Json, print_json
from laurel.servers import service_api, stack_settings

if TYPE_CHECKING:
    from blocks.settings import Settings

UseCase = Annotated[str, typer.Argument(metavar="USE_CASE", show_default=False)]
Challenger = Annotated[
    str | None, typer.Option(metavar="N", help="Which challenger, if several wait.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Answer, and do not wait for the run.")]
WAYS = {
    "crowned": "won its contest",
    "adopted": "crowned by hand",
    "vacated": "the crown is vacant",
    "rollback": "rolled back to",
}
DIFFERS = 3


def champion(
    use_case: Annotated[
        str | None, typer.Argument(metavar="[USE_CASE]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Say who is champion, since when and why, from the ledger. Exit code 3: the service or
    MLflow's alias is at another version.

    Example: laurel champion flights
    """
    settings = stack_settings()
    names = [_existing(settings, use_case)] if use_case else _with_ledger(settings)
    documents = [document_of(name, read_ledger(settings, name)) for name in names]
    if as_json:
        print_json(documents[0] if use_case else documents)
    elif not use_case:
        for document in documents:
            typer.echo(_headline(document))
        if not documents:
            typer.echo("Nobody: no use case has a ledger yet. Begin: laurel run retrain USE_CASE")
    else:
        typer.echo("\n".join(in_words(documents[0])))
    if any(document["agrees"] is False for document in documents):
        raise typer.Exit(DIFFERS)


def document_of(use_case: str, ledger: Ledger) -> dict[str, Any]:
    """Who is champion by the ledger, and where alias and service are. ``agrees`` is ``None`` if the
    service is silent."""
    move = last_move(ledger.entries)
    crowned = move["version"] if move else None
    contest = _contest(ledger.entries, move)
    main = (contest.get("contest") or {}).get("main") if contest else None
    agrees = None
    if ledger.source == "service":
        agrees = (ledger.served, ledger.alias) == (crowned, crowned)
    return {
        "use_case": use_case,
        "champion": crowned,
        "since": move["time"] if move else None,
        "before": move["champion"] if move else None,
        "how": move["verdict"] if move else None,
        "reasons": (contest or move or {}).get("reasons", []),
        "by": move["by"] if move else None,
        "holdout": contest["holdout"] if contest else None,
        "contest": main,
        "gate_score": contest["gate_score"] if contest else None,
        "served": ledger.served,
        "alias": ledger.alias,
        "agrees": agrees,
        "source": ledger.source,
        "faults": [entry["fault"] for entry in ledger.entries if entry.get("tampered")],
    }


def _contest(
    entries: Sequence[Mapping[str, Any]], move: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The contest that led to the crown; none for a rollback and an adoption."""
    if move is None or move["verdict"] != "crowned":
        return None
    return next(
        (
            entry
            for entry in entries
            if entry["kind"] == "contest"
            and entry["sequence"] < move["sequence"]
            and entry["challenger"] == (move["challenger"] or move["version"])
        ),
        None,
    )


def in_words(document: Mapping[str, Any]) -> list[str]:
    """What a terminal shows of one champion."""
    lines = [_headline(document)]
    if main := document["contest"]:
        scores = f"{figures.score(main['challenger'])} against {figures.score(main['champion'])}"
        interval = f"{main['low']:+.3f} – {main['high']:+.3f}"
        rows = f"{main['rows']:,} rows of {document['holdout']}"
        lines.append(f"  contest  {main['metric']} {scores}, gain {interval}, {rows}")
    elif document["gate_score"] is not None:
        lines.append(
            f"  contest  {figures.score(document['gate_score'])} on {document['holdout']}, "
            "with no champion before it"
        )
    lines += [f"  why      {reason}" for reason in document["reasons"]]
    if document["by"]:
        lines.append(f"  decided  {document['by']}")
    if document["agrees"] is None:
        lines.append("  ? serves unknown: the service is silent; this is the lake's ledger")
    elif document["agrees"]:
        lines.append("  ✓ serves the service and MLflow's alias are at this version")
    else:
        lines += _difference(document)
    return lines + [f"  ✗ ledger {fault}" for fault in document["faults"]]


def _headline(document: Mapping[str, Any]) -> str:
    name, crowned = document["use_case"], document["champion"]
    if crowned is None:
        how = "the crown was left vacant" if document["how"] else "the ledger crowned nobody"
        return f"{name}  no champion: {how}"
    since = figures.moment(document["since"])
    before = f", after v{document['before']}" if document["before"] else ", the first champion"
    return (
        f"{name}  v{crowned} since {since:%Y-%m-%d %H:%M} UTC ({figures.age(since)}){before}: "
        f"{WAYS.get(document['how'], document['how'])}"
    )


def _difference(document: Mapping[str, Any]) -> list[str]:
    def named(version: str | None) -> str:
        return f"v{version}" if version else "nobody"

    name = document["use_case"]
    line = (
        f"  ✗ differ the service serves {named(document['served'])}, MLflow's alias is at "
        f"{named(document['alias'])}"
    )
    return [line, f"           laurel adopt {name} VERSION --why ... settles it"]


def approve(
    use_case: UseCase,
    challenger: Challenger = None,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; the ledger keeps it.")] = "",
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Let the challenger that waits take the crown. It is fitted again, and then serves.

    Example: laurel approve flights --why "looked at the slices"
    """
    _answer(use_case, True, challenger, why, no_wait, as_json)


def reject(
    use_case: UseCase,
    challenger: Challenger = None,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; the ledger keeps it.")] = "",
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Refuse the challenger that waits; the champion stays.

    Example: laurel reject flights --why "too good to be true"
    """
    _answer(use_case, False, challenger, why, no_wait, as_json)


def _answer(
    use_case: str, approved: bool, challenger: str | None, why: str, no_wait: bool, as_json: bool
) -> None:
    from blocks.clients.service import ServiceAway

    settings = stack_settings()
    name, service = _existing(settings, use_case), service_api(settings)
    listed = service.ask("GET", f"/v1/{name}/approvals")
    waiting = [
        one for one in listed["approvals"] if number(challenger) in (None, one["challenger"])
    ]
    if not waiting:
        trouble = f" Prefect does not answer: {listed['prefect']}" if listed["prefect"] else ""
        which = f"Challenger {challenger}" if challenger else "No challenger"
        waits = "does not wait" if challenger else "waits"
        raise CommandFailed(f"{which} of {name} {waits} for an answer.{trouble}")
    if len(waiting) > 1:
        numbers = ", ".join(str(one["challenger"]) for one in waiting)
        raise CommandFailed(f"Several challengers wait: {numbers}. Name one: --challenger N", 2)
    question = waiting[0]
    body = {"approved": approved, "by": person(), "why": why}
    try:
        answer = service.ask("POST", f"/v1/{name}/approvals/{question['run']}", body)
    except ServiceAway as error:
        raise CommandFailed(error.said or str(error)) from error
    document = {**answer, "challenger": question["challenger"]}
    if no_wait:
        _tell_answer(name, document, as_json)
        return
    ended = finish_run(Request("approve", name), settings, question["run"], quiet=as_json)
    if as_json:
        print_json({**document, **asdict(ended)})
    else:
        typer.echo(f"{ended.line}\n{ended.url}   {ended.seconds:.0f} s")
    raise typer.Exit(ended.exit_code)


def _tell_answer(use_case: str, answer: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    word = "approved" if answer["approved"] else "rejected"
    typer.echo(f"v{answer['challenger']} of {use_case} is {word}.")
    typer.echo(f"Follow it: laurel logs {use_case} --follow\nIts page: {answer['page']}")


def audit(
    use_cases: Annotated[
        list[str] | None, typer.Argument(metavar="[USE_CASE]...", show_default=False)
    ] = None,
    every_head: Annotated[
        bool, typer.Option(help="Compare each entry with its head in MLflow, not the latest only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify the ledgers: the chain of entries, and the alias against the last crown.

    Example: laurel audit flights
    """
    from deployments.checks import audit as checks

    audits = []
    for one in checks.audit(use_cases or [], every_head):
        audits.append(one)
        if not as_json:
            typer.echo(checks.in_a_line(one))
    if as_json:
        print_json([asdict(one) for one in audits])
    if any(one.faults for one in audits):
        raise typer.Exit(1)


def _existing(settings: "Settings", use_case: str) -> str:
    """The name, if there is such a use case here or in the service. Raises ``CommandFailed``."""
    from blocks.clients.service import ServiceAway
    from usecases.definition import known

    if use_case in (here := known()):
        return use_case
    try:
        served = [one["use_case"] for one in service_api(settings).ask("GET", "/v1")["use_cases"]]
    except ServiceAway:
        served = []
    if use_case in served:
        return use_case
    raise CommandFailed(unknown("use case", use_case, {*here, *served}), exit_code=2)


def _with_ledger(settings: "Settings") -> list[str]:
    """The use cases that the service serves, or those with a file here if it is silent."""
    from blocks.clients.service import ServiceAway
    from usecases.definition import known

    try:
        described = service_api(settings).ask("GET", "/v1")["use_cases"]
    except ServiceAway:
        return known()
    return [one["use_case"] for one in described if one["ready"] or one["alias"]["version"]]
