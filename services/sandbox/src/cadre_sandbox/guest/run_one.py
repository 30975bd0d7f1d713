"""Runs programs in a container: `python -c <this file> MODULE...`, with frames on stdin and stdout.

It imports the modules, forks a process for the program, says READY, and waits for a request, which that process gets,
and whose output and files it passes on. That was all, unless the request opens a session: then one process takes one
program after the other, and files are written, read and listed in between. When stdin closes, as it does when the
service dies, everything in the container ends. Nothing that leaves here is trusted: the walls are the container's.
"""

import base64
import contextlib
import gc
import json
import keyword
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

WORK = "/work"
FILE_COUNT, FILE_BYTES, ALL_BYTES = 100, 10 * 1024 * 1024, 12 * 1024 * 1024
NAME_BYTES, MESSAGE_CHARACTERS, PART_BYTES = 200, 2000, 64 * 1024
LISTED = 1000
PROXY = "/run/proxy"
# The service's word for "nobody waits for this program any more"; no request is so long that it begins like this.
INTERRUPT = 0xFF
# How often a process that has said its last word is looked at, until it has ended: most often it has at once.
END_SECONDS = 0.001
# A program in a session that does not end at an interrupt is killed after this.
GRACE_SECONDS = 2.0


def send(tag: bytes, payload: bytes = b"") -> None:
    """Writes a frame to the service."""
    data = memoryview(struct.pack("!cI", tag, len(payload)) + payload)
    while data:
        data = data[os.write(1, data) :]


def receive(count: int, source: int = 0) -> bytes:
    """Exactly `count` bytes; when nobody writes any more, ends the process: the first one's with the container."""
    data = b""
    while len(data) < count:
        part = os.read(source, count - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def preload(names: list[str]) -> None:
    """Imports what programs of this container will want, so that they need not wait for it."""
    for name in names:
        try:
            __import__(name)
        except ImportError:
            continue
    if "matplotlib" in sys.modules:
        import matplotlib.pyplot as plt

        plt.show = lambda *_, **__: save_figures(plt)


def save_figures(plt: Any) -> None:
    """What plt.show() does: each open figure becomes a file."""
    taken = len([name for name in os.listdir(WORK) if name.startswith("plot-")])
    for number in plt.get_fignums():
        taken += 1
        plt.figure(number).savefig(f"{WORK}/plot-{taken}.png")
    plt.close("all")


def write_files(files: dict[str, str]) -> dict[str, tuple[int, int, int]]:
    """Puts the program's files into its folder, and remembers how they look."""
    for name, content in files.items():
        path = os.path.join(WORK, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Never into what is there: it may be a link, or a pipe that nobody reads.
        with open(f"{WORK}/.written", "wb") as file:
            file.write(base64.b64decode(content))
        os.replace(f"{WORK}/.written", path)
    return {path: looks(path) for path in walk()}


def looks(path: str) -> tuple[int, int, int]:
    """What changes about a file that is written to."""
    try:
        about = os.lstat(path)
    except OSError:
        # A process that a program left running took it away.
        return 0, 0, 0
    return about.st_ino, about.st_mtime_ns, about.st_size


def walk() -> Iterator[str]:
    """Every path in the program's folder; links are not followed. Not os.walk, which recurses as deep as folders go."""
    folders = [WORK]
    while folders:
        try:
            entries = sorted(os.scandir(folders.pop()), key=lambda entry: entry.name)
        except OSError:
            # Its path is too long, or the program has closed it.
            continue
        inside = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        folders += reversed(inside)
        yield from (entry.path for entry in entries if not os.path.isdir(entry.path))


def send_files(before: dict[str, tuple[int, int, int]]) -> None:
    """Passes on the files that are new or changed; says when some were left out."""
    count = total = 0
    for path in walk():
        name = os.path.relpath(path, WORK)
        if before.get(path) == looks(path):
            continue
        content = read_file(path)
        short = len(os.fsencode(name)) <= NAME_BYTES
        if content is None or not short or count >= FILE_COUNT or total + len(content) > ALL_BYTES:
            send(b"C", os.fsencode(name)[:NAME_BYTES])
            continue
        count, total = count + 1, total + len(content)
        encoded = os.fsencode(name)
        send(b"F", struct.pack("!HI", len(encoded), len(content)) + encoded + content)


def read_file(path: str) -> bytes | None:
    """A regular file's content, or None for what is no such file, or too large."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode) or about.st_size > FILE_BYTES:
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(FILE_BYTES)


def fresh_names() -> dict[str, Any]:
    """The variables of a program that starts anew."""
    return {"__name__": "__main__", "__builtins__": __builtins__}


def run(request: dict[str, Any], names: dict[str, Any]) -> list[Any]:
    """In the program's own process: runs it on `names`; gives its last words."""
    inputs = request["inputs"]
    names.update((n, v) for n, v in inputs.items() if n.isidentifier() and not keyword.iskeyword(n))
    names["inputs"] = inputs
    before, result = names.get("result"), None
    said: tuple[str, ...] = ()
    try:
        program = compile(request["code"], "<program>", "exec", dont_inherit=True)
        said = program.co_names
        signal.signal(signal.SIGINT, signal.default_int_handler)
        exec(program, names)  # noqa: S102 - what this container is for
        end = {"outcome": "succeeded"}
    except MemoryError:
        names.clear()
        end = {"outcome": "limit", "code": "LIMIT_MEMORY"}
    except SystemExit as error:
        end = {"outcome": "succeeded"} if error.code in (None, 0) else failed(error)
    except BaseException as error:  # noqa: BLE001 - the outermost frame of the program
        end = failed(error)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    left = names.get("result")
    # What an earlier program of the session left is said again only by one that names it.
    if (
        end["outcome"] == "succeeded"
        and left is not None
        and (left is not before or "result" in said)
    ):
        result, end = as_json(left)
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # The program may have put anything there, or have closed it.
        with contextlib.suppress(Exception):
            stream.flush()  # type: ignore[union-attr]  # None among it
    return [end, result]


def run_once(request: dict[str, Any], said: int) -> None:
    """The only program of this process."""

    def say_nothing() -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, said, inheritable=False)
        os.close(null)

    # A process that the program leaves behind has no last word, and need not be waited for.
    os.register_at_fork(after_in_child=say_nothing)
    words = run(request, fresh_names())
    with os.fdopen(said, "wb") as file:
        file.write(json.dumps(words).encode())


def run_all(requests: int, said: int) -> None:
    """The programs of a session, on the same variables."""
    names = fresh_names()
    while True:
        request = json.loads(receive(struct.unpack("!I", receive(4, requests))[0], requests))
        begun = cpu_used()
        seconds = int(cpu_used(resource.RUSAGE_SELF) + request["cpu_seconds"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        words = run(request, names)
        if not names:
            os._exit(0)
        words += [cpu_used() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
        text = json.dumps(words).encode()
        with os.fdopen(os.dup(said), "wb") as file:
            file.write(struct.pack("!I", len(text)) + text)


def cpu_used(*whose: int) -> float:
    """What this process and those that it waited for have used, in seconds, as wait4 will tell."""
    used = map(resource.getrusage, whose or (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def as_json(value: Any) -> tuple[str | None, dict[str, str]]:
    """The result as text, and how the program ended with it."""
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, default=plain), {
            "outcome": "succeeded"
        }
    except (TypeError, ValueError, RecursionError) as error:
        message = f"result is not JSON: {error}"[:MESSAGE_CHARACTERS]
        return None, {"outcome": "failed", "code": "RESULT_NOT_JSON", "message": message}


def plain(value: Any) -> Any:
    """numpy's numbers and arrays as Python's own."""
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not in JSON")


def failed(error: BaseException) -> dict[str, str]:
    """What is said of an exception; the traceback, of the program's own lines, goes to stderr."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "<program>"]
    where = f"line {own[-1].lineno}: " if own else ""
    if isinstance(error, SyntaxError) and error.filename == "<program>":
        where = f"line {error.lineno}: "
    text = "".join(traceback.format_exception_only(type(error), error)[-1:]).strip()
    lines = [f"  line {frame.lineno}, in {frame.name}" for frame in own[-20:]]
    # Whatever the program has put into the place of its stderr, or whether it has closed it.
    with contextlib.suppress(OSError):
        as_written(2).write("\n".join(["Traceback (most recent call last):", *lines, text, ""]))
    return {
        "outcome": "failed",
        "code": "CODE_FAILED",
        "message": (where + text)[:MESSAGE_CHARACTERS],
    }


def confine(kept: list[int], pipes: list[tuple[int, int]]) -> None:
    """Leaves the program's process with its own output, and with the descriptors in `kept`."""
    os.setsid()
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(pipes[0][1], 1)
    os.dup2(pipes[1][1], 2)
    begin = 3
    for fd in sorted(kept):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, 256)
    stdout, stderr = as_written(1), as_written(2)
    vars(sys).update(stdout=stdout, __stdout__=stdout, stderr=stderr, __stderr__=stderr)
    os.chdir(WORK)


def as_written(fd: int) -> Any:
    """A text stream that holds no whole line back."""
    return open(fd, "w", encoding="utf-8", errors="surrogateescape", buffering=1, closefd=False)


class Waiting:
    """A process that waits for the only program that it will run: to make it takes as long as most programs do."""

    def __init__(self) -> None:
        pipes = [os.pipe() for _ in range(3)]
        theirs, self._requests = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                self._serve(theirs, pipes)
                status = 0
            finally:
                os._exit(status)
        for fd in (theirs, *(end for _, end in pipes)):
            os.close(fd)
        self.ends = [end for end, _ in pipes]
        """Where its output is read: stdout, stderr, last words."""

    def _serve(self, requests: int, pipes: list[tuple[int, int]]) -> None:
        said = pipes[2][1]
        confine([requests, said], pipes)
        # What every program does first is done once before, so that its memory is there.
        exec(compile("warm = [1]", "<warm>", "exec"), {})  # noqa: S102
        request = json.loads(receive(struct.unpack("!I", receive(4, requests))[0], requests))
        os.close(requests)
        seconds = int(cpu_used(resource.RUSAGE_SELF) + request["cpu_seconds"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        run_once(request, said)

    def begin(self, request: dict[str, Any]) -> None:
        """Has it run a program."""
        wanted = {name: request[name] for name in ("code", "inputs", "cpu_seconds")}
        text = json.dumps(wanted).encode()
        # One that was killed meanwhile, for memory, is said to be when its end is looked at.
        with contextlib.suppress(BrokenPipeError):
            write_all(self._requests, struct.pack("!I", len(text)) + text)
        os.close(self._requests)

    def end(self) -> None:
        """Ends it without a program."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in (self._requests, *self.ends):
            os.close(fd)


def pass_on(pid: int, ends: list[int]) -> tuple[bytes, int, resource.struct_rusage]:
    """Passes output on as it is written, until the program has ended; gives its last words."""
    stdout, stderr, said = ends
    tags, words = {stdout: b"O", stderr: b"E"}, b""
    open_ends = set(ends)
    while True:
        ready, _, _ = select.select(
            [0, *open_ends], [], [], END_SECONDS if said not in open_ends else None
        )
        if 0 in ready and not os.read(0, 1):
            os._exit(0)
        for fd in open_ends.intersection(ready):
            data = os.read(fd, PART_BYTES)
            if not data:
                open_ends.discard(fd)
            elif fd == said:
                words += data
            else:
                send(tags[fd], data)
        if said not in open_ends and not open_ends.intersection(ready):
            done, status, used = os.wait4(pid, os.WNOHANG)
            if done:
                return words, os.waitstatus_to_exitcode(status), used


class Programs:
    """The process that runs a session's programs; another one is made when it had to be killed."""

    def __init__(self) -> None:
        self.pid = 0
        self.ends: list[int] = []
        self.requests = -1
        self.cpu = 0.0
        """What its earlier programs used, in seconds."""

    def start(self) -> None:
        """Forks it."""
        pipes = [os.pipe() for _ in range(3)]
        theirs, self.requests = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                confine([theirs, pipes[2][1]], pipes)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                run_all(theirs, pipes[2][1])
            finally:
                os._exit(1)
        for fd in (theirs, *(end for _, end in pipes)):
            os.close(fd)
        self.ends = [end for end, _ in pipes]

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Runs one program; gives the last frame's content."""
        killed_before = out_of_memory()
        if not self.pid:
            self.start()
        text = json.dumps(request).encode()
        # From a process of its own, as the program's may not read yet and a pipe holds 64 KiB.
        writer = os.fork()
        if writer == 0:
            try:
                write_all(self.requests, struct.pack("!I", len(text)) + text)
            finally:
                os._exit(0)
        words, killed = self.listen(time.monotonic() + request["timeout_seconds"])
        os.waitpid(writer, 0)
        if words:
            end, result, cpu, peak = json.loads(words)
            if result is not None:
                send(b"R", result.encode("utf-8", "surrogatepass"))
            self.cpu += cpu
            facts = {"said": end, "status": 0, "cpu_ms": round(cpu * 1000)}
            return facts | {"peak_memory_bytes": peak * 1024, "killed": killed}
        status, used = self.end()
        memory = out_of_memory() > killed_before or status == 0
        said = {"outcome": "limit", "code": "LIMIT_MEMORY"} if memory and not killed else None
        cpu = round((used.ru_utime + used.ru_stime - self.cpu) * 1000)
        self.cpu = 0.0
        facts = {"said": said, "status": status, "cpu_ms": cpu, "killed": killed, "reset": True}
        return facts | {"peak_memory_bytes": used.ru_maxrss * 1024}

    def listen(self, deadline: float) -> tuple[bytes, str]:
        """Passes output on until the program has ended; gives its last words, and why it was interrupted."""
        stdout, stderr, said = self.ends
        tags, words, killed = {stdout: b"O", stderr: b"E"}, b"", ""
        while True:
            ready, _, _ = select.select(
                [0, *self.ends], [], [], max(0.0, deadline - time.monotonic())
            )
            is_over = time.monotonic() >= deadline
            if 0 in ready and not os.read(0, 1):
                os._exit(0)
            if killed and is_over:
                return b"", killed
            if not killed and (is_over or 0 in ready):
                killed, deadline = (
                    "asked" if 0 in ready else "time",
                    time.monotonic() + GRACE_SECONDS,
                )
                os.kill(self.pid, signal.SIGINT)
            for fd in (stdout, stderr):
                if fd in ready and (data := os.read(fd, PART_BYTES)):
                    send(tags[fd], data)
            if said in ready:
                data = os.read(said, PART_BYTES)
                words += data
                if not data:
                    return b"", killed
                if len(words) >= 4 and len(words) - 4 >= struct.unpack("!I", words[:4])[0]:
                    self.drain(tags)
                    return words[4:], killed

    def drain(self, tags: dict[int, bytes]) -> None:
        """What the program wrote before its last words."""
        while ready := select.select(list(tags), [], [], 0)[0]:
            for fd in ready:
                data = os.read(fd, PART_BYTES)
                if not data:
                    return
                send(tags[fd], data)

    def end(self) -> tuple[int, resource.struct_rusage]:
        """Kills it, with all that it started; its variables are gone."""
        os.kill(-1, signal.SIGKILL)
        _, status, used = os.wait4(self.pid, 0)
        for fd in (self.requests, *self.ends):
            os.close(fd)
        self.pid = 0
        return os.waitstatus_to_exitcode(status), used


def write_all(fd: int, data: bytes) -> None:
    """Writes all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def out_of_memory() -> int:
    """How often the kernel ended a process of this container for its memory."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(path, encoding="ascii") as file:
                found = dict(line.split() for line in file)
        except OSError:
            continue
        return int(found.get("oom_kill", 0))
    return 0


def end(words: bytes, status: int, used: resource.struct_rusage) -> dict[str, Any]:
    """The last frame's content."""
    try:
        said, result = json.loads(words)
    except (ValueError, TypeError):
        said, result = None, None
    if said is None and out_of_memory():
        said = {"outcome": "limit", "code": "LIMIT_MEMORY"}
    if result is not None:
        send(b"R", result.encode("utf-8", "surrogatepass"))
    cpu = round((used.ru_utime + used.ru_stime) * 1000)
    return {
        "said": said,
        "status": status,
        "cpu_ms": cpu,
        "peak_memory_bytes": used.ru_maxrss * 1024,
    }


def forward(listening: socket.socket) -> None:
    """Passes what programs say to the proxy's port on to the proxy's socket file, in a process of its own."""
    import asyncio

    async def copy(source: Any, sink: Any) -> None:
        while data := await source.read(PART_BYTES):
            sink.write(data)
            await sink.drain()
        sink.write_eof()

    async def serve(reader: Any, writer: Any) -> None:
        try:
            there, to_there = await asyncio.open_unix_connection(PROXY)
            await asyncio.gather(copy(reader, to_there), copy(there, writer))
        except OSError:
            pass
        finally:
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(serve, sock=listening)
        await server.serve_forever()

    asyncio.run(listen())


class Forwarder:
    """Keeps a process that forwards, where there is a proxy."""

    def __init__(self) -> None:
        self.pid = 0
        there = os.path.exists(PROXY)
        self.listening = socket.create_server(("127.0.0.1", 3128)) if there else None

    def see_to_it(self) -> None:
        """Starts it when it does not run."""
        if self.listening is None or (self.pid and not os.waitpid(self.pid, os.WNOHANG)[0]):
            return
        self.pid = os.fork()
        if self.pid == 0:
            try:
                forward(self.listening)
            finally:
                os._exit(1)


def receive_request() -> dict[str, Any]:
    """What the service asks for next."""
    head = receive(4)
    # An interrupt that came when its program had ended already.
    while head[0] == INTERRUPT:
        head = head[1:] + receive(1)
    request: dict[str, Any] = json.loads(receive(struct.unpack("!I", head)[0]))
    return request


def serve_session(forwarder: Forwarder) -> None:
    """Serves a session until the service closes its end."""
    programs = Programs()
    while True:
        request = receive_request()
        facts: dict[str, Any] = {}
        match request["op"]:
            case "run":
                forwarder.see_to_it()
                facts = written(request["files"])
                if not facts:
                    before = {path: looks(path) for path in walk()}
                    facts = programs.call(request)
                    send_files(before)
            case "write":
                facts = written(request["files"])
            case "read":
                facts = send_file(request["name"])
            case "list":
                send(b"R", json.dumps(listed()).encode("utf-8", "backslashreplace"))
        send(b"X", json.dumps(facts).encode())


def listed() -> list[tuple[str, int]]:
    """The regular files, with their sizes."""
    found = []
    for path in sorted(walk()):
        about = os.lstat(path) if os.path.lexists(path) else None
        if about is not None and stat.S_ISREG(about.st_mode):
            found.append((os.path.relpath(path, WORK), about.st_size))
    return found[:LISTED]


def written(files: dict[str, str]) -> dict[str, Any]:
    """Writes files; says what is wrong with them."""
    try:
        write_files(files)
    except OSError as error:
        return {"wrong": os.strerror(error.errno or 0)}
    return {}


def send_file(name: str) -> dict[str, Any]:
    """Passes one file on."""
    content = read_file(os.path.join(WORK, name))
    if content is None:
        return {"wrong": "it is not there, is no regular file, or is too large"}
    encoded = os.fsencode(name)
    send(b"F", struct.pack("!HI", len(encoded), len(content)) + encoded + content)
    return {}


def serve_one(request: dict[str, Any], forwarder: Forwarder, waiting: Waiting) -> None:
    """Serves one program."""
    forwarder.see_to_it()
    before = write_files(request["files"])
    waiting.begin(request)
    facts = end(*pass_on(waiting.pid, waiting.ends))
    # Whatever the program started ends with it, so that the files stand still.
    for _ in range(3):
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            break
        time.sleep(0.001)
    send_files(before)
    send(b"X", json.dumps(facts).encode())


def main() -> None:
    """Serves one program, or a session."""
    preload(sys.argv[1:])
    gc.freeze()
    forwarder = Forwarder()
    waiting = Waiting()
    send(b"Y")
    request = receive_request()
    if request["op"] == "open":
        waiting.end()
        serve_session(forwarder)
    serve_one(request, forwarder, waiting)


if __name__ == "__main__":
    main()
