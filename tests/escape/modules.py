"""Attacks through the modules of the library that are offered over a program's own memory: threading, argparse, ast, XML."""

# ruff: noqa: E501 - an attack is read best on one line

_THREADS = "import threading, time, queue\nfrom concurrent.futures import ThreadPoolExecutor, Future, wait, as_completed\n"
_XML = "import xml.etree.ElementTree as ET\n"
_CONFIGURATION = "import configparser\n"
_ARGUMENTS = "import argparse\n"
_TREES = "import ast\n"
_FILES = "import tempfile, shutil, os\nos.sep\n"
MODULES: dict[str, str] = {
    "turn": _THREADS + "threading.Thread().__turn__",
    "turn getattr": _THREADS + "getattr(threading.Thread(), '__tu'+'rn__')",
    "turn by pattern": _THREADS
    + "match threading.Thread():\n case threading.Thread(__turn__=x): print('LEAKED')",
    "turn by format": _THREADS + "print('LEAKED','{0.__turn__}'.format(threading.Thread()))",
    "turn by vars": _THREADS
    + "class T(threading.Thread): pass\nprint('LEAKED' if '__turn__' in vars(T()) else 1/0)",
    "turn set": _THREADS + "class T(threading.Thread): pass\nt=T()\nt.__turn__=1",
    "turn by class": _THREADS + "class T(threading.Thread):\n __turn__=5",
    "turn by field": _THREADS
    + "from dataclasses import dataclass\n@dataclass\nclass T:\n __turn__: int=5",
    "turn by memo": _THREADS
    + "import copy\nm={}\nclass T(threading.Thread): pass\ncopy.deepcopy(T(), m)\nfor v in list(m.values()):\n  for w in (v if type(v) is list else [v]):\n    if type(w) is dict and '__turn__' in w: print('LEAKED', w)\n1/0",
    "turn by own memo": _THREADS
    + "import copy\nclass M(dict):\n  def __setitem__(s,k,v):\n    if 'urn' in repr(v): print('LEAKED', v)\n    dict.__setitem__(s,k,v)\nclass T(threading.Thread): pass\ncopy.deepcopy(T(), M())\n1/0",
    "loop by memo": "import copy, asyncio\nasync def main():\n  q=asyncio.Queue()\n  try: await asyncio.wait_for(q.get(), 0.01)\n  except TimeoutError: pass\n  m={}\n  try: copy.deepcopy(q, m)\n  except Exception as e: pass\n  for v in list(m.values()):\n    if 'oop' in type(v).__name__: print('LEAKED', v)\nasyncio.run(main())\n1/0",
    "loop by memo in deepcopy method": "import copy, asyncio\nkept=[]\nclass K:\n  def __deepcopy__(self, memo): kept.append(memo); return self\nasync def main():\n  q=asyncio.Queue()\n  await q.put(K())\n  e=asyncio.Event()\n  try: await asyncio.wait_for(e.wait(), 0.01)\n  except TimeoutError: pass\n  try: copy.deepcopy([K(), e])\n  except Exception: pass\n  for v in list(kept[0].values()):\n    if 'oop' in type(v).__name__: print('LEAKED', v)\nasyncio.run(main())\n1/0",
    "logger by memo": "import copy, logging\nm={}\ntry: copy.deepcopy(logging.getLogger('x'), m)\nexcept Exception: pass\nfor v in list(m.values()):\n  for w in (v if type(v) is list else [v]):\n    if type(w) is dict and '_stderr' in w: print('LEAKED', w)\n1/0",
    "globals of thread": _THREADS + "threading.Thread.run.__globals__",
    "greenlet": "import greenlet",
    "greenlet by type": _THREADS
    + "class T(threading.Thread):\n  def run(self): print('LEAKED', type(self.stack))\nT().start()\n1/0",
    "real thread": "import _thread\n_thread.start_new_thread(print,('LEAKED',))",
    "thread bomb": _THREADS + "while True: threading.Thread(target=lambda: time.sleep(99)).start()",
    "deadlock": _THREADS + "a=threading.Lock()\na.acquire(); a.acquire()",
    "queue for ever": _THREADS + "queue.Queue().get()",
    "forbidden in a thread": _THREADS
    + "def f(): print('LEAKED', getattr(print,'__self__'))\nt=threading.Thread(target=f); t.start(); t.join()",
    "open in a pool": _THREADS
    + "with ThreadPoolExecutor() as p: print('LEAKED', p.submit(open,'/etc/passwd').result())",
    "private parts of a pool": _THREADS + "ThreadPoolExecutor()._work_queue",
    "private of a pool's class": _THREADS
    + "class P(ThreadPoolExecutor): pass\nprint(P()._initializer.__globals__)",
    "future's condition": _THREADS + "Future()._condition",
    "waiters": _THREADS
    + "class W:\n  _state='x'\n  class _condition:\n    acquire=release=lambda *a: 0\n  class _waiters:\n    append=lambda w: print('LEAKED', w.event.__globals__)\nwait([W()])",
    "error text in a thread": _THREADS
    + "class E(Exception):\n  def __str__(self): return self.__traceback__.tb_frame\ndef f(): raise E\nthreading.Thread(target=f).start()",
    "name in a thread": _THREADS
    + "class T(threading.Thread):\n  @property\n  def name(self): return self.__init__.__globals__\nT().start()",
    "local dunder": _THREADS + "l=threading.local()\nl.__class__=int",
    "local values": _THREADS + "threading.local().__values__",
    "local by object": _THREADS + "object.__setattr__(threading.local(),'__values__',1)",
    "main thread stack": _THREADS + "threading.main_thread().__turn__.stack",
    "excepthook": _THREADS + "threading.excepthook",
    "settrace": _THREADS + "threading.settrace(print)",
    "profile": _THREADS + "threading.setprofile(print)",
    "frames": _THREADS + "threading._sys._current_frames()",
    "os by threading": _THREADS + "threading._os",
    "mutex": _THREADS + "queue.Queue().mutex._holder",
    "time module": "import time\ntime.sleep.__globals__",
    "laughs": _XML
    + "ET.fromstring('<!DOCTYPE x [<!ENTITY a \"'+'A'*1000+'\">'+''.join(f'<!ENTITY a{i} \"'+('&a;' if not i else f'&a{i-1};')*10+'\">' for i in range(9))+']><x>&a8;</x>')\n",
    "quadratic": _XML
    + "print(len(ET.fromstring('<!DOCTYPE x [<!ENTITY a \"'+'A'*100000+'\">]><x>'+'&a;'*5000+'</x>').text))\nprint('LEAKED')",
    "external": _XML
    + "print('LEAKED', ET.fromstring('<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><x>&a;</x>').text)",
    "dtd": _XML
    + "print('LEAKED', ET.fromstring('<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><x>&a;</x>').text)",
    "xml file": _XML + "print('LEAKED', ET.parse('/etc/passwd'))",
    "xml iter": _XML + "print('LEAKED', list(ET.iterparse('/etc/fonts/fonts.conf')))",
    "xml write": _XML + "ET.ElementTree(ET.Element('a')).write('/etc/x'); print('LEAKED')",
    "xml file arg": _XML + "ET.ElementTree(file='/etc/passwd'); print('LEAKED')",
    "xml module": _XML + "ET.sys",
    "xml io": _XML + "ET.io",
    "xml re": _XML + "ET.re",
    "xml warnings": _XML + "ET.warnings",
    "xml path": _XML + "ET.ElementPath",
    "xml state": _XML + "ET.Element('a').__setstate__({'tag': 1})",
    "xml parser inside": _XML + "ET.XMLParser()._parse_whole(1)",
    "xml iter frame": _XML + "ET.Element('a').iter().gi_frame",
    "xml memory": _XML + "e=ET.Element('a')\nwhile True: ET.SubElement(e,'b').text='x'*1000",
    "xml canon": _XML + "ET.canonicalize(from_file='/etc/passwd')",
    "sax": "import xml.sax\nxml.sax.parse('/etc/passwd')",
    "sax2": "import xml.sax.saxutils as s\ns.codecs",
    "expat": "import xml.parsers.expat",
    "dom": "import xml.dom.minidom",
    "xinclude": "import xml.etree.ElementInclude",
    "cfg read": _CONFIGURATION
    + "c=configparser.ConfigParser(allow_no_value=True,strict=False,delimiters=['=='])\nassert c.read('/etc/passwd')\nprint('LEAKED')",
    "cfg read2": _CONFIGURATION + "c=configparser.ConfigParser()\nc.read_file(open('/etc/passwd'))",
    "cfg convert": _CONFIGURATION + "configparser.ConfigParser(converters={'x':print})",
    "cfg convert2": _CONFIGURATION + "configparser.ConfigParser().converters['x']=print",
    "cfg convert3": _CONFIGURATION
    + "class P(configparser.ConfigParser):\n  def values(self): import json; return [json]\nP().converters['x']=print",
    "cfg convert4": _CONFIGURATION + "configparser.ConfigParser().converters.update(x=print)",
    "cfg os": _CONFIGURATION + "configparser.os",
    "cfg open": _CONFIGURATION + "configparser.open",
    "cfg sys": _CONFIGURATION + "configparser.sys",
    "cfg walk": _CONFIGURATION
    + "c=configparser.ConfigParser()\nc.read_string('[a]\\nx=%(__class__)s')\nprint('LEAKED', c['a']['x'])",
    "cfg ext": _CONFIGURATION
    + "c=configparser.ConfigParser(interpolation=configparser.ExtendedInterpolation())\nc.read_string('[a]\\nx=${b:__init__}')\nprint('LEAKED', c['a']['x'])",
    "cfg recursion": _CONFIGURATION
    + "c=configparser.ConfigParser()\nc.read_string('[a]\\nx=%(x)s')\nc['a']['x']",
    "tmp out": _FILES + "tempfile.mkdtemp(dir='/etc')",
    "tmp out2": _FILES + "tempfile.NamedTemporaryFile(prefix='../../etc/x')",
    "tmp out3": _FILES + "tempfile.NamedTemporaryFile(suffix='/../../../etc/x')",
    "tmp root": _FILES + "d=tempfile.TemporaryDirectory()\nd.name='/work'\nd.cleanup()",
    "tmp os": _FILES + "tempfile._os",
    "tmp fd": _FILES + "tempfile.NamedTemporaryFile().fileno()",
    "tmp stream": _FILES + "tempfile.NamedTemporaryFile().__stream__",
    "tmp cls": _FILES + "type(tempfile.NamedTemporaryFile())()",
    "sh copy": _FILES + "shutil.copy('/etc/passwd','x')",
    "sh rm": _FILES + "shutil.rmtree('/')",
    "sh rm2": _FILES + "shutil.rmtree('/work')",
    "sh mv": _FILES + "shutil.move('/etc/passwd','x')",
    "sh mv2": _FILES + "open('a','w').close()\nshutil.move('a','/etc/a')",
    "sh tree": _FILES + "shutil.copytree('/etc','x')",
    "sh os": _FILES + "shutil.os",
    "sh which": _FILES + "shutil.which('sh')",
    "sh chown": _FILES + "shutil.chown('x',0)",
    "sh disk": _FILES + "shutil.disk_usage('/')",
    "os walk": _FILES + "print('LEAKED' if list(os.walk('/')) else 1/0)",
    "os walk etc": _FILES + "print('LEAKED' if list(os.walk('/etc')) else 1/0)",
    "os stat": _FILES + "os.stat('/etc/passwd')",
    "os glob": _FILES + "os.walk.__globals__",
    "os walk frame": _FILES + "os.walk('.').gi_frame",
    "os name": _FILES + "os.name.__class__.__base__.__subclasses__()",
    "arg dest": _ARGUMENTS
    + "p=argparse.ArgumentParser()\np.add_argument('--x',dest='__class__')\np.parse_args(['--x','1'])\nprint('LEAKED')",
    "arg dest2": _ARGUMENTS
    + "p=argparse.ArgumentParser()\np.add_argument('--__dict__')\np.parse_args(['--__dict__','1'])\nprint('LEAKED')",
    "arg ns": _ARGUMENTS
    + "import json\np=argparse.ArgumentParser()\np.add_argument('--loads')\np.parse_args(['--loads','1'],namespace=json)",
    "arg ns2": _ARGUMENTS
    + "p=argparse.ArgumentParser()\np.add_argument('--x')\nclass N: pass\np.parse_args(['--x','1'],N)\nprint('LEAKED')",
    "arg ns3": _ARGUMENTS
    + "p=argparse.ArgumentParser()\np.add_argument('x')\nclass N(argparse.Namespace): pass",
    "arg intermixed": _ARGUMENTS
    + "import json\np=argparse.ArgumentParser()\np.add_argument('x')\np.parse_intermixed_args(['1'],json)\nprint('LEAKED')",
    "arg action": _ARGUMENTS + "class X(argparse.Action): pass",
    "arg parser": _ARGUMENTS + "class P(argparse.ArgumentParser): pass",
    "arg parser cls": _ARGUMENTS
    + "p=argparse.ArgumentParser()\np.add_subparsers(parser_class=print)",
    "arg file": _ARGUMENTS
    + "p=argparse.ArgumentParser(fromfile_prefix_chars='@')\np.add_argument('x',nargs='*')\nprint('LEAKED',p.parse_args(['@/etc/passwd']))",
    "arg filetype": _ARGUMENTS + "argparse.FileType('r')('/etc/passwd')",
    "arg sys": _ARGUMENTS + "argparse._sys",
    "arg os": _ARGUMENTS + "argparse._os",
    "arg private": _ARGUMENTS + "argparse.ArgumentParser()._parse_known_args([],print)",
    "arg priv2": _ARGUMENTS + "argparse.ArgumentParser()._actions",
    "arg nsdict": _ARGUMENTS + "print('LEAKED', argparse.Namespace().__dict__.__init__.__self__)",
    "arg ns dunder": _ARGUMENTS + "n=argparse.Namespace()\nn.__dict__['__class__']=int",
    "arg ns init": _ARGUMENTS + "argparse.Namespace(**{'__class__':int})\nprint('LEAKED')",
    "arg fmt": _ARGUMENTS
    + "p=argparse.ArgumentParser()\np.add_argument('x',help='%(__class__)s')\nprint(p.format_help())\nprint('LEAKED')",
    "arg register": _ARGUMENTS
    + "class Z:\n  dest='__class__'; option_strings=['--x']; nargs=0; required=False; default=None; type=None; choices=None; help=None; metavar=None; container=None; const=None\n  def __init__(s,**k): pass\n  def __call__(s,p,n,v,o=None): n.__class__=int; print('LEAKED')\np=argparse.ArgumentParser()\np.register('action','z',Z)\np.add_argument('--x',action='z')\np.parse_args(['--x'])",
    "ast node": _TREES + "class N(ast.AST): _fields=('__class__',)",
    "ast iter": _TREES
    + "def f(): pass\nf._fields=('__globals__',)\nprint('LEAKED',list(ast.iter_fields(f)))",
    "ast children": _TREES
    + "def f(): pass\nf._fields=('__globals__',)\nassert list(ast.iter_child_nodes(f))\nprint('LEAKED')",
    "ast walk": _TREES
    + "def f(): pass\nf._fields=('__globals__',)\nassert len(list(ast.walk(f)))>1\nprint('LEAKED')",
    "ast visit": _TREES
    + "def f(): pass\nf._fields=('__globals__','__closure__')\nclass V(ast.NodeVisitor):\n  def generic_visit(s,n):\n    if n is not f: print('LEAKED')\n    super().generic_visit(n)\nV().visit(f)\n1/0",
    "ast dump": _TREES + "def f(): pass\nf._fields=('__globals__',)\nprint('LEAKED', ast.dump(f))",
    "ast compile": _TREES + "compile(ast.parse('1'),'x','exec')",
    "ast exec": _TREES + "exec(ast.parse('1'))",
    "ast transformer": _TREES + "ast.NodeTransformer",
    "ast sys": _TREES + "ast.sys",
    "ast copy": _TREES + "ast.copy_location(print,print)",
    "ast fix": _TREES + "ast.fix_missing_locations",
    "ast inc": _TREES + "ast.increment_lineno",
    "ast write": _TREES + "n=ast.parse('1')\nn.body=[]",
    "ast deep2": _TREES + "ast.parse('-'*90000+'1')",
    "ast str": _TREES + "class X(str): pass\nast.parse(X('1'))",
    "ast bytes": _TREES + "ast.parse(b'1')",
    "ast unparse": _TREES
    + "class Constant:\n  value=print\n  kind=None\n  def __getattr__(s,n): print('LEAKED', n)\nast.unparse(Constant())\n1/0",
    "ast source": _TREES + "ast.get_source_segment",
    "ast main": _TREES + "ast.main()",
    "ast big": _TREES + "ast.literal_eval('['*90000+']'*90000)",
    "toml": "import tomllib\nprint('LEAKED', tomllib.load(open('/etc/passwd','rb')))",
    "toml deep": "import tomllib\ntomllib.loads('a='+'['*90000+']'*90000)",
    "bz2 file": "import bz2\nbz2.open('/etc/passwd')",
    "lzma file": "import lzma\nlzma.open('/etc/passwd')",
    "bz2 bomb": "import bz2\nbz2.decompress(bz2.compress(bytes(10**7))*50)",
    "errno": "import errno\nerrno.errorcode.__class__.__base__.__subclasses__()",
    "annotations switch": "import asyncio\n"
    + _THREADS
    + "class A(dict): pass\ntype('C',(),{'__annotations__':A()})\nclass M(type):\n  def __new__(m,n,b,ns):\n    def evil(): ns['__getattribute__']=lambda s,n: print('LEAKED')\n    t=threading.Thread(target=evil); t.start(); t.join()\n    return super().__new__(m,n,b,ns)\nclass C(metaclass=M): pass",
    "checked then changed": "import asyncio\n"
    + _THREADS
    + "ns={'x':1}\nclass P:\n  def __set_name__(s,o,n):\n    ns['__getattribute__']=print\n    time.sleep(0.01)\nns['p']=P()\nC=type('C',(),ns)\nprint('LEAKED' if '__getattribute__' in dir(C) and C.__getattribute__ is print else 1/0)",
    "namespace switch": "import asyncio\n"
    + _THREADS
    + "class N(dict):\n  def items(s): time.sleep(0.001); return [('__reduce_ex__', print)]\ntype('C',(),N())",
    "redirect": "import asyncio\n"
    + _THREADS
    + "import sys\nfrom contextlib import redirect_stdout\nclass W:\n  def write(s,t): time.sleep(0.001); sys.stdout._send(b'LEAKED')\nwith redirect_stdout(W()): print('x')",
    "c recursion in many": "import asyncio\n"
    + _THREADS
    + "import json\nx=[]\nfor i in range(900): x=[x]\ndef f():\n  class E(json.JSONEncoder):\n    def default(s,o): time.sleep(0.001); return 1\n  y=object()\n  for i in range(900): y=[y]\n  E().encode(y)\nts=[threading.Thread(target=f) for _ in range(50)]\n[t.start() for t in ts];[t.join() for t in ts]\n1/0",
    "nested starts": "import asyncio\n"
    + _THREADS
    + "def f(n):\n  if n: t=threading.Thread(target=f,args=(n-1,)); t.start(); t.join()\nf(250)\n1/0",
    "memory caught in thread": "import asyncio\n"
    + _THREADS
    + "def f():\n  x=[]\n  while True:\n    try: x.append('y'*10**6)\n    except MemoryError: time.sleep(0.01)\nts=[threading.Thread(target=f) for _ in range(5)]\n[t.start() for t in ts];[t.join() for t in ts]",
    "timer bomb": "import asyncio\n"
    + _THREADS
    + "def f(): threading.Timer(0.001,f).start(); threading.Timer(0.001,f).start()\nf()",
    "del in thread": "import asyncio\n"
    + _THREADS
    + "class D:\n  def __del__(s): time.sleep(0.01)\ndef f(): D()\nts=[threading.Thread(target=f) for _ in range(20)]\n[t.start() for t in ts];[t.join() for t in ts]\n1/0",
    "asyncio in threads": "import asyncio\n"
    + _THREADS
    + "async def m(): time.sleep(0.01); await asyncio.sleep(0.01)\nts=[threading.Thread(target=lambda: asyncio.run(m())) for _ in range(3)]\n[t.start() for t in ts];[t.join() for t in ts]\n1/0",
}
