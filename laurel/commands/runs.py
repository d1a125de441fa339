"""``laurel run`` and the verbs that run one flow: ``promote``, ``rollout``, ``rollback``, ``adopt``
and ``explain``."""

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from laurel.flow_runs import Request, Started, finish, person, start
from laurel.names import flow_named, number
from laurel.outcome import Outcome
from laurel.output import CommandFailed, Json, print_json

UseCase = Annotated[str, typer.Argument(metavar="USE_CASE", show_default=False)]
Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; the ledger keeps it.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Start the run and leave it alone.")]


class Question(StrEnum):
    champion = "champion"
    retrain = "retrain"


class Do(StrEnum):
    look = "look"
    advance = "advance"
    hold = "hold"
    resume = "resume"
    revert = "revert"


def run(
    flow: Annotated[str, typer.Argument(metavar="FLOW", show_default=False)],
    use_case: UseCase,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A parameter of the flow; can be repeated."),
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Run a flow of a use case, wait for it and say how it ended.

    FLOW is retrain, drift-check, train, ingest, evaluate, compare, backtest, ...
    Exit code 0: done; 1: failed; 3: refused; 4: gate not reached; 5: cancelled.

    Example: laurel run retrain flights --param through=2013-06
    """
    _run(Request(flow_named(flow), use_case, param or ()), as_json, no_wait)


def promote(
    use_case: UseCase,
    version: Annotated[
        str | None, typer.Option(metavar="N", help="Which version; default: the challenger.")
    ] = None,
    rollout: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="immediate, shadow,canary, ...; default: the file's."),
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Hold the contest between challenger and champion; the winner serves.

    Example: laurel promote flights
    """
    values = _given(version=number(version), rollout=rollout)
    _run(Request("promote", use_case, values=values), as_json, no_wait)


def rollback(
    use_case: UseCase,
    to: Annotated[
        str | None, typer.Option(metavar="N", help="Which version; default: the one before.")
    ] = None,
    why: Why = "",
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Give the crown back to the champion before, or to a named version.

    Example: laurel rollback flights --to 5 --why "customers complained"
    """
    reason = f"{person()}: {why}" if why.strip() else f"{person()} asked for it"
    values = _given(version=number(to), reason=reason)
    _run(Request("rollback", use_case, values=values), as_json, no_wait)


def adopt(
    use_case: UseCase,
    version: Annotated[str, typer.Argument(metavar="VERSION", show_default=False)],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; the ledger keeps it.")],
    rollout: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Meet callers first: canary, shadow,canary, ..."),
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Make a version champion by hand, without a contest; "none" leaves the crown to nobody.

    Example: laurel adopt flights 7 --why "the alias was lost"
    """
    values = {"by": person(), "why": why, **_given(version=number(version), rollout=rollout)}
    _run(Request("adopt", use_case, values=values), as_json, no_wait)


def rollout(
    use_case: UseCase,
    do: Annotated[
        Do,
        typer.Argument(metavar="[advance|hold|resume|revert]", help="Default: only look."),
    ] = Do.look,
    why: Why = "",
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Look at a running rollout, or take its next step, hold it, resume it or end it.

    Example: laurel rollout flights revert --why "calls from customers"
    """
    if do != Do.look and not why.strip():
        raise CommandFailed(f'The ledger keeps why: laurel rollout {use_case} {do} --why "..."', 2)
    values = {"do": do.value, **({"by": person(), "why": why} if do != Do.look else {})}
    _run(Request("rollout", use_case, values=values), as_json, no_wait)


def explain(
    use_case: UseCase,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="2013-06-30 or 2013-06-30T12:00; UTC.")
    ] = None,
    question: Annotated[
        Question | None,
        typer.Option(metavar="champion|retrain", help="Only this question; default: both."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say from the ledger who was champion and why, and why no retrain ran.

    Example: laurel explain flights --at 2013-06-30
    """
    values = _given(at=_moment(at), question=question and question.value)
    request = Request("explain", use_case, values=values)
    with start(request) as started:
        ended = finish(started, quiet=as_json)
        text = None if ended.exit_code else _answer(started)
    if as_json:
        print_json({**asdict(ended), "explanation": text})
    elif text is None:
        _tell(ended)
    else:
        _print_markdown(text)
    raise typer.Exit(ended.exit_code)


def _run(request: Request, as_json: bool, no_wait: bool) -> None:
    with start(request) as started:
        if no_wait:
            _tell_started(started, as_json)
            return
        ended = finish(started, quiet=as_json)
    if as_json:
        print_json(asdict(ended))
    else:
        _tell(ended)
    raise typer.Exit(ended.exit_code)


def _tell(ended: Outcome) -> None:
    typer.echo(ended.line)
    typer.echo(f"{ended.url}   {ended.seconds:.0f} s")


def _tell_started(started: Started, as_json: bool) -> None:
    if as_json:
        request = started.request
        document = {"flow": request.flow, "use_case": request.use_case}
        print_json({**document, "run": str(started.run.id), "url": started.page})
    else:
        typer.echo(f"Started. {started.how_to_follow}")


def _answer(started: Started) -> str | None:
    from deployments.runs.run_report import read_artifact

    runs, use_case = started.runs, started.request.use_case
    return read_artifact(runs.prefect, use_case, "explanation", started.run, [])


def _print_markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(highlight=False)
    console.print(Markdown(text)) if console.is_terminal else typer.echo(text)


def _moment(text: str | None) -> str | None:
    try:
        return text and datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise CommandFailed(f'"{text}" is no time: 2013-06-30 or 2013-06-30T12:00.', 2) from None


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
