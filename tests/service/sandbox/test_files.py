"""Programs of mode python that read and write files leave what they leave in Python."""

# ruff: noqa: E501 - the programs say much in a line

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.service.sandbox.containers import Stub

from cadre.sandbox.v1 import sandbox_pb2
from cadre_kit.channels import call
from cadre_kit.errors import InvalidInput

pytestmark = pytest.mark.asyncio(loop_scope="session")

GIVEN = {
    "orders.csv": "id,total\n1,2.50\n2,ü\n".encode(),
    "lines.txt": b"one\r\ntwo\rthree\n",
    "deep/er.json": b'{"a": [1, 2]}',
}
PROGRAMS = {
    "files that are copied, moved and walked": """
        import os, shutil, tempfile
        from pathlib import Path
        shutil.copytree('deep', 'out/in')
        copied = [shutil.copy('lines.txt', 'out'), os.path.isfile('out/lines.txt')]
        shutil.move('out/lines.txt', 'out/in/moved.txt')
        with open('orders.csv', 'rb') as a, open('out/same.csv', 'wb') as b: shutil.copyfileobj(a, b)
        walked = [[top, sorted(folders), sorted(files)] for top, folders, files in os.walk('out', topdown=False)]
        for top, folders, files in os.walk('out'):
            folders[:] = []
            walked.append([top, sorted(files)])
        shutil.copytree('out', 'gone'); shutil.rmtree('gone')
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile('lines.txt', Path(folder) / 'x')
            copied += os.listdir(folder)
        result = [copied, walked, os.path.exists('gone'), os.stat('orders.csv').st_size]
        """,
    "XML and a configuration": """
        import configparser, tomllib, xml.etree.ElementTree as ET
        from pathlib import Path
        ET.ElementTree(ET.fromstring('<a>é<b/></a>')).write('a.xml', encoding='utf-8', xml_declaration=True)
        config = configparser.ConfigParser(); config.optionxform = str; config['S'] = {'Key': 'v'}
        with open('c.ini', 'w') as f: config.write(f)
        again = configparser.ConfigParser()
        Path('p.toml').write_text('[a]\\nb = 1.5')
        with open('p.toml', 'rb') as f: toml = tomllib.load(f)
        result = [ET.parse(Path('a.xml')).getroot().text, again.read(['c.ini', 'none.ini']), again.read(Path('c.ini')) and dict(again['S']), toml]
        """,
    "arguments in a file": """
        import argparse
        with open('args.txt', 'w') as f: f.write('--n\\n3\\nx\\n')
        parser = argparse.ArgumentParser(fromfile_prefix_chars='@')
        parser.add_argument('--n', type=int)
        parser.add_argument('words', nargs='*')
        result = vars(parser.parse_args(['@args.txt', 'y']))
        """,
    "rows of a table": """
        import csv
        with open('orders.csv', newline='', encoding='utf-8') as f:
            rows = list(csv.DictReader(f))
        with open('out.csv', 'w', newline='') as f:
            writer = csv.DictWriter(f, fieldnames=['id', 'total', 'n'])
            writer.writeheader()
            writer.writerows({**row, 'n': n} for n, row in enumerate(rows))
        result = rows
        """,
    "a document": """
        import json
        with open('deep/er.json') as f:
            data = json.load(f)
        data['b'] = 'ü'
        with open('deep/er.json', 'w') as f:
            json.dump(data, f, ensure_ascii=False, indent=1)
        result = sorted(data)
        """,
    "lines": """
        with open('lines.txt') as f: plain = [line for line in f]
        with open('lines.txt', newline='') as f: kept = f.readlines()
        with open('lines.txt', 'rb') as f: raw = [len(line) for line in f]
        result = [plain, kept, raw]
        """,
    "a log that is added to": """
        for n in range(3):
            with open('log.txt', 'a') as log:
                print('step', n, file=log)
        result = open('log.txt').read()
        """,
    "bytes": """
        import struct
        with open('data.bin', 'wb+') as f:
            for n in range(5): f.write(struct.pack('<I', n))
            f.seek(8)
            f.write(b'****')
            f.seek(-4, 2)
            last = struct.unpack('<I', f.read())
            f.truncate(16)
            end = f.tell()
        result = [last, end]
        """,
    "what is not there": """
        said = []
        for path, mode in (('none', 'r'), ('orders.csv', 'x'), ('orders.csv', 'rw')):
            try: open(path, mode)
            except (OSError, ValueError) as e: said.append(type(e).__name__)
        f = open('orders.csv')
        try: f.write('x')
        except Exception as e: said.append(type(e).__name__)
        f.close()
        try: f.read()
        except ValueError as e: said.append(str(e))
        result = said
        """,
    "what is left open": """
        f = open('held.txt', 'w')
        f.write('held back')
        result = [f.name, f.mode, f.closed, f.encoding.lower()]
        """,
    "output into a file": """
        import contextlib
        with open('said.txt', 'w') as f, contextlib.redirect_stdout(f):
            print('to the file')
        result = open('said.txt').read()
        """,
    "parts of a path": """
        from pathlib import Path, PurePath
        p = Path('data/raw/report.tar.gz')
        result = [p.name, p.stem, p.suffix, p.suffixes, list(p.parts), str(p.parent), [str(x) for x in p.parents],
          str(p.with_suffix('.zip')), str(p.with_name('x')), str(p.with_stem('y')), repr(p), str(Path('a')/'b'/'../c'), str('x'/Path('y')),
          p.match('*.gz'), str(p.relative_to('data')), p.is_absolute(), Path('/a/b').is_absolute(), Path('/a/b').anchor, p.as_posix(),
          Path('a')==Path('a/'), Path('a') < Path('b'), hash(Path('a'))==hash(Path('a')), len({Path('a'), Path('a/')}), sorted([Path('b'),Path('a')])[0].name,
          isinstance(p, PurePath), isinstance(p, Path), f'{p}', str(Path()), str(Path('a','b',Path('c'))), repr(PurePath('q')), p.is_relative_to('data'), bytes(p).decode(), Path('a').joinpath('b','c').as_posix()]
        for bad in (lambda: Path('a').with_suffix('x'), lambda: Path('a').relative_to('b'), lambda: Path(1), lambda: Path('a')/1, lambda: Path('/').with_name('x')):
            try: bad()
            except Exception as e: result.append(type(e).__name__)
        """,
    "files by their paths": """
        from pathlib import Path
        import json
        d = Path('out'); d.mkdir(exist_ok=True)
        (d/'a.txt').write_text('hello\\nüber')
        (d/'b.json').write_text(json.dumps({'x':1}))
        (d/'sub').mkdir(parents=True)
        (d/'sub'/'c.bin').write_bytes(b'\\x00\\x01')
        with (d/'a.txt').open('a', encoding='utf-8') as f: f.write('!')
        with open(d/'a.txt', encoding='utf-8') as f: lines = f.readlines()
        result = [lines, sorted(p.name for p in d.iterdir()), sorted(str(p) for p in d.rglob('*')), sorted(str(p) for p in d.glob('*.txt')),
          (d/'a.txt').exists(), (d/'zz').exists(), d.is_dir(), d.is_file(), (d/'a.txt').is_file(), (d/'a.txt').stat().st_size, (d/'sub'/'c.bin').read_bytes().hex(),
          sorted(str(p) for p in Path('.').glob('**/*.bin')), sorted(str(p) for p in Path().rglob('*.txt')), sorted(p.as_posix() for p in Path('.').iterdir())]
        (d/'a.txt').rename(d/'z.txt'); (d/'b.json').unlink(); (d/'touch').touch()
        result.append(sorted(str(p) for p in d.rglob('*')))
        for bad in (lambda: (d/'b.json').unlink(), lambda: d.mkdir(), lambda: (d/'b.json').read_text(), lambda: d.rmdir(), lambda: Path('q/w').mkdir(), lambda: d.read_text(), lambda: list(Path('nope').iterdir()), lambda: (d/'touch'/'x').write_text('1'), lambda: (d/'touch').write_text(1), lambda: list((d/'touch').iterdir()), lambda: (d/'nope').stat(), lambda: (d/'touch').touch(exist_ok=False)):
            try: bad()
            except Exception as e: result.append(type(e).__name__)
        (d/'b.json').unlink(missing_ok=True)
        """,
    "os and its paths": """
        import os, os.path
        from os import path
        from os.path import join, exists
        os.makedirs('a/b', exist_ok=True)
        with open(os.path.join('a','b','x.txt'),'w') as f: f.write('12345')
        result = [os.path.exists('a/b/x.txt'), exists('nope'), os.path.isdir('a'), os.path.isfile('a'), os.path.getsize('a/b/x.txt'), os.listdir('a/b'), sorted(os.listdir()),
         os.path.basename('/x/y.z'), os.path.dirname('/x/y.z'), os.path.splitext('y.tar.gz'), os.path.split('a/b'), os.path.normpath('a/../b//c'), path.isabs('/a'), join('a','/b'), os.sep, os.linesep,
         os.path.relpath('a/b/x.txt','a'), os.path.commonprefix(['abc','abd']), os.path.commonpath(['a/b','a/c']), os.path.basename(os.path.abspath('a/b')), os.path.relpath(os.path.abspath('a'), '.'), os.path.isdir('.')]
        os.rename('a/b/x.txt','a/y.txt'); os.remove('a/y.txt'); os.rmdir('a/b')
        result.append(os.listdir('a'))
        for bad in (lambda: os.remove('a'), lambda: os.remove('q'), lambda: os.mkdir('a'), lambda: os.makedirs('a'), lambda: os.listdir('q'), lambda: os.path.getsize('q'), lambda: os.rmdir('q')):
            try: bad()
            except Exception as e: result.append(type(e).__name__)
        open('kept','w').write('k')
        """,
    "what fits a pattern": """
        import glob, os
        for n in ('a.csv','b.csv','.h.csv','c.txt'): open(n,'w').write(n)
        os.makedirs('d'); open('d/e.csv','w').write('')
        result = [sorted(glob.glob('*.csv')), sorted(glob.glob('*')), sorted(glob.glob('**/*.csv', recursive=True)), sorted(glob.glob('d/*')), sorted(glob.glob('[ab].csv')), sorted(glob.iglob('?.txt')), glob.glob('zz')]
        """,
    "folders that move": """
        import os
        from pathlib import Path
        Path('a/b').mkdir(parents=True); Path('a/b/f').write_text('1'); Path('a/g').write_text('2')
        os.rename('a','z')
        result=[sorted(str(p) for p in Path('.').rglob('*')), Path('a').exists()]
        Path('z/g').replace('z/b/f')
        result += [Path('z/b/f').read_text(), sorted(os.listdir('z'))]
        """,
    "paths in objects": """
        from pathlib import Path
        import copy, dataclasses
        @dataclasses.dataclass
        class C:
            p: Path
            def __post_init__(self): self.p = Path(self.p)
        c = C('a/b')
        result = [str(copy.deepcopy(c).p), str(dataclasses.asdict(c)['p']), str(copy.copy(c.p)), c == C(Path('a/b'))]
        match c.p:
            case Path(name='b'): result.append('match')
        """,
}


async def run(stub: Stub, code: str, **limits: float) -> sandbox_pb2.ExecuteResponse:
    files = [sandbox_pb2.File(name=name, content=content) for name, content in GIVEN.items()]
    request = sandbox_pb2.ExecuteRequest(
        code=code,
        files=files,
        limits=sandbox_pb2.Limits(**limits),  # type: ignore[arg-type]
    )
    return await call(stub.Execute, request, service="sandbox", timeout_seconds=30)


def in_python(code: str, folder: Path) -> tuple[object, dict[str, bytes]]:
    """The result, and the files that are new or changed."""
    for name, content in GIVEN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    shown = f"{code}\nimport sys\nsys.stdout.write(__import__('json').dumps(result))"
    command = [sys.executable, "-X", "utf8", "-c", shown]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return json.loads(done.stdout), {n: c for n, c in files.items() if GIVEN.get(n) != c}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_leaves_the_files_that_it_leaves_in_python(
    name: str, python_stub: Stub, tmp_path: Path
) -> None:
    code = textwrap.dedent(PROGRAMS[name])

    answer = await run(python_stub, code)

    assert answer.outcome == sandbox_pb2.OUTCOME_SUCCEEDED, answer
    result, files = await asyncio.to_thread(in_python, code, tmp_path)
    assert json.loads(answer.result.text) == result
    assert {file.name: file.content for file in answer.files} == files


async def test_files_come_back_from_a_program_that_fails_and_not_from_one_that_is_killed(
    python_stub: Stub,
) -> None:
    failed = await run(python_stub, "open('a', 'w').write('1')\n1 / 0")
    killed = await run(
        python_stub, "open('a', 'w').write('1')\nwhile True: pass", timeout_seconds=0.3
    )

    assert [(file.name, file.content) for file in failed.files] == [("a", b"1")]
    assert (killed.outcome, list(killed.files)) == (sandbox_pb2.OUTCOME_LIMIT, [])


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(101): open(f'f{n:03}', 'w').write('x')",
        "for n in 'ab': open(n, 'wb').write(bytes(7 * 1024 * 1024))",
        "open('a', 'w').write('x')\nopen('b', 'wb').write(bytes(10 * 1024 * 1024 + 1))",
        "open('a', 'w').write('x')\nopen('b' * 201, 'w').write('x')",
    ],
)
async def test_files_beyond_the_limits_are_left_out_and_that_is_said(
    code: str, python_stub: Stub
) -> None:
    answer = await run(python_stub, code)

    assert answer.outcome == sandbox_pb2.OUTCOME_SUCCEEDED, answer
    assert list(answer.limits_reached) == [sandbox_pb2.LIMIT_FILES]
    assert len(answer.files) == (100 if "range" in code else 1)


async def test_no_program_finds_the_files_of_another(
    python_stub: Stub,
) -> None:
    await run(python_stub, "open('secret', 'w').write('LEAKED')")

    answer = await run(python_stub, "open('secret')")

    assert answer.error.message == (
        "line 1: FileNotFoundError: [Errno 2] No such file or directory: 'secret'"
    )


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "", "a\0b", "a" * 201])
async def test_a_file_outside_of_the_folder_is_refused(name: str, python_stub: Stub) -> None:
    file = sandbox_pb2.File(name=name, content=b"1")

    with pytest.raises(InvalidInput) as caught:
        await call(
            python_stub.Execute,
            sandbox_pb2.ExecuteRequest(code="1", files=[file]),
            service="sandbox",
            timeout_seconds=10,
        )

    assert caught.value.code == "FILE_REFUSED"
