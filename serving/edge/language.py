"""The language of an answer: the one that ``Accept-Language`` asks for (RFC 9110, 12.5.4)."""

from typing import Annotated

from fastapi import Depends, Header

from serving.words.template import LANGUAGES


def language_of(accepted: str) -> str:
    """Return the most wanted of our languages; English if none is wanted."""
    wanted: dict[str, float] = {}
    for part in accepted.split(","):
        name, _, weight = part.partition(";")
        language = name.strip().lower().partition("-")[0]
        if language in LANGUAGES:
            wanted[language] = max(wanted.get(language, 0.0), _weight(weight))
    best = max(wanted, key=lambda language: wanted[language], default="en")
    return best if wanted.get(best) else "en"


def _weight(text: str) -> float:
    """Return the weight of ``q=0.8``: 1 if there is none, 0 for what is not one."""
    name, _, number = text.replace(" ", "").partition("=")
    if not name:
        return 1.0
    try:
        weight = float(number) if name.lower() == "q" else 0.0
    except ValueError:
        return 0.0
    return weight if 0 < weight <= 1 else 0.0


async def _asked(
    accept_language: Annotated[
        str, Header(description="the language of sentences: `en` (the default) or `ko`")
    ] = "",
) -> str:
    return language_of(accept_language)


ReadersLanguage = Annotated[str, Depends(_asked)]
