"""Whatever a model plans compiles to a file that the language takes."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cadre_client.builder import Plan, PlannedInput, Step
from cadre_client.builder.compiling import compile_plan
from cadre_client.builder.patterns import choices_in, pattern_plan, plain_pattern
from cadre_client.builder.plans import PLAN_SCHEMA, Kind, OnlyIf, ordered
from cadre_executor.language import parse_workflow

NAMES = st.sampled_from(["mail", "a", "b", "c", "state", "class", "Über uns", "9 lives", "", "a b"])
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["{state.x}", "a: b\n- c", "'\"\\", "}}{", "# no", "half \ud800"]),
)
KINDS: list[Kind] = ["write", "classify", "review", "compute", "recall", "remember"]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    steps = st.builds(
        Step,
        id=NAMES,
        kind=st.sampled_from(KINDS),
        instruction=TEXTS,
        needs=st.lists(NAMES, max_size=3),
        choices=st.lists(st.one_of(TEXTS, st.sampled_from(["yes", "no"])), max_size=4),
        only_if=st.one_of(
            st.none(), st.builds(OnlyIf, step=NAMES, choice=st.sampled_from(["yes", "no"]))
        ),
        code=st.sampled_from(["", "result = 1", "result = len('{x}')\nprint(result)"]),
        key=NAMES,
    )
    inputs = st.builds(PlannedInput, name=NAMES, description=TEXTS)
    return Plan(
        name=draw(NAMES),
        description=draw(TEXTS),
        inputs=draw(st.lists(inputs, max_size=3)),
        steps=draw(st.lists(steps, max_size=8)),
    )


@given(plans())
@settings(max_examples=300, deadline=None)
def test_any_plan_compiles_to_a_valid_workflow(plan: Plan) -> None:
    source = compile_plan(ordered(plan))

    errors = [p for p in parse_workflow(source).problems if p.severity.value == "error"]
    assert errors == [], source


def step(name: str, kind: Kind, **fields: object) -> Step:
    empty: dict[str, object] = {
        "instruction": name,
        "needs": [],
        "choices": [],
        "only_if": None,
        "code": "",
        "key": "",
    }
    return Step.model_validate({"id": name, "kind": kind, **empty, **fields})


def compiled(*steps: Step) -> str:
    given_input = PlannedInput(name="mail", description="A mail")
    plan = Plan(name="p", description="d", inputs=[given_input], steps=list(steps))
    return compile_plan(ordered(plan))


def test_steps_that_do_not_need_each_other_run_side_by_side_and_join() -> None:
    source = compiled(step("a", "write"), step("b", "write"), step("c", "write", needs=["a", "b"]))

    assert "{from: START, to: [a, b]}" in source
    assert "{from: a, to: c}" in source
    assert "{from: b, to: c}" in source


def test_a_choice_becomes_a_route() -> None:
    source = compiled(
        step("kind", "classify", choices=["praise", "blame"]),
        step("thank", "write", only_if={"step": "kind", "choice": "praise"}),
    )

    assert "{condition: \"state.kind == 'praise'\", to: thank}" in source
    assert "{condition: default, to: END}" in source


def test_whoever_needs_a_reviewed_text_waits_for_its_review() -> None:
    source = compiled(
        step("draft", "write"),
        step("check", "review", needs=["draft"]),
        step("title", "write", needs=["draft"]),
    )

    assert "loop: {to: draft, max_iterations: 3" in source
    assert "{from: check, to: title}" in source
    assert "Advice: {state.check_advice}" in source


def test_braces_of_an_instruction_stay_text() -> None:
    assert "say {{state.secret}}" in compiled(step("a", "write", instruction="say {state.secret}"))


def test_the_plan_schema_is_closed_and_takes_plans() -> None:
    plan = pattern_plan("classify", ["Sort mails"], ["good", "bad"])

    Draft202012Validator(PLAN_SCHEMA).validate(plan.model_dump())
    assert PLAN_SCHEMA["additionalProperties"] is False


def test_choices_are_taken_from_the_users_words() -> None:
    assert choices_in("whether it is a question, a complaint or praise") == [
        "question",
        "complaint",
        "praise",
    ]
    assert choices_in("sort my mails") == []


def test_words_that_name_a_pattern_need_no_model() -> None:
    assert plain_pattern("Find out whether it is spam") == "classify"
    assert plain_pattern("Write a poem and polish it") == "improve"
    assert plain_pattern("Opinions for and against") == "compare"
    assert plain_pattern("Translate into French") is None


def test_a_pattern_keeps_the_users_words() -> None:
    plan = ordered(pattern_plan("improve", ["Write a poem about rain"], []))

    assert any("Write a poem about rain" in s.instruction for s in plan.steps)
    assert set(plan.name) <= set(string.ascii_lowercase + "_")
