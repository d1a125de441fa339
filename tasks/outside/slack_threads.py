"""One thread in Slack for each root flow run. Its head is the run's first message, and is edited as
the stages end.

The thread's place is in the lake under ``slack/<root run id>.json``, so that another process
of the run, or the run that carries an approval on, continues it. Who may post a head is decided by
the lake: the n-th head of a thread is posted by whoever creates ``slack/<root run id>/<n>.head``,
and by nobody else. A second one is only wanted where the first failed or was deleted. Two processes
that tell at the same moment may lose one another's step in the checklist until the next message,
never a message."""

import threading
import time
from typing import Any

from pydantic import BaseModel, ValidationError

from blocks.lake import Lake, LakeAway
from blocks.message import Message, Step
from blocks.slack import Posted, Refused, SlackNotifier

HEAD_WAIT_SECONDS = 150
"""How old the claim on a head may be that nobody posted yet: longer than a post may take, which is
three waits of 30 s for a rate limit and ten tries of 5 s."""

_ONE_AFTER_ANOTHER = threading.Lock()


class Question(BaseModel):
    """The last message with buttons that nobody has answered yet."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]


class Thread(BaseModel):
    """The state of a thread: its place, its head, its stages and its open question.

    ``head`` counts the heads that were tried.
    """

    channel: str = ""
    ts: str = ""
    head: int = 0
    text: str = ""
    blocks: list[dict[str, Any]] = []
    steps: dict[str, Step] = {}
    asked: Question | None = None

    @property
    def posted(self) -> Posted:
        return Posted(self.channel, self.ts)

    @property
    def checklist(self) -> tuple[Step, ...]:
        """The stages in the order in which they were first named. One alone is no checklist."""
        return tuple(self.steps.values()) if len(self.steps) > 1 else ()

    def take(self, message: Message) -> bool:
        """Update the stages from ``message``. Returns whether any changed."""
        before = dict(self.steps)
        self.steps |= {step.stage: step for step in message.steps}
        status = message.closes
        for stage, step in self.steps.items() if status else ():
            if step.status in ("pending", "running"):
                self.steps[stage] = Step(step.stage, status or "skipped", step.outcome, step.title)
                status = "skipped"
        return self.steps != before


def tell_in_thread(notifier: SlackNotifier, lake: Lake, run_id: str, message: Message) -> None:
    """Post ``message`` in the thread of the root run ``run_id``. Neither Slack nor the lake makes
    it raise.
    """
    prepared, posted = notifier.prepared(message), None
    with _ONE_AFTER_ANOTHER:
        try:
            thread = _read(lake, run_id)
            before = thread.model_copy(deep=True)
            posted = _tell(notifier, lake, run_id, thread, prepared)
            if posted:
                _keep_buttons(notifier, thread, posted, prepared)
        except LakeAway as error:
            notifier.warn(
                f"The thread of run {run_id} cannot be read, so this message is posted "
                f"outside it: {error}"
            )
            notifier.send(message)
            return
        try:
            if thread != before:
                lake.write(_path(run_id), thread.model_dump_json().encode())
        except LakeAway as error:
            notifier.warn(
                f"The thread of run {run_id} cannot be recorded, so the run may continue "
                f"in another thread: {error}"
            )
    if posted:
        notifier.upload(prepared, posted.channel, thread.ts)


def _path(run_id: str) -> str:
    return f"slack/{run_id}.json"


def _read(lake: Lake, run_id: str) -> Thread:
    """The thread, or an empty one if there is none or it is unreadable."""
    try:
        return Thread.model_validate_json(lake.read(_path(run_id)))
    except (FileNotFoundError, ValidationError):
        return Thread()


def _tell(
    notifier: SlackNotifier, lake: Lake, run_id: str, thread: Thread, message: Message
) -> Posted | None:
    """Edit the head and reply, or post the head. ``thread`` is changed to what it is then. ``None``
    where Slack refused.

    Raises ``LakeAway`` only before anything was posted.
    """
    is_head = not thread.ts and _may_post_head(lake, run_id, thread)
    changed = thread.take(message)
    if is_head:
        return _post_head(notifier, thread, message)
    try:
        if changed:
            _edit(notifier, thread)
        posted = notifier.post(message, thread.ts)
    except Refused as refused:
        if not refused.is_gone:
            notifier.log_refusal(message, refused)
            return None
        thread.ts, thread.head = "", thread.head + 1
        return _tell(notifier, lake, run_id, thread, message)
    notifier.log_told(message)
    return posted


def _edit(notifier: SlackNotifier, thread: Thread) -> None:
    """Raises ``Refused`` only if the head is gone; otherwise the next message brings the
    checklist up to date.
    """
    try:
        notifier.edit(thread.posted, thread.text, thread.blocks, thread.checklist)
    except Refused as refused:
        if refused.is_gone:
            raise
        notifier.warn(f"Slack refused the run's checklist: {refused}.")


def _keep_buttons(
    notifier: SlackNotifier, thread: Thread, posted: Posted, message: Message
) -> None:
    """Replace the buttons that ``message`` answers, and remember its own."""
    question = thread.asked if message.answers else None
    if message.answers:
        thread.asked = None
    if message.buttons:
        thread.asked = Question(ts=posted.ts, text=message.text, blocks=message.blocks)
    if question is None:
        return
    is_head, blocks = question.ts == thread.ts, message.in_place_of_buttons(question.blocks)
    if is_head:
        thread.blocks = blocks
    try:
        notifier.edit(
            Posted(thread.channel, question.ts),
            question.text,
            blocks,
            thread.checklist if is_head else (),
        )
    except Refused as refused:
        if not refused.is_gone:
            notifier.warn(
                f"Slack did not remove the buttons, but pressing them changes nothing: {refused}."
            )


def _post_head(notifier: SlackNotifier, thread: Thread, message: Message) -> Posted | None:
    try:
        posted = notifier.post(message, steps=thread.checklist)
    except Refused as refused:
        notifier.log_refusal(message, refused)
        thread.head += 1
        return None
    notifier.log_told(message)
    thread.channel, thread.ts = posted.channel, posted.ts
    thread.text, thread.blocks = message.text, message.blocks
    return posted


def _may_post_head(lake: Lake, run_id: str, thread: Thread) -> bool:
    """Whether the head is ours to post. Where it is another's, wait for it: ``thread`` is then what
    that one made.

    One that does not come in time is taken for lost with its process, and the next head is asked
    for."""
    while not thread.ts:
        claim = f"slack/{run_id}/{thread.head}.head"
        try:
            lake.create(claim, repr(time.time()).encode())
            return True
        except FileExistsError:
            # By the clock of whoever claimed it, and no longer than that from now where that clock
            # is ahead.
            claimed = min(float(lake.read(claim)), time.time())
            posted_thread = _wait_for_head(lake, run_id, thread.head, claimed + HEAD_WAIT_SECONDS)
        if posted_thread is None:
            thread.head += 1
        else:
            vars(thread).update(vars(posted_thread))
    return False


def _wait_for_head(lake: Lake, run_id: str, head: int, until: float) -> Thread | None:
    """The thread with its head, or with the news that this one failed; ``None`` if neither comes
    ``until`` then (Unix seconds).
    """
    while True:
        thread = _read(lake, run_id)
        if thread.ts or thread.head > head:
            return thread
        if time.time() > until:
            return None
        time.sleep(0.2)
