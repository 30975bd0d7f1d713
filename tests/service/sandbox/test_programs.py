"""Python as models write it runs as in Python: each program's result is what CPython itself gives for it."""

# ruff: noqa: E501 - the programs are as models write them

import asyncio
import contextlib
import json
import textwrap

import pytest
from tests.service.sandbox.corpus import CORPUS
from tests.service.sandbox.everyday import EVERYDAY
from tests.service.sandbox.modules import MODULES

from cadre.sandbox.v1 import sandbox_pb2

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAMS = {
    "mean of a list": "result = sum([1, 2, 3.5]) / 3",
    "logs": """
        import io, logging
        out = io.StringIO()
        log = logging.getLogger('shop.orders')
        log.setLevel(logging.INFO)
        log.propagate = False
        handler = logging.StreamHandler(out)
        handler.setFormatter(logging.Formatter('%(levelname)-8s|%(name)s|%(funcName)s|%(lineno)d|%(message)s'))
        log.addHandler(handler)
        def work():
            log.info('%d orders of %s', 3, {'a': 1})
            log.debug('not shown')
            log.warning('%(kind)s', {'kind': 'odd'}, extra={'seen': 1})
        work()
        class Kept(logging.Handler):
            def __init__(self):
                super().__init__(logging.ERROR)
                self.lines = []
            def emit(self, record):
                self.lines.append([record.levelname, record.getMessage(), self.format(record)])
        kept = Kept()
        kept.setFormatter(logging.Formatter('%(message)s!'))
        log.addHandler(kept)
        log.critical('stop')
        log.info('on')
        result = [out.getvalue(), kept.lines, log.isEnabledFor(10), logging.getLevelName(30), log.name]
        """,
    "loops": """
        total = 0
        for i, (a, b) in enumerate(zip(range(5), range(5, 10))):
            if i == 3: continue
            total += a * b
        else:
            total += 1
        n = 0
        while n < 10:
            n += 3
            if n > 7: break
        result = [total, n]
        """,
    "comprehensions": """
        words = 'the quick brown fox jumps over the lazy dog the end'.split()
        result = {
            'list': [w.upper() for w in words if len(w) > 3],
            'set': sorted({len(w) for w in words}),
            'dict': {w: words.count(w) for w in dict.fromkeys(words)},
            'nested': [(x, y) for x in range(3) for y in range(x)],
            'sum': sum(len(w) for w in words),
        }
        """,
    "class with inheritance": """
        class Animal:
            count = 0
            def __init__(self, name: str) -> None:
                self.name = name
                self._secret = 1
                self.__private = 2
                Animal.count += 1
            def speak(self): raise NotImplementedError
            def total(self): return self._secret + self.__private
            def __repr__(self): return f'{self.__class__.__name__}({self.name!r})'
            @property
            def loud(self): return self.name.upper()
            @classmethod
            def make(cls, name): return cls(name)
            @staticmethod
            def add(a, b): return a + b
        class Dog(Animal):
            def __init__(self, name):
                super().__init__(name)
                self.tricks = []
            def speak(self): return 'Wuff'
            def __len__(self): return len(self.tricks)
            def __contains__(self, item): return item in self.tricks
        d = Dog.make('Rex')
        d.tricks += ['sit']
        result = [repr(d), d.speak(), d.loud, len(d), 'sit' in d, Animal.count, Dog.add(1, 2), d.total(), type(d).__name__]
        """,
    "operators": """
        class V:
            def __init__(self, x, y): self.x, self.y = x, y
            def __add__(self, o): return V(self.x + o.x, self.y + o.y)
            def __mul__(self, k): return V(self.x * k, self.y * k)
            __rmul__ = __mul__
            def __eq__(self, o): return (self.x, self.y) == (o.x, o.y)
            def __hash__(self): return hash((self.x, self.y))
            def __iadd__(self, o): self.x += o.x; self.y += o.y; return self
            def __getitem__(self, i): return (self.x, self.y)[i]
            def __iter__(self): yield self.x; yield self.y
            def __bool__(self): return bool(self.x or self.y)
            def __neg__(self): return V(-self.x, -self.y)
            def __lt__(self, o): return self.x < o.x
            def __call__(self): return 'called'
        v = V(1, 2)
        v += V(1, 1)
        a, b = 2 * v + -V(1, 1)
        result = [a, b, v == V(2, 3), v[0], bool(V(0, 0)), v(), min(V(3, 1), V(2, 2)).x, len({V(1, 1), V(1, 1)})]
        """,
    "dataclasses": """
        from dataclasses import dataclass, field, asdict, replace
        from typing import Optional, List
        @dataclass(order=True)
        class Item:
            price: float
            name: str = field(compare=False)
            tags: List[str] = field(default_factory=list)
            parent: Optional['Item'] = None
            def __post_init__(self): self.name = self.name.title()
        @dataclass(frozen=True, slots=True)
        class Point:
            x: int
            y: int = 0
        items = sorted([Item(2.5, 'b'), Item(1.0, 'a', ['x'])])
        try: Point(1).x = 5
        except AttributeError as e: frozen = type(e).__name__
        result = [asdict(items[0]), frozen, replace(Point(1), y=3).y, repr(Point(1, 2)), Point(1) == Point(1)]
        """,
    "future annotations": """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Node:
            value: int
            next: Node | None = None
        def length(node: Node | None) -> int:
            return 0 if node is None else 1 + length(node.next)
        result = length(Node(1, Node(2, Node(3))))
        """,
    "closures": """
        def counter(start=0):
            count = start
            def step(by=1):
                nonlocal count
                count += by
                return count
            return step
        c = counter(10)
        c(); c(5)
        total = 0
        def bump():
            global total
            total += 1
        bump(); bump()
        result = [c(), total, [f(2) for f in [lambda x, n=n: x ** n for n in range(4)]]]
        """,
    "decorators": """
        import functools, time
        def timed(times):
            def outer(f):
                @functools.wraps(f)
                def inner(*args, **kwargs):
                    inner.calls += 1
                    start = time.perf_counter()
                    for _ in range(times): value = f(*args, **kwargs)
                    return value, time.perf_counter() >= start
                inner.calls = 0
                return inner
            return outer
        @timed(3)
        def add(a, b=2):
            'adds'
            return a + b
        result = [add(1), add(1, b=5), add.calls, add.__name__, add.__doc__]
        """,
    "generators": """
        def fib():
            a, b = 0, 1
            while True:
                yield a
                a, b = b, a + b
        def chain(*its):
            for it in its: yield from it
        def echo():
            got = None
            while True: got = yield got
        from itertools import islice
        e = echo(); next(e)
        result = [list(islice(fib(), 10)), list(chain('ab', [1])), e.send('x')]
        """,
    "errors": """
        class TooBig(ValueError):
            def __init__(self, n):
                super().__init__(f'{n} is too big')
                self.n = n
        log = []
        def check(n):
            try:
                if n > 2: raise TooBig(n)
                return 10 / n
            except ZeroDivisionError as exc:
                log.append(str(exc))
                return None
            except (KeyError, TooBig) as exc:
                log.append(f'{type(exc).__name__}: {exc} {exc.n} {exc.args}')
                raise RuntimeError('wrapped') from exc
            finally:
                log.append('done')
        result = [check(1), check(0)]
        try: check(3)
        except RuntimeError as e: result += [str(e), str(e.__cause__)]
        result.append(log)
        """,
    "context managers": """
        from contextlib import contextmanager, suppress
        log = []
        class Res:
            def __enter__(self): log.append('in'); return self
            def __exit__(self, kind, exc, tb): log.append(kind.__name__ if kind else None); return True
        @contextmanager
        def tag(name):
            log.append(f'<{name}>')
            try: yield name
            finally: log.append(f'</{name}>')
        with Res() as r, tag('b') as t: raise ValueError('x')
        with suppress(KeyError): {}['a']
        result = log
        """,
    "match": """
        from dataclasses import dataclass
        from enum import Enum
        class Color(Enum):
            RED = 'r'
            BLUE = 'b'
        @dataclass
        class P:
            x: int
            y: int
        def kind(v):
            match v:
                case None: return 'none'
                case True | False: return 'bool'
                case Color.RED: return 'red'
                case int(n) if n > 100: return f'big {n}'
                case 0 | 1: return 'bit'
                case str() as s: return 's' + s
                case []: return 'empty'
                case [x]: return f'one {x}'
                case [first, *rest]: return f'{first} then {len(rest)}'
                case {'type': 'circle', 'r': r, **others}: return f'circle {r} {others}'
                case P(x=0, y=y): return f'axis {y}'
                case P(x, y): return f'{x},{y}'
                case _: return 'else'
        result = [kind(v) for v in [None, True, Color.RED, 500, 1, 'a', [], [1], [1, 2, 3],
            {'type': 'circle', 'r': 2, 'z': 1}, P(0, 5), P(1, 2), 3.5]]
        """,
    "formatting": """
        name, n, pi = 'World', 1234567.891, 3.14159
        class T:
            def __format__(self, spec): return f'T[{spec}]'
        result = [f'{name!r:>10}|{n:,.2f}|{pi:.{2}f}|{5:05d}|{0.256:.1%}|{255:#x}|{n=:.1f}', '{:<8}|{:^8}|{:>8}'.format('a', 'b', 'c'),
            '{0} {1} {0} {k} {d[a]} {c.real}'.format(1, 2, k=3, d={'a': 4}, c=5), '%s has %d (%.2f)' % ('x', 3, 1.5),
            '{x}'.format_map({'x': 1}), f'{T():abc}', format(1e6, ','), '{{}}'.format()]
        """,
    "augmented assignment": """
        class Box: pass
        b = Box()
        b.n = 1; b.n += 2; b.n *= 5; b.items = [1]; b.items += [2]; b.items[0] -= 3
        d = {'a': {'b': 1}}
        d['a']['b'] += 4; d['c'] = d.get('c', 0) + 1
        x = 7; x //= 2; x **= 2; x |= 16; x <<= 1; x ^= 5; x %= 11
        l = [0] * 3; l[1:2] = [9, 9]; del l[0]
        result = [b.n, b.items, d, x, l]
        """,
    "unpacking": """
        (a, b), [c, *d], *e = (1, 2), [3, 4, 5], 6, 7
        x, y = 1, 2
        x, y = y, x
        def f(a, /, b, *args, c=3, **kw): return [a, b, args, c, kw]
        result = [a, b, c, d, e, x, y, f(1, 2, 3, c=4, z=5), f(*[1, 2], **{'q': 1}), [*range(3), *'ab'], {**{'a': 1}, 'b': 2}]
        for k, (v, w) in {'k': (1, 2)}.items(): result.append([k, v, w])
        """,
    "type hints": """
        from typing import Dict, List, Optional, Union, Callable, TypeVar, Generic, NamedTuple, TypedDict, Protocol, Literal, Any
        T = TypeVar('T')
        class Stack(Generic[T]):
            def __init__(self) -> None: self._items: List[T] = []
            def push(self, item: T) -> None: self._items.append(item)
            def pop(self) -> Optional[T]: return self._items.pop() if self._items else None
        class Emp(NamedTuple):
            name: str
            id: int = 3
        class Movie(TypedDict, total=False):
            title: str
        class Shape(Protocol):
            def area(self) -> float: ...
        def apply(f: Callable[[int], int], n: int | None = None) -> Union[int, str]: return f(n or 2)
        s: Stack[int] = Stack()
        s.push(4)
        count: int
        count: int = 1
        m: Movie = {'title': 'x'}
        result = [s.pop(), s.pop(), Emp('a')._asdict(), Emp('a')._replace(id=5).id, apply(lambda v: v * 2), count, m]
        """,
    "walrus": """
        data = [1, 5, 3, 8]
        result = [y for x in data if (y := x * 2) > 5]
        while (n := data.pop()) != 5: result.append(n)
        """,
    "recursion": """
        from functools import lru_cache
        @lru_cache(maxsize=None)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        def hanoi(n, a='A', b='B', c='C'): return 0 if n == 0 else hanoi(n - 1, a, c, b) + 1 + hanoi(n - 1, c, b, a)
        def flatten(x): return [z for y in x for z in flatten(y)] if isinstance(x, list) else [x]
        result = [fib(80), hanoi(8), flatten([1, [2, [3, [4]]]]), fib.cache_info().hits > 0]
        """,
    "sorting": """
        from operator import itemgetter, attrgetter
        people = [{'n': 'Bo', 'a': 30}, {'n': 'Al', 'a': 25}, {'n': 'Cy', 'a': 30}]
        class P:
            def __init__(self, n): self.n = n
        result = [sorted(people, key=lambda p: (-p['a'], p['n'])), sorted(people, key=itemgetter('a', 'n'))[0],
            [p.n for p in sorted([P(2), P(1)], key=attrgetter('n'), reverse=True)], sorted('bAc', key=str.lower), max(people, key=lambda p: p['n'])]
        people.sort(key=lambda p: p['n'])
        """,
    "collections": """
        from collections import Counter, defaultdict, deque, OrderedDict, namedtuple, ChainMap
        P = namedtuple('P', 'x y')
        d = defaultdict(list)
        for k, v in [('a', 1), ('b', 2), ('a', 3)]: d[k].append(v)
        q = deque([1, 2, 3], maxlen=3); q.append(4); q.rotate(1)
        result = [Counter('banana').most_common(2), d, list(q), P(1, 2).y, P._fields, ChainMap({'a': 1}, {'b': 2})['b'], list(OrderedDict(a=1))]
        """,
    "strings": """
        import re, string, textwrap
        text = '''Dear Ms Smith, call +49 30 1234567 or mail jo@example.com.'''
        m = re.search(r'(?P<user>\\w+)@(?P<host>[\\w.]+)\\.', text)
        result = [m.group('user'), m.groupdict(), re.sub(r'\\d', lambda d: '#', text), re.findall(r'\\b[A-Z]\\w+', text),
            text.partition(',')[0], 'a-b'.translate(str.maketrans('-', '_')), string.ascii_lowercase[:3],
            textwrap.shorten(text, 20), ' x '.strip().center(5, '*'), text.split()[-1].rstrip('.'), re.compile('a', re.I).sub('b', 'Aa')]
        """,
    "dates": """
        from datetime import datetime, timedelta, date, timezone
        import calendar
        d = datetime(2024, 2, 28, 12, 30)
        result = [(d + timedelta(days=2)).isoformat(), d.strftime('%A %d %B'), datetime.strptime('2024-03-01', '%Y-%m-%d').year,
            (date(2024, 3, 1) - date(2024, 2, 1)).days, calendar.monthrange(2024, 2)[1], d.replace(tzinfo=timezone.utc).timestamp()]
        """,
    "json": """
        import json
        doc = json.loads('{"a": [1, 2.5, null, true], "b": {"c": "ü"}}')
        class E(json.JSONEncoder):
            def default(self, o): return sorted(o) if isinstance(o, set) else super().default(o)
        result = [json.dumps(doc, indent=2, sort_keys=True), json.dumps({1, 2}, cls=E), doc['b']['c'], json.dumps({3}, default=list)]
        try: json.loads('{')
        except json.JSONDecodeError as e: result.append(e.pos)
        """,
    "numbers": """
        import math, statistics, cmath
        from decimal import Decimal, getcontext, ROUND_HALF_UP
        from fractions import Fraction
        getcontext().prec = 20
        result = [math.isclose(math.sqrt(2) ** 2, 2), statistics.stdev([1, 2, 3, 4]), str(Decimal('1.005').quantize(Decimal('0.01'), ROUND_HALF_UP)),
            str(Fraction(1, 3) + Fraction(1, 6)), math.comb(5, 2), divmod(-7, 2), round(2.675, 2), 0.1 + 0.2, 2 ** 100, int('ff', 16), bin(5),
            abs(complex(3, 4)), cmath.phase(1j), statistics.median([3, 1, 2]), math.inf > 1, str(Decimal(1) / 7)]
        """,
    "itertools": """
        from itertools import chain, combinations, groupby, permutations, product, accumulate, zip_longest, pairwise
        from functools import reduce, partial
        import operator
        result = [list(combinations('abc', 2)), [(k, list(g)) for k, g in groupby('aabc')], len(list(permutations(range(4)))),
            list(product([0, 1], repeat=2)), list(accumulate([1, 2, 3], operator.mul)), reduce(lambda a, b: a * b, range(1, 6)),
            partial(pow, 2)(5), list(zip_longest([1], [2, 3])), list(pairwise('abc')), list(chain.from_iterable([[1], [2]]))]
        """,
    "enums": """
        from enum import Enum, IntEnum, Flag, auto
        class S(Enum):
            NEW = auto()
            DONE = auto()
            @property
            def nice(self): return self.name.title()
        class L(IntEnum):
            LOW = 1
        class F(Flag):
            A = auto()
            B = auto()
        Color = Enum('Color', 'RED GREEN')
        result = [S.NEW.nice, S['DONE'].value, [s.name for s in S], S(1).name, L.LOW < 5, (F.A | F.B).value, F.A in (F.A | F.B), Color.GREEN.value, len(S.__members__)]
        """,
    "abstract classes": """
        from abc import ABC, ABCMeta, abstractmethod
        class Shape(ABC):
            @property
            @abstractmethod
            def area(self): ...
        class Sq(Shape):
            def __init__(self, a): self.a = a
            @property
            def area(self): return self.a ** 2
            @area.setter
            def area(self, v): self.a = v ** 0.5
        class Old(metaclass=ABCMeta):
            @abstractmethod
            def f(self): ...
        s = Sq(3); s.area = 16
        result = [s.a, isinstance(s, Shape), issubclass(Sq, ABC)]
        for cls in (Shape, Old):
            try: cls()
            except TypeError: result.append('abstract')
        """,
    "print": """
        import sys, io
        print('a', 1, [2], sep='-', end='!\\n')
        print(*range(3), sep=', ')
        print('to stderr', file=sys.stderr, flush=True)
        out = io.StringIO()
        print('kept', file=out)
        sys.stdout.write('written\\n')
        print()
        result = out.getvalue()
        """,
    "csv": """
        import csv, io
        rows = list(csv.DictReader(io.StringIO('name,qty\\nbolt,3\\nnut,5\\n')))
        out = io.StringIO()
        w = csv.DictWriter(out, fieldnames=['name', 'qty'], lineterminator='\\n')
        w.writeheader()
        for r in rows:
            r['qty'] = int(r['qty']) * 2
            w.writerow(r)
        result = [sum(r['qty'] for r in rows), out.getvalue()]
        """,
    "hashes": """
        import hashlib, base64, hmac, zlib, binascii, struct
        data = 'häh'.encode()
        result = [hashlib.sha256(data).hexdigest(), base64.b64encode(data).decode(), hmac.new(b'k', data, 'sha256').hexdigest(), zlib.crc32(data),
            zlib.decompress(zlib.compress(data)).decode('utf-8'), hashlib.md5(b'x').hexdigest(), list(struct.unpack('<IH', struct.pack('<IH', 7, 8))), data.hex()]
        """,
    "heap": """
        import heapq, bisect
        def dijkstra(graph, start):
            dist = {n: float('inf') for n in graph}
            dist[start] = 0
            heap = [(0, start)]
            while heap:
                d, node = heapq.heappop(heap)
                if d > dist[node]: continue
                for nxt, w in graph[node].items():
                    if (nd := d + w) < dist[nxt]:
                        dist[nxt] = nd
                        heapq.heappush(heap, (nd, nxt))
            return dist
        l = [1, 3, 5]; bisect.insort(l, 4)
        result = [dijkstra({'a': {'b': 1, 'c': 4}, 'b': {'c': 2}, 'c': {}}, 'a'), l, heapq.nlargest(2, l)]
        """,
    "copies": """
        import copy
        class N:
            def __init__(self, v, kids=()): self.v, self.kids = v, list(kids)
            def __deepcopy__(self, memo): return N(self.v, copy.deepcopy(self.kids, memo))
        a = N(1, [N(2)])
        b = copy.deepcopy(a); c = copy.copy(a)
        b.kids[0].v = 9
        class Plain: pass
        p = Plain(); p.x = [1]
        q = copy.deepcopy(p); q.x.append(2)
        result = [a.kids[0].v, c.kids is a.kids, copy.deepcopy({'x': [1]}), p.x, vars(q), q.__dict__]
        """,
    "attributes by name": """
        class Config:
            def __init__(self, **kw):
                for k, v in kw.items(): setattr(self, k, v)
            def __getattr__(self, name): return f'no {name}'
            def __setattr__(self, name, value): super().__setattr__(name, value * 2)
            def __getitem__(self, k): return getattr(self, k)
        c = Config(a=1)
        class Ro:
            def __init__(self): object.__setattr__(self, 'x', 5)
            def __setattr__(self, n, v): raise AttributeError('read only')
        result = [c.a, c['b'], hasattr(Ro(), 'y'), getattr(Ro(), 'y', 3), Ro().x, callable(c), isinstance(c, (int, Config)), isinstance(int, type), type(3) is int, type('') == str]
        """,
    "descriptors": """
        class Positive:
            def __set_name__(self, owner, name): self.name = '_' + name
            def __get__(self, obj, owner=None): return self if obj is None else getattr(obj, self.name)
            def __set__(self, obj, value):
                if value < 0: raise ValueError(f'{self.name[1:]} must not be negative')
                setattr(obj, self.name, value)
        class Account:
            balance = Positive()
            __slots__ = ('_balance',)
            def __init__(self, b): self.balance = b
            def __init_subclass__(cls, **kw): super().__init_subclass__(**kw)
        a = Account(5)
        result = [a.balance]
        try: a.balance = -1
        except ValueError as e: result.append(str(e))
        """,
    "iterators": """
        class Count:
            def __init__(self, n): self.n = n
            def __iter__(self): return self
            def __next__(self):
                if self.n == 0: raise StopIteration
                self.n -= 1
                return self.n
        it = iter([1, 2])
        result = [list(Count(3)), next(it), next(it), next(it, 'end'), list(reversed([1, 2])), any(x > 1 for x in [1, 2]), list(map(str, range(2))), list(filter(None, [0, 1]))]
        """,
    "matrix": """
        def matmul(a, b): return [[sum(x * y for x, y in zip(r, c)) for c in zip(*b)] for r in a]
        m = [[1, 2], [3, 4]]
        result = [matmul(m, m), list(map(list, zip(*m))), [row[::-1] for row in m], m[-1][0:1]]
        """,
    "primes": """
        def sieve(n):
            flags = bytearray([1]) * (n + 1)
            flags[0:2] = b'\\0\\0'
            for i in range(2, int(n ** 0.5) + 1):
                if flags[i]: flags[i * i :: i] = bytes(len(range(i * i, n + 1, i)))
            return [i for i, f in enumerate(flags) if f]
        result = sieve(50)
        """,
    "main guard": """
        import sys
        def main() -> int:
            print('running')
            return 0
        if __name__ == '__main__':
            result = main()
            sys.exit(0)
        """,
    "optional import": """
        try:
            import numpy as np
        except ImportError:
            np = None
        result = 'plain' if np is None else 'numpy'
        """,
    "traceback": """
        import traceback
        try: {}['missing']
        except KeyError: result = traceback.format_exc().splitlines()[-1]
        """,
    "tree": """
        class Node:
            def __init__(self, key): self.key, self.left, self.right = key, None, None
        class Tree:
            def __init__(self): self.root = None
            def insert(self, key):
                def go(node):
                    if node is None: return Node(key)
                    if key < node.key: node.left = go(node.left)
                    else: node.right = go(node.right)
                    return node
                self.root = go(self.root)
            def __iter__(self):
                def walk(n):
                    if n:
                        yield from walk(n.left); yield n.key; yield from walk(n.right)
                return walk(self.root)
        t = Tree()
        for k in [5, 2, 8, 1]: t.insert(k)
        result = list(t)
        """,
    "star import": "from math import *\nresult = [floor(pi), gcd(12, 18)]",
    "urls": "from urllib.parse import urlparse, parse_qs\nu = urlparse('https://a.b/c?x=1&x=2')\nresult = [u.netloc, parse_qs(u.query)]",
    "template": "from string import Template\nresult = Template('$a is ${b}').substitute(a=1, b=2)",
    "namespace": "from types import SimpleNamespace\nn = SimpleNamespace(a=1)\nn.b = n.a + 1\nresult = vars(n)",
}
# What the sandbox cannot do, and a model is told so by the result.
DIFFERENT = {"optional import": '"plain"'}


def _run(code: str) -> object:
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.suppress(SystemExit):
        exec(compile(code, "<program>", "exec", dont_inherit=True), names)
    return json.loads(json.dumps(names["result"]))


async def _expected(code: str) -> object:
    # In a thread, as a program may run a loop of its own.
    return await asyncio.to_thread(_run, code)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_gives_what_it_gives_in_python(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    code = textwrap.dedent(PROGRAMS[name])

    answer = await execute(code)

    assert answer.outcome == sandbox_pb2.OUTCOME_SUCCEEDED, answer
    expected = json.loads(DIFFERENT[name]) if name in DIFFERENT else await _expected(code)
    assert json.loads(answer.result.text) == expected


LONGER = {**CORPUS, **EVERYDAY, **MODULES}


@pytest.mark.parametrize("name", LONGER)
async def test_a_program_as_models_write_it_gives_the_same(name: str, execute) -> None:  # type: ignore[no-untyped-def]
    code = textwrap.dedent(LONGER[name])

    answer = await execute(code)

    assert answer.outcome == sandbox_pb2.OUTCOME_SUCCEEDED, answer
    assert json.loads(answer.result.text) == await _expected(code)


async def test_print_takes_all_its_arguments(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute(textwrap.dedent(PROGRAMS["print"]))

    assert answer.stdout == "a-1-[2]!\n0, 1, 2\nwritten\n\n"
    assert answer.stderr == "to stderr\n"


async def test_inputs_are_variables_and_a_dict(execute) -> None:  # type: ignore[no-untyped-def]
    inputs = {"rows": [1, 2], "not a name": "x", "class": 1, "größe": 2.5, "__builtins__": {}}

    answer = await execute(
        "result = [sum(rows), inputs['not a name'], größe, sorted(inputs)]", inputs
    )

    assert json.loads(answer.result.text) == [3, "x", 2.5, sorted(inputs)]


async def test_there_is_no_input_to_read_but_the_stream_is_there(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("import sys\nresult = [sys.stdin.read(), list(sys.stdin)]")

    assert answer.result.text == '["",[]]'


async def test_a_refused_module_is_said_with_what_takes_its_place(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("from multiprocessing import Pool")

    assert answer.error.message == (
        "line 1: the module 'multiprocessing' is not allowed: there is one process; threading and concurrent.futures"
        " have threads that take turns"
    )


async def test_what_ends_a_thread_is_said_and_the_program_goes_on(execute) -> None:  # type: ignore[no-untyped-def]
    code = "import threading\ndef f(): 1 / 0\nt = threading.Thread(target=f, name='t')\nt.start()\nresult = t.is_alive()"

    answer = await execute(code)

    assert answer.result.text == "false"
    assert answer.stderr == (
        "Exception in thread t:\nTraceback (most recent call last):\n  line 2, in f\n"
        "ZeroDivisionError: division by zero\n"
    )


async def test_what_a_callback_raises_is_said_in_the_programs_lines(execute) -> None:  # type: ignore[no-untyped-def]
    code = "from concurrent.futures import Future\nf = Future()\nf.add_done_callback(lambda f: 1 / 0)\nf.set_result(1)"

    answer = await execute(code)

    assert answer.stderr.startswith("exception calling callback for <Future at ")
    assert answer.stderr.splitlines()[2:] == [
        "  line 3, in <lambda>",
        "ZeroDivisionError: division by zero",
    ]


async def test_threads_that_wait_for_each_other_for_ever_are_said_to(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("import queue\nqueue.Queue().get()")

    assert answer.error.message == (
        "line 2: RuntimeError: every thread waits for another; none can go on"
    )


async def test_what_a_thread_may_not_do_ends_the_program(execute) -> None:  # type: ignore[no-untyped-def]
    code = "import threading\nthreading.Thread(target=lambda: getattr(print, '__self__')).start()\nprint('on')"

    answer = await execute(code)

    assert (answer.outcome, answer.stdout) == (sandbox_pb2.OUTCOME_BLOCKED, "")


async def test_an_error_names_the_programs_own_line_and_nothing_of_ours(execute) -> None:  # type: ignore[no-untyped-def]
    code = "import json\ndef load(t):\n    return json.loads(t)\n\nload('{')"

    answer = await execute(code)

    assert answer.error.message.startswith("line 3: JSONDecodeError: Expecting property name")
    assert answer.stderr.splitlines()[1:3] == ["  line 5, in <module>", "  line 3, in load"]
    assert "json/decoder" not in answer.stderr


async def test_what_it_wrote_is_counted_whole(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("import sys\nprint('ü' * 100_000)\nsys.stderr.write('no')\nresult = [1]")

    assert len(answer.stdout) < 101_000
    assert answer.usage.output_bytes == 200_001 + 2 + 3


async def test_a_program_without_a_result_has_none(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("print(1)")

    assert not answer.HasField("result")
    assert not answer.HasField("error")


async def test_what_a_task_raised_and_nobody_asked_for_is_said(execute) -> None:  # type: ignore[no-untyped-def]
    code = """
        import asyncio
        async def fail(): raise ValueError("odd")
        async def main():
            asyncio.create_task(fail())
            await asyncio.sleep(0)
        asyncio.run(main())
        """

    answer = await execute(textwrap.dedent(code))

    assert answer.stderr == "Task exception was never retrieved: ValueError: odd\n"


async def test_a_warning_is_said_with_the_programs_line(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("import warnings\nwarnings.warn('old')")

    assert answer.stderr == "<program>:2: UserWarning: old\n"


async def test_a_hint_that_names_what_is_not_there_stays_text(execute) -> None:  # type: ignore[no-untyped-def]
    answer = await execute("def f(x: List[int]): return 1\nresult = [f(2), f.__annotations__['x']]")

    assert json.loads(answer.result.text) == [1, "List[int]"]
