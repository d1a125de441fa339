"""A code's sentence in each language."""

from typing import NamedTuple


class Template(NamedTuple):
    """The fields are the languages. ``{gain:signed}`` is the number ``gain``; the kinds beside
    Python's own are in ``serving/words/wording.py``."""

    en: str
    ko: str


LANGUAGES = Template._fields
