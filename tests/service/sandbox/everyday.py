"""Everyday programs, as an analyst or a model writes them, by trade; each leaves in `result` what CPython leaves there."""

# ruff: noqa: E501 - the programs are as models write them

DATA = {
    "sales by region": '''
        import csv, io
        from collections import defaultdict
        raw = """region,product,units,price
        north,apple,10,1.20
        south,pear,5,2.50
        north,pear,3,2.40
        south,apple,,1.10
        """
        totals, skipped = defaultdict(float), []
        for number, row in enumerate(csv.DictReader(io.StringIO(raw)), start=2):
            region = row["region"].strip()
            if not region:
                continue
            try:
                totals[region] += int(row["units"]) * float(row["price"])
            except ValueError as error:
                skipped.append((number, str(error)))
        result = {"totals": {k: round(v, 2) for k, v in sorted(totals.items())}, "skipped": skipped}
        ''',
    "pivot table": """
        rows = [("2024-01", "web", 3), ("2024-01", "shop", 5), ("2024-02", "web", 4), ("2024-02", "web", 6)]
        months = sorted({m for m, _, _ in rows})
        channels = sorted({c for _, c, _ in rows})
        table = {m: dict.fromkeys(channels, 0) for m in months}
        for month, channel, amount in rows:
            table[month][channel] += amount
        lines = ["month".ljust(10) + "".join(c.rjust(8) for c in channels)]
        lines += [m.ljust(10) + "".join(f"{table[m][c]:>8}" for c in channels) for m in months]
        print("\\n".join(lines))
        result = [table, lines]
        """,
    "group by and aggregate": """
        from itertools import groupby
        from operator import itemgetter
        from statistics import mean
        people = [{"name": "Ann", "team": "red", "age": 31}, {"name": "Bob", "team": "blue", "age": 45},
                  {"name": "Cid", "team": "red", "age": 28}, {"name": "Dee", "team": "blue", "age": 39}]
        by_team = {team: list(group) for team, group in groupby(sorted(people, key=itemgetter("team")), key=itemgetter("team"))}
        result = {team: {"n": len(g), "mean": mean(p["age"] for p in g), "oldest": max(g, key=itemgetter("age"))["name"]}
                  for team, g in by_team.items()}
        """,
    "join two tables": """
        customers = {1: "Ann", 2: "Bob", 3: "Cid"}
        orders = [(1, 20.0), (1, 5.5), (3, 12.25), (4, 99.0)]
        inner = [(customers[c], amount) for c, amount in orders if c in customers]
        left = {name: [a for c, a in orders if c == key] for key, name in customers.items()}
        orphans = sorted({c for c, _ in orders} - customers.keys())
        result = {"inner": inner, "left": left, "orphans": orphans}
        """,
    "clean messy records": """
        import re
        from datetime import datetime
        raw = [" Ann Smith ; 3/2/2024; $1,200.50", "BOB JONES;2024-02-04;n/a", ";;", "cid lee;04.02.2024;  99 "]
        FORMATS = ("%d/%m/%Y", "%Y-%m-%d", "%d.%m.%Y")
        def parse_date(text):
            for pattern in FORMATS:
                try:
                    return datetime.strptime(text.strip(), pattern).date().isoformat()
                except ValueError:
                    continue
            return None
        def parse_money(text):
            digits = re.sub(r"[^0-9.]", "", text)
            return float(digits) if digits else None
        cleaned = []
        for line in raw:
            name, when, money = (part.strip() for part in line.split(";"))
            if not any((name, when, money)):
                continue
            cleaned.append({"name": name.title(), "date": parse_date(when), "money": parse_money(money)})
        result = cleaned
        """,
    "moving average and outliers": """
        from collections import deque
        import statistics
        def moving(values, size):
            window = deque(maxlen=size)
            for v in values:
                window.append(v)
                if len(window) == size:
                    yield round(sum(window) / size, 3)
        data = [10, 12, 11, 50, 13, 12, 11, 10]
        mean, sd = statistics.mean(data), statistics.pstdev(data)
        result = {"moving": list(moving(data, 3)), "outliers": [x for x in data if abs(x - mean) > 2 * sd],
                  "z": [round((x - mean) / sd, 2) for x in data]}
        """,
    "histogram in text": """
        from collections import Counter
        grades = [88, 92, 79, 65, 91, 84, 77, 68, 95, 83, 55]
        buckets = Counter((g // 10) * 10 for g in grades)
        chart = [f"{low:>3}-{low + 9:<3}|{'#' * n} ({n / len(grades):.0%})" for low, n in sorted(buckets.items())]
        for line in chart: print(line)
        result = chart
        """,
    "percentiles by hand": """
        def percentile(values, p):
            ordered = sorted(values)
            k = (len(ordered) - 1) * p / 100
            low, high = int(k), min(int(k) + 1, len(ordered) - 1)
            return ordered[low] + (ordered[high] - ordered[low]) * (k - low)
        times = [120, 80, 95, 300, 110, 105, 99, 87, 101, 250]
        result = {f"p{p}": round(percentile(times, p), 2) for p in (50, 90, 95, 99)}
        """,
    "linear regression": """
        xs, ys = [1, 2, 3, 4, 5], [2.2, 4.1, 6.2, 7.9, 10.1]
        n = len(xs)
        mx, my = sum(xs) / n, sum(ys) / n
        slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)) / sum((x - mx) ** 2 for x in xs)
        intercept = my - slope * mx
        predicted = [slope * x + intercept for x in xs]
        ss_res = sum((y - p) ** 2 for y, p in zip(ys, predicted))
        ss_tot = sum((y - my) ** 2 for y in ys)
        result = [round(v, 4) for v in (slope, intercept, 1 - ss_res / ss_tot)]
        """,
    "correlation matrix": """
        import math
        columns = {"a": [1, 2, 3, 4], "b": [2, 4, 6, 8], "c": [4, 3, 2, 1]}
        def corr(x, y):
            mx, my = sum(x) / len(x), sum(y) / len(y)
            top = sum((p - mx) * (q - my) for p, q in zip(x, y))
            return top / math.sqrt(sum((p - mx) ** 2 for p in x) * sum((q - my) ** 2 for q in y))
        result = {r: {c: round(corr(columns[r], columns[c]), 6) for c in columns} for r in columns}
        """,
    "k-means": """
        import random
        rng = random.Random(7)
        points = [(rng.gauss(cx, .3), rng.gauss(cy, .3)) for cx, cy in ((0, 0), (5, 5)) for _ in range(10)]
        centres = [points[0], points[-1]]
        for _ in range(10):
            clusters = [[] for _ in centres]
            for p in points:
                distances = [(p[0] - c[0]) ** 2 + (p[1] - c[1]) ** 2 for c in centres]
                clusters[distances.index(min(distances))].append(p)
            centres = [tuple(sum(axis) / len(axis) for axis in zip(*cluster)) for cluster in clusters]
        result = [[len(c) for c in clusters], [[round(v, 6) for v in c] for c in centres]]
        """,
    "nested JSON flattened": """
        import json
        doc = json.loads('{"user": {"name": "Ann", "tags": ["a", "b"], "address": {"zip": null}}, "ok": true}')
        def flatten(value, prefix=""):
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from flatten(inner, f"{prefix}.{key}" if prefix else key)
            elif isinstance(value, list):
                for index, inner in enumerate(value):
                    yield from flatten(inner, f"{prefix}[{index}]")
            else:
                yield prefix, value
        flat = dict(flatten(doc))
        print(json.dumps(flat, indent=2))
        result = flat
        """,
    "JSON with dates": """
        import json
        from datetime import date, datetime
        from decimal import Decimal
        class Encoder(json.JSONEncoder):
            def default(self, value):
                if isinstance(value, (date, datetime)): return value.isoformat()
                if isinstance(value, Decimal): return str(value)
                if isinstance(value, set): return sorted(value)
                return super().default(value)
        def decode(pairs):
            return {k: date.fromisoformat(v) if k.endswith("_on") else v for k, v in pairs}
        text = json.dumps({"paid_on": date(2024, 5, 6), "sum": Decimal("1.10"), "tags": {"b", "a"}}, cls=Encoder, sort_keys=True)
        back = json.loads(text, object_pairs_hook=decode)
        try: json.dumps(object(), cls=Encoder)
        except TypeError as e: refused = "not JSON serializable" in str(e)
        result = [text, back["paid_on"].year, refused]
        """,
    "lines of JSON": '''
        import io, json
        log = io.StringIO("""{"level": "info", "ms": 12}
        {"level": "error", "ms": 340, "msg": "timeout"}
        not json
        {"level": "error", "ms": 20, "msg": "reset"}
        """)
        errors, broken = [], 0
        for line in log:
            line = line.strip()
            if not line: continue
            try:
                event = json.loads(line)
            except json.JSONDecodeError as e:
                broken += 1
                last = (e.msg, e.lineno, e.colno)
                continue
            if event.get("level") == "error": errors.append(event)
        result = [[e["msg"] for e in sorted(errors, key=lambda e: -e["ms"])], broken, last]
        ''',
    "a report in Markdown": """
        rows = [{"name": "Widget", "qty": 4, "price": 3.5}, {"name": "Gadget", "qty": 10, "price": 12.25}]
        headers = list(rows[0])
        widths = {h: max(len(h), *(len(str(r[h])) for r in rows)) for h in headers}
        def line(cells): return "| " + " | ".join(str(c).ljust(widths[h]) for h, c in zip(headers, cells)) + " |"
        table = [line(headers), "|" + "|".join("-" * (widths[h] + 2) for h in headers) + "|", *(line(r.values()) for r in rows)]
        total = sum(r["qty"] * r["price"] for r in rows)
        report = "\\n".join(["# Stock", "", *table, "", f"**Total:** {total:,.2f}"])
        print(report)
        result = report
        """,
    "inventory with transactions": """
        from dataclasses import dataclass, field
        from typing import Literal
        @dataclass
        class Movement:
            sku: str
            kind: Literal["in", "out"]
            amount: int
        @dataclass
        class Inventory:
            stock: dict[str, int] = field(default_factory=dict)
            history: list[Movement] = field(default_factory=list, repr=False)
            def apply(self, m: Movement) -> None:
                new = self.stock.get(m.sku, 0) + (m.amount if m.kind == "in" else -m.amount)
                if new < 0:
                    raise ValueError(f"not enough {m.sku}: {self.stock.get(m.sku, 0)} < {m.amount}")
                self.stock[m.sku] = new
                self.history.append(m)
        inv, problems = Inventory(), []
        for m in [Movement("a", "in", 5), Movement("a", "out", 3), Movement("b", "out", 1), Movement("a", "out", 9)]:
            try: inv.apply(m)
            except ValueError as e: problems.append(str(e))
        result = [inv.stock, len(inv.history), problems, repr(inv)]
        """,
    "time series by month": """
        from datetime import date, timedelta
        from collections import OrderedDict
        start = date(2024, 1, 30)
        series = {start + timedelta(days=i * 5): i * i for i in range(10)}
        monthly = OrderedDict()
        for day, value in sorted(series.items()):
            monthly.setdefault(day.strftime("%Y-%m"), []).append(value)
        growth = [None] + [round(sum(b) / sum(a) - 1, 3) if sum(a) else None for a, b in zip(list(monthly.values()), list(monthly.values())[1:])]
        result = [{k: sum(v) for k, v in monthly.items()}, growth, max(series, key=series.get).isoformat()]
        """,
    "deduplicate and rank": """
        from difflib import SequenceMatcher
        names = ["Acme Inc.", "ACME Inc", "Beta LLC", "acme, inc.", "Beta L.L.C.", "Gamma"]
        def normal(s): return "".join(ch for ch in s.lower() if ch.isalnum())
        groups = {}
        for n in names: groups.setdefault(normal(n), []).append(n)
        close = [(a, b) for i, a in enumerate(names) for b in names[i + 1:] if SequenceMatcher(None, a.lower(), b.lower()).ratio() > .7]
        result = [groups, close]
        """,
}

TEXT = {
    "log file analysis": r"""
        import re
        from collections import Counter
        LOG = '''127.0.0.1 - - [10/Oct/2024:13:55:36] "GET /index.html HTTP/1.1" 200 2326
        10.0.0.5 - - [10/Oct/2024:13:55:40] "POST /login HTTP/1.1" 401 120
        10.0.0.5 - - [10/Oct/2024:13:55:44] "POST /login HTTP/1.1" 200 98
        bad line
        10.0.0.9 - - [10/Oct/2024:13:56:01] "GET /missing HTTP/1.1" 404 0'''
        LINE = re.compile(r'(?P<ip>[\d.]+) - - \[(?P<when>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+) [^"]+" (?P<status>\d{3}) (?P<size>\d+)')
        hits = [m.groupdict() for line in LOG.splitlines() if (m := LINE.match(line.strip()))]
        result = {"by_ip": Counter(h["ip"] for h in hits).most_common(), "errors": [h["path"] for h in hits if h["status"][0] in "45"],
                  "bytes": sum(int(h["size"]) for h in hits), "rate": f"{sum(h['status'] == '200' for h in hits) / len(hits):.1%}"}
        """,
    "markdown to HTML": r"""
        import html, re
        def convert(text):
            out, in_list = [], False
            for line in text.strip().splitlines():
                line = html.escape(line.strip(), quote=False)
                line = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", line)
                line = re.sub(r"\[(.+?)\]\((.+?)\)", r'<a href="\2">\1</a>', line)
                if m := re.match(r"(#+) (.*)", line):
                    level = len(m[1])
                    line = f"<h{level}>{m.group(2)}</h{level}>"
                is_item = line.startswith("- ")
                if is_item and not in_list: out.append("<ul>")
                if not is_item and in_list: out.append("</ul>")
                in_list = is_item
                out.append(f"<li>{line[2:]}</li>" if is_item else line)
            return "\n".join(out + ["</ul>"] * in_list)
        result = convert("# Hi & bye\ntext **bold** [l](http://x)\n- one\n- two")
        """,
    "template of a mail": """
        from string import Template
        mail = Template("Dear $name,\\nyour order ${order} of $$${total} ships on $day.\\n")
        orders = [{"name": "Ann", "order": 17, "total": "12.50", "day": "Monday"}, {"name": "Bob", "order": 18, "total": "7.00"}]
        sent, missing = [], []
        for o in orders:
            try: sent.append(mail.substitute(o))
            except KeyError as e: missing.append(e.args[0]); sent.append(mail.safe_substitute(o))
        result = [sent, missing]
        """,
    "word frequency and n-grams": """
        import re
        from collections import Counter
        text = "The cat sat on the mat. The cat ate the rat; the rat ran."
        STOP = frozenset("the on a".split())
        words = re.findall(r"[a-z']+", text.lower())
        def ngrams(tokens, n): return zip(*(tokens[i:] for i in range(n)))
        result = {"words": Counter(w for w in words if w not in STOP).most_common(3),
                  "pairs": [(" ".join(p), c) for p, c in Counter(ngrams(words, 2)).most_common(2)],
                  "lengths": dict(sorted(Counter(map(len, words)).items()))}
        """,
    "inverted index and search": """
        from collections import defaultdict
        import math
        docs = {"d1": "red apple pie", "d2": "green apple", "d3": "cherry pie with red cherry"}
        index = defaultdict(set)
        for name, text in docs.items():
            for word in text.split(): index[word].add(name)
        def tf_idf(word, doc):
            words = docs[doc].split()
            return words.count(word) / len(words) * math.log(len(docs) / len(index[word]))
        def search(query):
            scores = {d: sum(tf_idf(w, d) for w in query.split() if w in index) for d in docs}
            return [(d, round(s, 4)) for d, s in sorted(scores.items(), key=lambda item: (-item[1], item[0])) if s > 0]
        result = [sorted(index["apple"] & index["pie"]), search("red cherry"), search("nothing")]
        """,
    "ciphers": """
        import string
        def caesar(text, shift):
            lower = string.ascii_lowercase
            moved = lower[shift % 26:] + lower[:shift % 26]
            return text.translate(str.maketrans(lower + lower.upper(), moved + moved.upper()))
        def vigenere(text, key, sign=1):
            out, i = [], 0
            for ch in text:
                if ch.isalpha():
                    base = ord("A" if ch.isupper() else "a")
                    out.append(chr((ord(ch) - base + sign * (ord(key[i % len(key)].lower()) - 97)) % 26 + base))
                    i += 1
                else:
                    out.append(ch)
            return "".join(out)
        secret = vigenere("Attack at Dawn!", "lemon")
        result = [caesar("Hello, World", 3), caesar(caesar("xyz", 5), -5), secret, vigenere(secret, "lemon", -1)]
        """,
    "run length and compression": """
        import zlib, base64
        from itertools import groupby
        def encode(s): return "".join(f"{len(list(g))}{k}" for k, g in groupby(s))
        def decode(s):
            out, number = "", ""
            for ch in s:
                if ch.isdigit(): number += ch
                else: out, number = out + ch * int(number), ""
            return out
        text = "aaabbbbccd" * 20
        packed = base64.b64encode(zlib.compress(text.encode())).decode("ascii")
        result = [encode("aaabbbc"), decode(encode("aaabbbc")), zlib.decompress(base64.b64decode(packed)).decode() == text, len(packed) < len(text)]
        """,
    "edit distance and spelling": """
        from functools import lru_cache
        import difflib
        @lru_cache(maxsize=None)
        def distance(a: str, b: str) -> int:
            if not a or not b:
                return len(a) + len(b)
            if a[0] == b[0]:
                return distance(a[1:], b[1:])
            return 1 + min(distance(a[1:], b), distance(a, b[1:]), distance(a[1:], b[1:]))
        words = ["python", "jython", "pythonic", "cython"]
        result = [distance("kitten", "sitting"), min(words, key=lambda w: distance(w, "pyton")), difflib.get_close_matches("pyton", words, n=2)]
        """,
    "parse an INI file": '''
        text = """
        [server]
        host = example.com   ; the host
        port = 8080
        [client]
        timeout = 2.5
        debug = yes
        """
        def convert(value):
            for kind in (int, float):
                try: return kind(value)
                except ValueError: pass
            return {"yes": True, "no": False}.get(value, value)
        config, section = {}, None
        for line in text.splitlines():
            line = line.partition(";")[0].strip()
            if not line: continue
            if line.startswith("[") and line.endswith("]"):
                section = config.setdefault(line[1:-1], {})
            else:
                key, _, value = line.partition("=")
                section[key.strip()] = convert(value.strip())
        result = config
        ''',
    "validation of input": r"""
        import re
        EMAIL = re.compile(r"^[\w.+-]+@[\w-]+(\.[\w-]+)+$")
        def luhn(number):
            digits = [int(d) for d in re.sub(r"\D", "", number)][::-1]
            return bool(digits) and sum(digits[::2] + [sum(divmod(d * 2, 10)) for d in digits[1::2]]) % 10 == 0
        def iban(text):
            text = text.replace(" ", "").upper()
            moved = text[4:] + text[:4]
            return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
        result = [[bool(EMAIL.match(e)) for e in ("a@b.de", "a@b", "x y@z.de", "first.last+tag@sub.example.org")],
                  luhn("4539 1488 0343 6467"), luhn("1234"), iban("DE89 3704 0044 0532 0130 00")]
        """,
    "unicode": """
        import unicodedata
        text = "Crème Brûlée — naïve façade ½ ①"
        plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        result = [plain, text.encode("utf-8").decode("utf-8") == text, [unicodedata.name(c) for c in "é½"], "straße".upper(), "İ".lower().encode().hex(),
                  len("👍🏽"), "äöü".encode("latin-1").hex(), "abc".encode("utf-16-le").hex(), text.encode("ascii", "ignore").decode(), sorted("zäa", key=lambda c: unicodedata.normalize("NFD", c))]
        """,
    "tables of text aligned": """
        def table(rows, align="<>^"):
            widths = [max(len(str(cell)) for cell in column) for column in zip(*rows)]
            return "\\n".join("  ".join(f"{str(c):{a}{w}}" for c, a, w in zip(row, align, widths)).rstrip() for row in rows)
        out = table([("name", "qty", "note"), ("apple", 3, "ok"), ("pineapple", 12, "ripe")])
        print(out)
        result = out
        """,
    "diff of two texts": """
        import difflib
        old = "one\\ntwo\\nthree\\n".splitlines(keepends=True)
        new = "one\\ntwo and a half\\nthree\\nfour\\n".splitlines(keepends=True)
        patch = list(difflib.unified_diff(old, new, fromfile="a", tofile="b", n=1))
        result = ["".join(patch), [op[0] for op in difflib.SequenceMatcher(None, old, new).get_opcodes()]]
        """,
    "XML by regular expressions": r"""
        import re
        xml = '<shop><item id="1"><name>Tea &amp; Milk</name><price>2.5</price></item><item id="2"><name>Pie</name><price>3</price></item></shop>'
        import html
        items = [{"id": int(i), "name": html.unescape(n), "price": float(p)}
                 for i, n, p in re.findall(r'<item id="(\d+)"><name>(.*?)</name><price>(.*?)</price>', xml)]
        result = [items, re.sub(r"<[^>]+>", " ", xml).split()]
        """,
    "sentences and readability": r"""
        import re
        text = "This is simple. Is it? Yes, it certainly is! Dr. Who knows."
        sentences = [s.strip() for s in re.split(r"(?<!Dr)[.?!]\s*", text) if s.strip()]
        words = re.findall(r"\w+", text)
        def syllables(word): return max(1, len(re.findall(r"[aeiouy]+", word.lower())))
        score = 206.835 - 1.015 * len(words) / len(sentences) - 84.6 * sum(map(syllables, words)) / len(words)
        result = [sentences, len(words), round(score, 2)]
        """,
}

CODE = {
    "bank account": """
        class InsufficientFunds(Exception):
            def __init__(self, balance, amount):
                self.balance, self.amount = balance, amount
                super().__init__(f"Cannot withdraw {amount:.2f}, balance is {balance:.2f}")
        class Account:
            interest_rate = 0.02
            def __init__(self, owner, balance=0.0):
                self.owner = owner
                self.__balance = balance
                self._log = []
            @property
            def balance(self): return self.__balance
            def deposit(self, amount):
                if amount <= 0: raise ValueError("amount must be positive")
                self.__balance += amount
                self._log.append(("deposit", amount))
                return self
            def withdraw(self, amount):
                if amount > self.__balance: raise InsufficientFunds(self.__balance, amount)
                self.__balance -= amount
                self._log.append(("withdraw", amount))
                return self
            def __str__(self): return f"{self.__class__.__name__}<{self.owner}: {self.balance:.2f}>"
            def __lt__(self, other): return self.balance < other.balance
        class Savings(Account):
            interest_rate = 0.05
            def add_interest(self): return self.deposit(self.balance * self.interest_rate)
        a, s = Account("Ann", 100), Savings("Bob", 1000)
        a.deposit(50).withdraw(30); s.add_interest()
        try: a.withdraw(1e6)
        except InsufficientFunds as e: said = (str(e), e.balance)
        result = [str(a), str(s), said, a < s, a._log, hasattr(a, "__balance")]
        """,
    "shopping cart with discounts": """
        from abc import ABC, abstractmethod
        from dataclasses import dataclass
        from decimal import Decimal
        from typing import Protocol
        class Discount(ABC):
            @abstractmethod
            def apply(self, total: Decimal) -> Decimal: ...
        @dataclass(frozen=True)
        class Percent(Discount):
            rate: int
            def apply(self, total): return total * (100 - self.rate) / 100
        @dataclass(frozen=True)
        class Fixed(Discount):
            amount: Decimal
            def apply(self, total): return max(Decimal(0), total - self.amount)
        class Cart:
            def __init__(self, *discounts: Discount): self.items, self.discounts = {}, discounts
            def add(self, name, price, n=1):
                old, count = self.items.get(name, (Decimal(price), 0))
                self.items[name] = old, count + n
            @property
            def total(self):
                total = sum((p * n for p, n in self.items.values()), Decimal())
                for d in self.discounts: total = d.apply(total)
                return total.quantize(Decimal("0.01"))
            def __len__(self): return sum(n for _, n in self.items.values())
            def __iter__(self): yield from self.items
            def __contains__(self, name): return name in self.items
        cart = Cart(Percent(10), Fixed(Decimal("1.00")))
        cart.add("tea", "3.50", 2); cart.add("pie", "4.25"); cart.add("tea", "3.50")
        result = [str(cart.total), len(cart), list(cart), "pie" in cart, repr(Percent(10)), {Percent(1): 2}[Percent(1)]]
        """,
    "library system": """
        import enum
        from datetime import date, timedelta
        class Status(enum.Enum):
            FREE = "free"
            LENT = "lent"
            def __str__(self): return self.value
        class Book:
            _next = 1
            def __init__(self, title, author):
                self.id, Book._next = Book._next, Book._next + 1
                self.title, self.author, self.status, self.due = title, author, Status.FREE, None
            def __repr__(self): return f"Book({self.id}, {self.title!r}, {self.status})"
            def __eq__(self, other): return isinstance(other, Book) and self.id == other.id
            def __hash__(self): return hash(self.id)
        class Library:
            FINE = 0.25
            def __init__(self): self.books = {}
            def __iadd__(self, book): self.books[book.id] = book; return self
            def __getitem__(self, key): return self.books[key]
            def lend(self, key, today, days=14):
                book = self[key]
                if book.status is Status.LENT: raise RuntimeError(f"{book.title} is out until {book.due:%d %b}")
                book.status, book.due = Status.LENT, today + timedelta(days=days)
            def give_back(self, key, today):
                book = self[key]
                late = max(0, (today - book.due).days)
                book.status, book.due = Status.FREE, None
                return late * self.FINE
        lib = Library()
        lib += Book("Dune", "Herbert"); lib += Book("Emma", "Austen")
        lib.lend(1, date(2024, 2, 20))
        try: lib.lend(1, date(2024, 2, 21))
        except RuntimeError as e: said = str(e)
        result = [said, lib.give_back(1, date(2024, 3, 10)), [repr(b) for b in lib.books.values()], len({lib[1], lib[1]})]
        """,
    "text adventure as a state machine": """
        from typing import NamedTuple
        class Room(NamedTuple):
            name: str
            exits: dict[str, str]
            item: str | None = None
        ROOMS = {r.name: r for r in (Room("hall", {"north": "attic", "east": "cellar"}, "lamp"), Room("attic", {"south": "hall"}), Room("cellar", {"west": "hall"}, "gold"))}
        def play(commands):
            here, bag, log = "hall", set(), []
            for command in commands:
                match command.lower().split():
                    case ["go", direction] if direction in ROOMS[here].exits:
                        here = ROOMS[here].exits[direction]; log.append(here)
                    case ["go", direction]: log.append(f"no way {direction}")
                    case ["take"] if (item := ROOMS[here].item) and item not in bag:
                        bag.add(item); log.append(f"+{item}")
                    case ["look" | "l"]: log.append(", ".join(sorted(ROOMS[here].exits)))
                    case ["quit", *_]: break
                    case _: log.append("what?")
            return here, sorted(bag), log
        result = play(["take", "take", "look", "go north", "go up", "go south", "go east", "take", "dance", "quit now", "look"])
        """,
    "tic-tac-toe that cannot lose": """
        LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
        def winner(b): return next((b[x] for x, y, z in LINES if b[x] != " " and b[x] == b[y] == b[z]), None)
        memo = {}
        def best(board, player):
            key = "".join(board) + player
            if key in memo: return memo[key]
            if w := winner(board): return (1 if w == "X" else -1), None
            free = [i for i, c in enumerate(board) if c == " "]
            if not free: return 0, None
            other = "O" if player == "X" else "X"
            outcomes = []
            for i in free:
                board[i] = player
                outcomes.append((best(board, other)[0], i))
                board[i] = " "
            memo[key] = max(outcomes, key=lambda o: o[0]) if player == "X" else min(outcomes, key=lambda o: o[0])
            return memo[key]
        board = list("XX OO    ")
        result = [best(board, "X"), best(list(" " * 4 + "X" + " " * 4), "O")[0], winner(list("XXX      "))]
        """,
    "bowling score": """
        def score(rolls):
            total, i = 0, 0
            for frame in range(10):
                if rolls[i] == 10:
                    total += 10 + rolls[i + 1] + rolls[i + 2]; i += 1
                elif rolls[i] + rolls[i + 1] == 10:
                    total += 10 + rolls[i + 2]; i += 2
                else:
                    total += rolls[i] + rolls[i + 1]; i += 2
            return total
        tests = {"perfect": ([10] * 12, 300), "nines": ([9, 0] * 10, 90), "spares": ([5] * 21, 150)}
        for name, (rolls, expected) in tests.items():
            assert score(rolls) == expected, f"{name}: {score(rolls)} != {expected}"
        result = {name: score(rolls) for name, (rolls, _) in tests.items()}
        """,
    "a small test framework": """
        class TestCase:
            def setUp(self): pass
            def assertEqual(self, a, b, msg=None):
                if a != b: raise AssertionError(msg or f"{a!r} != {b!r}")
            def assertRaises(self, kind):
                class Context:
                    def __enter__(self): return self
                    def __exit__(self, t, e, tb):
                        if t is None: raise AssertionError(f"{kind.__name__} not raised")
                        self.exception = e
                        return issubclass(t, kind)
                return Context()
        def run(cls):
            results = {}
            for name in sorted(n for n in dir(cls) if n.startswith("test_")):
                case = cls(); case.setUp()
                try: getattr(case, name)()
                except AssertionError as e: results[name] = f"FAIL {e}"
                except Exception as e: results[name] = f"ERROR {type(e).__name__}"
                else: results[name] = "ok"
            return results
        class TestMath(TestCase):
            def setUp(self): self.x = 2
            def test_add(self): self.assertEqual(self.x + 2, 4)
            def test_bad(self): self.assertEqual(self.x, 3)
            def test_boom(self): return self.nothing
            def test_raises(self):
                with self.assertRaises(ZeroDivisionError) as c: 1 / 0
                self.assertEqual(str(c.exception), "division by zero")
        result = run(TestMath)
        """,
    "pipeline of generators": """
        def read(lines):
            for line in lines: yield line.rstrip()
        def grep(pattern, lines): return (l for l in lines if pattern in l)
        def numbered(lines, start=1): yield from enumerate(lines, start)
        def tee(lines, sink):
            for l in lines:
                sink.append(l)
                yield l
        def pipe(source, *stages):
            for stage in stages: source = stage(source)
            return source
        seen = []
        out = pipe(["a error \\n", "b ok\\n", "c error\\n"], read, lambda ls: tee(ls, seen), lambda ls: grep("error", ls), numbered)
        first = next(out)
        result = [first, list(seen), list(out), len(seen)]
        """,
    "memoize and time": """
        import time
        from functools import wraps
        def memoize(f):
            cache = {}
            @wraps(f)
            def wrapper(*args):
                if args not in cache:
                    wrapper.misses += 1
                    cache[args] = f(*args)
                return cache[args]
            wrapper.misses = 0
            wrapper.cache = cache
            return wrapper
        @memoize
        def partitions(n, k=None):
            "Ways to write n as a sum."
            k = n if k is None else k
            return 1 if n == 0 else sum(partitions(n - i, min(i, n - i)) for i in range(1, min(n, k) + 1))
        start = time.perf_counter()
        value = partitions(40)
        elapsed = time.perf_counter() - start
        print(f"partitions(40) = {value} in {elapsed * 1000:.2f} ms")
        result = [value, partitions.misses == len(partitions.cache), partitions.__name__, partitions.__doc__, elapsed < 60]
        """,
    "observer with weak references": """
        import weakref
        class Subject:
            def __init__(self): self._observers = weakref.WeakSet()
            def attach(self, o): self._observers.add(o)
            def notify(self, *args): return sorted(o.update(*args) for o in self._observers)
        class Logger:
            def __init__(self, prefix): self.prefix = prefix
            def update(self, event): return f"{self.prefix}:{event}"
        s, a, b = Subject(), Logger("a"), Logger("b")
        s.attach(a); s.attach(b)
        before = s.notify("start")
        del b
        result = [before, s.notify("end")]
        """,
    "command pattern with undo": """
        from collections import deque
        class Editor:
            def __init__(self): self.text, self._undo, self._redo = "", deque(maxlen=10), []
            def do(self, command, *args):
                before = self.text
                self.text = getattr(self, f"_{command}")(*args)
                self._undo.append(before); self._redo.clear()
                return self
            def _insert(self, what, at=None): at = len(self.text) if at is None else at; return self.text[:at] + what + self.text[at:]
            def _delete(self, n): return self.text[:-n]
            def _upper(self): return self.text.upper()
            def undo(self):
                if self._undo: self._redo.append(self.text); self.text = self._undo.pop()
                return self
            def redo(self):
                if self._redo: self._undo.append(self.text); self.text = self._redo.pop()
                return self
        e = Editor().do("insert", "world").do("insert", "hello ", 0).do("upper").do("delete", 2)
        states = [e.text, e.undo().text, e.undo().text, e.redo().text]
        try: e.do("explode")
        except AttributeError: states.append("unknown")
        result = states
        """,
    "interpreter of reverse Polish": """
        import operator, math
        OPS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "^": operator.pow}
        FUNCS = {"sqrt": math.sqrt, "neg": operator.neg}
        def evaluate(text):
            stack = []
            for token in text.split():
                if token in OPS:
                    try: b, a = stack.pop(), stack.pop()
                    except IndexError: raise SyntaxError(f"{token} needs two values") from None
                    stack.append(OPS[token](a, b))
                elif token in FUNCS: stack.append(FUNCS[token](stack.pop()))
                else: stack.append(float(token))
            (value,) = stack
            return value
        out = []
        for text in ("3 4 + 2 *", "2 3 ^ sqrt", "1 0 /", "1 +", "1 2", "x"):
            try: out.append(round(evaluate(text), 4))
            except (ArithmeticError, SyntaxError, ValueError) as e: out.append(f"{type(e).__name__}: {e}")
        result = out
        """,
    "Lisp in forty lines": """
        import operator as op
        def parse(text): return read(text.replace("(", " ( ").replace(")", " ) ").split())
        def read(tokens):
            token = tokens.pop(0)
            if token == "(":
                out = []
                while tokens[0] != ")": out.append(read(tokens))
                tokens.pop(0)
                return out
            try: return int(token)
            except ValueError: return str(token)
        class Env(dict):
            def __init__(self, names=(), values=(), outer=None):
                self.update(zip(names, values)); self.outer = outer
            def find(self, name):
                if name in self: return self
                if self.outer is None: raise NameError(f"unknown {name}")
                return self.outer.find(name)
        GLOBAL = Env(["+", "-", "*", "<", "=", "list"], [op.add, op.sub, op.mul, op.lt, op.eq, lambda *a: list(a)])
        def run(x, env=GLOBAL):
            match x:
                case str(): return env.find(x)[x]
                case int(): return x
                case ["if", test, yes, no]: return run(yes if run(test, env) else no, env)
                case ["define", name, value]: env[name] = run(value, env)
                case ["lambda", names, body]: return lambda *a: run(body, Env(names, a, env))
                case [f, *args]: return run(f, env)(*(run(a, env) for a in args))
        run(parse("(define fact (lambda (n) (if (< n 2) 1 (* n (fact (- n 1))))))"))
        run(parse("(define twice (lambda (f) (lambda (x) (f (f x)))))"))
        result = [run(parse("(fact 10)")), run(parse("((twice (lambda (x) (* x 3))) 5)")), run(parse("(list 1 (+ 1 1))"))]
        """,
    "dependency order of tasks": """
        from graphlib import TopologicalSorter, CycleError
        graph = {"deploy": {"test", "build"}, "test": {"build"}, "build": {"fetch"}, "docs": {"fetch"}}
        order = list(TopologicalSorter(graph).static_order())
        valid = all(order.index(need) < order.index(task) for task, needs in graph.items() for need in needs)
        try: list(TopologicalSorter({"a": "b", "b": "a"}).static_order())
        except CycleError as e: cycle = sorted(set(e.args[1]))
        result = [valid, order[0], cycle]
        """,
    "retry with backoff": """
        import time, random
        class Flaky:
            def __init__(self, fails): self.left = fails
            def __call__(self):
                if self.left: self.left -= 1; raise ConnectionError("down")
                return "up"
        def retry(f, attempts=4, base=0.001, jitter=random.Random(1)):
            waits = []
            for attempt in range(attempts):
                try: return f(), waits
                except (ConnectionError, TimeoutError) as error:
                    if attempt == attempts - 1: raise RuntimeError(f"gave up after {attempts}") from error
                    pause = base * 2 ** attempt
                    waits.append(pause)
                    time.sleep(pause + jitter.random() * base)
        ok = retry(Flaky(2))
        try: retry(Flaky(9))
        except RuntimeError as e: failed = [str(e), repr(e.__cause__)]
        result = [ok, failed]
        """,
    "event sourcing": """
        from __future__ import annotations
        from dataclasses import dataclass, replace
        from functools import reduce, singledispatch
        @dataclass(frozen=True)
        class State:
            balance: int = 0
            open: bool = False
        @dataclass(frozen=True)
        class Opened: pass
        @dataclass(frozen=True)
        class Paid:
            amount: int
        @dataclass(frozen=True)
        class Closed: pass
        @singledispatch
        def apply(event, state: State) -> State: raise NotImplementedError(type(event).__name__)
        @apply.register(Opened)
        def _(event, state): return replace(state, open=True)
        @apply.register(Paid)
        def _(event, state): return replace(state, balance=state.balance + event.amount)
        @apply.register(Closed)
        def _(event, state): return replace(state, open=False)
        events = [Opened(), Paid(5), Paid(-2), Closed()]
        result = [repr(reduce(lambda s, e: apply(e, s), events, State())), reduce(lambda s, e: apply(e, s), events[:2], State()).balance]
        """,
    "matrix class": """
        class Matrix:
            def __init__(self, rows): self.rows = tuple(map(tuple, rows))
            @classmethod
            def identity(cls, n): return cls([[int(i == j) for j in range(n)] for i in range(n)])
            @property
            def T(self): return Matrix(zip(*self.rows))
            @property
            def shape(self): return len(self.rows), len(self.rows[0])
            def __add__(self, o): return Matrix([a + b for a, b in zip(r, s)] for r, s in zip(self.rows, o.rows))
            def __matmul__(self, o):
                if self.shape[1] != o.shape[0]: raise ValueError(f"shapes {self.shape} and {o.shape} do not match")
                return Matrix([sum(a * b for a, b in zip(r, c)) for c in zip(*o.rows)] for r in self.rows)
            def __mul__(self, k): return Matrix([k * a for a in r] for r in self.rows)
            __rmul__ = __mul__
            def __pow__(self, n): return Matrix.identity(len(self.rows)) if n == 0 else self @ self ** (n - 1)
            def __eq__(self, o): return self.rows == o.rows
            def __getitem__(self, key):
                i, j = key
                return self.rows[i][j]
            def det(self):
                if len(self.rows) == 1: return self.rows[0][0]
                return sum((-1) ** j * a * Matrix([r[:j] + r[j + 1:] for r in self.rows[1:]]).det() for j, a in enumerate(self.rows[0]))
            def __str__(self): return "\\n".join(" ".join(f"{v:4d}" for v in r) for r in self.rows)
        m = Matrix([[1, 2], [3, 4]])
        try: m @ Matrix([[1, 2, 3]])
        except ValueError as e: said = str(e)
        print(m)
        result = [(m ** 5).rows, m.det(), (2 * m + m.T).rows, m[1, 0], said, m == Matrix([[1, 2], [3, 4]]), str(m), Matrix([[2, 0, 1], [1, 3, 2], [1, 1, 1]]).det()]
        """,
    "vector with slots and ordering": """
        from functools import total_ordering
        import math
        @total_ordering
        class Vector:
            __slots__ = ("x", "y")
            def __init__(self, x=0.0, y=0.0): self.x, self.y = x, y
            def __repr__(self): return f"Vector({self.x:g}, {self.y:g})"
            def __abs__(self): return math.hypot(self.x, self.y)
            def __bool__(self): return bool(abs(self))
            def __add__(self, o): return Vector(self.x + o.x, self.y + o.y) if isinstance(o, Vector) else NotImplemented
            def __sub__(self, o): return self + -o
            def __neg__(self): return Vector(-self.x, -self.y)
            def __eq__(self, o): return (self.x, self.y) == (o.x, o.y)
            def __lt__(self, o): return abs(self) < abs(o)
            def __hash__(self): return hash((self.x, self.y))
            def __iter__(self): return iter((self.x, self.y))
            def __round__(self, n=0): return Vector(round(self.x, n), round(self.y, n))
            def __complex__(self): return complex(self.x, self.y)
        a, b = Vector(3, 4), Vector(1, 1)
        x, y = a - b
        try: a + 1
        except TypeError: refused = True
        try: a.z = 1
        except AttributeError: fixed = True
        result = [repr(a + b), abs(a), bool(Vector()), x, y, max(a, b).x, a >= b, refused, fixed, repr(round(Vector(1.256, 2), 1)), complex(a).imag, sum([a, b], Vector()).y]
        """,
    "currying and composition": """
        from functools import reduce, partial
        def compose(*fs): return reduce(lambda f, g: lambda *a, **k: f(g(*a, **k)), fs)
        def curry(f, n=None, got=()):
            n = 3 if n is None else n
            return lambda x: f(*got, x) if len(got) + 1 == n else curry(f, n, (*got, x))
        add3 = curry(lambda a, b, c: a + b + c, 3)
        pipeline = compose(str, partial(round, ndigits=2), lambda x: x / 3)
        identity = lambda x, /: x
        Y = lambda f: (lambda x: x(x))(lambda x: f(lambda *a: x(x)(*a)))
        fact = Y(lambda me: lambda n: 1 if n < 2 else n * me(n - 1))
        result = [add3(1)(2)(3), pipeline(10), identity(5), fact(6), [*map(lambda f: f(2), [lambda x: x + 1, lambda x: x * x])]]
        """,
}

NUMBERS = {
    "loan schedule": """
        from decimal import Decimal, ROUND_HALF_UP, getcontext
        getcontext().prec = 28
        CENT = Decimal("0.01")
        def money(x): return x.quantize(CENT, rounding=ROUND_HALF_UP)
        principal, months, rate = Decimal(1000), 6, Decimal("0.12") / 12
        payment = money(principal * rate / (1 - (1 + rate) ** -months))
        rows, left = [], principal
        for month in range(1, months + 1):
            interest = money(left * rate)
            paid = min(payment, left + interest) if month < months else left + interest
            left -= paid - interest
            rows.append((month, str(paid), str(interest), str(left)))
        print(*(f"{m:>2} {p:>8} {i:>6} {l:>8}" for m, p, i, l in rows), sep="\\n")
        result = [str(payment), rows[-1], str(sum(Decimal(r[2]) for r in rows))]
        """,
    "net present value and return": """
        def npv(rate, flows): return sum(f / (1 + rate) ** t for t, f in enumerate(flows))
        def irr(flows, low=-0.9, high=10.0):
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (middle, high) if npv(middle, flows) > 0 else (low, middle)
            return middle
        flows = [-1000, 300, 420, 680]
        result = [round(npv(0.1, flows), 2), f"{irr(flows):.4%}"]
        """,
    "compound interest table": """
        rates, years = (0.01, 0.05, 0.1), range(0, 31, 10)
        table = {f"{r:.0%}": [round(1000 * (1 + r) ** y, 2) for y in years] for r in rates}
        doubled = {r: next(y for y in range(1000) if 1.0 * (1 + r) ** y >= 2) for r in rates}
        result = [table, [doubled[r] for r in rates], f"{1e6:,.0f}", f"{0.000123:.2e}", f"{-5:+d}", f"{255:08b}", f"{1/3:.3g}"]
        """,
    "Monte Carlo": """
        import random, math
        random.seed(42)
        n = 4000
        inside = sum(1 for _ in range(n) if math.hypot(random.random(), random.random()) <= 1)
        walk = [0]
        for _ in range(50): walk.append(walk[-1] + random.choice((-1, 1)))
        deck = [f"{r}{s}" for s in "SH" for r in "A23"]
        random.shuffle(deck)
        result = [4 * inside / n, walk[-1], deck, random.sample(range(100), 3), random.choices("ab", weights=[1, 9], k=5), round(random.gauss(0, 1), 6)]
        """,
    "prime factors and perfect numbers": """
        from math import gcd, isqrt, prod
        from collections import Counter
        def factors(n):
            d = 2
            while d * d <= n:
                while n % d == 0:
                    yield d
                    n //= d
                d += 1 + (d > 2)
            if n > 1: yield n
        def divisors(n): return sorted({x for d in range(1, isqrt(n) + 1) if n % d == 0 for x in (d, n // d)})
        def totient(n): return sum(gcd(n, k) == 1 for k in range(1, n + 1))
        result = [list(factors(360)), dict(Counter(factors(1001))), [n for n in range(2, 500) if sum(divisors(n)[:-1]) == n], totient(36), prod(factors(97 * 89)) == 8633]
        """,
    "collatz and sequences": """
        from itertools import accumulate, count, islice, takewhile
        def collatz(n):
            yield n
            while n != 1:
                n = 3 * n + 1 if n % 2 else n // 2
                yield n
        def look_and_say(s="1"):
            from itertools import groupby
            while True:
                yield s
                s = "".join(f"{len([*g])}{d}" for d, g in groupby(s))
        triangle = accumulate(count(1))
        row, pascal = [1], []
        for _ in range(6):
            pascal.append(row)
            row = [1, *map(sum, zip(row, row[1:])), 1]
        result = [list(collatz(27))[:5], max(range(1, 200), key=lambda n: sum(1 for _ in collatz(n))), list(takewhile(lambda t: t < 30, triangle)), list(islice(look_and_say(), 5)), pascal]
        """,
    "solve equations": """
        import cmath
        def quadratic(a, b, c):
            root = cmath.sqrt(b * b - 4 * a * c)
            return tuple(x.real if abs(x.imag) < 1e-12 else x for x in ((-b + root) / (2 * a), (-b - root) / (2 * a)))
        def gauss(a, b):
            n = len(b)
            m = [row[:] + [v] for row, v in zip(a, b)]
            for col in range(n):
                pivot = max(range(col, n), key=lambda r: abs(m[r][col]))
                m[col], m[pivot] = m[pivot], m[col]
                for r in range(col + 1, n):
                    f = m[r][col] / m[col][col]
                    m[r] = [x - f * y for x, y in zip(m[r], m[col])]
            x = [0.0] * n
            for r in reversed(range(n)):
                x[r] = (m[r][n] - sum(m[r][c] * x[c] for c in range(r + 1, n))) / m[r][r]
            return x
        def bisect(f, lo, hi):
            while hi - lo > 1e-12:
                mid = (lo + hi) / 2
                if f(lo) * f(mid) <= 0: hi = mid
                else: lo = mid
            return lo
        result = [quadratic(1, -3, 2), str(quadratic(1, 0, 1)[0]), [round(v, 9) for v in gauss([[2, 1, -1], [-3, -1, 2], [-2, 1, 2]], [8, -11, -3])], round(bisect(lambda x: x ** 3 - 2, 0, 2), 9)]
        """,
    "differential equation": """
        import math
        def rk4(f, y, t, h):
            k1 = f(t, y); k2 = f(t + h / 2, [a + h / 2 * b for a, b in zip(y, k1)])
            k3 = f(t + h / 2, [a + h / 2 * b for a, b in zip(y, k2)]); k4 = f(t + h, [a + h * b for a, b in zip(y, k3)])
            return [a + h / 6 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in zip(y, k1, k2, k3, k4)]
        oscillator = lambda t, y: [y[1], -y[0]]
        y, t, h = [1.0, 0.0], 0.0, 0.01
        while t < math.pi - h / 2:
            y = rk4(oscillator, y, t, h); t += h
        result = [round(v, 3) for v in y]
        """,
    "fractions exactly": """
        from fractions import Fraction
        def egyptian(f):
            while f:
                n = -(-f.denominator // f.numerator)
                yield n
                f -= Fraction(1, n)
        harmonic = sum(Fraction(1, n) for n in range(1, 11))
        result = [str(harmonic), float(harmonic), list(egyptian(Fraction(5, 6))), str(Fraction("0.125")), str(Fraction(3.14159).limit_denominator(100)), Fraction(1, 3) + 1 == Fraction(4, 3)]
        """,
    "base conversion": """
        import string
        DIGITS = string.digits + string.ascii_uppercase
        def to_base(n, base):
            if n < 0: return "-" + to_base(-n, base)
            return (to_base(n // base, base) if n >= base else "") + DIGITS[n % base]
        def words(n):
            ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
            tens = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
            if n < 20: return ones[n]
            if n < 100: return tens[n // 10] + (f"-{ones[n % 10]}" if n % 10 else "")
            if n < 1000: return ones[n // 100] + " hundred" + (" and " + words(n % 100) if n % 100 else "")
            return words(n // 1000) + " thousand" + (" " + words(n % 1000) if n % 1000 else "")
        result = [to_base(255, 16), to_base(-10, 2), int(to_base(12345, 36), 36), words(42), words(1999), 0b1010 ^ 0x0f, (1000).bit_length(), bin(5).count("1"), int.from_bytes(b"\\x01\\x00", "big"), (258).to_bytes(2, "little").hex()]
        """,
    "knights and mazes": """
        from collections import deque
        def knight(start, goal, size=8):
            queue, distance = deque([start]), {start: 0}
            while queue:
                x, y = here = queue.popleft()
                if here == goal: return distance[here]
                for dx, dy in ((1, 2), (2, 1), (-1, 2), (-2, 1), (1, -2), (2, -1), (-1, -2), (-2, -1)):
                    there = (x + dx, y + dy)
                    if all(0 <= c < size for c in there) and there not in distance:
                        distance[there] = distance[here] + 1
                        queue.append(there)
        def flood(grid, r, c, colour):
            old, stack, grid = grid[r][c], [(r, c)], [list(row) for row in grid]
            while stack:
                r, c = stack.pop()
                if 0 <= r < len(grid) and 0 <= c < len(grid[0]) and grid[r][c] == old != colour:
                    grid[r][c] = colour
                    stack += [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
            return ["".join(row) for row in grid]
        result = [knight((0, 0), (7, 7)), flood(["..#", ".#.", "..."], 0, 0, "o")]
        """,
    "sudoku": """
        def solve(board):
            def free(r, c):
                used = set(board[r]) | {board[i][c] for i in range(9)}
                used |= {board[i][j] for i in range(r - r % 3, r - r % 3 + 3) for j in range(c - c % 3, c - c % 3 + 3)}
                return [n for n in range(1, 10) if n not in used]
            blanks = [(r, c) for r in range(9) for c in range(9) if not board[r][c]]
            if not blanks: return True
            r, c = min(blanks, key=lambda at: len(free(*at)))
            for n in free(r, c):
                board[r][c] = n
                if solve(board): return True
            board[r][c] = 0
            return False
        text = "530070000600195000098000060800060003400803001700020006060000280000419005000080079"
        board = [[int(ch) for ch in text[i:i + 9]] for i in range(0, 81, 9)]
        result = [solve(board), ["".join(map(str, row)) for row in board]]
        """,
    "huffman": """
        import heapq
        from collections import Counter
        def codes(text):
            heap = [[n, i, ch, None, None] for i, (ch, n) in enumerate(sorted(Counter(text).items()))]
            heapq.heapify(heap)
            counter = len(heap)
            while len(heap) > 1:
                a, b = heapq.heappop(heap), heapq.heappop(heap)
                heapq.heappush(heap, [a[0] + b[0], counter, None, a, b]); counter += 1
            out = {}
            def walk(node, prefix=""):
                _, _, ch, left, right = node
                if ch is not None: out[ch] = prefix or "0"
                else: walk(left, prefix + "0"); walk(right, prefix + "1")
            walk(heap[0])
            return out
        table = codes("abracadabra")
        bits = "".join(table[c] for c in "abracadabra")
        back, word, reverse = "", "", {v: k for k, v in table.items()}
        for bit in bits:
            word += bit
            if word in reverse: back += reverse[word]; word = ""
        result = [len(bits), back, len(table["a"]) <= min(map(len, table.values()))]
        """,
    "union-find and spanning tree": """
        class DisjointSet:
            def __init__(self, items): self.parent = {x: x for x in items}; self.rank = dict.fromkeys(self.parent, 0)
            def find(self, x):
                while self.parent[x] != x:
                    self.parent[x] = self.parent[self.parent[x]]
                    x = self.parent[x]
                return x
            def union(self, a, b):
                a, b = self.find(a), self.find(b)
                if a == b: return False
                if self.rank[a] < self.rank[b]: a, b = b, a
                self.parent[b] = a
                self.rank[a] += self.rank[a] == self.rank[b]
                return True
        edges = [(7, "a", "b"), (5, "b", "c"), (8, "a", "c"), (9, "c", "d"), (6, "b", "d")]
        sets = DisjointSet("abcd")
        tree = [(w, u, v) for w, u, v in sorted(edges) if sets.union(u, v)]
        result = [tree, sum(w for w, *_ in tree), len({sets.find(x) for x in "abcd"})]
        """,
    "a small neural network": """
        import math, random
        rng = random.Random(3)
        sigmoid = lambda x: 1 / (1 + math.exp(-x))
        class Layer:
            def __init__(self, n_in, n_out):
                self.w = [[rng.uniform(-1, 1) for _ in range(n_in + 1)] for _ in range(n_out)]
            def forward(self, x):
                self.x = [*x, 1.0]
                self.y = [sigmoid(sum(w * v for w, v in zip(row, self.x))) for row in self.w]
                return self.y
            def backward(self, grad, rate):
                delta = [g * y * (1 - y) for g, y in zip(grad, self.y)]
                back = [sum(d * row[i] for d, row in zip(delta, self.w)) for i in range(len(self.x) - 1)]
                for row, d in zip(self.w, delta):
                    for i, v in enumerate(self.x): row[i] -= rate * d * v
                return back
        net = [Layer(2, 3), Layer(3, 1)]
        data = [([0, 0], 0), ([0, 1], 1), ([1, 0], 1), ([1, 1], 1)]
        def loss():
            total = 0
            for x, t in data:
                for layer in net: x = layer.forward(x)
                total += (x[0] - t) ** 2
            return total
        before = loss()
        for _ in range(200):
            for x, t in data:
                for layer in net: x = layer.forward(x)
                grad = [2 * (x[0] - t)]
                for layer in reversed(net): grad = layer.backward(grad, 0.5)
        after = loss()
        result = [round(before, 6), round(after, 6), after < before]
        """,
}

TIME = {
    "working days": """
        from datetime import date, timedelta
        HOLIDAYS = {date(2024, 5, 1), date(2024, 5, 9)}
        def workdays(start, end):
            day = start
            while day <= end:
                if day.weekday() < 5 and day not in HOLIDAYS: yield day
                day += timedelta(days=1)
        days = list(workdays(date(2024, 4, 29), date(2024, 5, 10)))
        result = [len(days), days[0].strftime("%a %d.%m.%y"), days[-1].isocalendar()[1], (days[-1] - days[0]).days, [d.isoformat() for d in days[:3]]]
        """,
    "ages and next birthdays": """
        from datetime import date
        import calendar
        def age(born, today): return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
        def next_birthday(born, today):
            for year in (today.year, today.year + 1):
                try: day = born.replace(year=year)
                except ValueError: day = date(year, 3, 1)
                if day >= today: return day
        today = date(2024, 6, 15)
        born = [date(1990, 6, 16), date(2000, 2, 29), date(1984, 12, 31)]
        result = [[age(b, today) for b in born], [str(next_birthday(b, today)) for b in born], calendar.day_name[today.weekday()], calendar.isleap(2024), [max(w) for w in calendar.monthcalendar(2024, 2)]]
        """,
    "time zones and durations": """
        from datetime import datetime, timedelta, timezone
        berlin, tokyo = timezone(timedelta(hours=2), "CEST"), timezone(timedelta(hours=9))
        meeting = datetime(2024, 7, 1, 9, 30, tzinfo=berlin)
        def human(delta):
            seconds = int(delta.total_seconds())
            parts = [(seconds // 86400, "d"), (seconds % 86400 // 3600, "h"), (seconds % 3600 // 60, "min"), (seconds % 60, "s")]
            return " ".join(f"{n} {unit}" for n, unit in parts if n) or "0 s"
        now = datetime.now(timezone.utc)
        result = [meeting.astimezone(tokyo).isoformat(), meeting.astimezone(timezone.utc).strftime("%H:%M %Z"), human(timedelta(days=1, minutes=61, seconds=5)), meeting.tzname(),
                  datetime.fromisoformat("2024-07-01T09:30:00+02:00") == meeting, datetime.fromtimestamp(0, timezone.utc).year, now.tzinfo is not None, timedelta(hours=30) // timedelta(hours=7), str(timedelta(seconds=3661))]
        """,
    "calendar of meetings": """
        import heapq
        from datetime import datetime
        def at(text): return datetime.strptime(text, "%H:%M")
        meetings = [("standup", "09:00", "09:15"), ("review", "09:10", "10:00"), ("lunch", "12:00", "13:00"), ("call", "09:50", "10:30")]
        parsed = sorted((at(s), at(e), name) for name, s, e in meetings)
        rooms, most, clashes = [], 0, []
        for start, end, name in parsed:
            while rooms and rooms[0][0] <= start: heapq.heappop(rooms)
            clashes += [(name, other) for _, other in rooms]
            heapq.heappush(rooms, (end, name))
            most = max(most, len(rooms))
        gaps = [f"{a[1]:%H:%M}-{b[0]:%H:%M}" for a, b in zip(parsed, parsed[1:]) if b[0] > a[1]]
        result = [most, sorted(clashes), gaps]
        """,
    "rate limiter": """
        import time
        from collections import deque
        class RateLimiter:
            def __init__(self, calls, seconds, clock=time.monotonic): self.calls, self.seconds, self.clock, self.times = calls, seconds, clock, deque()
            def allow(self):
                now = self.clock()
                while self.times and now - self.times[0] >= self.seconds: self.times.popleft()
                if len(self.times) < self.calls:
                    self.times.append(now)
                    return True
                return False
        ticks = iter([0, 1, 2, 3, 10, 11, 12])
        limiter = RateLimiter(2, 5, clock=lambda: next(ticks))
        result = [limiter.allow() for _ in range(7)]
        """,
    "stopwatch as a context manager": """
        import time
        from contextlib import contextmanager
        laps = {}
        @contextmanager
        def stopwatch(name):
            start = time.perf_counter()
            try: yield laps
            finally: laps[name] = time.perf_counter() - start
        with stopwatch("sleep"): time.sleep(0.01)
        with stopwatch("sum") as seen: sum(range(1000))
        print({k: f"{v * 1000:.1f} ms" for k, v in laps.items()})
        result = [sorted(laps), laps["sleep"] >= 0.009, seen is laps, time.strftime("%Y", time.gmtime(0)), isinstance(time.time(), float)]
        """,
}

IDIOMS = {
    "a script with main": '''
        #!/usr/bin/env python3
        """Counts things."""
        from __future__ import annotations
        import sys
        from typing import Final, Iterable, Optional
        LIMIT: Final[int] = 3
        __version__ = "1.0"
        def count(items: Iterable[str], limit: Optional[int] = None) -> dict[str, int]:
            """Counts items.

            >>> count("aab")
            {'a': 2, 'b': 1}
            """
            counts: dict[str, int] = {}
            for item in items:
                counts[item] = counts.get(item, 0) + 1
                if limit is not None and len(counts) >= limit:
                    break
            return counts
        def main(argv: list[str] | None = None) -> int:
            argv = argv if argv is not None else sys.argv[1:]
            for name, n in count(argv or "hello", limit=LIMIT).items():
                print(f"{name}: {n}", file=sys.stdout)
            return 0
        if __name__ == "__main__":
            status = main()
            result = [status, count("mississippi"), count.__doc__.splitlines()[0], __version__]
        ''',
    "plugin registry by decorators": """
        from typing import Callable, TypeVar, ParamSpec
        P, R = ParamSpec("P"), TypeVar("R")
        REGISTRY: dict[str, Callable] = {}
        def plugin(name: str | None = None, *, priority: int = 0):
            def register(f: Callable[P, R]) -> Callable[P, R]:
                f.priority = priority
                REGISTRY[name or f.__name__] = f
                return f
            return register
        @plugin()
        def upper(s): return s.upper()
        @plugin("rev", priority=5)
        def reverse(s): return s[::-1]
        @plugin(priority=1)
        class Stars:
            def __new__(cls, s): return f"*{s}*"
        order = sorted(REGISTRY, key=lambda n: -REGISTRY[n].priority)
        text = "abc"
        for name in order: text = REGISTRY[name](text)
        result = [order, text, reverse.priority]
        """,
    "type-checking decorator": """
        import functools, inspect
        def typed(**kinds):
            def decorate(f):
                @functools.wraps(f)
                def wrapper(*args, **kwargs):
                    for (name, kind), value in zip(kinds.items(), args):
                        if not isinstance(value, kind):
                            raise TypeError(f"{f.__name__}() argument {name!r} must be {kind.__name__}, not {type(value).__name__}")
                    return f(*args, **kwargs)
                return wrapper
            return decorate
        @typed(a=int, b=str)
        def repeat(a, b): return b * a
        try: repeat("x", 2)
        except TypeError as e: said = str(e)
        result = [repeat(2, "ab"), said, inspect.isfunction(repeat), callable(repeat)]
        """,
    "cached property and lazy values": """
        from functools import cached_property
        class Report:
            def __init__(self, rows): self.rows, self.computed = rows, 0
            @cached_property
            def total(self):
                self.computed += 1
                return sum(self.rows)
            @property
            def mean(self): return self.total / len(self.rows) if self.rows else None
            @mean.deleter
            def mean(self): self.rows = []
            @staticmethod
            def parse(text): return [int(x) for x in text.split(",") if x.strip()]
            @classmethod
            def from_text(cls, text, /, **kw): return cls(cls.parse(text), **kw)
        r = Report.from_text("1, 2,3,")
        values = [r.total, r.total, r.mean, r.computed]
        del r.total
        r.rows.append(10)
        values += [r.total, r.computed]
        del r.mean
        result = values + [r.mean]
        """,
    "multiple inheritance with cooperative init": """
        class Base:
            def __init__(self, **kw):
                if kw: raise TypeError(f"unexpected {sorted(kw)}")
            def describe(self): return ["base"]
        class Named(Base):
            def __init__(self, *, name, **kw): super().__init__(**kw); self.name = name
            def describe(self): return [f"named {self.name}", *super().describe()]
        class Priced(Base):
            def __init__(self, *, price=0, **kw): super().__init__(**kw); self.price = price
            def describe(self): return [f"costs {self.price}", *super().describe()]
        class Item(Named, Priced): pass
        try: Item(name="x", colour="red")
        except TypeError as e: said = str(e)
        result = [Item(name="pen", price=2).describe(), said, [issubclass(Item, c) for c in (Named, Priced, Base, int)], isinstance(Item(name="a"), Priced)]
        """,
    "container protocols": """
        from collections.abc import Mapping, MutableSequence, Iterator, Callable, Sized
        class CaseInsensitive(Mapping):
            def __init__(self, data): self._data = {k.lower(): v for k, v in data.items()}
            def __getitem__(self, key): return self._data[key.lower()]
            def __iter__(self): return iter(self._data)
            def __len__(self): return len(self._data)
        class Limited(MutableSequence):
            def __init__(self, most, *items): self.most, self._items = most, []; self.extend(items)
            def __getitem__(self, i): return self._items[i]
            def __setitem__(self, i, v): self._items[i] = v
            def __delitem__(self, i): del self._items[i]
            def __len__(self): return len(self._items)
            def insert(self, i, v):
                if len(self) >= self.most: raise OverflowError("full")
                self._items.insert(i, v)
        m, l = CaseInsensitive({"Content-Type": "x", "ETag": 1}), Limited(3, 1, 2)
        l.append(3); l.reverse()
        try: l.append(4)
        except OverflowError as e: said = e.args
        result = [m["CONTENT-type"], "etag" in m, m.get("none", 0), dict(m.items()), m == {"content-type": "x", "etag": 1}, list(l), l.index(2), l.pop(), said, isinstance(m, Sized), isinstance(iter(l), Iterator), isinstance(len, Callable)]
        """,
    "errors with causes and notes": """
        import traceback
        class ConfigError(Exception):
            code = "E_CONFIG"
            def __init__(self, key, /, *, hint=""): super().__init__(key, hint); self.key, self.hint = key, hint
            def __str__(self): return f"{self.code}: {self.key}" + (f" ({self.hint})" if self.hint else "")
        def load(settings):
            try:
                port = int(settings["port"])
            except KeyError as e:
                raise ConfigError("port", hint="set it") from e
            except ValueError as e:
                error = ConfigError("port")
                error.add_note(f"got {settings['port']!r}")
                raise error from None
            else:
                return port
            finally:
                attempts.append(settings)
        attempts, said = [], []
        for s in ({"port": "80"}, {}, {"port": "x"}):
            try: said.append(load(s))
            except ConfigError as e:
                said.append([str(e), type(e.__cause__).__name__, e.__suppress_context__, getattr(e, "__notes__", []), e.args])
        try:
            try: 1 / 0
            finally: said.append("cleaned")
        except ZeroDivisionError: said.append(traceback.format_exc().strip().splitlines()[-1])
        try: assert len(attempts) == 2, f"{len(attempts)} attempts"
        except AssertionError as e: said.append(str(e))
        result = said
        """,
    "sorting in many ways": """
        from functools import cmp_to_key
        from operator import attrgetter, itemgetter, methodcaller
        from typing import NamedTuple
        class P(NamedTuple):
            name: str
            age: int
            city: str = "?"
        people = [P("Zoe", 30), P("al", 25, "Ulm"), P("Bea", 30, "Bonn")]
        def natural(s):
            import re
            return [int(t) if t.isdigit() else t for t in re.split(r"(\\d+)", s)]
        versions = ["1.10.0", "1.9.3", "1.9"]
        result = [sorted(["f10", "f9"], key=natural), [p.name for p in sorted(people, key=attrgetter("age", "name"))], [p[0] for p in sorted(people, key=lambda p: (-p.age, p.name.casefold()))], sorted(map(methodcaller("lower"), "b A c".split())),
                  sorted(versions, key=lambda v: tuple(map(int, v.split(".")))), sorted([3, 11, 2], key=cmp_to_key(lambda a, b: (str(a) > str(b)) - (str(a) < str(b)))), max(people, key=itemgetter(1)).name, sorted([(1, "b"), (1, "a"), (0, "c")], reverse=True), min("hello", key="leh".find)]
        """,
    "matching commands": """
        from dataclasses import dataclass
        @dataclass
        class Click:
            position: tuple[int, int]
            button: str = "left"
        @dataclass
        class Key:
            name: str
            shift: bool = False
        def handle(event):
            match event:
                case Click((x, y), button="left") if x == y: return f"diagonal {x}"
                case Click(position=(x, _), button=b): return f"{b} at {x}"
                case Key("q" | "Q" as name): return f"quit {name}"
                case Key(name=n, shift=True): return n.upper()
                case Key(): return "key"
                case {"kind": "batch", "events": [*events]}: return [handle(e) for e in events]
                case (int() | float()) as number if number > 0: return number * 2
                case [] | "": return None
                case bytes(data): return data.decode()
                case [[a, b], *_, last]: return a + b + last
                case _: raise ValueError(f"unknown {type(event).__name__}")
        result = [handle(e) for e in (Click((2, 2)), Click((1, 5), "right"), Key("q"), Key("x", True), Key("y"), {"kind": "batch", "events": [Key("Q"), 4]}, [], b"hi", [[1, 2], 0, 3])]
        try: handle(object())
        except ValueError as e: result.append(str(e))
        """,
    "buffers and bytes": """
        import io, struct, binascii, hashlib
        class Packet:
            HEADER = struct.Struct(">HBI")
            def __init__(self, kind, body=b""): self.kind, self.body = kind, body
            def pack(self): return self.HEADER.pack(0xCAFE, self.kind, len(self.body)) + self.body + struct.pack(">I", binascii.crc32(self.body))
            @classmethod
            def unpack(cls, stream):
                head = stream.read(cls.HEADER.size)
                if len(head) < cls.HEADER.size: raise EOFError
                magic, kind, size = cls.HEADER.unpack(head)
                body = stream.read(size)
                (crc,) = struct.unpack(">I", stream.read(4))
                if magic != 0xCAFE or crc != binascii.crc32(body): raise ValueError("corrupt")
                return cls(kind, body)
        stream = io.BytesIO(Packet(1, b"hello").pack() + Packet(2).pack())
        got = []
        while True:
            try: p = Packet.unpack(stream)
            except EOFError: break
            got.append([p.kind, p.body.decode()])
        buffer = bytearray(b"abc"); buffer[1:2] = b"XY"; buffer.extend(b"!")
        view = memoryview(buffer)[1:3]
        result = [got, buffer.decode(), view.tobytes().hex(), hashlib.sha1(b"abc").hexdigest()[:8], bytes.fromhex("00ff").hex(), list(b"AZ"), stream.tell()]
        """,
    "simple ORM with descriptors": """
        class Field:
            def __init__(self, kind, default=None, *, check=None): self.kind, self.default, self.check = kind, default, check
            def __set_name__(self, owner, name):
                self.name = name
                owner.fields = {**getattr(owner, "fields", {}), name: self}
            def __get__(self, obj, owner): return self if obj is None else obj.values.get(self.name, self.default)
            def __set__(self, obj, value):
                value = self.kind(value)
                if self.check and not self.check(value): raise ValueError(f"{self.name}: {value!r} is not allowed")
                obj.values[self.name] = value
        class Model:
            tables = {}
            def __init_subclass__(cls, table=None, **kw):
                super().__init_subclass__(**kw)
                Model.tables[table or cls.__name__.lower()] = cls
            def __init__(self, **values):
                self.values = {}
                for name, value in values.items(): setattr(self, name, value)
            @classmethod
            def create(cls): return f"CREATE TABLE {cls.__name__.lower()} ({', '.join(f'{n} {f.kind.__name__}' for n, f in cls.fields.items())})"
            def __eq__(self, other): return type(self) is type(other) and self.values == other.values
        class User(Model, table="users"):
            name = Field(str)
            age = Field(int, 18, check=lambda a: a >= 0)
        u = User(name="Ann", age="41")
        try: u.age = -1
        except ValueError as e: said = str(e)
        result = [u.name, u.age, User(name="B").age, said, User.create(), list(Model.tables), u == User(name="Ann", age=41), isinstance(User.age, Field)]
        """,
    "async crawler of a fake web": """
        import asyncio
        WEB = {"/": ["/a", "/b"], "/a": ["/", "/c"], "/b": ["/c", "/missing"], "/c": []}
        async def fetch(url):
            await asyncio.sleep(0.001)
            if url not in WEB: raise LookupError(url)
            return WEB[url]
        async def crawl(start, limit=2):
            seen, failed, gate = {start}, [], asyncio.Semaphore(limit)
            async def visit(url):
                try:
                    async with gate: links = await fetch(url)
                except LookupError as e:
                    failed.append(str(e.args[0])); return
                fresh = [l for l in links if l not in seen]
                seen.update(fresh)
                await asyncio.gather(*map(visit, fresh))
            await asyncio.wait_for(visit(start), timeout=5)
            return sorted(seen), failed
        async def main():
            pages = await crawl("/")
            results = await asyncio.gather(fetch("/c"), fetch("/none"), return_exceptions=True)
            return [pages, results[0], repr(results[1])]
        result = asyncio.run(main())
        """,
    "bits and flags": """
        from enum import IntFlag, Flag, auto, IntEnum
        class Permission(IntFlag):
            READ = 4
            WRITE = 2
            EXECUTE = 1
        def show(mode): return "".join(f.name[0].lower() if f in mode else "-" for f in (Permission.READ, Permission.WRITE, Permission.EXECUTE))
        class Weekday(IntEnum):
            MONDAY = 1
            TUESDAY = 2
            @classmethod
            def _missing_(cls, value): return cls.MONDAY if value == 0 else None
            def next(self): return Weekday(self % len(Weekday) + 1)
        class Style(Flag):
            BOLD = auto(); ITALIC = auto(); BOTH = BOLD | ITALIC
        rw = Permission.READ | Permission.WRITE
        try: Weekday(9)
        except ValueError as e: said = str(e)
        result = [show(Permission(6)), rw.value, int(rw & ~Permission.WRITE), Weekday(0).name, Weekday.TUESDAY.next().name, bool(Style.BOLD & Style.BOTH), said, [d.name for d in Weekday], Weekday.MONDAY < 2, f"{Weekday.TUESDAY:d}"]
        """,
    "walrus, stars and conditional expressions": """
        text = "k1=v1;k2=;bad;k3=v3"
        pairs = {k: v for part in text.split(";") if len(kv := part.split("=", 1)) == 2 and (v := kv[1]) and (k := kv[0])}
        chunks, data = [], iter(range(7))
        while chunk := [x for _, x in zip(range(3), data)]: chunks.append(chunk)
        head, *_, tail = chunks
        matrix = [[1, 2], [3, 4], [5, 6]]
        (a, *b), *rest = matrix
        grade = lambda s: "A" if s >= 90 else "B" if s >= 80 else "C"
        def kw(*, sep=", ", **options): return sep.join(f"{k}={v!r}" for k, v in sorted(options.items()))
        options = {"x": 1, **{"y": 2}, "sep": "|"}
        result = [pairs, chunks, head, tail, a, b, rest, [*map(grade, (95, 85, 10))], kw(**options), [*{3: 0, 1: 0}], {**{"a": 1}, "a": 2}, 1 < 2 < 3 != 4, not [] and "empty" or "full", [y for x in matrix for y in x if y % 2]]
        """,
    "string building and formatting": '''
        from textwrap import dedent, indent
        name, items, price = "Ann", ["tea", "pie"], 1234.5
        letter = dedent(f"""\\
            Dear {name},
            {len(items)} items: {", ".join(sorted(items, reverse=True))!s:>10}
            Total: {price:>12,.2f} {"EUR" if price > 1000 else "eur":^7}|
            """)
        width = 20
        box = "\\n".join(["+" + "-" * width + "+", *(f"|{line:^{width}}|" for line in ("hello", f"{price!r}")), "+" + "-" * width + "+"])
        result = [letter, box, indent("a\\nb", "  "), "%(n)s is %(a)03d" % {"n": name, "a": 7}, "{:*^9}".format("mid"), "{0[0]} {1.real} {x!r:>6}".format(items, 5, x="q"), f"{items[0]=}", f"{'{braces}'} {{}}", "a\\tb".expandtabs(4), "\\N{BULLET} x", r"\\d", "con" "cat", f"{3.0:g} {10**20:e} {True:d} {ord('a'):#06x} {-7 // 2} {-7 % 3}"]
        ''',
}

OBJECTS = {
    "variables of an object by its dict": """
        import copy, json
        class Settings:
            def __init__(self, **values): self.__dict__.update(values)
        class Checked:
            def __set_name__(self, owner, name): self.name = name
            def __get__(self, instance, owner): return self if instance is None else instance.__dict__.get(self.name)
            def __set__(self, instance, value):
                if value < 0: raise ValueError(f"{self.name} is negative")
                instance.__dict__[self.name] = value
        class Order:
            amount = Checked()
            def __init__(self, amount): self.amount = amount
            def save(self): return copy.deepcopy(self.__dict__)
            def load(self, saved): vars(self).clear(); vars(self).update(saved)
        s = Settings(host="a", port=1)
        vars(s)["port"] += 1
        popped = s.__dict__.pop("host")
        s.__dict__.setdefault("path", "/")
        del s.__dict__["path"]
        order = Order(5)
        saved = order.save()
        order.amount = 7
        order.load(saved)
        try: order.amount = -1
        except ValueError as e: said = str(e)
        result = [s.port, popped, hasattr(s, "host"), hasattr(s, "path"), vars(s), order.amount, said, json.dumps(order.__dict__), type(saved).__name__, {**vars(order), "b": 1}]
        """,
    "special methods given later": """
        def with_repr(cls):
            def __repr__(self): return f"{cls.__name__}({self.__dict__})"
            cls.__repr__ = __repr__
            return cls
        def counted(cls):
            first = cls.__init__
            def __init__(self, *args):
                cls.made = getattr(cls, "made", 0) + 1
                first(self, *args)
            cls.__init__ = __init__
            return cls
        @with_repr
        @counted
        class P:
            def __init__(self, x): self.x = x
        P.__eq__ = lambda self, other: self.x == other.x
        setattr(P, "__len__", lambda self: self.x)
        a = P(1)
        result = [repr(a), a == P(1), P.made, len(P(3)), P.__module__, P.__init__.__name__]
        """,
    "private names from outside": """
        class Account:
            def __init__(self): self.__balance = 5
            def total(self): return self.__balance
        a = Account()
        try: a.__balance
        except AttributeError as e: said = str(e)
        a.__balance = 9
        __hidden = 3
        result = [said, a._Account__balance, a.total(), a.__balance, __hidden, [n for n in dir(a) if not n.startswith("__")]]
        """,
    "type hints that are read": """
        from functools import singledispatch, singledispatchmethod, wraps
        def checked(call):
            @wraps(call)
            def inner(*args):
                for (name, hint), value in zip(call.__annotations__.items(), args):
                    if not isinstance(value, hint): raise TypeError(f"{name} must be {hint.__name__}")
                return call(*args)
            return inner
        @checked
        def add(a: int, b: int) -> int: return a + b
        try: add(1, "2")
        except TypeError as e: said = str(e)
        @singledispatch
        def show(value) -> str: return "thing"
        @show.register
        def _(value: int | bool) -> str: return f"number {value}"
        @show.register
        def _(value: "list") -> str: return "list of " + ", ".join(map(show, value))
        class Area:
            @singledispatchmethod
            def of(self, shape): return None
            @of.register
            def _(self, shape: tuple): return shape[0] * shape[1]
        def f(a: "later", *rest: float, **named: dict[str, int]) -> None: pass
        result = [add(1, 2), said, show([1, True, "x"]), Area().of((2, 3)), list(f.__annotations__), str(f.__annotations__["named"]), f.__annotations__["a"]]
        """,
    "time zones by name": """
        from datetime import datetime, timedelta, timezone
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones
        berlin, tokyo = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
        call = datetime(2024, 3, 31, 1, 30, tzinfo=berlin)
        later = (call.astimezone(timezone.utc) + timedelta(hours=1)).astimezone(berlin)
        try: ZoneInfo("Nowhere/Here")
        except ZoneInfoNotFoundError as e: said = "Nowhere/Here" in str(e)
        result = [call.isoformat(), later.isoformat(), call.tzname(), later.tzname(), call.astimezone(tokyo).isoformat(), str(berlin), said, "America/New_York" in available_timezones()]
        """,
    "parts of the library that models use": """
        import asyncio, csv, io, pprint, traceback, types, warnings
        from urllib.parse import urlparse
        csv.register_dialect("bars", delimiter="|")
        rows = list(csv.reader(["a|b"], "bars"))
        out = io.StringIO()
        pprint.pprint({"b": 1, "a": [1, 2]}, stream=out, width=5)
        pprint.PrettyPrinter(indent=2, stream=out).pprint(list(range(3)))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try: warnings.warn("odd")
            except UserWarning as e: raised = str(e)
        try: {}["k"]
        except KeyError as e: lines = traceback.format_exception_only(type(e), e)
        async def main():
            loop, done = asyncio.get_running_loop(), []
            future = loop.create_future()
            loop.call_soon(done.append, 1)
            loop.call_later(0.001, future.set_result, "rung")
            return [await future, done]
        page = urlparse("http://a.b/c?x=1")
        result = [rows, out.getvalue(), str(caught[0].message), caught[0].category.__name__, raised, lines, asyncio.run(main()), page._replace(scheme="https").geturl(), sorted(page._asdict())]
        """,
}

REFLECTION = {
    "signatures": """
        import inspect
        from dataclasses import dataclass, field
        def a(x, y: int = 2, /, z="q", *rest, k, m=None, **kw) -> bool: ...
        def b(): ...
        def c(*, only): ...
        def d(*a, **k): ...
        async def e(x): ...
        class K:
            def __init__(self, u, v=1): ...
            def m(self, p, *, q=3): ...
            @classmethod
            def cm(cls, r): ...
            @staticmethod
            def sm(s=()): ...
            def __call__(self, zz): ...
        @dataclass
        class D:
            n: int
            s: str = "x"
        out = [str(inspect.signature(f)) for f in (a, b, c, d, e, K, K.m, K(1).m, K.cm, K.sm, K(1), lambda x, y=1: x)]
        sig = inspect.signature(a)
        ba = sig.bind(1, 5, k=9, other=3)
        out.append([list(ba.args), ba.kwargs, list(ba.arguments)])
        ba.apply_defaults(); out.append(str(dict(ba.arguments)))
        out.append(sig.parameters["y"].default); out.append(sig.parameters["k"].kind.name); out.append(sig.parameters["k"].kind is inspect.Parameter.KEYWORD_ONLY)
        out.append(sig.return_annotation is bool); out.append(inspect.signature(b).return_annotation is inspect.Signature.empty)
        out.append(list(inspect.signature(D).parameters)); out.append(inspect.signature(D).parameters["s"].default)
        try: inspect.signature(c).bind(1)
        except TypeError as x: out.append(str(x))
        out.append(len(inspect.signature(d).parameters)); out.append(inspect.signature(a).bind_partial(1).args == (1,))
        result = out
        """,
    "hints that are read": """
        from __future__ import annotations
        from typing import get_type_hints, Optional, List, Dict, Annotated, Any, Callable, Literal
        import typing
        def f(a: int, z: Literal["on", None], y: "list['int']", b: list[int], c: Dict[str, typing.Any] | None = None, d: Annotated[int, "x"] = 0, *, e: Callable[[int], str]) -> None: ...
        result = [{k: str(v) for k, v in get_type_hints(f).items()}, str(get_type_hints(f, include_extras=True)["d"])]
        """,
    "hints behind a decorator": """
        from functools import wraps
        from typing import get_type_hints
        def deco(fn):
            @wraps(fn)
            def w(*a, **k): return fn(*a, **k)
            return w
        @deco
        def f(a: int) -> str: "doc"; return str(a)
        result = [sorted(get_type_hints(f)), f.__doc__, f.__name__, f(3)]
        """,
    "small modules": """
        import ipaddress, shlex, fnmatch, colorsys, reprlib, gzip, codecs, platform, sys
        from html.parser import HTMLParser
        from timeit import default_timer, timeit
        r = reprlib.Repr(); r.maxlist = 2
        result = [platform.system(), platform.python_version().split(".")[0], str(ipaddress.ip_network("10.0.0.0/30")[1]), shlex.split("a 'b c'"), fnmatch.filter(["a.py", "b"], "*.py"), colorsys.rgb_to_hsv(0, 1, 0), r.repr([1, 2, 3]), gzip.decompress(gzip.compress(b"x" * 9)).decode(), codecs.encode("abc", "rot13"), codecs.decode("616263", "hex").decode(), codecs.encode(b"hi", "base64").decode(), timeit(lambda: 1, number=10) >= 0, sys.version_info.major, sys.version_info[:1] == (3,), sys.version_info >= (3, 8), f"{ipaddress.ip_address('1.2.3.4'):x}", sorted([ipaddress.ip_address("10.0.0.2"), ipaddress.ip_address("10.0.0.1")])[0].packed.hex()]
        """,
}

EVERYDAY = {**DATA, **TEXT, **CODE, **NUMBERS, **TIME, **IDIOMS, **OBJECTS, **REFLECTION}
