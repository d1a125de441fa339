"""What people are told of the crown once it moves: deployment, rollback and the crown by hand."""

from dataclasses import replace

from blocks.message import Button, Confirm, Message
from tasks.messages.links import NO_LINKS, Links
from tasks.messages.wording import Say, spoken


@spoken
def deployed(
    say: Say,
    use_case: str,
    *,
    version: str,
    seconds: float,
    smoke_rows: int,
    champion_before: str | None = None,
    refit_of: str | None = None,
    holdout: str = "",
    links: Links = NO_LINKS,
) -> Message:
    """Tell that ``version`` serves, ``seconds`` after it got the alias.

    ``champion_before`` is the version that the button goes back to; ``None``: there was none, so
    there is no button. ``refit_of`` is the challenger whose recipe was fitted again, with the rows
    of the ``holdout``; ``None``: it is served as it is."""
    message = Message(
        headline=say(
            "deployed", use_case=use_case, version=version, seconds=seconds, smoke_rows=smoke_rows
        ),
        details=_refitted(say, version, refit_of, holdout),
        links=links,
        emoji=":rocket:",
        steps=(say.step("deploy", "done", say("deployed.step", version=version, seconds=seconds)),),
    )
    return (
        _with_way_back(say, message, use_case, version, champion_before)
        if champion_before
        else message
    )


@spoken
def rolled_back(
    say: Say,
    use_case: str,
    *,
    version: str,
    from_version: str,
    reason: str,
    seconds: float | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """Tell of a rollback. ``seconds`` pass from the alias to the service's report; ``None``: not
    measured."""
    message = say("rolled back", use_case=use_case, from_version=from_version, version=version)
    return Message(
        headline=message
        if seconds is None
        else say("rolled back.after", sentence=message, seconds=seconds),
        details=(reason,) if reason else (),
        links=links,
        emoji=":rewind:",
        broadcast=True,
    )


@spoken
def adopted(
    say: Say,
    use_case: str,
    *,
    version: str,
    champion_before: str | None,
    reason: str,
    seconds: float | None = None,
    refit_of: str | None = None,
    holdout: str = "",
    links: Links = NO_LINKS,
) -> Message:
    """Tell of a crown without a contest. ``refit_of`` and ``holdout`` are as in ``deployed``.

    ``seconds`` pass from the alias to the service's report; ``None``: the version already had the
    alias."""
    message = say(
        "adopted", use_case=use_case, version=version, before=champion_before or say("none")
    )
    return Message(
        headline=message
        if seconds is None
        else say("rolled back.after", sentence=message, seconds=seconds),
        details=(reason, *_refitted(say, version, refit_of, holdout)),
        links=links,
        emoji=":crown:",
        broadcast=True,
    )


@spoken
def crown_vacated(
    say: Say,
    use_case: str,
    *,
    champion_before: str | None,
    by: str,
    why: str,
    links: Links = NO_LINKS,
) -> Message:
    """Tell that ``by`` took the crown away: the gate alone judges the next champion."""
    message = say("vacated", use_case=use_case, by=by, before=champion_before or say("none"))
    return Message(headline=message, details=(why,), links=links, emoji=":crown:", broadcast=True)


@spoken
def alias_restored(say: Say, use_case: str, *, version: str, links: Links = NO_LINKS) -> Message:
    """Tell that somebody deleted the alias of an intact champion, and that it is set again."""
    return Message(
        headline=say("restored", use_case=use_case, version=version),
        links=links,
        emoji=":adhesive_bandage:",
        broadcast=True,
    )


@spoken
def deployment_failed(
    say: Say,
    use_case: str,
    *,
    version: str,
    reason: str,
    restored_version: str | None,
    links: Links = NO_LINKS,
) -> Message:
    """Tell of a failure. ``restored_version`` has the champion alias again; ``None``: there was
    none."""
    key = "deployment.failed" if restored_version else "deployment.failed.first"
    return Message(
        headline=say(key, use_case=use_case, version=version, restored=restored_version),
        details=(reason,),
        links=links,
        emoji=":rotating_light:",
        steps=(say.step("deploy", "failed", say("deployment.failed.step", version=version)),),
        broadcast=True,
    )


def _with_way_back(say: Say, message: Message, use_case: str, version: str, before: str) -> Message:
    sure = Confirm(
        say("rollback.sure", champion=before),
        say("rollback.sure.text", champion=before, version=version, use_case=use_case),
        say("rollback.button"),
        say("not now"),
    )
    value = {"use_case": use_case, "version": before, "from": version}
    button = Button(say("rollback.button"), "laurel.rollback", value, "danger", sure)
    return replace(
        message,
        buttons=(button,),
        otherwise=say("deployed.otherwise", use_case=use_case, champion=before),
    )


def _refitted(say: Say, version: str, refit_of: str | None, holdout: str) -> tuple[str, ...]:
    if refit_of is None:
        return ()
    return (say("refitted", version=version, challenger=refit_of, holdout=holdout),)
