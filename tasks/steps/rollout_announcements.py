"""What people see of a rollout's entries: messages, the page of the run, the card, events."""

from collections.abc import Sequence

from prefect import get_run_logger

from blocks.registry import ModelVersion, RegistryAway, RegistryError
from serving.records.ledger import Entry
from serving.records.reasons import Reason, because
from serving.records.rollout import ENDS, WON
from tasks.ledger.entries import read
from tasks.messages.announcements import rollout_told
from tasks.outside.artifacts import Links, show_picture, show_text
from tasks.outside.blocks_of_run import lake, registry, service, tell
from tasks.outside.events import emit
from tasks.rollouts.card import card

_EVENT = "laurel.rollout"
_CARD, _PICTURE = "rollout-card.md", "plots/rollout.png"
_WORDS = {
    "began": because("is_began"),
    "judged": because("is_judged"),
    "stepped": because("is_stepped"),
    "held": because("is_held"),
    "resumed": because("is_resumed"),
    "won": because("is_won"),
    "lost": because("is_lost"),
    "no difference": because("is_no_difference"),
    "not enough traffic": because("is_not_enough_traffic"),
    "inconclusive": because("is_rollout_inconclusive"),
    "reverted": because("is_reverted"),
}


def announce(entry: Entry) -> None:
    """Tell people in the thread of the promotion, show the rollout on this run's page, and send the
    event."""
    assert entry.rollout is not None
    use_case, version, store = entry.use_case, str(entry.version), registry()
    page = service().page(use_case, entry.sequence)
    links = {
        "decision": page,
        f"version {version}": store.version_url(ModelVersion(use_case, version, "", {})),
    }
    is_over = entry.verdict in (*ENDS, WON)
    entries = _entries_of(entry) if is_over else [entry]
    show_text(use_case, "rollout", card(entries), f"rollout: {entry.verdict}", links=links)
    shown = None
    if is_over:
        try:
            shown = _keep_card(entries, links)
        except (RegistryAway, RegistryError) as error:  # people are told all the same
            get_run_logger().warning("rollout card use_case=%s: %s", use_case, error)
    tell(
        rollout_told(
            use_case,
            version=version,
            champion=str(entry.champion),
            verdict=entry.verdict,
            word=word_of(entry.verdict),
            reasons=entry.reasons,
            rollout=entry.rollout,
            picture=shown,
            links=links,
        ),
        thread=entry.rollout.thread,
    )
    payload = {"version": version, "champion": entry.champion, "rollout": entry.rollout.id}
    emit(f"{_EVENT}.{entry.verdict.replace(' ', '_')}", use_case, payload)
    message = "rollout use_case=%s version=%s verdict=%s: %s"
    get_run_logger().info(message, use_case, version, entry.verdict, "; ".join(entry.reasons))


def word_of(verdict: str) -> Reason:
    """The ledger's word for people."""
    return _WORDS[verdict]


def in_short_of(entry: Entry) -> Reason:
    """What an entry says, in a sentence."""
    return because(
        "rollout_was",
        version=entry.version,
        use_case=entry.use_case,
        verdict=word_of(entry.verdict),
        reasons=entry.reasons,
    )


def _entries_of(last: Entry) -> list[Entry]:
    """All entries of the rollout, in order."""
    assert last.rollout is not None
    name = last.rollout.id
    entries = read(lake(), last.use_case)
    return [entry for entry in entries if entry.rollout is not None and entry.rollout.id == name]


def _keep_card(entries: Sequence[Entry], links: Links) -> bytes | None:
    """Put the card of an ended rollout, and its picture, beside the challenger's model in MLflow.
    Returns the picture."""
    last, store = entries[-1], registry()
    run_id = store.version(last.use_case, str(last.version)).run_id
    store.log_texts(run_id, {_CARD: card(entries)})
    if last.verdict == "reverted":
        return None  # whoever reverts does not wait for a picture
    from tasks.measures.plots import png
    from tasks.rollouts.picture import picture

    assert last.rollout is not None
    figure = picture(last.rollout)
    if figure is None:
        return None
    store.log_figure(run_id, figure, _PICTURE)
    title = f"rollout: {last.verdict}"
    words = "; ".join(last.reasons)
    show_picture(last.use_case, "rollout-gains", run_id, _PICTURE, title, words, links)
    return png(figure)
