"""A message as plain text, and in Slack's Block Kit within Slack's limits. Nothing is sent here.

The limits come from the Block Kit reference (https://docs.slack.dev/reference/block-kit) and from
chat.postMessage."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Language = Literal["en", "ko"]
Status = Literal["pending", "running", "done", "failed", "skipped"]

# In characters. Together the parts below stay under the limit of a whole message, about 12,000.
# Slack does not document this limit and answers msg_blocks_too_long.
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
    """The question that Slack asks before it counts a press."""

    title: str
    text: str
    yes: str
    no: str


@dataclass(frozen=True)
class Button:
    """A button that the service answers. Slack sends ``value`` back as JSON. Raises ``ValueError``
    if that is longer than Slack accepts.
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
    """A PNG that is uploaded beneath its message; ``alt`` describes it in words."""

    png: bytes = field(repr=False)
    title: str
    alt: str


@dataclass(frozen=True)
class Step:
    """The progress of a stage of the run: a line of the checklist in the thread's first message.
    ``title`` is the stage's name for people.
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
    """A message to people. All parts are plain text; only this module escapes and cuts for Slack.

    ``facts`` are short label-value pairs (Slack shows at most 10), ``details`` are sentences, and
    ``links`` map labels to URLs. ``buttons`` are shown if somebody answers them; otherwise the
    sentence ``otherwise`` says where to answer. ``steps`` are the stages that this message changes
    in the first message of its thread. ``closes`` is the new status of the first stage that is
    still open there; the stages after it are skipped. ``answers``: this message answers the buttons
    above it in the thread, and replaces them. ``broadcast``: the channel sees the message too, not
    only the thread. ``translations`` are the same message in languages other than English."""

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
        """Return the message in ``language``, or unchanged if there is no translation."""
        return self.translations.get(language) or replace(self, translations={})

    def without_buttons(self) -> "Message":
        """Return the message for places where nobody answers a press."""
        details = (*self.details, self.otherwise) if self.otherwise else self.details
        return replace(self, buttons=(), otherwise="", details=details)

    @property
    def text(self) -> str:
        """Everything but buttons and pictures, as lines: the text of the log and of Slack's
        notifications.
        """
        lines = [self.headline, *(f"{label}: {value}" for label, value in self.facts.items())]
        lines += [f"- {detail}" for detail in self.details]
        return "\n".join(lines + [f"{label}: {url}" for label, url in self.links.items()])

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The Block Kit form, within Slack's limits. Text that was cut ends in an ellipsis; the log
        has all of it.
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
        """Replace the buttons in the ``blocks`` of another message with this message's headline."""
        headline = {"type": "context", "elements": [self._marked_headline]}
        return [headline if block["type"] == "actions" else block for block in blocks]


def checklist(steps: Sequence[Step]) -> dict[str, Any]:
    """The block that shows the progress of each stage in the first message of a thread."""
    return {"type": "section", "text": _mrkdwn("\n".join(step.line for step in steps))}


def escaped(text: str, limit: int) -> str:
    """Return ``text`` with Slack's three special characters as entities, cut to ``limit``
    characters, but never inside an entity.
    """
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe if len(safe) <= limit else re.sub(r"&\w*$", "", safe[: limit - 1]) + "…"


def _mrkdwn(text: str) -> dict[str, Any]:
    # Verbatim: words that look like a channel or a URL stay words; only marked links are links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {
        "type": "plain_text",
        "text": text if len(text) <= limit else text[: limit - 1] + "…",
        "emoji": True,
    }


def _links(links: Mapping[str, str]) -> str:
    """Return ``<url|label>`` of each link. Only the log has links that do not fit, since half a URL
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
