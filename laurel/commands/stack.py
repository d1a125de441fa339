"""``laurel up``, ``down`` and ``demo``: the stack on this machine."""

from typing import Annotated

import typer

from laurel.output import CommandFailed, Json, print_json, text_aside


def up(as_json: Json = False) -> None:
    """Start Prefect, the lake, MLflow, the service and a worker, and apply the deployments.

    Example: laurel up
    """
    from deployments.local import command as local
    from deployments.local.settings import read_stack_settings
    from deployments.supervision.programs import programs

    with text_aside(as_json):
        _end_unless_done(local.main(["up"]))
        _apply()
    if as_json:
        settings = read_stack_settings()
        listed = [{"name": one.name, "url": one.url} for one in programs(settings)]
        print_json({"state": settings.state, "programs": listed})


def down(as_json: Json = False) -> None:
    """Stop everything that `laurel up` started. The data stay.

    Example: laurel down
    """
    from deployments.local import command as local
    from deployments.local.settings import read_stack_settings

    with text_aside(as_json):
        settings = read_stack_settings()
        _end_unless_done(local.main(["down"]))
    if as_json:
        print_json({"state": settings.state, "up": False})


def demo(
    use_case: Annotated[
        str, typer.Option(metavar="NAME", help="Whose story is played; an unknown one lists all.")
    ] = "flights",
    keep: Annotated[bool, typer.Option(help="Leave the demo's stack up at the end.")] = True,
    as_json: Json = False,
) -> None:
    """Run the whole loop on real data, on a stack of its own.

    Example: laurel demo --use-case diabetes --no-keep
    """
    from deployments.demo import command

    with text_aside(as_json):
        arguments = ["--use-case", use_case, *([] if keep else ["--down"])]
        code = command.main(arguments)
    if as_json:
        print_json({"use_case": use_case, "closed": code == 0, "up": keep and code == 0})
    _end_unless_done(code)


def _apply() -> None:
    from deployments.apply import command as apply

    try:
        apply.main([])
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise CommandFailed(ended.code) from None
        _end_unless_done(ended.code or 0)


def _end_unless_done(code: int) -> None:
    if code:
        raise typer.Exit(code)
