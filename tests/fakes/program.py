"""A small program for a supervisor to keep up: `python -m tests.fakes.program --port N` and what it is to do wrong."""

import argparse
import json
import signal
import socket
import subprocess
import sys
import time


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="listens only after this long")
    parser.add_argument("--fail", default="", help="ends at once, with this as the reason it logs")
    parser.add_argument("--stubborn", action="store_true", help="ignores SIGTERM")
    parser.add_argument("--child", action="store_true", help="has a child process, which stays")
    return parser.parse_args()


def main() -> None:
    """Listens until it is stopped."""
    asked = _arguments()
    if asked.fail:
        said = {"event": "service_failed", "reason": asked.fail, "resolution": "mend it"}
        print(json.dumps(said), file=sys.stderr)
        sys.exit(1)
    if asked.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if asked.child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    time.sleep(asked.delay)
    with socket.create_server(("127.0.0.1", asked.port)) as listener:
        print("listening")
        while True:
            listener.accept()[0].close()


if __name__ == "__main__":
    main()
