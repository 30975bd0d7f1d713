"""What a model may say of a conversation, and what that changes in what is known."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import permutations
from typing import Any

import pytest

from cadre_memory.domain.facts import Action, Lesson, Source, changes, lessons_of, neighbours_of
from cadre_memory.domain.items import Item
from cadre_memory.domain.memories import NewItem
from cadre_memory.domain.models import ReplyUnusable
from cadre_memory.domain.validity import asked_about, holds

SAID = datetime(2023, 6, 1, 9, tzinfo=UTC)
SOURCE = Source(
    facts=("user", "ada", "facts"),
    text="Ada: I moved to Berlin in May, and I play the cello.",
    said=SAID,
    prefix="fact-1",
    metadata={"run_id": "r1"},
)


def known(text: str, key: str = "old", **metadata: str) -> Item:
    told = {"valid_from": "2020-01-01T00:00:00+00:00", **metadata}
    return Item(
        namespace=SOURCE.facts,
        key=key,
        value=json.dumps(text),
        metadata=json.dumps(told),
        tags=("fact",),
        version=3,
        created=SAID,
        updated=SAID,
        expires=None,
        turn=None,
    )


PARIS = known("Ada lives in Paris.")


def reply(*facts: dict[str, Any]) -> str:
    defaults = {"action": "add", "known": 0, "since": "", "until": ""}
    return json.dumps({"facts": [{**defaults, **fact} for fact in facts]})


def stored(puts: list[NewItem]) -> dict[str, tuple[str, dict[str, Any], int | None]]:
    return {p.key: (json.loads(p.value), json.loads(p.metadata), p.if_version) for p in puts}


def stored_item(new: NewItem) -> Item:
    return replace(known("", key=new.key), value=new.value, metadata=new.metadata)


def test_a_superseded_fact_ends_when_the_new_one_begins() -> None:
    lesson = Lesson(
        text="Ada lives in Berlin.", action=Action.SUPERSEDE, known="old", since=date(2023, 5, 1)
    )

    puts = stored(changes([lesson], {"old": PARIS}, source=SOURCE))

    text, metadata, over = puts["old"]
    assert (text, over) == ("Ada lives in Paris.", 3)
    assert metadata["valid_from"] == "2020-01-01T00:00:00+00:00"
    assert (metadata["valid_to"], metadata["superseded_by"]) == (
        "2023-05-01T00:00:00+00:00",
        "fact-1-0",
    )
    text, metadata, over = puts["fact-1-0"]
    assert (text, over) == ("Ada lives in Berlin.", 0)
    assert metadata == {
        "run_id": "r1",
        "valid_from": "2023-05-01T00:00:00+00:00",
        "supersedes": "old",
    }


def test_what_is_told_late_ends_where_the_known_fact_begins() -> None:
    lesson = Lesson(
        text="Ada lived in Rome.", action=Action.SUPERSEDE, known="old", since=date(2018, 1, 1)
    )

    puts = stored(changes([lesson], {"old": PARIS}, source=SOURCE))

    assert puts["fact-1-0"][1]["valid_to"] == "2020-01-01T00:00:00+00:00"
    assert puts["old"][1] == {"valid_from": "2020-01-01T00:00:00+00:00", "supersedes": "fact-1-0"}


HOMES = {"Rome": 2010, "Paris": 2016, "Lyon": 2019, "Berlin": 2023}


@pytest.mark.parametrize("told", list(permutations(HOMES)), ids="-".join)
@pytest.mark.parametrize("at_once", [True, False])
def test_in_whatever_order_facts_are_told_each_holds_until_the_next_begins(
    told: tuple[str, ...], at_once: bool
) -> None:
    lessons = [
        Lesson(text=home, action=Action.SUPERSEDE, known="old", since=date(HOMES[home], 1, 1))
        for home in told
    ]
    facts = {"old": known("Oslo", valid_from="2005-01-01T00:00:00+00:00")}

    for place, each in enumerate([lessons] if at_once else [[lesson] for lesson in lessons]):
        source = replace(SOURCE, prefix=f"fact-{place}")
        # What holds is what a model is shown.
        shown = [key for key, fact in facts.items() if "valid_to" not in json.loads(fact.metadata)]
        named = [replace(lesson, known=shown[-1]) for lesson in each]
        puts = changes(named, facts, source=source)
        facts |= {p.key: stored_item(p) for p in puts}

    held = {
        json.loads(fact.value): [
            json.loads(fact.metadata).get(f"valid_{end}", "")[:4] for end in ("from", "to")
        ]
        for fact in facts.values()
    }
    assert held == {
        "Oslo": ["2005", "2010"],
        "Rome": ["2010", "2016"],
        "Paris": ["2016", "2019"],
        "Lyon": ["2019", "2023"],
        "Berlin": ["2023", ""],
    }


def test_links_that_somebody_else_wrote_lead_nowhere() -> None:
    odd = replace(PARIS, metadata=json.dumps({"supersedes": ["x"], "superseded_by": "old"}))
    lesson = Lesson(text="Ada lives in Berlin.", action=Action.SUPERSEDE, known="old")

    puts = stored(changes([lesson], {"old": odd}, source=SOURCE))

    assert neighbours_of(odd) == ("old",)
    assert puts["old"][1]["superseded_by"] == "fact-1-0"


def test_a_fact_that_had_ended_is_not_taken_for_longer() -> None:
    paris = known("Ada lives in Paris.", valid_to="2021-01-01T00:00:00+00:00")
    lesson = Lesson(
        text="Ada lives in Berlin.", action=Action.SUPERSEDE, known="old", since=date(2023, 5, 1)
    )

    puts = stored(changes([lesson], {"old": paris}, source=SOURCE))

    assert puts["old"][1]["valid_to"] == "2021-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("since", "until", "held"),
    [
        (None, None, (SAID.isoformat(), None)),
        (None, date(2024, 1, 1), (SAID.isoformat(), "2024-01-01T00:00:00+00:00")),
        (None, date(2022, 1, 1), (None, "2022-01-01T00:00:00+00:00")),
        (date(2023, 5, 1), date(2023, 5, 1), ("2023-05-01T00:00:00+00:00", None)),
    ],
)
@pytest.mark.parametrize("known_facts", [{}, {"old": PARIS}])
def test_no_fact_ends_before_it_begins(
    known_facts: dict[str, Item],
    since: date | None,
    until: date | None,
    held: tuple[str | None, str | None],
) -> None:
    lesson = Lesson(
        text="Ada lived in Oslo.", action=Action.SUPERSEDE, known="old", since=since, until=until
    )

    puts = stored(changes([lesson], known_facts, source=SOURCE))

    _, metadata, _ = puts["fact-1-0"]
    assert (metadata.get("valid_from"), metadata.get("valid_to")) == held
    ended = puts["old"][1].get("valid_to") if "old" in puts else None
    assert ended == (held[0] if known_facts else None)


def test_an_update_is_the_next_version_and_holds_as_long_as_before() -> None:
    lesson = Lesson(text="Ada lives in Paris, near the Seine.", action=Action.UPDATE, known="old")

    puts = stored(changes([lesson], {"old": PARIS}, source=SOURCE))

    assert puts == {
        "old": (
            "Ada lives in Paris, near the Seine.",
            {"run_id": "r1", "valid_from": "2020-01-01T00:00:00+00:00"},
            3,
        )
    }


def test_a_known_fact_that_is_gone_or_named_twice_is_taken_for_unknown() -> None:
    gone = Lesson(text="Ada lives in Berlin.", action=Action.SUPERSEDE, known="old")
    other = replace(gone, text="Ada likes Berlin.")

    assert list(stored(changes([gone], {}, source=SOURCE))) == ["fact-1-0"]
    both = stored(changes([gone, other], {"old": PARIS}, source=SOURCE))
    assert set(both) == {"old", "fact-1-0", "fact-1-1"}
    assert "valid_to" not in both["fact-1-0"][1] | both["fact-1-1"][1]


def test_what_nobody_said_or_is_known_already_is_no_lesson() -> None:
    said = reply(
        {"fact": "Ada plays the cello."},
        {"fact": "ada plays  the cello"},
        {"fact": "Zebras eat grass."},
        {"fact": ""},
        {"fact": "Ada lives in PARIS", "known": 1, "action": "update"},
        {"fact": "Ada moved to Berlin.", "known": 9, "action": "supersede", "since": "in May"},
        {"fact": "Ada has a cello.", "action": "ignore"},
    )

    lessons = lessons_of(said, [PARIS], source=SOURCE)

    assert lessons == (
        Lesson(text="Ada plays the cello.", action=Action.ADD),
        Lesson(text="Ada moved to Berlin.", action=Action.ADD),
    )
    assert [Lesson.of(each.document) for each in lessons] == list(lessons)


@pytest.mark.parametrize(
    "said", ["", "words", "[]", '{"facts": [{"fact": 1}]}', '{"facts": ["x"]}']
)
def test_a_reply_that_is_no_list_of_facts_is_refused(said: str) -> None:
    with pytest.raises(ReplyUnusable):
        lessons_of(said, [], source=SOURCE)


@pytest.mark.parametrize(
    ("question", "asked", "paris", "berlin"),
    [
        ("Where does Ada live?", "2023-04-01", True, False),
        ("Where does Ada live?", "2023-07-01", False, True),
        ("Where did Ada live in April 2023?", "2023-07-01", True, True),
        ("Where did Ada live in 2019?", "2023-07-01", False, True),
    ],
)
def test_a_fact_holds_at_the_times_that_a_question_is_about(
    question: str, asked: str, paris: bool, berlin: bool
) -> None:
    times = asked_about(question, asked=datetime.fromisoformat(f"{asked}T12:00:00+00:00"))

    moved = "2023-05-01T00:00:00+00:00"
    before = {"valid_from": "2020-01-01T00:00:00+00:00", "valid_to": moved}
    assert holds(json.dumps(before), times) is paris
    assert holds(json.dumps({"valid_from": moved}), times) is berlin


@pytest.mark.parametrize(
    "metadata", [{}, {"valid_from": "soon"}, {"valid_to": 7}, {"valid_from": None}]
)
def test_what_says_no_time_always_holds(metadata: dict[str, Any]) -> None:
    times = asked_about("Where?", asked=SAID)

    assert holds(json.dumps(metadata), times)
