"""What the names of columns mean, in the languages that tables come in."""

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _list(words: str) -> list[str]:
    return words.split()


# In the order in which they decide where a table has several.
TARGETS = _list(
    """
    target label class outcome y churn churned exited attrition returned defaulted default fraud
    is_fraud survived response responded converted conversion subscribed diagnosis species
    approved spam is_spam cancelled canceled late delayed clicked purchased won income_class
    saleprice sale_price medv quality progression disease heart_disease has_diabetes stroke
    loan_status readmitted failure failed machine_failure median_house_value cible ziel
    zielvariable klasse objetivo clase churn_flag 이탈 타깃 타겟 정답 라벨
    """
)
# Row numbers that writers of files add: unique in this file, and repeated in the next one.
ROW_NUMBERS = _set(
    """
    rownames rowname row_names row_name index idx row rownum obs unnamed
    """
)
IDS = _set(
    """
    id ids uuid guid key nr nummer number identifier numero 번호 아이디 ticket
    """
)
NAMES = _set(
    """
    name names nom nombre vorname nachname surname firstname lastname 이름 성명
    """
)
TIMES = _set(
    """
    time date datetime timestamp ts day at when on epoch unix datum zeit fecha jour month 날짜
    일시 시간 일자
    """
)
# Of the event itself, and of what comes after it or long before.
BEGINNINGS = _set(
    """
    create created place placed order ordered event start started open opened submit submitted
    signup registered purchase purchased admission admitted pickup visit check bestellt 주문
    가입 접수 발생
    """
)
ENDINGS = _set(
    """
    close closed end ended update updated modified deliver delivered delivery resolved finished
    completed returned return returns paid ship shipped discharge discharged dropoff last
    deleted cancelled refund refunded repaid death died released arrival arrived until to 종료 완료
    """
)
# Dates of persons and of papers, which are never the event's.
LIFETIMES = _set(
    """
    birth birthday birthdate dob born expire expires expiry expired expiration due valid 생년월일
    """
)
COUNTS = _set(
    """
    count counts cnt n num number visits calls events claims orders accidents doctorvisits visit
    rentals goals items quantity qty anzahl nombre 건수 횟수 수
    """
)
CLASSES = _set(
    """
    class classes category type label target species grade rating quality level group cluster
    segment stage cylinders klasse 등급 종류 분류
    """
)
YES = _set(
    """
    yes y true t 1 ja oui si sí positive pos malignant m churned returned fraud spam bad default
    예 네 양성 참 있음
    """
)


def words_of(name: str) -> list[str]:
    """The words of a column's name, in small letters: ``orderDate_2`` has order, date and 2."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[\W_]+", apart.lower()) if word]


def is_row_number(name: str) -> bool:
    words = words_of(name)
    return not words or (words[0] in ROW_NUMBERS and len(words) <= 2 + (words[0] == "unnamed"))


def target_rank(name: str) -> int | None:
    """The place of the name among those of targets; ``None`` if it is none of them."""
    plain = "_".join(words_of(name))
    for form in (plain, plain.removeprefix("is_"), plain.removeprefix("has_")):
        if form in TARGETS:
            return TARGETS.index(form)
    return None
