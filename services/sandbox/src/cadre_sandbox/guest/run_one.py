"""Runs one program in a container: `python -c <this file> MODULE...`, with frames on stdin and stdout.

It imports the modules, says READY, waits for one request, and forks a process for the program, whose output and files
it passes on. When stdin closes, as it does when the service dies, everything in the container ends. Nothing that leaves
here is trusted: the walls are the container's.
"""

import base64
import json
import keyword
import os
import resource
import select
import signal
import stat
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

WORK = "/work"
FILE_COUNT, FILE_BYTES, ALL_BYTES = 100, 10 * 1024 * 1024, 32 * 1024 * 1024
NAME_BYTES, MESSAGE_CHARACTERS, PART_BYTES = 200, 2000, 64 * 1024


def send(tag: bytes, payload: bytes = b"") -> None:
    """Writes a frame to the service."""
    data = memoryview(struct.pack("!cI", tag, len(payload)) + payload)
    while data:
        data = data[os.write(1, data) :]


def receive(count: int) -> bytes:
    """Exactly `count` bytes; ends the container when the service has gone."""
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
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
        with open(path, "wb") as file:
            file.write(base64.b64decode(content))
    return {path: looks(path) for path in walk()}


def looks(path: str) -> tuple[int, int, int]:
    """What changes about a file that is written to."""
    about = os.lstat(path)
    return about.st_ino, about.st_mtime_ns, about.st_size


def walk() -> Iterator[str]:
    """Every path in the program's folder; links are not followed."""
    for folder, _, names in os.walk(WORK):
        yield from (os.path.join(folder, name) for name in sorted(names))


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
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_size > FILE_BYTES:
            return None
        return file.read(FILE_BYTES)


def run(request: dict[str, Any], said: int) -> None:
    """In the program's own process: runs it, and leaves its last words in `said`."""
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    inputs = request["inputs"]
    names.update((n, v) for n, v in inputs.items() if n.isidentifier() and not keyword.iskeyword(n))
    names["inputs"] = inputs
    result = None
    try:
        program = compile(request["code"], "<program>", "exec", dont_inherit=True)
        exec(program, names)  # noqa: S102 - what this container is for
        end = {"outcome": "succeeded"}
        if names.get("result") is not None:
            result, end = as_json(names["result"])
    except MemoryError:
        names.clear()
        end = {"outcome": "limit", "code": "LIMIT_MEMORY"}
    except SystemExit as error:
        end = {"outcome": "succeeded"} if error.code in (None, 0) else failed(error)
    except BaseException as error:  # noqa: BLE001 - the outermost frame of the program
        end = failed(error)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with os.fdopen(said, "wb") as file:
        file.write(json.dumps([end, result]).encode())


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
    sys.stderr.write("\n".join(["Traceback (most recent call last):", *lines, text, ""]))
    return {
        "outcome": "failed",
        "code": "CODE_FAILED",
        "message": (where + text)[:MESSAGE_CHARACTERS],
    }


def confine(request: dict[str, Any], pipes: list[tuple[int, int]]) -> int:
    """Leaves the program's process with its own three ends and its limits; gives the one for its last words."""
    os.setsid()
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    seconds = int(request["cpu_seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    said = os.dup(pipes[2][1])
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(pipes[0][1], 1)
    os.dup2(pipes[1][1], 2)
    os.closerange(3, said)
    os.closerange(said + 1, 256)
    sys.stdout = as_written(1)
    sys.stderr = as_written(2)
    os.chdir(WORK)
    return said


def as_written(fd: int) -> Any:
    """A text stream that holds no whole line back."""
    return open(fd, "w", encoding="utf-8", errors="surrogateescape", buffering=1, closefd=False)


def start(request: dict[str, Any]) -> tuple[int, list[int]]:
    """Forks the program's process; gives its id and the ends to read: stdout, stderr, last words."""
    pipes = [os.pipe() for _ in range(3)]
    pid = os.fork()
    if pid:
        for _, theirs in pipes:
            os.close(theirs)
        return pid, [ours for ours, _ in pipes]
    status = 1
    try:
        said = confine(request, pipes)
        run(request, said)
        status = 0
    finally:
        os._exit(status)


def pass_on(pid: int, ends: list[int]) -> tuple[bytes, int, resource.struct_rusage]:
    """Passes output on as it is written, until the program has ended; gives its last words."""
    stdout, stderr, said = ends
    tags, words = {stdout: b"O", stderr: b"E"}, b""
    open_ends = set(ends)
    while True:
        ready, _, _ = select.select(
            [0, *open_ends], [], [], 0.01 if said not in open_ends else None
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


def main() -> None:
    """Serves one program."""
    preload(sys.argv[1:])
    send(b"Y")
    request = json.loads(receive(struct.unpack("!I", receive(4))[0]))
    before = write_files(request["files"])
    pid, ends = start(request)
    facts = end(*pass_on(pid, ends))
    # Whatever the program started ends with it, so that the files stand still.
    for _ in range(3):
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            break
        time.sleep(0.001)
    send_files(before)
    send(b"X", json.dumps(facts).encode())


if __name__ == "__main__":
    main()
