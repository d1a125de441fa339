"""``Accept-Language`` as browsers, people and nonsense send it."""

import pytest

from serving.edge.language import language_of


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("de-DE,de;q=0.9,ko;q=0.5", "ko"),
        ("de, fr", "en"),
        ("*", "en"),
        ("KO-kr", "ko"),
        ("en;q=0.1, ko;q=0.2", "ko"),
        ("en; q=0.3 , ko; q=0.2", "en"),
        ("ko;q=0", "en"),
        ("ko;q=0, en;q=0", "en"),
        ("ko;q=nan", "en"),
        ("ko;q=9", "en"),
        ("ko;q=", "en"),
        ("ko;v=1", "en"),
        (",;,=;q", "en"),
        ("korean", "en"),
        ("한국어", "en"),
        ("ko," * 4000, "ko"),
    ],
)
def test_the_most_wanted_language_is_ours_or_english(accepted: str, language: str) -> None:
    assert language_of(accepted) == language
