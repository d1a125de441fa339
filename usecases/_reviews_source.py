"""Reviews of a shop in English and Korean, invented: no set of labelled texts was found that a
package ships under a licence of its own.

A review is a few clauses about a product, most of them kind if its author would recommend the
product; one author in twelve says the opposite of what they think. Clauses have negations ("not bad
at all"), some words are misspelt. From September on, half of the reviews are about robot vacuums,
which are praised and scolded in words that no earlier review has."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from usecases.definition import SourceError

if TYPE_CHECKING:
    import polars as pl
    from numpy.random import Generator

MONTHS = tuple(f"2024-{month:02d}" for month in range(1, 13))
NEW_PRODUCTS_FROM = "2024-09"
ROWS = 420  # of a month
_RECOMMENDED, _CONTRARY, _KOREAN, _MISSPELT, _OF_NEW = 0.6, 1 / 12, 0.4, 0.03, 0.5
_KIND, _KIND_OF_OTHERS = 0.8, 0.2  # the share of kind clauses if recommended, and if not


class Topic(NamedTuple):
    """What reviews of some products are about, and the words of kind and of unkind clauses."""

    products: Sequence[str]
    kind: Sequence[str]
    unkind: Sequence[str]


_TOPICS: Mapping[tuple[str, bool], Topic] = {
    ("en", False): Topic(
        ("phone case", "desk lamp", "kettle", "backpack", "raincoat", "coffee grinder"),
        (
            "the {p} arrived early and well packed",
            "great quality for the price",
            "I love this {p}",
            "works perfectly",
            "not bad at all",
            "sturdy, and looks even better than in the pictures",
            "my second {p} from this shop, never disappointed",
            "would buy again",
            "très joli café colour, charming",
        ),
        (
            "the {p} broke after a week",
            "feels cheap",
            "not worth the money",
            "arrived late and scratched",
            "I never got an answer from the shop",
            "the {p} does not look like the pictures at all",
            "smells awful",
            "had to return it",
            "disappointed, not great",
        ),
    ),
    ("ko", False): Topic(
        ("휴대폰 케이스", "스탠드", "주전자", "배낭", "우비", "커피 그라인더"),
        (
            "{p} 배송이 빠르고 포장도 꼼꼼해요",
            "가격에 비해 품질이 훌륭합니다",
            "{p} 정말 마음에 들어요",
            "아주 잘 작동해요",
            "전혀 나쁘지 않아요",
            "튼튼하고 사진보다 예뻐요",
            "두 번째 구매인데 늘 만족합니다",
            "또 살게요 👍",
            "색이 고급스러워요",
        ),
        (
            "{p} 일주일 만에 고장 났어요",
            "싸구려 느낌이 나요",
            "돈이 아까워요",
            "배송이 늦고 흠집이 있었어요",
            "문의해도 답이 없네요",
            "{p} 사진이랑 전혀 달라요",
            "냄새가 심해요",
            "결국 반품했어요",
            "별로예요, 실망했습니다 😡",
        ),
    ),
    ("en", True): Topic(
        ("robot vacuum", "vacuum robot", "robovac"),
        (
            "the {p} maps every room within minutes",
            "strong suction even on thick rugs",
            "whisper quiet",
            "docks and empties itself",
            "cat hair is gone",
            "the app schedules cleaning flawlessly",
        ),
        (
            "the {p} gets stuck under the sofa",
            "loses its map and wanders about",
            "brushes tangle constantly",
            "the battery dies halfway through",
            "noisy as a drill",
            "the app crashes while pairing",
        ),
    ),
    ("ko", True): Topic(
        ("로봇청소기", "청소 로봇"),
        (
            "{p} 지도를 금방 그려요",
            "흡입력이 강해서 러그도 깨끗해요",
            "소음이 거의 없어요",
            "스스로 충전하고 먼지도 비워요",
            "고양이 털이 싹 사라졌어요",
            "앱으로 예약 청소가 편해요",
        ),
        (
            "{p} 소파 밑에 자꾸 끼어요",
            "지도를 잃고 헤매요",
            "브러시에 머리카락이 엉켜요",
            "배터리가 중간에 꺼져요",
            "드릴처럼 시끄러워요",
            "앱 연결이 계속 끊겨요",
        ),
    ),
}


class ReviewsSource:
    """Months of 2024; the same each time that they are read."""

    def periods(self) -> list[str]:
        return list(MONTHS)

    def read(self, period: str) -> "pl.DataFrame":
        """One row a review: ``id``, ``written``, ``country``, ``review``, ``recommended``. Raises
        ``SourceError``.
        """
        import numpy as np
        import polars as pl

        if period not in MONTHS:
            raise SourceError(f"There are reviews of {MONTHS[0]} to {MONTHS[-1]}, not of {period}.")
        number = MONTHS.index(period) + 1
        chance = np.random.default_rng([2024, number])
        start, length = datetime(2024, number, 1), timedelta(days=28)
        recommended = chance.random(ROWS) < _RECOMMENDED
        korean = chance.random(ROWS) < _KOREAN
        new = (chance.random(ROWS) < _OF_NEW) & (period >= NEW_PRODUCTS_FROM)
        return pl.DataFrame(
            {
                "id": [f"{period}-{row:04d}" for row in range(ROWS)],
                "written": [start + length * row / ROWS for row in range(ROWS)],
                "country": np.where(korean, "KR", "GB"),
                "review": [
                    _write(_TOPICS["ko" if of_korea else "en", bool(of_new)], bool(kind), chance)
                    for of_korea, of_new, kind in zip(korean, new, recommended, strict=True)
                ],
                "recommended": recommended.astype(int),
            },
            schema_overrides={"country": pl.String},
        )


def _write(topic: Topic, recommended: bool, chance: "Generator") -> str:
    """A review; its author may say the opposite of what they think."""
    if chance.random() < _CONTRARY:
        recommended = not recommended
    share = _KIND if recommended else _KIND_OF_OTHERS
    product = str(chance.choice(topic.products))
    clauses = [
        str(chance.choice(topic.kind if chance.random() < share else topic.unkind))
        for _ in range(chance.integers(2, 5))
    ]
    words = f"{'. '.join(clauses)}.".replace("{p}", product).split(" ")
    return " ".join(_misspell(word, chance) for word in words)


def _misspell(word: str, chance: "Generator") -> str:
    """The word, or now and then the word with two neighbours swapped."""
    if len(word) < 4 or chance.random() >= _MISSPELT:
        return word
    at = int(chance.integers(1, len(word) - 2))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
