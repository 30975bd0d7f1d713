"""Attacks on what the language offers beyond the plain: asyncio, metaclasses, exception groups, generated code."""

# ruff: noqa: E501 - an attack is read best on one line

ASYNC = {
    "frame of a coroutine": "async def f(): pass\nf().cr_frame",
    "code of a coroutine": "async def f(): pass\nf().cr_code",
    "what a coroutine awaits": "async def f(): pass\nf().cr_await",
    "origin of a coroutine": "async def f(): pass\nf().cr_origin",
    "frame of an async generator": "async def f(): yield 1\nf().ag_frame",
    "code of an async generator": "async def f(): yield 1\nf().ag_code",
    "what an async generator awaits": "async def f(): yield 1\nf().ag_await",
    "frame of a coroutine by text": "async def f(): pass\ngetattr(f(), 'cr_' + 'frame')",
    "frame of a coroutine by format": "async def f(): pass\n'{0.cr_frame.f_back}'.format(f())",
    "frame of a coroutine by pattern": "async def f(): pass\nmatch f():\n case object(cr_frame=x): print('LEAKED')",
    "frame by attrgetter": "import operator\nasync def f(): pass\noperator.attrgetter('cr_frame.f_globals')(f())",
    "stack of a task": """
        import asyncio
        async def main(): asyncio.current_task().get_stack()
        asyncio.run(main())
        """,
    "printed stack of a task": """
        import asyncio
        async def main(): asyncio.current_task().print_stack()
        asyncio.run(main())
        """,
    "loop of a task": """
        import asyncio
        async def main(): asyncio.current_task().get_loop().subprocess_exec
        asyncio.run(main())
        """,
    "coroutine of a task": """
        import asyncio
        async def main(): asyncio.current_task().get_coro().cr_frame
        asyncio.run(main())
        """,
    "context of a task by text": """
        import asyncio
        async def main(): getattr(asyncio.current_task(), 'get_' + 'loop')()
        asyncio.run(main())
        """,
    "loop of a task by format": """
        import asyncio
        async def main(): '{0._loop}'.format(asyncio.current_task())
        asyncio.run(main())
        """,
    "loop of a lock": "import asyncio\nasyncio.Lock()._get_loop()",
    "subclass of a queue": "import asyncio\nclass Q(asyncio.Queue):\n    def loop(self): return self._get_loop()",
    "subclass of a future": "import asyncio\nclass F(asyncio.Future): pass",
    "subclass of a task": "import asyncio\nclass T(asyncio.Task): pass",
    "subclass of a lock": "import asyncio\nclass L(asyncio.Lock): pass",
    "subclass of an event": "import asyncio\nclass E(asyncio.Event): pass",
    "subclass of a condition": "import asyncio\nclass C(asyncio.Condition): pass",
    "subclass of a semaphore": "import asyncio\nclass S(asyncio.BoundedSemaphore): pass",
    "subclass of a task group": "import asyncio\nclass G(asyncio.TaskGroup): pass",
    "subclass by an alias": "import asyncio\nclass Q(asyncio.Queue[int]): pass",
    "inside of a task group": "import asyncio\nasyncio.TaskGroup()._loop",
    "inside of the loop": "import asyncio\nasyncio.new_event_loop()._selector",
    "globals of asyncio.run": "import asyncio\nasyncio.run.__globals__",
    "globals of the loop's method": "import asyncio\nasyncio.new_event_loop().run_until_complete.__func__",
    "awaiting through a dunder": "class A:\n    def __await__(self): return self.__globals__\n",
    "frame through aexit": """
        import asyncio
        class C:
            async def __aenter__(self): return self
            async def __aexit__(self, kind, e, tb): return tb.tb_frame
        async def main():
            async with C(): 1 / 0
        asyncio.run(main())
        """,
    "comprehension that awaits": "async def f(): return [x async for x in y if print.__globals__]",
    "overwrite by async for": "async def f():\n    async for __builtins__ in x: pass",
    "overwrite by async with": "async def f():\n    async with x as __builtins__: pass",
    "overwrite by async def": "async def __builtins__(): pass",
    "overwrite by async argument": "async def f(__builtins__): pass",
    "decorated coroutine": "@(lambda f: f.__code__)\nasync def f(): pass",
}
CLASSES = {
    "metaclass by an alias": "class M(type[int]): pass",
    "metaclass by an alias of typing": "from typing import Type\nclass M(Type[int]): pass",
    "getattribute by type": "type('C', (), {'__getattribute__': lambda s, n: n})",
    "reduce by type": "type('C', (), {'__reduce_ex__': lambda s, n: (print, ('LEAKED',))})",
    "class lie by type": "type('C', (), {'__class__': str})",
    "module by type": "type('C', (), {'__module__': 'os'})",
    "fields by type": "type('C', (), {'__dataclass_fields__': {}})",
    "match args by type": "type('E', (Exception,), {'__match_args__': ('__traceback__',)})",
    "slots by type": "type('C', (), {'__slots__': ('__globals__',)})",
    "match args by a list that lies": """
        class L(list):
            def __iter__(self): return iter(('__traceback__',))
        type('E', (Exception,), {'__match_args__': L(['a'])})
        """,
    "annotations by type": "type('C', (), {'__annotations__': {'x=print(1)': int}})",
    "instancecheck by type": "type('C', (), {'__instancecheck__': lambda c, o: True})",
    "metaclass by type": "type('M', (type,), {})",
    "metaclass by type of a metaclass": "class M(type): pass\ntype('N', (M,), {})",
    "namespace by a metaclass": """
        class M(type):
            def __new__(m, name, bases, ns): return super().__new__(m, name, bases, {**ns, '__getattribute__': print})
        class C(metaclass=M): pass
        """,
    "namespace by type.__new__": """
        class M(type):
            def __new__(m, name, bases, ns): return type.__new__(m, name, bases, {**ns, '__reduce__': print})
        class C(metaclass=M): pass
        """,
    "namespace by a call": "class M(type): pass\nM('C', (), {'__getattribute__': print})",
    "getattr of a metaclass": "class M(type):\n    def __getattr__(c, name): return {}",
    "mro of a metaclass": "class M(type):\n    def mro(c): return [c, int, object]",
    "prepare of a metaclass": "class M(type):\n    def __prepare__(*a): return {}",
    "mro of a metaclass by assignment": "class M(type): pass\nM.mro = lambda c: [c, int, object]",
    "mro of a metaclass by setattr": "class M(type): pass\nsetattr(M, 'mro', lambda c: [c, int, object])",
    "getattr of a metaclass by assignment": "class M(type): pass\nM.__getattr__ = lambda c, n: {}",
    "loop by the mro of a metaclass's mixin": """
        import asyncio
        class Mixin:
            def mro(c): return [c, asyncio.TaskGroup, object]
        class M(Mixin, type): pass
        class G(metaclass=M): pass
        async def main():
            async with G() as g: print('LEAKED', g._loop)
        asyncio.run(main())
        """,
    "getattr of a metaclass's mixin": """
        class Mixin:
            def __getattr__(c, name): print('LEAKED', name); return {}
        class M(Mixin, type): pass
        class C(metaclass=M): pass
        """,
    "special method of what is no class": "class C: pass\nC().__deepcopy__ = print",
    "special method of a class of the library": "import json\njson.JSONEncoder.__init__ = print",
    "special method that classes may not have": "class C: pass\nC.__reduce_ex__ = print",
    "special method changed in place": "class C:\n    def __init__(self): pass\nC.__init__ += 1",
    "slot with the name of a special method": "class C:\n    __slots__ = ('__deepcopy__',)",
    "code by a field that names itself": """
        from dataclasses import dataclass, field
        asked = []
        class F(type(field())):
            @property
            def name(self):
                asked.append(1)
                return "x=0\\n  print('LEAKED', open)\\n  self.x" if len(asked) == at else 'x'
            @name.setter
            def name(self, new): pass
        for at in range(20):
            asked.clear()
            try:
                @dataclass
                class C:
                    x: int = F(1, None, True, True, None, True, None, False)
                C()
            except SyntaxError: pass
        """,
    "getattribute of a metaclass": "class M(type):\n    def __getattribute__(c, name): return {}",
    "subclasscheck of a metaclass": "class M(type):\n    def __subclasscheck__(c, o): return True",
    "subclasses through a metaclass": "class M(type):\n    def all(c): return c.__subclasses__()\nclass C(metaclass=M): pass\nC.all()",
    "bases through a metaclass": "class M(type): pass\nclass C(metaclass=M): pass\nC.__bases__",
    "base of a metaclass": "class M(type): pass\nM.__base__",
    "mro of a class with a metaclass": "class M(type): pass\nclass C(metaclass=M): pass\nC.mro()",
    "getattribute of super in a metaclass": """
        class M(type):
            def f(c): return super().__getattribute__('__subclasses__')
        class C(metaclass=M): pass
        C.f()
        """,
    "slots of a dataclass with a metaclass": """
        from dataclasses import dataclass
        class M(type):
            def __new__(m, name, bases, ns): return super().__new__(m, name, bases, ns)
        @dataclass(slots=True)
        class C(metaclass=M):
            x: int
        """,
    "metaclass that is a function": "def m(*a): print('LEAKED')\nclass C(metaclass=m): pass",
    "metaclass that is an instance": "class X:\n    def __call__(s, *a): print('LEAKED')\nclass C(metaclass=X()): pass",
    "metaclass of an enumeration": "import enum\nclass M(type(enum.Enum)): pass\nM('E', (), {'__reduce_ex__': 1})",
    "bases that resolve": "class R:\n    def __mro_entries__(self, b): return (type,)",
    "setattr on a metaclass": "class M(type): pass\nsetattr(M, '__getattribute__', 1)",
    "fields of a dataclass": "from dataclasses import dataclass\n@dataclass\nclass C:\n    x: int\nC.__dataclass_fields__",
    "parameters of a dataclass": "from dataclasses import dataclass\n@dataclass\nclass C:\n    x: int\nC.__dataclass_params__",
    "a name of a field": "from dataclasses import dataclass, fields\n@dataclass\nclass C:\n    x: int\nfields(C)[0].name = 'y=1'",
    "subclass of a group": "class G(ExceptionGroup):\n    def split(self, x): return 1, 2",
    "subclass of a base group": "class G(BaseExceptionGroup): pass",
    "subclass of a group and an error": "class G(ExceptionGroup, ValueError): pass",
    "subclass of a group by an alias": "class G(ExceptionGroup[ValueError]): pass",
    "subclass of a group by type": "type('G', (ExceptionGroup,), {})",
    "split of a group": "g = ExceptionGroup('g', [ValueError()])\ng.split = lambda t: (1, 2)",
    "split of a group by setattr": "g = ExceptionGroup('g', [ValueError()])\nsetattr(g, 'split', 1)",
    "split of a group by object": "g = ExceptionGroup('g', [ValueError()])\nobject.__setattr__(g, 'split', 1)",
    "traceback of a group": "try: raise ExceptionGroup('g', [ValueError()])\nexcept* ValueError as g: g.__traceback__",
    "traceback in a group": "try: raise ExceptionGroup('g', [ValueError()])\nexcept* ValueError as g: g.exceptions[0].__traceback__",
    "traceback of a group set": "ExceptionGroup('g', [ValueError()]).with_traceback.__self__",
    "overwrite by except*": "try: pass\nexcept* ValueError as __builtins__: pass",
    "spoken name in except*": "try: pass\nexcept* print.__globals__ as e: pass",
}
LIBRARY = {
    "registry of a dispatch": "from functools import singledispatch\n@singledispatch\ndef f(x): pass\nf._singledispatch__registry",
    "text evaluated by a dispatch": """
        from functools import singledispatch
        @singledispatch
        def f(x): pass
        f.__wrapped__
        """,
    "weak proxy": "import weakref\nweakref.proxy",
    "current frame": "import inspect\ninspect.currentframe()",
    "stack": "import inspect\ninspect.stack()",
    "members": "import inspect\ninspect.getmembers(int)",
    "source": "import inspect\ninspect.getsource(print)",
    "signature": "import inspect\ninspect.signature(print)",
    "method's function": "import types\ntypes.MethodType(print, 1).__func__",
    "function from code": "import types\ntypes.FunctionType",
    "code": "import types\ntypes.CodeType",
    "module": "import types\ntypes.ModuleType",
    "new class": "import types\ntypes.new_class",
    "resolved bases": "import types\ntypes.resolve_bases",
    "hidden in a redirection": "from contextlib import redirect_stdout\nredirect_stdout.__func__",
    "redirection inside": "import sys\nsys.stdout._redirections",
    "redirection into a guard": "from contextlib import redirect_stdout\nimport sys\nredirect_stdout.__self__",
    "mutex of a queue": "import queue\nqueue.Queue().mutex.__class__.__base__.__subclasses__()",
    "threading through a queue": "import queue\nqueue.threading",
    "weak set's inside": "import weakref\nweakref.WeakSet()._remove",
    "getattr of a context variable": "import contextvars\ncontextvars.copy_context().run.__self__",
    "array from a file": "import array\narray.array.__reduce_ex__",
    "template by delimiters": "import string\nstring.Template.pattern.__class__.__base__",
    "namedtuple's code": "from collections import namedtuple\nnamedtuple('P', 'x').__new__.__globals__",
    "namedtuple's field": "from collections import namedtuple\nnamedtuple('P', 'x').__getnewargs__",
    "partial's state": "from functools import partial\npartial(print).__reduce__()",
    "partial's new state": "from functools import partial\npartial(print).__setstate__((1, (), {}, {}))",
    "cached property's function": "from functools import cached_property\ncached_property.__set_name__.__globals__",
    "enum's new member": "from enum import Enum\nclass E(Enum):\n    A = 1\nE.A._value_ = 5\nE.A.__objclass__",
    "typed dict's module": "from typing import TypedDict\nTypedDict.__module__",
    "generic's origin": "from typing import List\nList[int].__origin__.__subclasses__()",
    "regex scanner": "import re\nre.Scanner",
    "regex's cache": "import re\nre._cache",
    "json's scanner": "import json\njson.JSONDecoder().scan_once.__self__",
    "json's encoder inside": "import json\njson.encoder",
    "decimal's module": "import decimal\ndecimal.Decimal.__module__",
    "copy by a namespace's variables": """
        import copy, types
        copy.deepcopy(types.SimpleNamespace(**{'__reduce_ex__': lambda v: (print, ('LEAKED',))}))
        """,
    "shallow copy by a namespace's variables": """
        import copy, types
        copy.copy(types.SimpleNamespace(**{'__reduce__': lambda: (print, ('LEAKED',))}))
        """,
    "copy by a cached property's name": """
        import copy
        from functools import cached_property
        class C: pass
        p = cached_property(lambda self: lambda v: (print, ('LEAKED',)))
        p.__set_name__(C, '__reduce_ex__')
        C.x = p
        c = C(); c.x
        copy.deepcopy(c)
        """,
    "special names by the dict of an object": "class C: pass\nC().__dict__['__reduce_ex__'] = print",
    "special names by an update of the dict": "class C: pass\nvars(C()).update({'__reduce_ex__': print})",
    "dict of a module": "import json\nvars(json)['loads'] = print",
    "dict of another object": """
        import json
        class C: pass
        class V(type(vars(C()))): pass
        v = V()
        v._owner = json
        v['loads'] = print
        """,
    "subclass of a pretty printer": """
        import pprint
        class P(pprint.PrettyPrinter):
            def _format(self, found, *rest): print('LEAKED', found)
        P()._pprint_simplenamespace(int, None, 0, 0, {}, 0)
        """,
    "inside of a pretty printer": "import pprint\npprint.PrettyPrinter()._dispatch",
    "warnings of a module": "import warnings\nwarnings.showwarning = print",
    "loop of a timer": """
        import asyncio
        async def main(): asyncio.get_running_loop().call_later(1, print)._loop
        asyncio.run(main())
        """,
    "subclass of a timer": """
        import asyncio
        async def main():
            class H(type(asyncio.get_running_loop().call_soon(print))): pass
        asyncio.run(main())
        """,
    "zones of a folder": "import zoneinfo\nzoneinfo.reset_tzpath(to=['/etc'])",
    "inside of zones": "import zoneinfo\nzoneinfo.ZoneInfo._weak_cache",
    "method of a named tuple of the library": "from urllib.parse import urlparse\nurlparse('http://x')._replace.__globals__",
    "spoken hint of a function": "def f(x: print.__globals__): pass",
    "overwrite in a hint": "def f(x: (__builtins__ := {})) -> (__import__ := 1): pass",
    "copy's hook": "class C:\n    def __reduce__(self): return print, ('LEAKED',)",
    "copy's arguments": "class C:\n    def __getnewargs_ex__(self): return (), {}",
    "copy's state": "class C:\n    def __getstate__(self): return {}",
    "pickle": "import copyreg",
    "datetime's C module": "import datetime\ndatetime.sys",
    "statistics' inside": "import statistics\nstatistics.sys",
    "random's os": "import random\nrandom._urandom",
    "uuid's platform": "import uuid\nuuid.os",
    "text wrapper's fields": "import textwrap\ntextwrap.TextWrapper.__init__.__globals__",
    "contextmanager's generator": "from contextlib import contextmanager\n@contextmanager\ndef f(): yield\nf().gen.gi_frame",
    "contextmanager's generator by format": "from contextlib import contextmanager\n@contextmanager\ndef f(): yield\n'{0.gen.gi_frame}'.format(f())",
    "exit stack's callbacks": "from contextlib import ExitStack\nExitStack()._exit_callbacks",
    "traceback through an exit": """
        from contextlib import ExitStack
        def seen(kind, e, tb): tb.tb_frame
        with ExitStack() as s:
            s.push(seen); 1 / 0
        """,
    "traceback through throw": """
        def g():
            try: yield
            except ValueError as e: e.__traceback__
        x = g(); next(x); x.throw(ValueError())
        """,
    "name error's object": "try: undefined\nexcept NameError as e: getattr(e, 'o' + 'bj')\n(lambda: 0).__globals__",
    "stop iteration's frame": "def g(): yield\ntry: next(iter([]))\nexcept StopIteration as e: e.__traceback__.tb_frame",
    "import error's path": "try:\n  import os\nexcept ImportError as e:\n  e.__traceback__",
    "system exit's frame": "try: exit(1)\nexcept SystemExit as e: e.__traceback__",
    "keyword through star": "dict(**{'a': 1}).__class__.__base__",
    "formatted with a nested field": "f'{1:{print.__globals__}}'",
    "format spec of a class": "class C:\n    def __format__(self, spec): return print.__globals__\nf'{C()}'",
    "percent with a mapping": "class D(dict):\n    def __missing__(self, k): return print.__globals__\n'%(x)s' % D()",
    "sort key": "sorted([print], key=lambda f: f.__globals__)",
    "in place on an item": "d = {'a': print}\nd['a'].__dict__['x'] = 1",
    "unpacking into an attribute": "import math\nmath.pi, x = 1, 2",
    "loop into an attribute": "import math\nfor math.pi in [3]: pass",
    "with into an attribute": "import math\nfrom contextlib import nullcontext\nwith nullcontext(3) as math.pi: pass",
    "deleting a guard": "del print.__doc__",
    "walrus in a comprehension": "[(__builtins__ := x) for x in [1]]",
    "lambda's default": "(lambda x=[].__class__.__base__: x)()",
    "class body": "class C:\n    x = print.__globals__",
    "class keyword": "class C(x=print.__globals__): pass",
    "decorator of a class": "@(lambda c: c.__subclasses__())\nclass C: pass",
    "assert message": "assert 0, print.__globals__",
    "raise from": "raise ValueError from print.__globals__",
    "global in a method": "class C:\n    def f(self):\n        global __name__\n        __name__ = 'os'",
    "assigned name": "__name__ = 'os'",
    "deleted name": "del __builtins__",
    "nonlocal": "def f():\n    x = 1\n    def g():\n        nonlocal __x__\n",
}
OPENED = {
    "stream of a file": "open('a', 'w').__stream__",
    "stream of a file by text": "getattr(open('a', 'w'), '__stre' + 'am__')",
    "stream of a file by format": "'{0.__stream__}'.format(open('a', 'w'))",
    "stream of a file by pattern": "match open('a', 'w'):\n case object(__stream__=x): print('LEAKED')",
    "stream of a file by attrgetter": "import operator\noperator.attrgetter('__stream__.buffer')(open('a', 'w'))",
    "stream of a file by a class of its kind": """
        f = open('a', 'w')
        class C(type(f)):
            def look(self): return self.__stream__
        C.look(f)
        """,
    "a file of one's own by its class": "type(open('a', 'w'))(print)",
    "a file of one's own by the class of its class": "object.__new__(type(open('a', 'w'))).read()",
    "copy of a file": "import copy\ncopy.copy(open('a', 'w'))",
    "deep copy of a file": "import copy\ncopy.deepcopy([open('a', 'w')])",
    "buffer of a file": "open('a', 'w').buffer",
    "raw bytes of a file": "open('a', 'wb').raw",
    "detached file": "open('a', 'w').detach()",
    "a buffer kept from reading": "open('a', 'wb+').readinto(bytearray(8))",
    "number of a file": "open('a', 'w').fileno()",
    "a file by its number": "open(1, 'w').write('LEAKED')",
    "a file by a number that is text": "open(True, 'w').write('LEAKED')",
    "passwd": "print('LEAKED', open('/etc/passwd').read())",
    "passwd by dots": "print('LEAKED', open('../../../../etc/passwd').read())",
    "passwd by the folder": "print('LEAKED', open('/work' '/../etc/passwd').read())",
    "passwd by the other folder": "print('LEAKED', open('/tmp/../etc/passwd').read())",
    "passwd by a text that changes": """
        class Path(str):
            def __str__(self): return '/etc/passwd'
        print('LEAKED', open(Path('/etc/passwd')).read())
        """,
    "passwd by an opener": "open('a', opener=lambda *_: 1)",
    "environment": "print('LEAKED', open('/proc/self/environ', 'rb').read())",
    "the waiting process": "print('LEAKED', open('/proc/1/cmdline', 'rb').read())",
    "a codec from a file": "open('a', 'w', encoding='../../etc/passwd')",
    "a codec that is no encoding": "open('a', 'w', encoding='hex').write('x')",
    "a mode that changes": """
        class Mode(str):
            def __contains__(self, other): return True
        open('a', Mode('q'))
        """,
    "memory in a file": "f = open('a', 'wb')\nwhile True: f.write(bytes(1 << 20))",
    "memory by a far place": "f = open('a', 'wb')\nf.seek(1 << 40)\nf.write(b'1')\nf.flush()",
    "memory by a length": "open('a', 'wb').truncate(1 << 40)",
    "memory in many files": "for n in range(10 ** 9): open(str(n), 'w').write('x' * 1000)",
    "state of a file": "open('a', 'w').__reduce_ex__(2)",
    "getter of a file": "type(open('a', 'w')).closed.fget.__globals__",
    "what opens files": "open.__closure__",
    "the folder of what opens files": "open.__self__",
}
_IMPORTS = "import copy, glob, operator, pathlib\nfrom pathlib import Path, PurePath\n"
PATHS: dict[str, str] = {
    said: f"{_IMPORTS}print('LEAKED', {said})"
    for said in (
        "Path('/etc/passwd').read_text()",
        "Path('../../etc/passwd').read_text()",
        "Path('/work' '/../etc/passwd').read_bytes()",
        "Path('/tmp/../etc/passwd').open()",
        "Path('/proc/self/environ').read_bytes()",
        "Path(b'/etc/passwd').read_text()",
        "Path('/etc/passwd').stat()",
        "open(Path('..') / 'etc' / 'passwd')",
        "list(Path('/').iterdir())",
        "list(Path('/etc').glob('*'))",
        "list(Path('/').rglob('*'))",
        "glob.glob('/etc/*')",
        "glob.os",
        "pathlib.os",
        "Path.__folder__",
        "Path('a').__pure__",
        "getattr(Path('a'), '__pu' + 're__')",
        "'{0.__pure__}'.format(Path('a'))",
        "'{0.read_text.__globals__}'.format(Path('a'))",
        "operator.attrgetter('parent.__pure__')(Path('a'))",
        "sorted([Path('a')], key=lambda path: path.__pure__)",
        "PurePath.name.fget.__globals__",
        "Path.cwd.__func__",
        "Path.mro()",
        "Path('a').__reduce_ex__(2)",
        "[each.__pure__ for each in copy.deepcopy([Path('a')])]",
        "vars(Path('a'))",
        "vars(Path)",
        "Path.__new__(Path).name",
        "PurePath.parent.__get__(1)",
        "setattr(Path, 'read_text', print)",
        "object.__setattr__(Path('a'), '__pure__', 1)",
        "Path.__setattr__(Path('a'), 'name', 1)",
        "type('P', (PurePath,), {})",
        "Path('a').write_text('x') and Path('a').rename('/etc/x')",
        "Path('a').write_text('x') and Path('a').replace('../../x')",
        "Path('/work').rename('/x')",
        "Path('/work').rmdir()",
        "Path('/x').mkdir(parents=True)",
        "Path('/etc/passwd').unlink()",
        "Path('a').symlink_to('/etc/passwd')",
        "Path('a').open(opener=lambda *_: 1)",
        "Path('a').write_bytes(bytes(10 ** 10))",
        "Path('a').open('wb').truncate(10 ** 12)",
        "Path.open(type('T', (str,), {'__getattr__': lambda *_: print})('/etc/passwd'))",
    )
} | {
    "a subclass of paths": f"{_IMPORTS}class P(Path): pass\nprint('LEAKED')",
    "a path by a pattern": f"{_IMPORTS}match Path('a'):\n case PurePath(__pure__=x): print('LEAKED')",
    "memory by a far place that is left open": "f = open('a', 'wb')\nf.seek(10 ** 15)\nf.write(b'1')",
    "memory in a pattern": f"{_IMPORTS}Path('d/' * 20000).mkdir(parents=True)\nlist(Path('.').rglob('*'))",
}
OS: dict[str, str] = {
    # By another name, so that it is the object that refuses.
    said: f"import os\nos.sep\nn = [os][0]\nprint('LEAKED', {said.replace('os.', 'n.')})"
    for said in (
        "os.listdir('/')",
        "os.listdir('/proc')",
        "os.listdir('..')",
        "os.environ",
        "os.getenv('PATH')",
        "os.system('id')",
        "os.popen",
        "os.fork",
        "os.open",
        "os.write(1, b'LEAKED')",
        "os.kill",
        "os.stat('/etc/passwd')",
        "list(os.walk('/'))",
        "list(os.walk('/etc'))",
        "os.getcwd()",
        "os._exit",
        "os.__dict__",
        "os.path.os",
        "os.path.genericpath",
        "os.path.expandvars('$PATH')",
        "os.path.getsize('/etc/passwd')",
        "os.path.join.__globals__",
        "os.path.join.__closure__",
        "os.listdir.__closure__",
        "os.remove('/etc/passwd')",
        "os.rename('/etc/passwd', 'a')",
        "os.makedirs('/etc/x')",
        "setattr(os, 'system', print)",
        "[1 for os.sep in 'x']",
        "getattr(os.path, 'os')",
    )
} | {
    "what is not offered of os": "import os\nif os.sep == '': os.system('id')\nprint('LEAKED')",
    "what is not offered, by another name": "import os as o\nprint('LEAKED', o.sep, o.environ)",
    "os in a function": "def f():\n    import os\n    return os.popen('id')\nprint('LEAKED', f())",
    "names from os": "from os import sep, environ\nprint('LEAKED')",
    "all names from os": "from os import *\nprint('LEAKED')",
}
_REFLECTION = "import copy, functools, inspect, types, typing\nfrom typing import get_type_hints\n"
REFLECTION: dict[str, str] = {
    said: f"{_REFLECTION}print('LEAKED', {said})"
    for said in (
        "inspect.signature(print)",
        "inspect.signature(getattr)",
        "inspect.signature(copy.deepcopy)",
        "inspect.signature(get_type_hints)",
        "inspect.signature(lambda: 0).__real__",
        "inspect.signature(lambda: 0).bind().__bound__",
        "inspect.signature(lambda: 0).from_callable(print)",
        "inspect.Signature.from_callable(print)",
        "inspect.Signature.parameters.fget.__globals__",
        "inspect.Signature().parameters",
        "inspect.getsource",
        "inspect.stack",
        "inspect.unwrap",
        "inspect.getattr_static",
        "get_type_hints(print)",
        "get_type_hints(get_type_hints)",
        "get_type_hints(typing.NamedTuple)",
        "get_type_hints.__globals__",
        "'{0.__real__}'.format(inspect.signature(lambda: 0))",
        "type('P', (inspect.Parameter,), {})",
        "copy.deepcopy(inspect.signature(lambda: 0).bind(), {})",
        "copy.deepcopy(inspect.signature(lambda: 0), m := {}) and [*m.values()][-1][0].from_callable",
    )
} | {
    "a signature of another function by a partialmethod": f"{_REFLECTION}"
    "def f(): pass\nf._partialmethod = functools.partialmethod(copy.deepcopy)\nassert str(inspect.signature(f)) == '()'\ninspect.signature(f).__real__",
    "a signature of what is wrapped": f"{_REFLECTION}"
    "def f(): pass\nf.__wrapped__ = copy.deepcopy\nprint('LEAKED')",
    "a signature of a library's method": f"{_REFLECTION}"
    "m = types.MethodType(copy.deepcopy, 1)\nprint('LEAKED', inspect.signature(m))",
    "a signature by an instance": f"{_REFLECTION}"
    "class C: pass\nC.__call__ = copy.deepcopy\nprint('LEAKED', inspect.signature(C()))",
    "hints of a library's method": f"{_REFLECTION}"
    "print('LEAKED', get_type_hints(types.MethodType(copy.deepcopy, 1)))",
    "the builtins by a hint": f"{_REFLECTION}"
    "def f(x: '__builtins__'): pass\nget_type_hints(f)['x']['len']",
    "the builtins by an odd letter": f"{_REFLECTION}"
    "def f(x: '__ｂuiltins__'): pass\nget_type_hints(f)['x']['len']",
    "a call by a hint": f"{_REFLECTION}"
    "def f(x: 'print(1) or open'): pass\nget_type_hints(f)['x']('a', 'w')",
    "globals by a hint": f"{_REFLECTION}"
    "def f(x: 'print.__globals__'): pass\nget_type_hints(f)['x']['os']",
    "names of a library by a hint": f"{_REFLECTION}"
    "class C:\n    x: 'sys'\nfor call in (get_type_hints, functools.partial(get_type_hints)):\n    for found in map(call, [C]): print(found['x'].modules)",
    "names of the json library by a hint": f"{_REFLECTION}"
    "import json\nclass C:\n    x: 'scanner'\nprint(json.loads(json.dumps(C, default=get_type_hints))['x'].x)",
    "what is behind the members of an enum": f"{_REFLECTION}"
    "import re\nclass E:\n    def __eq__(self, other): other['IGNORECASE'] = print; return True\nre.RegexFlag.__members__ == E()\nassert re.RegexFlag['IGNORECASE'] is print",
    "what is behind the members of an enum, by or": f"{_REFLECTION}"
    "import re\nclass E:\n    def __ror__(self, other): other.clear()\nre.RegexFlag.__members__ | E()\nre.RegexFlag['IGNORECASE'] + ''",
    "a stream for words": f"{_REFLECTION}import shlex\nshlex.split(None)",
    "code for a clock": f"{_REFLECTION}import timeit\ntimeit.timeit('print(\"LEAKED\")')",
    "code for a clock, in a text of one's own": f"{_REFLECTION}"
    "import timeit\nclass S(str): pass\ntimeit.timeit(S('print(\"LEAKED\")'), number=1)",
    "a codec by a path": f"{_REFLECTION}import codecs\ncodecs.encode('x', '../../etc/passwd')",
    "a codec of one's own": f"{_REFLECTION}import codecs\ncodecs.register(print)",
    "a file by codecs": f"{_REFLECTION}import codecs\ncodecs.open('/etc/passwd')",
    "a file by gzip": f"{_REFLECTION}import gzip\ngzip.open('/etc/passwd')",
    "memory by gzip": f"{_REFLECTION}"
    "import gzip\ngzip.decompress(gzip.compress(bytes(10 ** 7)) * 200)",
    "memory by codecs": f"{_REFLECTION}"
    "import codecs, zlib\ncodecs.decode(zlib.compress(bytes(10 ** 9)), 'zlib')",
    "names of a module by what makes one": "import sys\nsys.__init__('sys', {'exit': print})\nassert sys.exit is print",
    "a module of one's own": "import sys\nprint('LEAKED', type(sys)('os', {}))",
    "the real input": f"{_REFLECTION}import sys\nsys.stdin.buffer",
    "the number of the input": f"{_REFLECTION}import sys\nsys.stdin.fileno()",
    "private methods of a parser": f"{_REFLECTION}"
    "from html.parser import HTMLParser\nclass P(HTMLParser): pass\nP()._parse_doctype_element.__func__.__globals__",
    "addresses without end": f"{_REFLECTION}"
    "import ipaddress\nlist(ipaddress.ip_network('::/0').hosts())",
    "private parts of addresses": f"{_REFLECTION}"
    "import ipaddress\nipaddress.ip_address('1.1.1.1')._constants",
    "the module of small modules": f"{_REFLECTION}import fnmatch\nfnmatch.posixpath",
    "registry of a dispatch": f"{_REFLECTION}"
    "functools.singledispatch(print)._singledispatch__registry",
}
WITHOUT_SUCCESS = {**OPENED, **PATHS, **OS, **REFLECTION}
ATTACKS = {**ASYNC, **CLASSES, **LIBRARY}
