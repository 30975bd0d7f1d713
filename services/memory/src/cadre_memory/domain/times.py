"""What texts say about time: "last Friday" in a message, "in May 2023" in a question, as ranges of days."""

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_MONTHS["sept"] = 9
_WEEKDAYS = {name.lower(): number for number, name in enumerate(calendar.day_name)}
_NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "couple of": 2, "few": 3,
}  # fmt: skip
_SEASONS = {"spring": (3, 5), "summer": (6, 8), "autumn": (9, 11), "fall": (9, 11)}
_UNIT_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}

_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_COUNT = r"\d{1,3}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True))
_EXPRESSIONS = re.compile(
    rf"""\b(?:
    (?P<iso>\d{{4}}-\d{{2}}-\d{{2}})
    | (?P<day1>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month1>{_MONTH})\.?(?:,?\s+(?P<year1>(?:19|20)\d\d))?
    | (?P<month2>{_MONTH})\.?\s+(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,?\s+(?P<year2>(?:19|20)\d\d))?
    | (?P<month3>{_MONTH})\.?,?\s+(?:of\s+)?(?P<year3>(?:19|20)\d\d)
    | (?:in|since|until|by|during|around|of|last|next|this|early|late|mid)\s+
      (?P<month4>{_MONTH})\b(?!\.?,?\s+(?:of\s+)?\d)
    | (?:in|since|until|by|during)\s+(?P<year5>(?:19|20)\d\d)(?!-)
    | (?:the\s+)?(?P<count>{_COUNT})\s+(?P<unit>day|week|month|year)s?\s+(?P<way>ago|before|earlier|later)
    | (?P<near>(?:the\s+)?day\s+(?:before\s+yesterday|after\s+tomorrow)
      | yesterday|today|tonight|tomorrow|last\s+night|this\s+(?:morning|afternoon|evening))
    | (?P<side>last|past|this|next|coming)\s+
      (?P<what>week|weekend|month|year|spring|summer|autumn|fall|winter|{"|".join(_WEEKDAYS)})
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
# What every expression has one of, unless it has a digit: looking for these is ten times faster.
_SIGNS = (
    "ago", "before", "earlier", "later", "day", "tonight", "tomorrow", "last", "this", "past", "next", "coming",
    *(name.lower() for name in calendar.month_abbr if name),
)  # fmt: skip
_DIGIT = re.compile(r"\d")
# Of these words, or of a number of four digits, every expression has one.
_NAMING = (
    frozenset(_MONTHS)
    | frozenset(_WEEKDAYS)
    | frozenset(
        """day days week weeks weekend month months year years spring summer autumn fall winter
    yesterday today tonight tomorrow night morning afternoon evening""".split()
    )
)
_YEAR = re.compile(r"\d{4}")
_ASKS_WHEN = re.compile(
    r"\b(?:when|what (?:date|day|month|year|time)|which (?:date|day|month|year)|how long|how many"
    r" (?:days|weeks|months|years))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Days:
    """From one day to another, both included; `month` alone when a text names no year."""

    first: date
    last: date
    month: int = 0


def asks_when(question: str) -> bool:
    """Whether a question asks for a time."""
    return _ASKS_WHEN.search(question) is not None


def may_name_days(text: str, words: Sequence[str], *, digits: bool) -> bool:
    """Whether a text of these words may name days, which takes a tenth of finding none."""
    # Beyond ASCII there are more ways to write a letter, or a digit, than words tell.
    return (
        not text.isascii()
        or not _NAMING.isdisjoint(words)
        or (digits and _YEAR.search(text) is not None)
    )


def days_named(text: str, *, today: date) -> tuple[Days, ...]:
    """The times that a text names, as seen from the day on which it was said."""
    lowered = text.lower()
    if not _DIGIT.search(text) and not any(sign in lowered for sign in _SIGNS):
        return ()
    found = (_days(match, today) for match in _EXPRESSIONS.finditer(text))
    return tuple(days for days in found if days is not None)


def _days(match: re.Match[str], today: date) -> Days | None:
    part = match.groupdict()
    try:
        return _exact(part, today) or _relative(part, today)
    except (ValueError, OverflowError):
        # A 31st of February, or before year 1: words that only look like a date.
        return None


def _exact(part: dict[str, str | None], today: date) -> Days | None:
    if part["iso"]:
        return _one(date.fromisoformat(part["iso"]))
    for form in "12":
        day, month = part[f"day{form}"], part[f"month{form}"]
        if day and month:
            year = part[f"year{form}"]
            return _one(date(int(year) if year else today.year, _MONTHS[month.lower()], int(day)))
    if part["month3"] and part["year3"]:
        return _month(int(part["year3"]), _MONTHS[part["month3"].lower()])
    if part["month4"]:
        number = _MONTHS[part["month4"].lower()]
        whole = _month(today.year, number)
        return Days(first=whole.first, last=whole.last, month=number)
    if part["year5"]:
        return Days(first=date(int(part["year5"]), 1, 1), last=date(int(part["year5"]), 12, 31))
    return None


def _relative(part: dict[str, str | None], today: date) -> Days | None:
    if part["near"]:
        return _one(today + timedelta(days=_near(part["near"].lower())))
    if part["count"] and part["unit"]:
        said = part["count"].lower()
        days = _UNIT_DAYS[part["unit"].lower()] * (_NUMBERS.get(said) or int(said))
        middle = today + timedelta(days=days if part["way"] == "later" else -days)
        slack = timedelta(days=_UNIT_DAYS[part["unit"].lower()] // 2)
        return Days(first=middle - slack, last=middle + slack)
    side, what = (part["side"] or "").lower(), (part["what"] or "").lower()
    return _beside(what, {"next": 1, "coming": 1, "this": 0}.get(side, -1), today) if what else None


def _near(said: str) -> int:
    beyond = 2 if len(said.split()) > 2 else 1
    if said.endswith("yesterday") or said.startswith("last"):
        return -beyond
    return beyond if said.endswith("tomorrow") else 0


def _beside(what: str, side: int, today: date) -> Days:
    """The day, week, month, season or year beside today's."""
    monday = today - timedelta(days=today.weekday())
    if what in _WEEKDAYS:
        return _one(_weekday(_WEEKDAYS[what], side, today))
    if what == "week":
        first = monday + timedelta(weeks=side)
        return Days(first=first, last=first + timedelta(days=6))
    if what == "weekend":
        saturday = monday + timedelta(days=5, weeks=side)
        return Days(first=saturday, last=saturday + timedelta(days=1))
    if what == "month":
        months = today.year * 12 + today.month - 1 + side
        return _month(months // 12, months % 12 + 1)
    if what in _SEASONS:
        start, end = _SEASONS[what]
        year = today.year + (side if side > 0 or today.month <= end else 0)
        return Days(first=date(year, start, 1), last=_month(year, end).last)
    if what == "winter":
        year = today.year + min(side, 0)
        return Days(first=date(year, 12, 1), last=_month(year + 1, 2).last)
    return Days(first=date(today.year + side, 1, 1), last=date(today.year + side, 12, 31))


def _weekday(number: int, side: int, today: date) -> date:
    ahead = (number - today.weekday()) % 7
    if side < 0:
        return today - timedelta(days=(today.weekday() - number) % 7 or 7)
    return today + timedelta(days=ahead or (7 if side else 0))


def _month(year: int, month: int) -> Days:
    last = calendar.monthrange(year, month)[1]
    return Days(first=date(year, month, 1), last=date(year, month, last))


def _one(day: date) -> Days:
    return Days(first=day, last=day)
