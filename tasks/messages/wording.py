"""The words of announcements, in each language: a catalogue of whole sentences with named values,
and the format of numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from blocks.message import Language, Message, Status, Step
from serving.records.ledger import Decision
from serving.records.reasons import told
from tasks.messages.words_en import WORDS as ENGLISH
from tasks.messages.words_ko import WORDS as KOREAN
from usecases.definition import METRICS

CATALOGUES: Mapping[Language, Mapping[str, str]] = {"en": ENGLISH, "ko": KOREAN}

P = ParamSpec("P")
M = TypeVar("M", bound=Message | None)


@dataclass(frozen=True)
class Say:
    """Put things into words of one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """Return the sentence of that key. Raises ``KeyError`` if the key or one of its values is
        missing."""
        return CATALOGUES[self.language][key].format(**values)

    def metric(self, metric: str) -> str:
        """Return the metric as people write it: ``roc_auc`` is ROC AUC."""
        registered = METRICS.get(metric)
        return registered.in_words(self.language) if registered else metric.replace("_", " ")

    def number(self, value: float | None, signed: bool = False) -> str:
        """Return four decimals, or the words for a score that does not exist."""
        if value is None or not math.isfinite(value):
            return self("not known")
        return f"{value:+.4f}" if signed else f"{value:.4f}"

    def percent(self, share: float) -> str:
        return f"{100 * share:.3g} %" if math.isfinite(share) else self("unknown share")

    def interval(self, low: float | None, high: float | None, signed: bool = False) -> str:
        """Return both bounds; words for an interval that does not exist."""
        if low is None and high is None:
            return self("not known")
        return self("interval", low=self.number(low, signed), high=self.number(high, signed))

    def step(self, stage: str, status: Status, outcome: str = "") -> Step:
        """Return a line of the checklist at the head of the run's thread."""
        return Step(stage, status, outcome, self(f"stage.{stage}"))


def spoken(make: Callable[Concatenate[Say, P], M]) -> Callable[P, M]:
    """Make an announcement in every language: callers leave out ``say`` and get the English
    message, which holds the others. Reasons among the arguments come in that language."""

    @wraps(make)
    def announce(*args: P.args, **kwargs: P.kwargs) -> M:
        message = make(Say("en"), *args, **kwargs)
        if message is None:
            return message
        by_language = {
            language: make(
                Say(language),
                *(_in_language(value, language) for value in args),
                **{name: _in_language(value, language) for name, value in kwargs.items()},
            )
            for language in CATALOGUES
            if language != "en"
        }
        others: dict[str, Message] = {
            language: text for language, text in by_language.items() if text is not None
        }
        return cast(M, replace(message, translations=others))

    return announce


def _in_language(value: Any, language: Language) -> Any:
    if isinstance(value, str):
        return told(value, language)
    if isinstance(value, list | tuple):
        return [_in_language(part, language) for part in value]
    if isinstance(value, Decision):
        facts = {name: _in_language(fact, language) for name, fact in value.facts.items()}
        return replace(value, reasons=_in_language(value.reasons, language), facts=facts)
    return value


def metric_name(metric: str) -> str:
    """Return the metric as people write it in English: ``roc_auc`` is ROC AUC."""
    return Say("en").metric(metric)


def number(value: float | None, signed: bool = False) -> str:
    """Return four decimals, or the English words for a score that does not exist."""
    return Say("en").number(value, signed)


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    """Return both bounds as ``low – high``; English words for an interval that does not exist."""
    return Say("en").interval(low, high, signed)
