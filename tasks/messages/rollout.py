"""What people are told of a rollout: that it began, each step, and how it ended."""

from collections.abc import Sequence

from blocks.message import Message
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
    links: Links = NO_LINKS,
) -> Message:
    """Tell a decision on the rollout of ``version``; ``word`` is its ``verdict`` in words. What
    only goes on stays in the thread."""
    stays = verdict in ("lost", "no difference", "not enough traffic", "inconclusive", "reverted")
    return Message(
        headline=say("rollout", use_case=use_case, version=version, verdict=word),
        details=(*reasons, *([say("rollout.stays", champion=champion)] if stays else [])),
        links=links,
        emoji=_EMOJIS.get(verdict, ":stop_sign:"),
        broadcast=verdict not in _QUIET,
    )
