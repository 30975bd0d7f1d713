"""Attacks on the language guard: each ends blocked, failed or at a limit, and brings nothing out.

A program that gets past the guard prints LEAKED, or leaves it in its result.
"""

import textwrap

import pytest
from tests.escape.attacks import ATTACKS, WITHOUT_SUCCESS
from tests.escape.hooks import HOOKS
from tests.escape.modules import MODULES as THROUGH_MODULES

from cadre.sandbox.v1 import sandbox_pb2

pytestmark = pytest.mark.asyncio(loop_scope="session")

BLOCKED = {
    "class of a tuple": "().__class__.__bases__[0].__subclasses__()",
    "mro": "(1).__class__.__mro__",
    "mro method": "int.mro()",
    "subclasses": "object.__subclasses__()",
    "globals of a function": "def f(): pass\nf.__globals__",
    "globals of a guard": "getattr.__globals__",
    "closure of a guard": "print.__closure__",
    "code of a function": "(lambda: 0).__code__",
    "defaults of a function": "def f(a=1): pass\nf.__defaults__",
    "builtins by name": "__builtins__",
    "builtins of a function": "print.__builtins__",
    "self of a builtin": "len.__self__",
    "self of a bound method of random": "import random\nrandom.random.__self__",
    "module of a function": "import json\njson.loads.__module__",
    "import by name": "__import__('os').system('id')",
    "loader": "__loader__",
    "spec": "__spec__",
    "file": "__file__",
    "getattr with text": "getattr((), '__class__').__base__\ngetattr(object, '__subclasses__')()",
    "getattr with joined text": "getattr(object, '__sub' + 'classes__')()",
    "getattr with a default": "getattr(object, '__subclasses__', 0)()",
    "vars of a module": "import math\nvars(math)",
    "dict of a class": "int.__dict__",
    "dict of a module": "import math\nmath.__dict__",
    "generator frame": "g = (x for x in [1])\ng.gi_frame",
    "generator code": "g = (x for x in [1])\ng.gi_code",
    "generator frame by text": "g = (x for x in [1])\ngetattr(g, 'gi_frame')",
    "generator delegate": "def a():\n yield from (x for x in [1])\ng = a()\nnext(g)\ng.gi_yieldfrom",
    "traceback of an exception": "try: 1/0\nexcept Exception as e: e.__traceback__",
    "frame of a traceback": """
        class C:
            def __enter__(self): return self
            def __exit__(self, kind, e, tb): tb.tb_frame
        with C(): 1/0
        """,
    "next traceback": """
        class C:
            def __enter__(self): return self
            def __exit__(self, kind, e, tb): getattr(tb, 'tb_next')
        with C(): 1/0
        """,
    "object of an attribute error": "try: (1).nothing\nexcept AttributeError as e: e.obj",
    "format walk": "'{0.__class__.__init__.__globals__}'.format(print)",
    "format walk by index": "'{0[0].__globals__}'.format([lambda: 0])",
    "format nested walk": "'{1:{0.__globals__}}'.format(print, 1)",
    "format map walk": "'{f.__globals__}'.format_map({'f': print})",
    "format unbound": "str.format('{0.__globals__}', print)",
    "format through map": "list(map(str.format, ['{0.__globals__}'], [print]))",
    "format of a subclass": "class S(str): pass\nS('{0.__globals__}').format(print)",
    "format through super": "class S(str):\n def f(self): return super().format(print)\nS('{0.__globals__}').f()",
    "format through getattr": "getattr('{0.__globals__}', 'format')(print)",
    "format through methodcaller": "import operator\noperator.methodcaller('format', print)('{0.__globals__}')",
    "format in a pattern": "match '{0.__globals__}':\n case str(format=f): print(f(print))",
    "Formatter": "import string\nstring.Formatter().format('{0.__globals__}', print)",
    "UserString": "from collections import UserString\nUserString('{0.__globals__}').format(print)",
    "attrgetter": "import operator\noperator.attrgetter('__globals__')(print)",
    "attrgetter with dots": "import operator\noperator.attrgetter('__class__.__base__')(1)",
    "methodcaller": "import operator\noperator.methodcaller('__subclasses__')(object)",
    "reduce": "import functools\nfunctools.reduce(getattr, ['__class__', '__base__', '__subclasses__'], ())",
    "wraps of builtins": "import functools\nfunctools.WRAPPER_ASSIGNMENTS",
    "get_type_hints": "import typing\ntyping.get_type_hints(print)",
    "ForwardRef": "from typing import ForwardRef",
    "make_dataclass": "from dataclasses import make_dataclass",
    "pattern keyword": "match print:\n case object(__globals__=g): print(g)",
    "pattern frame": "match (x for x in []):\n case object(gi_frame=f): print(f)",
    "match args": """
        class E(Exception):
            __match_args__ = ('__traceback__',)
        try: raise E()
        except E as e:
            match e:
                case E(tb): print('LEAKED', tb)
        """,
    "match args computed": "class E(Exception):\n    __match_args__ = ('__trace' + 'back__',)",
    "match args by a loop": "class E(Exception):\n    for __match_args__ in [('__traceback__',)]: pass",
    "match args by import": "class E(Exception):\n    from math import pi as __match_args__",
    "match args by walrus": "class E(Exception):\n    (__match_args__ := ('__traceback__',))",
    "match args by definition": "class E(Exception):\n    def __match_args__(self): pass",
    "match args from outside": "class E(Exception): pass\nE.__match_args__ = ('__traceback__',)",
    "match args by setattr": "class E(Exception): pass\nsetattr(E, '__match_args__', ('__traceback__',))",
    "pattern capture": "match 1:\n case __builtins__: pass",
    "pattern star": "match [1]:\n case [*__builtins__]: pass",
    "pattern rest": "match {}:\n case {**__builtins__}: pass",
    "pattern class walk": "match 1:\n case int.__base__(): pass",
    "pattern value walk": "match 1:\n case print.__globals__: pass",
    "metaclass keyword": "class C(metaclass=lambda *a: print('LEAKED')): pass",
    "metaclass of an enum": "import enum\nclass M(enum.EnumMeta): pass",
    "enum by call": "import enum\nenum.Enum('E', {'__reduce_ex__': 1})",
    "getattribute": "class C:\n    def __getattribute__(self, n): return n",
    "getattribute of object": "object.__getattribute__(print, '__globals__')",
    "getattribute of type": "super.__getattribute__(print, '__globals__')",
    "getattr of a generic": "from typing import List\nList[int].__getattr__('_name')",
    "class lie": "class C:\n    @property\n    def __class__(self): return str",
    "instancecheck": "class C:\n    def __instancecheck__(self, o): return True",
    "prepare": "class C:\n    def __prepare__(*a): return {}",
    "reduce of an object": "(1).__reduce_ex__(2)",
    "reduce defined": "class C:\n    def __reduce_ex__(self, n): return print, ('LEAKED',)",
    "setstate defined": "class C:\n    def __setstate__(self, s): pass",
    "module of a class": "class C:\n    __module__ = 'os'",
    "name mangling": "class _: \n    def f(self): return self.__globals__",
    "mangled builtins": "class C:\n    global __builtins__\n    __builtins__ = {}",
    "overwrite the builtins": "__builtins__ = {}",
    "overwrite by walrus": "(__builtins__ := {})",
    "overwrite by import": "import math as __builtins__",
    "overwrite by except": "try: 1/0\nexcept Exception as __builtins__: pass",
    "overwrite by argument": "def f(__builtins__): pass",
    "overwrite by positional argument": "def f(__builtins__, /): pass",
    "overwrite by keyword only": "lambda *, __builtins__: 0",
    "overwrite by star": "lambda *__builtins__: 0",
    "overwrite by loop": "for __builtins__ in [{}]: pass",
    "overwrite by comprehension": "[0 for __builtins__ in [1]]",
    "overwrite by with": "import contextlib\nwith contextlib.nullcontext() as __builtins__: pass",
    "overwrite by del": "del __builtins__",
    "overwrite by def": "def __import__(*a): pass",
    "overwrite by class": "class __import__: pass",
    "overwrite by global": "def f():\n    global __builtins__\n    __builtins__ = {}",
    "unicode dunder": "print.__ｇlobals__",
    "unicode dunder name": "__ｂuiltins__",
    "decorator": "@(lambda f: f.__globals__)\ndef f(): pass",
    "in place read": "class S(str):\n    def __radd__(self, o): return o\ns = S('{0.__globals__}')\ns.format += S('')",
    "write to a module": "import math\nmath.pi = 3",
    "write to a guard": "print.x = 1",
    "write to a class": "int.x = 1",
    "write by setattr": "import json\nsetattr(json, 'loads', 1)",
    "write by object": "import json\nobject.__setattr__(json, 'loads', 1)",
    "write the code": "def f(): pass\nf.__code__ = (lambda: 1).__code__",
    "write the code by setattr": "def f(): pass\nsetattr(f, '__code__', 1)",
    "write the class": "class C: pass\nC().__class__ = int",
    "write the bases": "class C: pass\nC.__bases__ = ()",
    "delete from a module": "import math\ndel math.pi",
    "private names of a library": "import random\nrandom._os",
    "private names of a library's class": "import string\nstring.Template._invalid",
    "sys modules": "import sys\nsys.modules['os']",
    "sys frames": "import sys\nsys._getframe()",
    "sys exc_info": "import sys\nsys.exc_info()",
    "sys stdout inside": "import sys\nsys.stdout._send(b'LEAKED')",
    "open": "open('/etc/passwd').read()",
    "eval": "eval('1')",
    "exec": "exec('1')",
    "compile": "compile('1', '', 'eval')",
    "globals": "globals()",
    "locals": "locals()",
    "input": "input()",
    "breakpoint": "breakpoint()",
    "dir of everything": "dir()",
    "keyword argument": "dict(__class__=1)",
    "lambda default": "lambda x=print.__globals__: x",
    "comprehension": "[c for c in object.__subclasses__()]",
    "type hint": "def f(x: print('LEAKED')) -> print('LEAKED'): pass\nprint.__globals__",
    "f-string": "f'{print.__globals__}'",
    "f-string conversion": "f'{(lambda: 0).__code__!r}'",
    "star argument": "print(*object.__subclasses__())",
    "slots": "class C:\n    __slots__ = ('__globals__',)",
    "namespace package": "import encodings",
    "relative import": "from . import os",
    "submodule": "import os.path",
    "dotted import through an allowed module": "import json.decoder",
    "name that is not public": "from random import _os",
    "star of a forbidden module": "from os import *",
    "uuid node": "import uuid\nuuid.getnode()",
    "path of a library": "import json\njson.__file__",
    "copy of a frame holder": "import copy\ncopy._copy_dispatch",
    "dispatch tables": "import pprint\npprint.PrettyPrinter()._dispatch",
    "spoken annotations": "print.__annotations__",
    "wrapped": "import functools\n@functools.lru_cache\ndef f(): pass\nf.__wrapped__",
    "property internals": "property(lambda s: 0).__get__",
    "bound function": "class C:\n    def f(self): pass\nC().f.__func__",
    "super internals": "class C:\n    def f(self): return super().__thisclass__\nC().f()",
}
MODULES = [
    "os",
    "os.path.genericpath",
    "sys.modules",
    "os.system",
    "os.environ",
    "posixpath",
    "pathlib._PosixFlavour",
    "subprocess",
    "ctypes",
    "socket",
    "importlib",
    "builtins",
    "gc",
    "pickle",
    "marshal",
    "threading._os",
    "multiprocessing",
    "signal",
    "resource",
    "shutil.which",
    "tempfile._os",
    "code",
    "codeop",
    "pty",
    "posix",
    "_thread",
    "_io",
    "io.open",
    "urllib.request",
    "http.client",
    "ssl",
    "select",
    "mmap",
    "fcntl",
    "platform.uname",
    "site",
    "runpy",
    "zipimport",
    "types.FunctionType",
    "weakref.proxy",
    "atexit",
    "faulthandler",
    "sqlite3",
    "concurrent.futures.ProcessPoolExecutor",
    "concurrent.futures.thread",
    "_thread.start_new_thread",
    "greenlet.greenlet",
    "logging.config",
    "logging.handlers",
    "logging.FileHandler",
    "logging.os",
    "logging.sys",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "asyncio.open_connection",
    "asyncio.start_server",
    "asyncio.Runner",
    "asyncio.subprocess",
    "asyncio.events",
    "inspect.currentframe",
    "inspect.getframeinfo",
]


@pytest.mark.parametrize("name", BLOCKED)
async def test_an_attack_on_the_language_is_blocked(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute(textwrap.dedent(BLOCKED[name]))

    assert answer.outcome == sandbox_pb2.OUTCOME_BLOCKED, answer
    assert answer.error.code == "CODE_BLOCKED"
    assert "LEAKED" not in answer.stdout + answer.result.text


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_through_what_is_offered_is_blocked(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute(textwrap.dedent(ATTACKS[name]))

    assert answer.outcome == sandbox_pb2.OUTCOME_BLOCKED, answer
    assert "LEAKED" not in answer.stdout + answer.result.text


@pytest.mark.parametrize("name", WITHOUT_SUCCESS)
async def test_an_attack_through_files_or_names_does_not_succeed(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute(textwrap.dedent(WITHOUT_SUCCESS[name]))

    assert answer.outcome != sandbox_pb2.OUTCOME_SUCCEEDED, answer
    assert answer.error.code != "PROGRAM_CRASHED"
    assert "LEAKED" not in answer.stdout + answer.result.text


@pytest.mark.parametrize("name", MODULES)
async def test_a_module_that_is_not_listed_cannot_be_imported(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    module, _, attribute = name.rpartition(".")

    answer = await execute(f"from {module} import {attribute}" if module else f"import {name}")

    assert answer.outcome == sandbox_pb2.OUTCOME_BLOCKED, answer
    assert answer.error.message.startswith("line 1: ")


@pytest.mark.parametrize("name", HOOKS)
async def test_an_attack_by_a_hook_or_an_odd_name_does_not_succeed(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute(HOOKS[name])

    assert answer.outcome in (sandbox_pb2.OUTCOME_BLOCKED, sandbox_pb2.OUTCOME_FAILED), answer
    assert answer.error.code != "PROGRAM_CRASHED"
    assert "LEAKED" not in answer.stdout + answer.result.text


@pytest.mark.parametrize("name", THROUGH_MODULES)
async def test_an_attack_through_a_module_does_not_succeed(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute(THROUGH_MODULES[name])

    assert answer.outcome != sandbox_pb2.OUTCOME_SUCCEEDED, answer
    assert answer.error.code != "PROGRAM_CRASHED"
    assert "LEAKED" not in answer.stdout + answer.result.text
