"""What people are told of a rollout: that it began, each step, and how it ended."""

from collections.abc import Sequence

from blocks.message import Button, Confirm, Message, Picture
from serving.records.rollout import RUNNING, Rollout
from tasks.messages.links import NO_LINKS, Links
from tasks.messages.wording import Say, spoken

_EMOJIS = {
    "began": ":seedling:",
    "judged": ":mag:",
    "stepped": ":arrow_forward:",
    "held": ":double_vertical_bar:",
    "resumed": ":arrow_forward:",
    "won": ":white_check_mark:",
    "reverted": ":rewind:",
}
_QUIET = ("judged", "stepped")


@spoken
def rollout_told(
    say: Say,
    use_case: str,
    *,
    version: str,
    champion: str,
    verdict: str,
    word: str,
    reasons: Sequence[str],
    rollout: Rollout | None = None,
    picture: bytes | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """Tell a decision on the rollout of ``version``; ``word`` is its ``verdict`` in words. What
    only goes on stays in the thread. One that runs, where ``rollout`` says, gets buttons, which
    replace those of the message before. ``picture`` is a PNG of its gains."""
    stays = verdict in ("lost", "no difference", "not enough traffic", "inconclusive", "reverted")
    runs = rollout is not None and verdict in RUNNING
    return Message(
        headline=say("rollout", use_case=use_case, version=version, verdict=word),
        details=(*reasons, *([say("rollout.stays", champion=champion)] if stays else [])),
        links=links,
        emoji=_EMOJIS.get(verdict, ":stop_sign:"),
        buttons=_buttons(say, use_case, version, champion, rollout) if rollout and runs else (),
        otherwise=say("rollout.otherwise", use_case=use_case) if runs else "",
        answers=True,
        broadcast=verdict not in _QUIET,
        pictures=(Picture(picture, say("rollout.picture"), "; ".join(reasons)),) if picture else (),
    )


def _buttons(
    say: Say, use_case: str, version: str, champion: str, rollout: Rollout
) -> tuple[Button, ...]:
    """Each names the step that people see: an old one must not skip a later step."""
    at = {"stage": str(rollout.stage), "step": str(rollout.step)}
    value = {"use_case": use_case, "rollout": rollout.id, **at}

    def sure(do: str) -> Confirm:
        words = say(f"rollout.{do}.sure", version=version, champion=champion)
        return Confirm(say(f"rollout.{do}"), words, say(f"rollout.{do}"), say("not now"))

    stay = "resume" if rollout.held else "hold"
    return (
        Button(say("rollout.advance"), "laurel.advance", value, confirm=sure("advance")),
        Button(say(f"rollout.{stay}"), f"laurel.{stay}", value),
        Button(say("rollout.revert"), "laurel.revert", value, "danger", sure("revert")),
    )
