"""Slices of census rows: thirty groups of the UCI Adult data set.

They read Adult's columns with ``_`` where the file's header has ``-``: ``education_num``,
``marital_status``, ``hours_per_week`` and so on. ``?`` must be null; a null that a slice needs
leaves the row undecided, except for the two slices that look for nulls.
"""

from __future__ import annotations

from typing import Any

from engine import slicing_function

COLLEGE, MASTERS = 13, 14
MANUAL = {"Craft-repair", "Machine-op-inspct", "Transport-moving", "Handlers-cleaners"}
LATIN_AMERICA = {
    *("Mexico", "Puerto-Rico", "El-Salvador", "Cuba", "Jamaica", "Dominican-Republic"),
    *("Guatemala", "Columbia", "Haiti", "Nicaragua", "Peru", "Ecuador", "Honduras"),
    "Trinadad&Tobago",
}
ASIA = {
    *("Philippines", "India", "China", "Vietnam", "Japan", "Taiwan", "Iran", "Cambodia"),
    *("Thailand", "Laos", "Hong"),
}


def known(value: str | None) -> str:
    """Return a value, or fail where it is null, so that the row stays undecided."""
    if value is None:
        raise ValueError("this slice needs a value")
    return value


# Age


@slicing_function()
def under_25(x: Any) -> bool:
    """People under 25, most of whom earn little yet."""
    return x.age < 25  # noqa: PLR2004 - said in the docstring, here and below


@slicing_function()
def from_65(x: Any) -> bool:
    """People of 65 and over, whose income is often a pension."""
    return x.age >= 65  # noqa: PLR2004


@slicing_function()
def married_under_25(x: Any) -> bool:
    """Married people under 25: marriage goes with income, their age against it."""
    return x.age < 25 and known(x.marital_status) == "Married-civ-spouse"  # noqa: PLR2004


@slicing_function()
def graduate_under_30(x: Any) -> bool:
    """People under 30 with a degree that will pay later."""
    return x.age < 30 and x.education_num >= COLLEGE  # noqa: PLR2004


# Education


@slicing_function()
def no_high_school(x: Any) -> bool:
    """People who did not finish high school."""
    return x.education_num < 9  # noqa: PLR2004


@slicing_function()
def higher_degree(x: Any) -> bool:
    """People with a master's, a professional or a doctor's degree."""
    return x.education_num >= MASTERS


@slicing_function()
def graduate_in_manual_work(x: Any) -> bool:
    """People with a degree who work with their hands."""
    return known(x.occupation) in MANUAL and x.education_num >= COLLEGE


@slicing_function()
def manager_without_degree(x: Any) -> bool:
    """People who manage and have no college degree."""
    return known(x.occupation) == "Exec-managerial" and x.education_num < COLLEGE


# Family


@slicing_function()
def divorced(x: Any) -> bool:
    """Divorced people."""
    return known(x.marital_status) == "Divorced"


@slicing_function()
def widowed(x: Any) -> bool:
    """Widowed people."""
    return known(x.marital_status) == "Widowed"


@slicing_function()
def wife(x: Any) -> bool:
    """People whose place in the household is wife."""
    return known(x.relationship) == "Wife"


@slicing_function()
def lives_with_parents(x: Any) -> bool:
    """Grown children of 25 and over who live in their parents' household."""
    return x.age >= 25 and known(x.relationship) == "Own-child"  # noqa: PLR2004


@slicing_function()
def unmarried_with_high_school(x: Any) -> bool:
    """People who never married and stopped at high school."""
    return known(x.marital_status) == "Never-married" and known(x.education) == "HS-grad"


# Work


@slicing_function()
def self_employed(x: Any) -> bool:
    """People who work for themselves, without a company of their own."""
    return known(x.workclass) == "Self-emp-not-inc"


@slicing_function()
def company_owner(x: Any) -> bool:
    """People who work for a company of their own."""
    return known(x.workclass) == "Self-emp-inc"


@slicing_function()
def public_service(x: Any) -> bool:
    """People who work for a local, state or federal government."""
    return known(x.workclass).endswith("-gov")


@slicing_function()
def farm_work(x: Any) -> bool:
    """People who farm or fish."""
    return known(x.occupation) == "Farming-fishing"


@slicing_function()
def service_work(x: Any) -> bool:
    """People in services, private households included."""
    return known(x.occupation) in {"Other-service", "Priv-house-serv"}


@slicing_function()
def protective_service(x: Any) -> bool:
    """Police, guards and fire fighters."""
    return known(x.occupation) == "Protective-serv"


@slicing_function()
def saleswoman(x: Any) -> bool:
    """Women who sell."""
    return known(x.occupation) == "Sales" and known(x.sex) == "Female"


@slicing_function()
def woman_in_management(x: Any) -> bool:
    """Women who manage."""
    return known(x.occupation) == "Exec-managerial" and known(x.sex) == "Female"


@slicing_function()
def part_time(x: Any) -> bool:
    """People who work less than 30 hours a week."""
    return x.hours_per_week < 30  # noqa: PLR2004


@slicing_function()
def long_hours(x: Any) -> bool:
    """People who work 60 hours a week and more."""
    return x.hours_per_week >= 60  # noqa: PLR2004


# Capital


@slicing_function()
def capital_gain(x: Any) -> bool:
    """People with a gain on capital, which often decides by itself."""
    return x.capital_gain > 0


@slicing_function()
def capital_loss(x: Any) -> bool:
    """People with a loss on capital, which only those have who own some."""
    return x.capital_loss > 0


# Origin


@slicing_function()
def black_graduate(x: Any) -> bool:
    """Black people with a college degree."""
    return known(x.race) == "Black" and x.education_num >= COLLEGE


@slicing_function()
def from_latin_america(x: Any) -> bool:
    """People born in Latin America or the Caribbean."""
    return known(x.native_country) in LATIN_AMERICA


@slicing_function()
def from_asia(x: Any) -> bool:
    """People born in Asia."""
    return known(x.native_country) in ASIA


# What the census did not learn


@slicing_function()
def work_unknown(x: Any) -> bool:
    """People whose kind of work is missing."""
    return x.workclass is None


@slicing_function()
def country_unknown(x: Any) -> bool:
    """People whose country of birth is missing."""
    return x.native_country is None
