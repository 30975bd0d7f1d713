"""What is found in programs before they run, and what is left to the run."""

from collections.abc import Callable

import pytest
from tests.unit.executor_language.conftest import MakeFile

from cadre_executor.language import parse_workflow
from cadre_kit.errors import Problem

RUNS = [
    "result = len(word) + inputs['word'].count('a')",
    "def f(a, *b, c=1, **d):\n    return a, b, c, d\nresult = f(1)",
    "import os.path, json as j\nfrom math import pi as p\nresult = os, j, p",
    "class A:\n    x: int = 1\n    def m(self):\n        return __class__\nresult = A().x",
    "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    result = str(e)",
    "match word:\n    case [a, *b]:\n        result = a, b\n    case {'k': v, **rest}:\n        result = v, rest",
    "match word:\n    case str() as s:\n        result = s",
    "result = [y for x in word if (y := x)] + [z for z in (lambda q: q)('a')]",
    "for i, (a, b) in enumerate([(1, 2)]):\n    pass\nwith open('f') as (g, h):\n    result = g, h, i, a, b",
    "def f():\n    global total\n    total = 1\nf()\nresult = total",
    "from math import *\nresult = sqrt(2)",
    "exec('x = 1')\nresult = x",
    "if False:\n    later = 1\nresult = later",
    "",
    "# nothing",
]


def file_of(make_file: MakeFile, code: str, **more: object) -> str:
    node = {"id": "count", "code": code, "inputs": {"word": "{state.name}"}, **more}
    return make_file(nodes=[node])


@pytest.mark.parametrize("code", RUNS)
def test_a_program_that_may_run_has_no_problem(
    make_file: MakeFile, codes: Callable[[str], set[str]], code: str
) -> None:
    assert codes(file_of(make_file, code)) == set()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nresult = (x", "line 2 of the program: '(' was never closed"),
        ("result = " + "-" * 100_000 + "1", "the program is no Python"),
        ("  result = 1", "line 1 of the program: unexpected indent"),
    ],
)
def test_what_is_no_python_is_said_with_its_line(
    make_file: MakeFile, only_error: Callable[[str], Problem], code: str, message: str
) -> None:
    problem = only_error(file_of(make_file, code))

    assert (problem.code, problem.path) == ("CODE_SYNTAX", "nodes[0].code")
    assert problem.message == message


@pytest.mark.parametrize(
    ("code", "line", "resolution"),
    [
        ("x = 1\nresult = wrod", 2, "did you mean `word`?"),
        ("result = name", 1, 'add `inputs: {name: "{state.name}"}` to the node'),
        (
            "result = state.name",
            1,
            'add `inputs: {name: "{state.name}"}` to the node, and read `name`',
        ),
        ("result = math.pi", 1, "define it, import it, or add it to the node's `inputs`"),
    ],
)
def test_a_name_that_nothing_gives_a_value_is_found(
    make_file: MakeFile,
    only_error: Callable[[str], Problem],
    code: str,
    line: int,
    resolution: str,
) -> None:
    problem = only_error(file_of(make_file, code))

    assert problem.code == "UNKNOWN_VARIABLE"
    assert problem.message.startswith(f"line {line} of the program: ")
    assert problem.resolution == resolution


def test_an_item_of_for_each_is_known(
    make_file: MakeFile, codes: Callable[[str], set[str]]
) -> None:
    each = {"items": "items", "as": "one"}

    assert codes(file_of(make_file, "result = one, word", for_each=each)) == set()


def test_what_another_python_may_take_is_only_noted(
    make_file: MakeFile,
) -> None:
    source = file_of(make_file, "result = (1", sandbox={"mode": "docker"})

    parsed = parse_workflow(source)

    assert parsed.valid
    assert [note.code for note in parsed.notes] == ["CODE_SYNTAX"]


BLOCK = """
flow: {name: one}
state: {fields: {word: {type: str, default: ""}}}
nodes:
  - id: a
    code: |
      x = 1
      if x:
          y = "é"; z = misspelt
  - id: b
    code: "result = 'é' + misspelt"
  - id: c
    code: "y = 'a\\tb' + misspelt"
  - id: d
    code: >-
      result =
      misspelt
  - id: e
    code: "x =\\rmisspelt"
  - id: f
    code: |-
        if True:
         misspelt (
edges: [{from: START, to: a}, {from: a, to: b}, {from: b, to: c}, {from: c, to: d}, {from: d, to: e}, {from: e, to: f},
  {from: f, to: END}]
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_place_of_a_problem_is_that_in_the_program(ends: str) -> None:
    found = parse_workflow(BLOCK.replace("\n", ends)).problems
    lines = BLOCK.split("\n")

    at = {problem.path: (lines[problem.line - 1], problem.column) for problem in found}

    line, column = at["nodes[0].code"]
    assert line[column - 1 :] == "misspelt"
    line, column = at["nodes[1].code"]
    assert line[column - 1 :] == 'misspelt"'
    # Where lines are folded or characters escaped, the value as a whole.
    for path in ("nodes[2].code", "nodes[3].code"):
        line, column = at[path]
        assert (line[:9], column) == ("    code:", 11)
    line, column = at["nodes[5].code"]
    assert line[column - 1 :] == "("
