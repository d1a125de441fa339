"""What the use case of a table is called."""

import re
import unicodedata
from pathlib import PurePosixPath

from tasks.drafts.reading.tables import NoDraft
from usecases.definition.sources import COMPRESSIONS
from usecases.definition.use_case import TAKEN

_SYLLABLES = ("HANGUL SYLLABLE", "HIRAGANA LETTER", "KATAKANA LETTER")


def name_of(path: str) -> str:
    """A name for the use case of the table at ``path``: ``Ventes 2024 (1).csv`` is
    ``ventes_2024``, and ``주문.csv`` is ``jumun``. Raises ``NoDraft`` if none can be made.
    """
    last = PurePosixPath(path.rstrip("/"))
    while re.search(r"[*?]", last.name):
        last = last.parent
    stem = last.name
    for ending in COMPRESSIONS:
        stem = stem.removesuffix(ending)
    stem = re.sub(r"\.\w{1,8}$", "", stem)
    stem = re.sub(r"\s*(\(\d+\)|- ?copy|- ?kopie)$", "", stem, flags=re.IGNORECASE)
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", stem)
    spoken = "".join(map(_spoken, unicodedata.normalize("NFC", apart)))
    letters = unicodedata.normalize("NFKD", spoken).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    name = words.lstrip("0123456789_") or (f"table_{words}" if words else "")
    if not name:
        raise NoDraft(
            f"{last.name} has no letter or digit from which the use case can be named: write "
            "--name, such as --name orders."
        )
    name = name[:40].rstrip("_")
    return f"{name}_table" if name in TAKEN else name


def name_of_query(query: str) -> str:
    """That of the first table of the query."""
    table = re.search(r'\bfrom\s+["`\[]?(?:\w+\.)*["`\[]?(\w+)', query, re.IGNORECASE)
    return name_of(table[1]) if table else "query"


def _spoken(letter: str) -> str:
    """Letters that stand for a syllable, in Latin ones: 주 is ju, か is ka. Others stay."""
    kind, _, sound = unicodedata.name(letter, "").rpartition(" ")
    return sound.lower() if kind.startswith(_SYLLABLES) else letter
