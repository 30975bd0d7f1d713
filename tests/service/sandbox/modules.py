"""Programs over those modules of the library that reach files, threads or attributes where Python runs them."""

# ruff: noqa: E501 - the programs are as models write them

from textwrap import dedent

_SAY = """
seen = []
def say(*values):
    seen.append(" ".join(map(str, values)))
"""
_PROGRAMS = {
    "a temporary file": """
        import tempfile, os
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as f:
            f.write("hello\\nworld\\n")
            path = f.name
        with open(path) as f:
            say([l.strip() for l in f])
        os.unlink(path)
        say(os.path.exists(path))
        """,
    "a temporary folder": """
        import tempfile
        from pathlib import Path
        with tempfile.TemporaryDirectory() as d:
            p = Path(d) / "a.json"
            p.write_text("{}")
            say(sorted(x.name for x in Path(d).iterdir()), p.exists())
        say(p.exists())
        """,
    "temporary files without a name": """
        import tempfile
        with tempfile.TemporaryFile() as f:
            f.write(b"abc"); f.seek(0); say(f.read())
        with tempfile.SpooledTemporaryFile(mode="w+") as f:
            f.write("abc"); f.seek(0); say(f.read())
        say(type(tempfile.gettempdir()).__name__)
        """,
    "a configuration": """
        import configparser, io
        cfg = configparser.ConfigParser()
        cfg.read_string('''
        [DEFAULT]
        timeout = 30
        [server]
        host = example.com
        port = 8080
        debug = yes
        url = http://%(host)s:%(port)s/
        ''')
        s = cfg["server"]
        say(s["host"], s.getint("port"), s.getboolean("debug"), s["url"], s.get("missing", "none"), cfg.sections(), dict(s))
        cfg["new"] = {"a": "1"}
        cfg.set("new", "b", "2")
        out = io.StringIO(); cfg.write(out); say(out.getvalue())
        say(cfg.has_option("server", "nope"), cfg.getfloat("server", "timeout"), cfg.items("new"))
        try: cfg.get("nope", "x")
        except configparser.NoSectionError as e: say(e)
        """,
    "arguments that are given": """
        import argparse
        parser = argparse.ArgumentParser(prog="tool", description="Process numbers")
        parser.add_argument("numbers", nargs="+", type=int)
        parser.add_argument("--op", choices=["sum", "max"], default="sum")
        parser.add_argument("-v", "--verbose", action="store_true")
        args = parser.parse_args(["1", "2", "3", "--op", "max", "-v"])
        say(args.numbers, args.op, args.verbose, vars(args))
        say(parser.format_usage())
        """,
    "commands with arguments": """
        import argparse
        p = argparse.ArgumentParser(prog="git")
        sub = p.add_subparsers(dest="cmd", required=True)
        c = sub.add_parser("commit", help="commit it"); c.add_argument("-m", "--message", required=True)
        l = sub.add_parser("log"); l.add_argument("-n", type=int, default=10)
        c.set_defaults(func=lambda a: f"committed {a.message}")
        l.set_defaults(func=lambda a: f"log {a.n}")
        for argv in (["commit", "-m", "x"], ["log", "-n", "3"]):
            a = p.parse_args(argv); say(a.func(a), a.cmd)
        say(p.format_help())
        try:
            p.parse_args(["log", "-n", "x"])
        except SystemExit as e:
            say("exit", e.code)
        """,
    "XML that is read": """
        import xml.etree.ElementTree as ET
        xml = '''<?xml version="1.0"?>
        <catalog><book id="1"><title lang="en">A</title><price>10.5</price></book>
        <book id="2"><title>B &amp; C</title><price>7</price></book></catalog>'''
        root = ET.fromstring(xml)
        for b in root.findall("book"):
            say(b.get("id"), b.find("title").text, float(b.findtext("price")), b.attrib, b.tag)
        say(len(root), [e.tag for e in root.iter()], root.find(".//title[@lang='en']").text)
        total = sum(float(p.text) for p in root.iterfind("./book/price"))
        ET.SubElement(root, "total").text = str(total)
        ET.indent(root)
        say(ET.tostring(root, encoding="unicode"))
        result = total
        """,
    "XML with namespaces": """
        import xml.etree.ElementTree as ET
        from io import StringIO, BytesIO
        feed = '<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>t1</title></entry><entry><title>t2</title></entry></feed>'
        ns = {"a": "http://www.w3.org/2005/Atom"}
        root = ET.fromstring(feed)
        say([e.find("a:title", ns).text for e in root.findall("a:entry", ns)])
        for ev, el in ET.iterparse(StringIO(feed), events=("start", "end")):
            say(ev, el.tag.split("}")[1])
        """,
    "a pool of threads": """
        from concurrent.futures import ThreadPoolExecutor, as_completed
        def work(n): return n * n
        with ThreadPoolExecutor(max_workers=4) as ex:
            say(list(ex.map(work, range(6))))
            futs = {ex.submit(work, i): i for i in range(3)}
            say(sorted((futs[f], f.result()) for f in as_completed(futs)))
        def bad(): raise ValueError("x")
        with ThreadPoolExecutor() as ex:
            f = ex.submit(bad)
            say(type(f.exception()).__name__, f.done())
            try: f.result(timeout=1)
            except ValueError as e: say("caught", e)
        """,
    "threads that count": """
        import threading
        total = 0
        lock = threading.Lock()
        def add(n):
            global total
            for _ in range(n):
                with lock: total += 1
        threads = [threading.Thread(target=add, args=(100,)) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        say(total)
        """,
    "a thread that makes and one that takes": """
        import threading, queue
        q = queue.Queue()
        out = []
        def producer():
            for i in range(5): q.put(i)
            q.put(None)
        def consumer():
            while True:
                x = q.get()
                if x is None: break
                out.append(x * 2)
                q.task_done()
        a, b = threading.Thread(target=producer, name="prod"), threading.Thread(target=consumer, daemon=True)
        a.start(); b.start(); a.join(); b.join(timeout=5)
        say(out, b.is_alive(), a.name)
        """,
    "a class of threads": """
        import threading
        class Worker(threading.Thread):
            def __init__(self, n):
                super().__init__()
                self.n = n; self.value = None
            def run(self): self.value = self.n ** 2
        ws = [Worker(i) for i in range(3)]
        [w.start() for w in ws]; [w.join() for w in ws]
        say([w.value for w in ws])
        """,
    "what threads wait for": """
        import threading
        lk = threading.RLock()
        ev = threading.Event()
        with lk:
            with lk: say("re-entrant")
        def waiter():
            ev.wait(5); say("went")
        t = threading.Thread(target=waiter); t.start(); ev.set(); t.join()
        loc = threading.local(); loc.x = 1
        say(loc.x)
        sem = threading.Semaphore(2)
        with sem: say("sem")
        """,
    "a calculator": """
        import ast, operator
        OPS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow, ast.USub: operator.neg, ast.Mod: operator.mod, ast.FloorDiv: operator.floordiv}
        def calc(expr):
            def ev(node):
                if isinstance(node, ast.Expression): return ev(node.body)
                if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)): return node.value
                if isinstance(node, ast.BinOp): return OPS[type(node.op)](ev(node.left), ev(node.right))
                if isinstance(node, ast.UnaryOp): return OPS[type(node.op)](ev(node.operand))
                raise ValueError(f"unsupported: {ast.dump(node)}")
            return ev(ast.parse(expr, mode="eval"))
        say(calc("2 + 3 * (4 - 1) ** 2 / 3"), calc("-7 // 2"))
        try: calc("__import__('os')")
        except ValueError as e: say("refused", type(e).__name__)
        """,
    "a look at a program's text": """
        import ast
        src = "import math\\ndef f(x, y=2):\\n    '''Doc.'''\\n    return math.sqrt(x) + y\\nclass A:\\n    def m(self): pass\\n"
        class V(ast.NodeVisitor):
            def __init__(self): self.names = []
            def visit_FunctionDef(self, node):
                self.names.append((node.name, node.lineno, [a.arg for a in node.args.args]))
                self.generic_visit(node)
        v = V(); tree = ast.parse(src); v.visit(tree)
        say(v.names, ast.get_docstring(tree.body[1]), [type(n).__name__ for n in tree.body], sum(isinstance(n, ast.Call) for n in ast.walk(tree)))
        say(ast.unparse(tree.body[1]))
        """,
    "copies by methods of one's own": """
        import copy
        class N:
            def __init__(self, v): self.v, self.kids = v, []
            def __deepcopy__(self, memo):
                if id(self) in memo: return memo[id(self)]
                n = type(self)(self.v); memo[id(self)] = n
                n.kids = copy.deepcopy(self.kids, memo)
                return n
        a = N(1); b = N(2); a.kids = [b, b, a]
        c = copy.deepcopy(a)
        say(c is not a, c.kids[0] is c.kids[1], c.kids[2] is c, c.kids[0].v)
        class M:
            def __init__(self): self.x = [1]
            def __deepcopy__(self, memo):
                cls = self.__class__
                r = cls.__new__(cls)
                memo[id(self)] = r
                for k, v in self.__dict__.items(): setattr(r, k, copy.deepcopy(v, memo))
                return r
        m = M(); k = copy.deepcopy(m, {}); k.x.append(2); say(m.x, k.x, copy.deepcopy({"a": [1]}, {}))
        """,
}
MODULES = {name: f"{_SAY}{dedent(program)}result = seen" for name, program in _PROGRAMS.items()}
