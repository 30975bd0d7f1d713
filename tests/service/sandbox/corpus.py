"""Programs as models write them, by what they use; each leaves in `result` what CPython leaves there too."""

# ruff: noqa: E501 - the programs are as models write them

ASYNC = {
    "gather": """
        import asyncio
        async def fetch(name, delay):
            await asyncio.sleep(delay)
            return f'{name} done'
        async def main():
            return await asyncio.gather(fetch('a', 0.02), fetch('b', 0.01))
        result = asyncio.run(main())
        """,
    "queue of workers": """
        import asyncio
        async def worker(name, queue, done):
            while True:
                item = await queue.get()
                done.append(item * item)
                queue.task_done()
        async def main():
            queue, done = asyncio.Queue(), []
            for n in range(6): queue.put_nowait(n)
            tasks = [asyncio.create_task(worker(i, queue, done)) for i in range(2)]
            await queue.join()
            for t in tasks: t.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return sorted(done)
        result = asyncio.run(main())
        """,
    "semaphore and lock": """
        import asyncio
        async def main():
            s, lock, peak, now = asyncio.Semaphore(2), asyncio.Lock(), 0, 0
            async def job():
                nonlocal peak, now
                async with s:
                    async with lock: now += 1; peak = max(peak, now)
                    await asyncio.sleep(0.001)
                    now -= 1
            await asyncio.gather(*(job() for _ in range(6)))
            return peak
        result = asyncio.run(main())
        """,
    "timeout": """
        import asyncio
        async def main():
            try:
                await asyncio.wait_for(asyncio.sleep(10), timeout=0.01)
            except asyncio.TimeoutError:
                return 'too slow'
        result = asyncio.run(main())
        """,
    "async generators": """
        import asyncio
        async def numbers(n):
            for i in range(n):
                await asyncio.sleep(0)
                yield i
        async def main():
            total = 0
            async for i in numbers(4): total += i
            return [total, [i * 2 async for i in numbers(3) if i], {i: str(i) async for i in numbers(2)}]
        result = asyncio.run(main())
        """,
    "async context manager": """
        import asyncio
        from contextlib import asynccontextmanager
        log = []
        class Session:
            async def __aenter__(self): log.append('open'); return self
            async def __aexit__(self, kind, error, tb): log.append('close'); return False
            async def get(self): return 42
        @asynccontextmanager
        async def session():
            log.append('in')
            try: yield 7
            finally: log.append('out')
        async def main():
            async with Session() as s, session() as n:
                log.append(await s.get() + n)
        asyncio.run(main())
        result = log
        """,
    "task group": """
        import asyncio
        async def bad(): raise ValueError('bad')
        async def main():
            seen = []
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.sleep(5))
                    group.create_task(bad())
            except* ValueError as group:
                seen = [str(e) for e in group.exceptions]
            return seen
        result = asyncio.run(main())
        """,
    "events and cancelling": """
        import asyncio
        async def main():
            event, log = asyncio.Event(), []
            async def waiter():
                await event.wait(); log.append('set')
            async def sleeper():
                try: await asyncio.sleep(60)
                except asyncio.CancelledError: log.append('cancelled'); raise
            a, b = asyncio.create_task(waiter()), asyncio.create_task(sleeper())
            await asyncio.sleep(0); event.set(); await a; b.cancel()
            try: await b
            except asyncio.CancelledError: pass
            return log + [b.cancelled(), a.done()]
        result = asyncio.run(main())
        """,
    "async iterator class": """
        import asyncio
        class Countdown:
            def __init__(self, n): self.n = n
            def __aiter__(self): return self
            async def __anext__(self):
                if self.n <= 0: raise StopAsyncIteration
                self.n -= 1
                return self.n
        async def main(): return [i async for i in Countdown(3)]
        result = asyncio.run(main())
        """,
    "as completed and a pipeline": """
        import asyncio
        async def step(n): await asyncio.sleep(n / 500); return n
        async def main():
            got = []
            for next_one in asyncio.as_completed([step(3), step(1), step(2)]): got.append(await next_one)
            done, pending = await asyncio.wait([asyncio.create_task(step(1))])
            return [got, len(done), len(pending), await asyncio.to_thread(lambda x: x + 1, 1)]
        result = asyncio.run(main())
        """,
    "awaitable object": """
        import asyncio
        class Later:
            def __await__(self):
                yield from asyncio.sleep(0).__await__()
                return 'now'
        async def main(): return await Later()
        result = asyncio.run(main())
        """,
    "an old loop": """
        import asyncio
        async def f(): return 5
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try: result = loop.run_until_complete(f())
        finally: loop.close()
        """,
}

CLASSES = {
    "singleton metaclass": """
        class Singleton(type):
            _instances = {}
            def __call__(cls, *args, **kwargs):
                if cls not in cls._instances:
                    cls._instances[cls] = super().__call__(*args, **kwargs)
                return cls._instances[cls]
        class Config(metaclass=Singleton):
            def __init__(self, name='x'): self.name = name
        result = [Config('a') is Config('b'), Config().name]
        """,
    "registry metaclass": """
        class Registry(type):
            plugins = {}
            def __new__(mcs, name, bases, namespace):
                cls = super().__new__(mcs, name, bases, namespace)
                if bases: mcs.plugins[name.lower()] = cls
                return cls
            def __len__(cls): return len(cls.plugins)
            def __iter__(cls): return iter(sorted(cls.plugins))
        class Plugin(metaclass=Registry): pass
        class Csv(Plugin):
            def run(self): return 'csv'
        class Json(Plugin):
            def run(self): return 'json'
        result = [list(Plugin), len(Plugin), Registry.plugins['csv']().run(), type(Plugin).__name__]
        """,
    "metaclass that checks": """
        class Checked(type):
            def __init__(cls, name, bases, namespace, **options):
                super().__init__(name, bases, namespace)
                cls.fields = [k for k, v in namespace.items() if not k.startswith('_') and not callable(v)]
        class Model(metaclass=Checked):
            a = 1
            b = 2
            def method(self): return self.a
        result = [Model.fields, Model().method()]
        """,
    "class made by type": """
        def speak(self): return f'{self.name} speaks'
        Dog = type('Dog', (object,), {'name': 'Rex', 'speak': speak, '__repr__': lambda self: 'Dog!'})
        result = [Dog().speak(), repr(Dog()), Dog.__name__, isinstance(Dog, type)]
        """,
    "abstract metaclass": """
        from abc import ABCMeta, abstractmethod
        class Shape(metaclass=ABCMeta):
            @property
            @abstractmethod
            def area(self): ...
        class Square(Shape):
            def __init__(self, a): self.a = a
            @property
            def area(self): return self.a ** 2
        try: Shape()
        except TypeError: refused = True
        result = [Square(3).area, refused]
        """,
    "protocols": """
        from typing import Protocol, runtime_checkable
        @runtime_checkable
        class Closes(Protocol):
            def close(self) -> None: ...
        class File:
            def close(self): return 'closed'
        class Drawer(Protocol):
            def draw(self) -> str: ...
        class Circle:
            def draw(self) -> str: return 'O'
        def render(d: Drawer) -> str: return d.draw()
        result = [isinstance(File(), Closes), isinstance(3, Closes), render(Circle())]
        """,
    "init subclass": """
        class Base:
            registry = []
            def __init_subclass__(cls, /, tag='', **kwargs):
                super().__init_subclass__(**kwargs)
                cls.tag = tag
                Base.registry.append(cls.__name__)
        class A(Base, tag='x'): pass
        class B(A): pass
        result = [Base.registry, A.tag, B.tag]
        """,
    "slots and properties": """
        class Temperature:
            __slots__ = ('_celsius',)
            def __init__(self, celsius=0.0): self.celsius = celsius
            @property
            def celsius(self): return self._celsius
            @celsius.setter
            def celsius(self, value):
                if value < -273.15: raise ValueError('below absolute zero')
                self._celsius = value
            @property
            def fahrenheit(self): return self._celsius * 9 / 5 + 32
        t = Temperature(25); t.celsius += 5
        try: Temperature(-300)
        except ValueError as e: said = str(e)
        try: t.other = 1
        except AttributeError: fixed = True
        result = [t.fahrenheit, said, fixed]
        """,
    "mixins and mro": """
        class Loud:
            def say(self): return super().say().upper()
        class Polite:
            def say(self): return super().say() + ', please'
        class Base:
            def say(self): return 'go'
        class Both(Loud, Polite, Base): pass
        result = Both().say()
        """,
    "generic stack": """
        from typing import Generic, TypeVar, Iterator
        T = TypeVar('T')
        class Stack(Generic[T]):
            def __init__(self) -> None: self._items: list[T] = []
            def push(self, item: T) -> 'Stack[T]': self._items.append(item); return self
            def pop(self) -> T: return self._items.pop()
            def __len__(self) -> int: return len(self._items)
            def __iter__(self) -> Iterator[T]: return reversed(self._items)
        s = Stack[int]().push(1).push(2).push(3)
        result = [s.pop(), len(s), list(s)]
        """,
    "dataclasses of all kinds": """
        from dataclasses import dataclass, field, fields, asdict, astuple, KW_ONLY, InitVar, replace
        from typing import ClassVar
        @dataclass(slots=True, kw_only=True)
        class Config:
            host: str = 'local'
            port: int = field(default=80, metadata={'unit': 'port'})
        @dataclass
        class Base:
            id: int
            _: KW_ONLY
            tags: list[str] = field(default_factory=list, repr=False)
            count: ClassVar[int] = 0
            scale: InitVar[int] = 2
            total: int = field(init=False, default=0)
            def __post_init__(self, scale): self.total = self.id * scale
        @dataclass(order=True, frozen=True, unsafe_hash=True)
        class Version:
            major: int; minor: int = 0
            def bump(self): return replace(self, minor=self.minor + 1)
        b = Base(3, tags=['x'])
        result = [asdict(Config(port=1)), [f.name for f in fields(Base)], repr(b), b.total, astuple(Version(1).bump()),
                  max(Version(1, 2), Version(1, 10)).minor, len({Version(1), Version(1)})]
        """,
    "descriptor that validates": """
        class Positive:
            def __set_name__(self, owner, name): self.name = '_' + name
            def __get__(self, obj, owner=None): return self if obj is None else getattr(obj, self.name, 0)
            def __set__(self, obj, value):
                if value <= 0: raise ValueError(f'{self.name[1:]} must be positive')
                setattr(obj, self.name, value)
        class Order:
            quantity = Positive(); price = Positive()
            def __init__(self, q, p): self.quantity, self.price = q, p
        try: Order(0, 1)
        except ValueError as e: said = str(e)
        result = [Order(2, 3).quantity, said]
        """,
    "exception hierarchy": """
        class AppError(Exception):
            def __init__(self, message, code=0, **context):
                super().__init__(message); self.code = code; self.context = context
            def __str__(self): return f'[{self.code}] {super().__str__()}'
        class NotFound(AppError): pass
        def find(k):
            try: return {}[k]
            except KeyError as e: raise NotFound('no ' + k, 404, key=k) from e
        try: find('a')
        except AppError as e:
            e.add_note('seen')
            result = [str(e), e.code, e.context, type(e.__cause__).__name__, e.args, e.__notes__]
        """,
    "exception groups": """
        def check(values):
            errors = []
            for v in values:
                try: int(v)
                except ValueError as e: errors.append(e)
            if errors: raise ExceptionGroup('bad values', errors + [TypeError('t')])
        seen = []
        try: check(['1', 'x', 'y'])
        except* ValueError as g: seen.append(len(g.exceptions))
        except* TypeError as g: seen.append(str(g.exceptions[0]))
        try: check(['z'])
        except ExceptionGroup as g:
            match_, rest = g.split(ValueError)
            seen += [g.message, len(match_.exceptions), len(rest.exceptions)]
        result = seen
        """,
    "container of one's own": """
        class Matrix:
            def __init__(self, rows): self.rows = [list(r) for r in rows]
            def __getitem__(self, at):
                match at:
                    case (int() as i, int() as j): return self.rows[i][j]
                    case (slice() as s, j): return [r[j] for r in self.rows[s]]
                    case i: return self.rows[i]
            def __setitem__(self, at, v): self.rows[at[0]][at[1]] = v
            def __matmul__(self, o): return Matrix([[sum(a * b for a, b in zip(r, c)) for c in zip(*o.rows)] for r in self.rows])
            def __eq__(self, o): return self.rows == o.rows
            def __pow__(self, n): return self if n == 1 else self @ self ** (n - 1)
            def __format__(self, spec): return ';'.join(','.join(format(x, spec) for x in r) for r in self.rows)
        m = Matrix([[1, 1], [1, 0]])
        m[0, 0] += 0
        result = [(m ** 10).rows, m[0, 1], m[0:2, 0], f'{m:03d}']
        """,
    "proxy by getattr": """
        class Logged:
            def __init__(self, inner): self._inner = inner; self.calls = []
            def __getattr__(self, name):
                attr = getattr(self._inner, name)
                if not callable(attr): return attr
                def wrapper(*a, **k):
                    self.calls.append(name)
                    return attr(*a, **k)
                return wrapper
        l = Logged([3, 1]); l.append(2); l.sort()
        result = [l.calls, l._inner]
        """,
    "fluent builder and state machine": """
        from enum import Enum, auto
        class State(Enum):
            IDLE = auto(); RUNNING = auto(); DONE = auto()
            def next(self):
                members = list(State)
                return members[(members.index(self) + 1) % len(members)]
            @property
            def final(self): return self is State.DONE
        class Query:
            def __init__(self): self.parts = []
            def __getattr__(self, verb):
                def add(*a): self.parts.append((verb, *a)); return self
                return add
        q = Query().select('a').where('x', 1)
        result = [State.IDLE.next().name, State.DONE.final, q.parts, State['DONE'].value, State(1).name, [s.name for s in State]]
        """,
    "flags": """
        from enum import Flag, IntEnum, StrEnum, IntFlag, auto, unique
        class P(Flag):
            R = auto(); W = auto(); X = auto(); RW = R | W
        class Color(StrEnum):
            RED = auto(); BLUE = 'b'
        @unique
        class Level(IntEnum):
            LOW = 1; HIGH = 3
            @classmethod
            def parse(cls, text): return cls[text.upper()]
        result = [P.R in P.RW, (P.R | P.X).value, str(Color.RED), Level.parse('high') > Level.LOW, sorted(Level), f'{Color.BLUE}']
        """,
}

LIBRARY = {
    "single dispatch": """
        from functools import singledispatch, singledispatchmethod
        @singledispatch
        def show(value): return f'? {value}'
        @show.register(int)
        def _(value): return f'int {value}'
        @show.register(list)
        def _(value): return 'list of ' + ', '.join(show(v) for v in value)
        class F:
            @singledispatchmethod
            def f(self, x): return 'other'
            @f.register(str)
            def _(self, x): return 'text'
        result = [show(1), show([1, 'a']), show(2.5), show(True), F().f('a'), F().f(1)]
        """,
    "partial and caches": """
        from functools import partial, lru_cache, cached_property, reduce, cmp_to_key, total_ordering, partialmethod, wraps
        @lru_cache(maxsize=None)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        class C:
            n = 0
            @cached_property
            def slow(self): C.n += 1; return 7
            def power(self, base, exponent): return base ** exponent
            square = partialmethod(power, exponent=2)
        @total_ordering
        class V:
            def __init__(self, x): self.x = x
            def __eq__(self, o): return self.x == o.x
            def __lt__(self, o): return self.x < o.x
        c = C(); c.slow; c.slow
        info = fib(30) and fib.cache_info()
        result = [fib(30), C.n, c.square(5), partial(int, base=2)('101'), V(1) >= V(0), info.misses,
                  sorted([3, 1, 2], key=cmp_to_key(lambda a, b: b - a)), reduce(lambda a, b: a * b, range(1, 6))]
        """,
    "decorator with arguments": """
        from functools import wraps
        import time
        def retry(times, exceptions=(Exception,)):
            def decorate(f):
                @wraps(f)
                def wrapper(*args, **kwargs):
                    last = None
                    for attempt in range(times):
                        try: return f(*args, **kwargs)
                        except exceptions as e: last = e
                    raise last
                wrapper.calls = times
                return wrapper
            return decorate
        n = 0
        @retry(3, (ValueError,))
        def flaky(x):
            '''Fails twice.'''
            global n
            n += 1
            if n < 3: raise ValueError(n)
            return x
        result = [flaky('ok'), flaky.__name__, flaky.__doc__, flaky.calls, n]
        """,
    "redirected output": """
        import io
        from contextlib import redirect_stdout
        buffer = io.StringIO()
        with redirect_stdout(buffer):
            print('inside', 1)
        result = buffer.getvalue()
        """,
    "context tools": """
        from contextlib import contextmanager, ExitStack, suppress, closing, nullcontext
        log = []
        @contextmanager
        def tag(name):
            log.append(f'<{name}>')
            try: yield name
            except ZeroDivisionError: log.append('caught')
            finally: log.append(f'</{name}>')
        with ExitStack() as stack:
            names = [stack.enter_context(tag(n)) for n in 'ab']
            stack.callback(log.append, 'end')
        with tag('c'): 1 / 0
        with suppress(KeyError, IndexError): [][0]
        with nullcontext(5) as five: log.append(five)
        result = log
        """,
    "decimal money": """
        from decimal import Decimal, ROUND_HALF_UP, getcontext, localcontext, InvalidOperation
        prices = [Decimal('19.99'), Decimal('5.01') * 3]
        total = sum(prices, Decimal(0))
        tax = (total * Decimal('0.19')).quantize(Decimal('0.01'), rounding=ROUND_HALF_UP)
        with localcontext() as ctx:
            ctx.prec = 5
            third = Decimal(1) / 3
        try: Decimal('x')
        except InvalidOperation: bad = True
        result = [str(total), str(tax), str(third), bad, f'{total:,.1f}', float(total), getcontext().prec >= 5]
        """,
    "statistics": """
        import statistics as st
        data = [2, 4, 4, 4, 5, 5, 7, 9]
        n = st.NormalDist(100, 15)
        result = [st.mean(data), st.median(data), st.mode(data), round(st.stdev(data), 6), st.quantiles(data, n=4),
                  round(n.cdf(130), 4), st.multimode('aabb'), round(st.correlation([1, 2, 3], [2, 4, 7]), 4),
                  st.linear_regression([1, 2, 3], [2, 4, 6]).slope]
        """,
    "regular expressions": """
        import re
        log = '2024-01-05 ERROR disk full\\n2024-01-06 INFO ok'
        pattern = re.compile(r'^(?P<date>\\d{4}-\\d\\d-\\d\\d) (?P<level>[A-Z]+) (?P<text>.*)$', re.M)
        rows = [m.groupdict() for m in pattern.finditer(log)]
        result = [rows, re.sub(r'(\\w+)@(\\w+)', lambda m: m.group(2) + '@' + m[1], 'me@home'), re.split(r'[;,]\\s*', 'a, b;c'),
                  bool(re.fullmatch(r'[a-z]+', 'abc', re.I)), pattern.search(log).span('level'), re.findall(r'\\b\\w', 'ab cd'),
                  [t.lastgroup for t in re.finditer(r'(?P<N>\\d+)|(?P<O>[+*])', '1+2')], re.escape('a.b')]
        """,
    "csv in memory": """
        import csv, io
        text = 'name,age\\n"Smith, J",42\\nLee,7\\n'
        rows = list(csv.DictReader(io.StringIO(text)))
        out = io.StringIO(newline='')
        w = csv.DictWriter(out, fieldnames=['name', 'adult'], lineterminator='\\n')
        w.writeheader()
        w.writerows({'name': r['name'], 'adult': int(r['age']) >= 18} for r in rows)
        result = [rows, out.getvalue(), [row for row in csv.reader(['a;b'], delimiter=';')]]
        """,
    "text wrapping": """
        import textwrap
        text = 'The quick brown fox jumps over the lazy dog and runs away'
        result = [textwrap.wrap(text, 20), textwrap.shorten(text, 25), textwrap.dedent('''
            a
              b
            '''), textwrap.indent('x\\ny', '> '), textwrap.fill(text, width=30, initial_indent='* ')]
        """,
    "collections": """
        from collections import Counter, defaultdict, deque, OrderedDict, ChainMap, namedtuple, UserDict
        words = 'a b a c b a'.split()
        groups = defaultdict(list)
        for w in words: groups[len(groups) % 2].append(w)
        P = namedtuple('P', 'x y', defaults=[0])
        d = deque([1, 2, 3], maxlen=3); d.append(4); d.rotate(1)
        class Lower(UserDict):
            def __setitem__(self, k, v): super().__setitem__(k.lower(), v)
        l = Lower(A=1); l['B'] = 2
        o = OrderedDict(a=1, b=2); o.move_to_end('a')
        c = Counter(words); c.update('ab'); c.subtract({'a': 1})
        result = [Counter(words).most_common(2), dict(groups), P(1)._asdict(), P(1)._replace(y=5), list(d), dict(l), list(o),
                  ChainMap({'a': 1}, {'a': 2, 'b': 3})['b'], dict(c), P._fields, sum((Counter('aab') + Counter('b')).values())]
        """,
    "itertools": """
        import itertools as it
        result = [list(it.accumulate([1, 2, 3], lambda a, b: a * b)), [''.join(p) for p in it.permutations('abc', 2)],
                  list(it.combinations(range(4), 2)), [(k, len(list(g))) for k, g in it.groupby('aabccc')],
                  list(it.islice(it.count(5, 5), 3)), list(it.zip_longest([1, 2], 'a', fillvalue=0)), list(it.pairwise('abc')),
                  list(it.chain.from_iterable([[1], [2, 3]])), list(it.takewhile(lambda x: x < 3, it.count())),
                  list(it.product([0, 1], repeat=2)), [list(x) for x in it.tee([1, 2])], list(it.starmap(pow, [(2, 3)]))]
        """,
    "operator": """
        from operator import itemgetter, attrgetter, methodcaller, add, mul
        from functools import reduce
        class P:
            def __init__(self, n, a): self.n, self.a = n, a
        ps = [P('b', 2), P('a', 3)]
        result = [[p.n for p in sorted(ps, key=attrgetter('n'))], max([{'v': 1}, {'v': 3}], key=itemgetter('v')),
                  reduce(add, [1, 2, 3]), list(map(methodcaller('upper'), ['a'])), itemgetter(0, 2)('abc'), mul(2, 3)]
        """,
    "dates": """
        from datetime import datetime, date, timedelta, timezone
        d = datetime(2024, 2, 28, 23, 30, tzinfo=timezone.utc)
        later = d + timedelta(hours=36)
        result = [later.isoformat(), (date(2024, 12, 25) - date(2024, 2, 28)).days, d.strftime('%a %d %b %Y'),
                  datetime.strptime('05/03/2024', '%d/%m/%Y').date().isoformat(), d.astimezone(timezone(timedelta(hours=2))).hour,
                  date(2024, 1, 1).isocalendar()[1], str(timedelta(days=1, seconds=3661)), datetime.fromisoformat('2024-01-02T03:04:05').minute]
        """,
    "structures and bytes": """
        import struct, base64, hashlib, binascii, zlib, array, hmac
        packed = struct.pack('>IH', 1, 2)
        a = array.array('i', [1, 2, 3]); a.append(4)
        result = [packed.hex(), struct.unpack('>IH', packed), base64.b64encode(b'hi').decode(), hashlib.sha256(b'x').hexdigest()[:8],
                  zlib.decompress(zlib.compress(b'aaa')).decode(), a.tolist(), binascii.crc32(b'abc'),
                  hmac.new(b'k', b'm', hashlib.sha1).hexdigest()[:6], int.from_bytes(b'\\x01\\x00', 'big'), (255).to_bytes(2, 'little').hex()]
        """,
    "graph and heap": """
        import heapq
        from graphlib import TopologicalSorter
        graph = {'A': {'B': 1, 'C': 4}, 'B': {'C': 2, 'D': 5}, 'C': {'D': 1}, 'D': {}}
        def dijkstra(start):
            dist, queue = {start: 0}, [(0, start)]
            while queue:
                d, node = heapq.heappop(queue)
                if d > dist.get(node, float('inf')): continue
                for n, w in graph[node].items():
                    if (new := d + w) < dist.get(n, float('inf')):
                        dist[n] = new; heapq.heappush(queue, (new, n))
            return dist
        result = [dijkstra('A'), list(TopologicalSorter({'b': {'a'}, 'c': {'b'}}).static_order()), heapq.nlargest(2, [1, 5, 3]), list(heapq.merge([1, 4], [2]))]
        """,
    "json with classes": """
        import json
        from datetime import date
        class Encoder(json.JSONEncoder):
            def default(self, o):
                if isinstance(o, (date, set)): return sorted(o) if isinstance(o, set) else o.isoformat()
                return super().default(o)
        text = json.dumps({'d': date(2024, 1, 1), 's': {2, 1}}, cls=Encoder, indent=2, sort_keys=True)
        try: json.loads('{bad')
        except json.JSONDecodeError as e: where = e.pos
        result = [text, where, json.loads('{"a": 1.5}', parse_float=str), json.loads('{"x": 1}', object_hook=lambda d: list(d.items()))]
        """,
    "typing": """
        from typing import NamedTuple, TypedDict, Literal, Optional, Union, NewType, Final, Annotated, TypeAlias, get_args, cast, overload
        class Point(NamedTuple):
            x: int
            y: int = 0
            def norm(self) -> float: return (self.x ** 2 + self.y ** 2) ** 0.5
        class Movie(TypedDict, total=False):
            name: str
            year: int
        UserId = NewType('UserId', int)
        Mode: TypeAlias = Literal['r', 'w']
        MAX: Final = 3
        @overload
        def f(x: int) -> int: ...
        @overload
        def f(x: str) -> str: ...
        def f(x): return x
        m: Movie = {'name': 'x'}
        result = [Point(3, 4).norm(), Point(1)._asdict(), UserId(5), get_args(Mode), m, cast(int, 'a'), f('z'), MAX, str(Optional[int])]
        """,
    "queues and weak references": """
        import queue, weakref, contextvars, uuid
        q = queue.PriorityQueue()
        for x in [3, 1, 2]: q.put(x)
        class N: pass
        n = N(); cache = weakref.WeakValueDictionary(a=n); r = weakref.ref(n)
        var = contextvars.ContextVar('v', default=1); token = var.set(5); var.reset(token)
        try: queue.Queue(1).get_nowait()
        except queue.Empty: empty = True
        result = [[q.get() for _ in range(3)], cache['a'] is n, r() is n, var.get(), empty, str(uuid.uuid5(uuid.NAMESPACE_DNS, 'a.b'))]
        """,
    "fractions and complex": """
        from fractions import Fraction
        import cmath, math
        z = 3 + 4j
        result = [str(Fraction(1, 3) + Fraction('0.25')), abs(z), z.conjugate().imag, round(cmath.phase(1j), 4), math.comb(5, 2),
                  math.isclose(0.1 + 0.2, 0.3), math.lcm(4, 6), Fraction(3.5).limit_denominator().numerator, math.hypot(3, 4), divmod(-7, 2)]
        """,
    "difference and templates": """
        import difflib, string, html, pprint, copy, bisect, calendar
        a, b = ['one', 'two'], ['one', 'three']
        grades = [60, 70, 80]
        x = {'k': [1, {2}]}; y = copy.deepcopy(x); y['k'].append(3)
        result = [list(difflib.unified_diff(a, b, lineterm='')), difflib.get_close_matches('appel', ['ape', 'apple']),
                  string.Template('$x').safe_substitute(), html.escape('<a>'), pprint.pformat({'b': 1, 'a': 2}), len(x['k']),
                  'FDCBA'[bisect.bisect(grades, 75)], calendar.monthrange(2024, 2), string.capwords('a bc')]
        """,
    "seeded random": """
        import random
        rng = random.Random(42)
        values = [rng.randint(1, 6) for _ in range(5)]
        random.seed(7)
        result = [values, rng.choice('abc'), rng.sample(range(10), 3), random.random(), rng.choices([0, 1], weights=[1, 0], k=2), round(rng.gauss(0, 1), 6)]
        """,
    "inspecting": """
        import inspect, types
        def g(): yield 1
        async def c(): pass
        class A:
            def m(self): return 1
        a = A(); a.n = types.MethodType(lambda self: 2, a)
        result = [inspect.isgeneratorfunction(g), inspect.iscoroutinefunction(c), inspect.isclass(A), inspect.isfunction(g), a.n(),
                  isinstance(g(), types.GeneratorType), inspect.cleandoc('  x\\n    y')]
        """,
}

TASKS = {
    "bank": """
        class InsufficientFunds(Exception): pass
        class Account:
            _next = 1
            def __init__(self, owner, balance=0):
                self.owner, self._balance, self.history = owner, balance, []
                self.number = Account._next; Account._next += 1
            @property
            def balance(self): return self._balance
            def withdraw(self, amount):
                if amount > self._balance: raise InsufficientFunds(f'{self.owner} has only {self._balance:.2f}')
                self._balance -= amount; self.history.append(('withdraw', amount))
            def __enter__(self): self.__saved = self._balance; return self
            def __exit__(self, kind, *_):
                if kind: self._balance = self.__saved
                return kind is InsufficientFunds
        a = Account('Ann', 100)
        with a: a.withdraw(30); a.withdraw(100)
        result = [a.balance, a.history, a.number]
        """,
    "tokenizer and parser": """
        import re
        from dataclasses import dataclass
        @dataclass
        class Num: value: float
        @dataclass
        class Op: left: object; sign: str; right: object
        def parse(text):
            tokens = re.findall(r'\\d+\\.?\\d*|[-+*/()]', text)
            def expr():
                node = term()
                while tokens and tokens[0] in '+-': node = Op(node, tokens.pop(0), term())
                return node
            def term():
                node = factor()
                while tokens and tokens[0] in '*/': node = Op(node, tokens.pop(0), factor())
                return node
            def factor():
                t = tokens.pop(0)
                if t == '(':
                    node = expr(); tokens.pop(0); return node
                return Num(float(t))
            return expr()
        def run(node):
            match node:
                case Num(value): return value
                case Op(l, '+', r): return run(l) + run(r)
                case Op(l, '-', r): return run(l) - run(r)
                case Op(l, '*', r): return run(l) * run(r)
                case Op(l, '/', r): return run(l) / run(r)
        result = [run(parse('2*(3+4)-6/3')), repr(parse('1+2'))]
        """,
    "sales report": """
        rows = [{'region': 'N', 'q': 1, 'amount': 120.5}, {'region': 'S', 'q': 1, 'amount': 80}, {'region': 'N', 'q': 2, 'amount': 99.5}]
        totals = {}
        for row in rows: totals.setdefault(row['region'], {}).setdefault(row['q'], []).append(row['amount'])
        table = [f"{'Region':<8}{'Total':>10}", '-' * 18]
        for region, quarters in sorted(totals.items(), key=lambda kv: -sum(map(sum, kv[1].values()))):
            table.append(f'{region:<8}{sum(map(sum, quarters.values())):>10,.2f}')
        print(*table, sep='\\n')
        result = {'table': table, 'best': max(rows, key=lambda r: r['amount'])['region'], 'share': f"{80 / 300:.1%}"}
        """,
    "sorting algorithms": """
        def quick(a): return a if len(a) < 2 else quick([x for x in a[1:] if x < a[0]]) + [a[0]] + quick([x for x in a[1:] if x >= a[0]])
        def merge(a):
            if len(a) < 2: return a
            m = len(a) // 2; l, r, out = merge(a[:m]), merge(a[m:]), []
            while l and r: out.append((l if l[0] <= r[0] else r).pop(0))
            return out + l + r
        def bubble(a):
            a = a[:]
            for i in range(len(a)):
                for j in range(len(a) - 1 - i):
                    if a[j] > a[j + 1]: a[j], a[j + 1] = a[j + 1], a[j]
            return a
        data = [5, 2, 9, 1, 5, 6]
        result = [quick(data), merge(data), bubble(data), sorted(data, reverse=True)]
        """,
    "dynamic programming": """
        from functools import cache
        def lcs(a, b):
            t = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
            for i, x in enumerate(a, 1):
                for j, y in enumerate(b, 1):
                    t[i][j] = t[i - 1][j - 1] + 1 if x == y else max(t[i - 1][j], t[i][j - 1])
            return t[-1][-1]
        @cache
        def coins(n, kinds=(1, 5, 10, 25)): return 1 if n == 0 else 0 if n < 0 or not kinds else coins(n - kinds[0], kinds) + coins(n, kinds[1:])
        def knapsack(items, cap):
            best = [0] * (cap + 1)
            for w, v in items:
                for c in range(cap, w - 1, -1): best[c] = max(best[c], best[c - w] + v)
            return best[cap]
        result = [lcs('AGGTAB', 'GXTXAYB'), coins(50), knapsack([(1, 1), (3, 4), (4, 5), (5, 7)], 7)]
        """,
    "search in a maze": """
        from collections import deque
        maze = ['S.#', '..#', '#.E']
        cells = {(r, c): ch for r, row in enumerate(maze) for c, ch in enumerate(row)}
        start = next(p for p, ch in cells.items() if ch == 'S')
        queue, seen, steps = deque([(start, [start])]), {start}, None
        while queue:
            (r, c), path = queue.popleft()
            if cells[r, c] == 'E': steps = path; break
            for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                p = r + dr, c + dc
                if cells.get(p, '#') != '#' and p not in seen: seen.add(p); queue.append((p, path + [p]))
        result = [len(steps) - 1, steps]
        """,
    "queens and sudoku rows": """
        def queens(n, row=0, cols=(), d1=(), d2=()):
            if row == n: yield cols; return
            for c in range(n):
                if c not in cols and row + c not in d1 and row - c not in d2:
                    yield from queens(n, row + 1, cols + (c,), d1 + (row + c,), d2 + (row - c,))
        result = [next(queens(6)), sum(1 for _ in queens(6))]
        """,
    "primes three ways": """
        def sieve(n):
            flags = bytearray([1]) * (n + 1); flags[:2] = b'\\0\\0'
            for i in range(2, int(n ** .5) + 1):
                if flags[i]: flags[i * i::i] = bytes(len(range(i * i, n + 1, i)))
            return [i for i, f in enumerate(flags) if f]
        def gen():
            found = []
            n = 2
            while True:
                if all(n % p for p in found): found.append(n); yield n
                n += 1
        g = gen()
        result = [sieve(30), [next(g) for _ in range(5)], all(17 % i for i in range(2, 17)), pow(2, 10, 1000), pow(3, -1, 7)]
        """,
    "word statistics": """
        import string
        from collections import Counter
        text = 'It was the best of times, it was the worst of times.'
        words = text.lower().translate(str.maketrans('', '', string.punctuation)).split()
        result = {'top': Counter(words).most_common(2), 'unique': len(set(words)), 'longest': max(words, key=len),
                  'title': text.title(), 'vowels': sum(map(text.count, 'aeiou')), 'palindrome': (lambda s: s == s[::-1])('racecar'),
                  'caesar': ''.join(chr((ord(c) - 97 + 3) % 26 + 97) if c.islower() else c for c in text)[:6]}
        """,
    "event system": """
        from collections import defaultdict
        class Bus:
            def __init__(self): self._handlers = defaultdict(list)
            def on(self, name):
                def register(f): self._handlers[name].append(f); return f
                return register
            def emit(self, name, *args, **kwargs): return [h(*args, **kwargs) for h in self._handlers[name]]
        bus = Bus()
        @bus.on('greet')
        def hello(who, *, loud=False): return f'hello {who}{"!" if loud else ""}'
        @bus.on('greet')
        def bye(who, **_): return 'bye ' + who
        result = bus.emit('greet', 'Ann', loud=True)
        """,
    "lru cache by hand": """
        from collections import OrderedDict
        class LRU:
            def __init__(self, capacity): self.capacity, self.data = capacity, OrderedDict()
            def get(self, k, default=-1):
                if k not in self.data: return default
                self.data.move_to_end(k); return self.data[k]
            def put(self, k, v):
                self.data[k] = v; self.data.move_to_end(k)
                if len(self.data) > self.capacity: self.data.popitem(last=False)
        c = LRU(2); c.put(1, 1); c.put(2, 2); c.get(1); c.put(3, 3)
        result = [c.get(2), list(c.data)]
        """,
    "linked list and tree": """
        from __future__ import annotations
        from dataclasses import dataclass, field
        from typing import Iterator
        @dataclass
        class Node:
            value: int
            left: Node | None = None
            right: Node | None = None
            def insert(self, v: int) -> None:
                side = 'left' if v < self.value else 'right'
                child = getattr(self, side)
                if child is None: setattr(self, side, Node(v))
                else: child.insert(v)
            def __iter__(self) -> Iterator[int]:
                if self.left: yield from self.left
                yield self.value
                if self.right: yield from self.right
            def depth(self) -> int: return 1 + max((n.depth() for n in (self.left, self.right) if n), default=0)
        root = Node(5)
        for v in (3, 8, 1, 9): root.insert(v)
        result = [list(root), root.depth(), 9 in list(root)]
        """,
    "validation with match": """
        def check(doc):
            match doc:
                case {'type': 'user', 'name': str(name), 'age': int(age), **rest} if age >= 0: return f'user {name} {age} {len(rest)}'
                case {'type': 'list', 'items': [first, *others]}: return f'{first} and {len(others)}'
                case [] | {}: return 'empty'
                case str() | bytes() as text: return f'text {len(text)}'
                case float(x) | int(x): return x * 2
                case None: return 'none'
                case _: return 'other'
        result = [check(d) for d in ({'type': 'user', 'name': 'A', 'age': 3, 'x': 1}, {'type': 'list', 'items': [1, 2]}, [], 'abc', 2.5, 4, None, {1})]
        """,
    "coroutine by send": """
        def averager():
            total, n, average = 0, 0, None
            while True:
                try: value = yield average
                except ValueError: value = 0
                if value is None: return average
                total += value; n += 1; average = total / n
        a = averager(); next(a)
        seen = [a.send(10), a.send(20), a.throw(ValueError)]
        try: a.send(None)
        except StopIteration as e: seen.append(e.value)
        result = seen
        """,
    "dependency injection": """
        from abc import ABC, abstractmethod
        from typing import Callable
        class Storage(ABC):
            @abstractmethod
            def save(self, key: str, value: object) -> None: ...
            @classmethod
            def create(cls, *args): return cls(*args)
        class MemoryStorage(Storage):
            def __init__(self): self.data: dict[str, object] = {}
            def save(self, key, value): self.data[key] = value
        class Container:
            def __init__(self): self._makers: dict[type, Callable] = {}
            def bind(self, kind, make): self._makers[kind] = make; return self
            def __getitem__(self, kind): return self._makers[kind]()
        s = Container().bind(Storage, MemoryStorage.create)[Storage]
        s.save('a', 1)
        result = [s.data, issubclass(MemoryStorage, Storage), isinstance(s, Storage)]
        """,
    "game of life": """
        from collections import Counter
        from itertools import product
        def step(cells):
            near = Counter((x + dx, y + dy) for x, y in cells for dx, dy in product((-1, 0, 1), repeat=2) if dx or dy)
            return {c for c, n in near.items() if n == 3 or n == 2 and c in cells}
        glider = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
        for _ in range(4): glider = step(glider)
        result = sorted(glider)
        """,
    "roman, binary, temperature": """
        def roman(n):
            out = ''
            for v, s in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), ('M', 'CM', 'D', 'CD', 'C', 'XC', 'L', 'XL', 'X', 'IX', 'V', 'IV', 'I')):
                q, n = divmod(n, v); out += s * q
            return out
        result = [roman(1994), bin(10)[2:].zfill(8), f'{255:#x} {255:08b} {3.14159:.2e} {1234567:_}', int('ff', 16), '%05.1f|%-5s|%+d' % (2.345, 'ab', 3),
                  '{0:>6}|{1!r:^7}|{n.real:.1f}'.format('a', 'b', n=2.0), '{:{w}.{p}f}'.format(2.5, w=8, p=2)]
        """,
    "matrix by lists": """
        m = [[2, 1], [5, 3]]
        det = m[0][0] * m[1][1] - m[0][1] * m[1][0]
        inverse = [[m[1][1] / det, -m[0][1] / det], [-m[1][0] / det, m[0][0] / det]]
        identity = [[sum(a * b for a, b in zip(row, col)) for col in zip(*inverse)] for row in m]
        m[0][0] += 1; m[1][1:] = [9, 9]; del m[1][0]
        result = [det, inverse, identity, [list(r) for r in zip(*m)], [*map(list, zip([1, 2], [3, 4]))]]
        """,
    "global state and nested scopes": """
        counter = 0
        def outer():
            x = 'outer'
            def inner():
                nonlocal x
                global counter
                counter += 1; x = 'inner'
                return [i for i in range(counter)]
            return inner(), x
        fs = [lambda i=i: i * 2 for i in range(3)]
        result = [outer(), counter, [f() for f in fs], (lambda *a, k=1, **kw: (a, k, kw))(1, 2, z=3)]
        """,
    "errors of all kinds": """
        seen = []
        def attempt(f):
            try: f()
            except (ZeroDivisionError, TypeError) as e: seen.append(type(e).__name__)
            except LookupError as e: seen.append(repr(e))
            except Exception as e: seen.append(f'{type(e).__name__}: {e}')
            else: seen.append('fine')
            finally: seen.append('.')
        attempt(lambda: 1 / 0); attempt(lambda: {}['k']); attempt(lambda: int('x')); attempt(lambda: [].pop()); attempt(lambda: 1)
        attempt(lambda: None.x); attempt(lambda: undefined); attempt(lambda: next(iter([]))); attempt(lambda: 'a' + 1)
        def reraise():
            try: raise KeyError('a')
            except KeyError as e:
                try: raise RuntimeError('b') from None
                except RuntimeError as r: return r.__suppress_context__, r.__context__ is e
        assert seen, 'something was seen'
        result = [seen, reraise()]
        """,
    "strings of every kind": """
        s = '  Hello, Wörld!  '
        result = [s.strip().swapcase(), s.split(','), 'a-b-c'.rpartition('-'), 'abc'.center(9, '*'), 'x'.join('abc'), s.find('W'), s.encode().hex()[:8],
                  'ß'.casefold(), '1,2'.replace(',', ';'), 'abc'[::-1], 'tEST'.capitalize(), 'a1'.isalnum(), r'\\n', b'ab'.decode('ascii'),
                  f'{s!r:>20}', f'{1 + 1 = }', f"{'nested':{'>'}{10}}", 'line1\\nline2'.splitlines(), 'abc'.removeprefix('a'), ord('€'), '%s' % None]
        """,
    "sets and dicts": """
        a, b = {1, 2, 3}, {2, 3, 4}
        d = {'x': 1} | {'y': 2}; d |= {'z': 3}; d.update(w=4); d.pop('x')
        inverted = {v: k for k, v in d.items()}
        merged = {**d, 'y': 0}
        result = [sorted(a & b), sorted(a ^ b), sorted(a - b), a <= a | b, d, inverted, merged, dict(zip('ab', range(2))), dict.fromkeys('ab', 0),
                  list(reversed(d)), d.get('none', 'default'), d.setdefault('n', []), frozenset([1]) in {frozenset([1])}, sorted(d, key=str.upper)]
        """,
    "slices and stars": """
        first, *middle, last = range(6)
        (a, b), [c, *_] = (1, 2), 'xyz'
        x = y = []; x.append(1)
        l = list(range(10)); l[2:5] = ['a']; del l[::3]; l *= 2
        def f(*args, sep=',', **kw): return sep.join(map(str, args)) + str(sorted(kw))
        def g(a, /, b, *, c): return [a, b, c]
        result = [first, middle, last, a, b, c, y, l, f(*[1, 2], *(3,), **{'k': 1}, sep=';'), g(1, b=2, c=3), [*'ab', *{1: 2}], l[-3:-1], slice(1, 5).indices(3)]
        """,
    "iterator protocol": """
        class Fib:
            def __init__(self, limit): self.limit = limit
            def __iter__(self): self.a, self.b = 0, 1; return self
            def __next__(self):
                if self.a > self.limit: raise StopIteration
                value, self.a, self.b = self.a, self.b, self.a + self.b
                return value
        def flatten(x):
            for i in x:
                if isinstance(i, (list, tuple)): yield from flatten(i)
                else: yield i
        it = iter([1, 2, 3])
        result = [list(Fib(20)), list(flatten([1, [2, (3, [4])]])), next(it), list(it), list(iter(lambda c=[0]: c.append(0) or len(c), 4)), any(x > 2 for x in Fib(5)),
                  list(enumerate('ab', 1)), list(zip('ab', Fib(9))), max(Fib(9), default=0), list(map(lambda a, b: a + b, [1], [2])), list(filter(None, [0, 1]))]
        """,
    "simulation": """
        import random, heapq
        from dataclasses import dataclass, field
        @dataclass(order=True)
        class Event:
            time: float
            name: str = field(compare=False)
        rng, queue, log = random.Random(1), [], []
        heapq.heappush(queue, Event(0.0, 'arrive'))
        while queue and len(log) < 6:
            e = heapq.heappop(queue)
            log.append((round(e.time, 3), e.name))
            if e.name == 'arrive':
                heapq.heappush(queue, Event(e.time + rng.expovariate(1), 'arrive'))
                heapq.heappush(queue, Event(e.time + rng.uniform(.5, 1), 'leave'))
        result = log
        """,
    "newton and integration": """
        import math
        def newton(f, df, x, tolerance=1e-10, limit=50):
            for i in range(limit):
                step = f(x) / df(x); x -= step
                if abs(step) < tolerance: return x, i
            raise RuntimeError('no convergence')
        def simpson(f, a, b, n=100):
            h = (b - a) / n
            return h / 3 * (f(a) + f(b) + 4 * sum(f(a + i * h) for i in range(1, n, 2)) + 2 * sum(f(a + i * h) for i in range(2, n, 2)))
        root, steps = newton(lambda x: x * x - 2, lambda x: 2 * x, 1.0)
        result = [round(root, 8), steps, round(simpson(math.sin, 0, math.pi), 6), f'{math.e:.3f}', round(-2.5), 7 // -2, 2 ** 100, 0.1 + 0.2, 1e308 * 10 == math.inf]
        """,
    "main with a class": """
        import sys
        class App:
            VERSION = '1.0'
            def __init__(self, argv=None): self.args = argv or sys.argv[1:]
            def run(self) -> int:
                print(f'App {self.VERSION}', file=sys.stdout); print('warning', file=sys.stderr)
                return 0
        def main() -> int:
            return App(['x']).run()
        if __name__ == '__main__':
            result = main()
        """,
    "weighted interval and permutations": """
        from itertools import permutations, combinations
        cities = {'A': (0, 0), 'B': (0, 3), 'C': (4, 0)}
        def d(a, b): (x1, y1), (x2, y2) = cities[a], cities[b]; return ((x1 - x2) ** 2 + (y1 - y2) ** 2) ** .5
        best = min(permutations(cities), key=lambda p: sum(d(a, b) for a, b in zip(p, p[1:])))
        subsets = [set(c) for n in range(3) for c in combinations([1, 2], n)]
        result = [best, [sorted(s) for s in subsets]]
        """,
}

CORPUS = {**ASYNC, **CLASSES, **LIBRARY, **TASKS}
