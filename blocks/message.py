"""A message: its parts as plain text, and the same within the limits of Slack's Block Kit. Nothing
is sent here.

Limits are those of Slack's Block Kit reference (https://docs.slack.dev/reference/block-kit) and of
chat.postMessage."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Language = Literal["en", "ko"]
Status = Literal["pending", "running", "done", "failed", "skipped"]

# In characters. The parts below stay under what a message may hold in all, about 12,000, which
# Slack documents nowhere and answers with msg_blocks_too_long.
TEXT_LIMIT = 4000
SECTION_LIMIT = 3000
HEADLINE_LIMIT = 500
FACT_LIMIT = 300
FACTS = 10
LINKS_LIMIT = 1500
BUTTON_LIMIT = 75
BUTTON_VALUE_LIMIT = 2000
BUTTONS = 5
CONFIRM_TITLE_LIMIT, CONFIRM_TEXT_LIMIT, CONFIRM_ANSWER_LIMIT = 100, 300, 30
OUTCOME_LIMIT = 120

BUTTONS_BLOCK = "laurel"
_MARKS: dict[Status, str] = {
    "pending": ":white_circle:",
    "running": ":hourglass_flowing_sand:",
    "done": ":white_check_mark:",
    "failed": ":x:",
    "skipped": ":heavy_minus_sign:",
}


@dataclass(frozen=True)
class Confirm:
    """What Slack asks before it takes a press for one."""

    title: str
    text: str
    yes: str
    no: str


@dataclass(frozen=True)
class Button:
    """A button that the service answers. ``value`` is sent back as JSON. Raises ``ValueError``
    where that is longer than Slack takes.
    """

    text: str
    action_id: str
    value: Mapping[str, str | None]
    style: Literal["", "primary", "danger"] = ""
    confirm: Confirm | None = None

    def __post_init__(self) -> None:
        if len(json.dumps(dict(self.value))) > BUTTON_VALUE_LIMIT:
            raise ValueError(
                f"The value of the button {self.action_id!r} is longer than the "
                f"{BUTTON_VALUE_LIMIT} characters that Slack accepts."
            )

    @property
    def element(self) -> dict[str, Any]:
        built: dict[str, Any] = {
            "type": "button",
            "text": _plain(self.text, BUTTON_LIMIT),
            "action_id": self.action_id,
            "value": json.dumps(dict(self.value)),
        }
        if self.style:
            built["style"] = self.style
        if self.confirm:
            built["confirm"] = {
                "title": _plain(self.confirm.title, CONFIRM_TITLE_LIMIT),
                "text": _plain(self.confirm.text, CONFIRM_TEXT_LIMIT),
                "confirm": _plain(self.confirm.yes, CONFIRM_ANSWER_LIMIT),
                "deny": _plain(self.confirm.no, CONFIRM_ANSWER_LIMIT),
            }
        return built


@dataclass(frozen=True)
class Picture:
    """A PNG that is uploaded beneath its message; ``alt`` says in words what it shows."""

    png: bytes = field(repr=False)
    title: str
    alt: str


@dataclass(frozen=True)
class Step:
    """How far a stage of the run has come: a line of the checklist in the thread's head. ``title``
    is the stage as people read it.
    """

    stage: str
    status: Status
    outcome: str = ""
    title: str = ""

    @property
    def line(self) -> str:
        outcome = escaped(" ".join(self.outcome.split()), OUTCOME_LIMIT)
        return f"{_MARKS[self.status]} *{escaped(self.title or self.stage, FACT_LIMIT)}*" + (
            f"  {outcome}" if outcome else ""
        )


@dataclass(frozen=True)
class Message:
    """What is told. All parts are plain text: escaping and cutting for Slack happen here, in one
    place.

    ``facts`` are short label-value pairs (at most 10 are shown in Slack), ``details`` sentences,
    ``links`` label to URL. ``buttons`` are shown where somebody answers them; elsewhere
    ``otherwise`` says in one sentence where to answer. ``steps`` are the stages that this message
    changes in the head of its thread, and ``closes`` what becomes of the first stage still open
    there (the ones after it are skipped). ``answers``: the buttons above it in the thread have had
    their answer, which stands in their place from then on. ``broadcast``: the channel sees it too,
    not the thread alone. ``translations`` are the same message in other languages than English."""

    headline: str
    facts: Mapping[str, str] = field(default_factory=dict)
    details: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    emoji: str = ""
    buttons: Sequence[Button] = ()
    otherwise: str = ""
    pictures: Sequence[Picture] = ()
    steps: Sequence[Step] = ()
    closes: Literal["", "failed", "skipped"] = ""
    answers: bool = False
    broadcast: bool = False
    translations: Mapping[str, "Message"] = field(default_factory=dict, repr=False)

    def in_language(self, language: Language) -> "Message":
        """The same in ``language``, or as it is where nobody translated it."""
        return self.translations.get(language) or replace(self, translations={})

    def without_buttons(self) -> "Message":
        """For where nobody would answer a press."""
        details = (*self.details, self.otherwise) if self.otherwise else self.details
        return replace(self, buttons=(), otherwise="", details=details)

    @property
    def text(self) -> str:
        """Everything but buttons and pictures, as lines: what the log says, and what Slack shows in
        a notification.
        """
        lines = [self.headline, *(f"{label}: {value}" for label, value in self.facts.items())]
        lines += [f"- {detail}" for detail in self.details]
        return "\n".join(lines + [f"{label}: {url}" for label, url in self.links.items()])

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The Block Kit form, within Slack's limits; what is cut there ends in an ellipsis, and is
        whole in the log.
        """
        built: list[dict[str, Any]] = [{"type": "section", "text": self._marked_headline}]
        if self.facts:
            pairs = list(self.facts.items())[:FACTS]
            fields = [
                _mrkdwn(f"*{escaped(label, FACT_LIMIT)}*\n{escaped(value, FACT_LIMIT)}")
                for label, value in pairs
            ]
            built.append({"type": "section", "fields": fields})
        if self.details:
            listed = "\n".join(f"• {detail}" for detail in self.details)
            built.append({"type": "section", "text": _mrkdwn(escaped(listed, SECTION_LIMIT))})
        if self.buttons:
            built.append(
                {
                    "type": "actions",
                    "block_id": BUTTONS_BLOCK,
                    "elements": [button.element for button in self.buttons[:BUTTONS]],
                }
            )
        links = _links(self.links)
        return [*built, {"type": "context", "elements": [_mrkdwn(links)]}] if links else built

    @property
    def _marked_headline(self) -> dict[str, Any]:
        headline = escaped(" ".join(self.headline.split()), HEADLINE_LIMIT)
        return _mrkdwn(f"{self.emoji} *{headline}*".strip())

    def in_place_of_buttons(self, blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``blocks`` of another message with this one's headline where the buttons were."""
        headline = {"type": "context", "elements": [self._marked_headline]}
        return [headline if block["type"] == "actions" else block for block in blocks]


def checklist(steps: Sequence[Step]) -> dict[str, Any]:
    """The block of a thread's head that says how far each stage is."""
    return {"type": "section", "text": _mrkdwn("\n".join(step.line for step in steps))}


def escaped(text: str, limit: int) -> str:
    """``text`` with Slack's three special characters as entities, cut to ``limit`` characters,
    never inside an entity.
    """
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe if len(safe) <= limit else re.sub(r"&\w*$", "", safe[: limit - 1]) + "…"


def _mrkdwn(text: str) -> dict[str, Any]:
    # Verbatim: words that look like a channel or a URL stay words; only what is marked as a link is
    # one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {
        "type": "plain_text",
        "text": text if len(text) <= limit else text[: limit - 1] + "…",
        "emoji": True,
    }


def _links(links: Mapping[str, str]) -> str:
    """``<url|label>`` of each link; one that no longer fits is left to the log, since half a URL
    leads nowhere.
    """
    text = ""
    for label, url in links.items():
        address = (
            url.replace("&", "&amp;")
            .replace("<", "%3C")
            .replace(">", "%3E")
            .replace("|", "%7C")
            .replace(" ", "%20")
        )
        link = f"<{address}|{escaped(label, FACT_LIMIT)}>"
        if len(text) + len(link) < LINKS_LIMIT:
            text += f" · {link}" if text else link
    return text
