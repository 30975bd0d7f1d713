"""Programs that take too much, lie, or do not want to end: each ends at a limit or fails, and harms only itself."""

import asyncio
import textwrap

import pytest

from cadre.sandbox.v1 import sandbox_pb2

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMIT, FAILED = sandbox_pb2.OUTCOME_LIMIT, sandbox_pb2.OUTCOME_FAILED
CPU = (LIMIT, "LIMIT_CPU")
MEMORY = (LIMIT, "LIMIT_MEMORY")
OUTPUT = (LIMIT, "LIMIT_OUTPUT")
RAISED = (FAILED, "CODE_FAILED")
NOT_JSON = (FAILED, "RESULT_NOT_JSON")

ENDINGS = {
    "endless loop": ("while True: pass", CPU),
    "endless loop that catches all": (
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        CPU,
    ),
    "power tower": ("9**9**9", CPU),
    "regular expression": ("import re\nre.match('(a+)+$', 'a' * 40 + 'b')", CPU),
    "sum of a range": ("sum(range(10**12))", CPU),
    "endless sort key": ("sorted([1], key=lambda x: sum(0 for _ in iter(int, 1)))", CPU),
    "endless generator": ("def g():\n  while True: yield 1\nlist(0 for _ in g() if False)", CPU),
    "endless repr": ("class C:\n  def __repr__(self):\n    while True: pass\nprint(C())", CPU),
    "endless text of an error": (
        "class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E()",
        CPU,
    ),
    "endless factorial": ("import math\nmath.factorial(10**7)", CPU),
    "endless decimal": (
        "from decimal import *\ngetcontext().prec = 10**6\nDecimal(2).sqrt().exp()",
        CPU,
    ),
    "endless hash": ("import hashlib\nhashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)", CPU),
    "sleeper": ("import time\ntime.sleep(100)", (LIMIT, "LIMIT_TIME")),
    "large text": ("x = 'a' * 10**9", MEMORY),
    "large number of digits": ("x = 1 << 10**10", MEMORY),
    "large list": ("x = [0] * 10**9", MEMORY),
    "large bytes": ("bytearray(10**9)", MEMORY),
    "growing list": ("x = []\nwhile True: x.append('a' * 10**6 + str(len(x)))", MEMORY),
    "doubling text": ("x = 'a'\nwhile True: x += x", MEMORY),
    "large format": ("'{:>1000000000}'.format(1)", MEMORY),
    "large f-string": ("f'{1:>1000000000}'", MEMORY),
    "large percent": ("'%1000000000d' % 1", MEMORY),
    "large padding": ("'a'.ljust(10**9)", MEMORY),
    "zip bomb": (
        "import zlib\nx = zlib.compress(bytes(10**7))\nzlib.decompress(x * 1, bufsize=10**9)",
        MEMORY,
    ),
    "recursion": ("def f(): f()\nf()", RAISED),
    "recursion through the library": (
        "import sys\nsys.setrecursionlimit(10**6)\nclass A:\n"
        "  def __lt__(s, o): return sorted([A(), A()])\nsorted([A(), A()])",
        RAISED,
    ),
    "recursion by repr": ("x = []\nfor _ in range(10**5): x = [x]\nprint(x)", RAISED),
    "digits of a large number": ("str(10**10000)", RAISED),
    "nested source": ("(" * 10_000 + ")" * 10_000, RAISED),
    "syntax error": ("def f(:", RAISED),
    "null bytes": ("print(1)\0", RAISED),
    "half a character": ("'\\ud800'.encode()", RAISED),
    "exit": ("exit(3)", RAISED),
    "interrupt": ("raise KeyboardInterrupt", RAISED),
    "generator exit": ("raise GeneratorExit", RAISED),
    "wraps with a list": (
        "import functools\nfunctools.wraps(print, assigned=('__globals__',))",
        RAISED,
    ),
    "text of an error that fails": (
        "class E(Exception):\n  def __str__(self): raise SystemExit(0)\nraise E()",
        RAISED,
    ),
    "printing for ever": ("while True: print('x' * 1000)", OUTPUT),
    "writing to stderr for ever": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", OUTPUT),
    "large result": ("result = 'x' * 100_000", OUTPUT),
    "result that is no JSON": ("result = {1, 2}", NOT_JSON),
    "result with itself inside": ("result = []\nresult.append(result)", NOT_JSON),
    "result that is not a number": ("result = {'a': [float('nan')]}", NOT_JSON),
    "result with odd keys": ("result = {(1, 2): 3}", NOT_JSON),
    "result nested too deeply": ("result = []\nfor _ in range(10**5): result = [result]", NOT_JSON),
    "result with a hostile class": (
        "class D(dict):\n  def items(self): raise SystemExit(0)\nresult = {'x': D(a=object())}",
        RAISED,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_program_that_goes_too_far_ends_as_it_should(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    code, (outcome, failure) = ENDINGS[name]
    # On a busy machine a third of a second of the processor takes long to get.
    seconds = 3 if failure == "LIMIT_TIME" else 30

    answer = await execute(textwrap.dedent(code), seconds=seconds)

    assert (answer.outcome, answer.error.code) == (outcome, failure), answer
    assert answer.error.message
    assert answer.error.resolution
    assert "cadre" not in answer.stderr


async def test_what_a_program_printed_before_it_was_killed_is_kept(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("print('so far')\nwhile True: pass", seconds=30)

    assert answer.stdout == "so far\n"
    assert list(answer.limits_reached) == [sandbox_pb2.LIMIT_CPU]
    assert answer.usage.cpu_ms >= 300


async def test_output_over_the_limit_keeps_its_beginning_and_its_end(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("print('first')\nprint('x' * 50_000)\nprint('last')")

    assert answer.outcome == sandbox_pb2.OUTCOME_SUCCEEDED
    assert list(answer.limits_reached) == [sandbox_pb2.LIMIT_OUTPUT]
    assert answer.stdout.startswith("first\n")
    assert answer.stdout.endswith("last\n")
    assert "bytes left out" in answer.stdout
    assert len(answer.stdout) < 10_100


async def test_output_cannot_drive_a_terminal(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute(r"print('\x1b[2J\x07\x9b\u202e\r', '\ud800')")

    assert answer.stdout == "\\x1b[2J\\x07\\x9b\\u202e\\x0d \\xed\\xa0\\x80\n"


async def test_programs_that_run_at_once_do_not_see_each_other(execute) -> None:  # type: ignore[no-untyped-def]
    codes = [f"import time\nx = {n}\ntime.sleep(0.05)\nresult = x" for n in range(8)]

    answers = await asyncio.gather(*(execute(code) for code in codes))

    assert [answer.result.text for answer in answers] == [str(n) for n in range(8)]


async def test_nothing_of_one_program_is_left_for_the_next(execute) -> None:  # type: ignore[no-untyped-def]
    await execute("import json\nclass C: pass\nleft = 'LEAKED'\nimport random\nrandom.seed(1)")

    answer = await execute("print('left' in dir(object()))\nleft")

    assert answer.error.message == "line 2: NameError: name 'left' is not defined"


async def test_random_numbers_differ_between_programs(execute) -> None:  # type: ignore[no-untyped-def]
    code = "import random, uuid\nresult = [random.random(), str(uuid.uuid4())]"

    answers = {(await execute(code)).result.text for _ in range(5)}

    assert len(answers) == 5
