"""Programs made at random: whatever the policy lets through cannot say a name past the guards.

What is looked at is the code that Python would run, not the tree that the policy looked at.
"""

import dis
import types
from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cadre_sandbox.worker.language.rules import (
    WATCHED,
    attribute_problem,
    is_dunder,
    pattern_problem,
    variable_problem,
)
from cadre_sandbox.worker.language.transformer import ProgramRefused, compile_program

# Mostly harmless: one name that is refused hides what else is wrong with a program.
NAMES = st.sampled_from(
    ["a", "b"] * 40
    + "self __builtins__ __import__ __globals__ __class__ _ __x print type super Exception __name__ "
    "__build_class__ __debug__ __annotations__ __slots__ __match_args__ object".split()
)
ATTRIBUTES = st.sampled_from(
    ["x"] * 20
    + "x _x __x __class__ __globals__ __code__ __subclasses__ __dict__ gi_frame cr_frame tb_frame f_globals format "
    "format_map obj mro __getattribute__ __reduce_ex__ __init__ __call__ __traceback__ __ｇlobals__ get_stack".split()
)
EXPRESSIONS = st.recursive(
    NAMES | st.sampled_from(["1", "'{0.__class__}'", "()", "[]", "None"]),
    lambda inner: st.one_of(
        st.tuples(inner, ATTRIBUTES).map(lambda t: f"({t[0]}).{t[1]}"),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, NAMES, inner).map(lambda t: f"{t[0]}({t[1]}={t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]})[{t[1]}]"),
        st.tuples(NAMES, inner).map(lambda t: f"(lambda {t[0]}={t[1]}: {t[0]})"),
        st.tuples(NAMES, inner).map(lambda t: f"({t[0]} := {t[1]})"),
        st.tuples(inner, NAMES, inner).map(lambda t: f"[{t[0]} for {t[1]} in {t[2]}]"),
        st.tuples(inner, ATTRIBUTES, inner).map(lambda t: f"[1 for ({t[0]}).{t[1]} in {t[2]}]"),
        inner.map(lambda e: "f'{" + e.replace("'", '"') + "!r:>{" + "10" + "}}'"),
        st.tuples(inner, inner).map(lambda t: f"(*{t[0]}, {t[1]})"),
    ),
    max_leaves=6,
)
STATEMENTS = st.recursive(
    st.one_of(
        EXPRESSIONS,
        st.tuples(EXPRESSIONS, ATTRIBUTES, EXPRESSIONS).map(lambda t: f"({t[0]}).{t[1]} = {t[2]}"),
        st.tuples(EXPRESSIONS, ATTRIBUTES, EXPRESSIONS).map(lambda t: f"({t[0]}).{t[1]} += {t[2]}"),
        st.tuples(EXPRESSIONS, ATTRIBUTES).map(lambda t: f"del ({t[0]}).{t[1]}"),
        st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]}: {t[1]} = {t[1]}"),
        NAMES.map(lambda n: f"import math as {n}"),
        NAMES.map(lambda n: f"global {n}"),
        st.tuples(EXPRESSIONS, NAMES, ATTRIBUTES).map(
            lambda t: (
                f"match {t[0]}:\n  case {t[1]}({t[2]}={t[1]}): pass\n  case {{'a': 1, **{t[1]}}}: pass"
            )
        ),
        st.tuples(NAMES, ATTRIBUTES).map(lambda t: f"match a:\n  case {t[0]}.{t[1]}: pass"),
    ),
    lambda inner: st.one_of(
        st.tuples(NAMES, NAMES, inner).map(lambda t: f"def {t[0]}({t[1]}):\n{_in(t[2])}"),
        st.tuples(NAMES, NAMES, inner).map(lambda t: f"async def {t[0]}(*{t[1]}):\n{_in(t[2])}"),
        st.tuples(NAMES, EXPRESSIONS, inner).map(lambda t: f"class {t[0]}({t[1]}):\n{_in(t[2])}"),
        st.tuples(NAMES, inner).map(lambda t: f"try: a\nexcept Exception as {t[0]}:\n{_in(t[1])}"),
        st.tuples(NAMES, inner).map(lambda t: f"try: a\nexcept* a as {t[0]}:\n{_in(t[1])}"),
        st.tuples(EXPRESSIONS, NAMES, inner).map(lambda t: f"with {t[0]} as {t[1]}:\n{_in(t[2])}"),
        st.tuples(EXPRESSIONS, inner).map(lambda t: f"@{t[0]}\ndef f():\n{_in(t[1])}"),
        st.tuples(inner, inner).map("\n".join),
    ),
    max_leaves=4,
)
OWN = {
    "__doc__",
    "__name__",
    "__build_class__",
    "__qualname__",
    "__module__",
    "__classcell__",
    "__class__",
    # Of every class since Python 3.13.
    "__firstlineno__",
    "__static_attributes__",
}
# What a class body may define, or a program say of itself.
OF_A_CLASS = {"__slots__", "__match_args__", "__annotations__", "__init__", "__call__", "__debug__"}


def _in(body: str) -> str:
    return "\n".join(f"  {line}" for line in body.split("\n"))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@settings(
    max_examples=1_500,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(STATEMENTS)
def test_no_program_that_is_let_through_says_a_name_past_the_guards(source: str) -> None:
    try:
        code = compile_program(source)
    except (ProgramRefused, SyntaxError):
        return

    for part in _codes(code):
        # Arguments are named without an instruction.
        named = {*part.co_varnames, *part.co_cellvars, *part.co_freevars} - OWN
        assert not [name for name in named if variable_problem(name)], named
        for step in dis.get_instructions(part):
            _check(step)


def _check(step: dis.Instruction) -> None:
    name = step.argval
    if isinstance(name, tuple):
        # The attributes that a class pattern reads are a constant.
        assert not any(pattern_problem(one) for one in name if isinstance(one, str)), name
    elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
        # Only what is changed in place is read so.
        assert not is_dunder(name), (step.opname, name)
        assert name not in WATCHED, (step.opname, name)
    elif step.opname in ("STORE_ATTR", "DELETE_ATTR"):
        assert not attribute_problem(name, write=True), (step.opname, name)
    elif step.opname.startswith(("LOAD_NAME", "LOAD_GLOBAL", "STORE_", "DELETE_")):
        assert not isinstance(name, str) or not is_dunder(name) or name in OWN | OF_A_CLASS
