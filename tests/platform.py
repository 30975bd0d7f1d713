"""The real platform as processes on free ports, in a folder of its own, for the tests that need all of it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.ports import free_port
from tests.preloaded import Forked, fork

from cadre_client import Client, ClientTls
from cadre_kit.credentials import Credentials, load_credentials
from cadre_kit.health import is_serving
from cadre_kit.settings import ServiceSettings

GRPC_SERVICES = ("executor", "llm-proxy", "sandbox", "memory")
SERVICES = (*GRPC_SERVICES, "gateway")
_START_SECONDS = 180.0
_STOP_SECONDS = 15.0


class Platform:
    """Services as processes. `start`, `kill` and `stop` take a service's name, such as llm-proxy."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self.ports = {name: free_port() for name in (*SERVICES, "frontend", "mlflow", "prefect")}
        self._settings = settings
        self._processes: dict[str, subprocess.Popen[bytes] | Forked] = {}
        self._clients: list[Client | httpx.Client] = []

    @property
    def gateway_url(self) -> str:
        """Where the gateway answers."""
        return f"{self._gateway_scheme}://127.0.0.1:{self.ports['gateway']}"

    @property
    def tls(self) -> ClientTls:
        """What a client of the gateway trusts and shows, by the platform's settings."""
        return ClientTls(
            ca_file=self._file("CADRE_GATEWAY_CA_FILE"),
            cert_file=self._file("CADRE_GATEWAY_CLIENT_CERT_FILE"),
            key_file=self._file("CADRE_GATEWAY_CLIENT_KEY_FILE"),
        )

    @property
    def frontend_url(self) -> str:
        """Where the pages are, once the frontend was started."""
        return f"http://127.0.0.1:{self.ports['frontend']}"

    @property
    def api_key(self) -> str:
        """The key that the gateway made."""
        return (self.home / "api-key").read_text().strip()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this platform; no provider's key of the machine is in it."""
        kept = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        ports = {f"CADRE_{_variable(n)}_PORT": str(port) for n, port in self.ports.items()}
        addresses = {
            f"CADRE_{_variable(n)}_ADDRESS": f"127.0.0.1:{self.ports[n]}" for n in GRPC_SERVICES
        }
        urls = {
            f"CADRE_{_variable(n)}_URL": f"http://127.0.0.1:{self.ports[n]}"
            for n in ("mlflow", "prefect")
        }
        urls["CADRE_GATEWAY_URL"] = self.gateway_url
        home = {"CADRE_HOME": str(self.home), "CADRE_TRACES_ENDPOINT": ""}
        return {**kept, **ports, **addresses, **urls, **home, **self._settings}

    @property
    def credentials(self) -> Credentials:
        """What calls of its services need."""
        own = {k.removeprefix("CADRE_").lower(): v for k, v in self._settings.items()}
        known = {k: v for k, v in own.items() if k in ServiceSettings.model_fields}
        return load_credentials(ServiceSettings.model_validate({**known, "home": self.home}))

    def client(self) -> Client:
        """A client of the gateway, closed with the platform."""
        client = Client(self.gateway_url, self.api_key, tls=self.tls)
        self._clients.append(client)
        return client

    def http(self) -> httpx.Client:
        """Plain requests to the gateway, without a key; closed with the platform."""
        client = httpx.Client(base_url=self.gateway_url, timeout=30, trust_env=False)
        self._clients.append(client)
        return client

    def cadre(self, *arguments: str, seconds: float = 300.0) -> subprocess.CompletedProcess[str]:
        """What the command line does with this platform."""
        return subprocess.run(
            [sys.executable, "-m", "cadre_cli", *arguments],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def pid(self, name: str) -> int:
        """The process id of a running service."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """What a service has logged so far."""
        return (self.home / f"{name}.log").read_text()

    def start(self, *names: str) -> None:
        """Starts services and returns when all answer. Raises AssertionError with the log of one that does not."""
        for name in names:
            self._processes[name] = self._started(name)
        for name in names:
            self._await(name)

    def kill(self, name: str) -> None:
        """Ends a service at once, as a crash would."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(_STOP_SECONDS)

    @contextmanager
    def suspended(self, name: str) -> Iterator[None]:
        """Has a service hang, as on a machine that is far too busy, until the block ends."""
        process = self._processes[name]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def stop(self, *names: str) -> None:
        """Asks services to end, all when none is named, and waits. Raises TimeoutExpired for one that stays."""
        ending = {name: self._processes.pop(name) for name in names or tuple(self._processes)}
        for process in ending.values():
            process.terminate()
        for process in ending.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def close_clients(self) -> None:
        """Closes the connections of the clients that were given out."""
        for client in self._clients:
            client.close()

    @property
    def _gateway_scheme(self) -> str:
        return "https" if "CADRE_GATEWAY_TLS_CERT_FILE" in self._settings else "http"

    def _file(self, variable: str) -> Path | None:
        name = self._settings.get(variable)
        return Path(name) if name else None

    def _started(self, name: str) -> subprocess.Popen[bytes] | Forked:
        module = f"cadre_{name.replace('-', '_')}"
        with (self.home / f"{name}.log").open("ab") as log:
            if name in SERVICES:
                return fork(module, env=self.environment, cwd=self.home, log=log)
            return subprocess.Popen(
                [sys.executable, "-m", module],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _await(self, name: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers(name):
            ended = self._processes[name].poll()
            if ended is not None or time.monotonic() > deadline:
                raise AssertionError(f"{name} did not start (status {ended}):\n{self.log(name)}")
            time.sleep(0.05)

    def _answers(self, name: str) -> bool:
        address = f"127.0.0.1:{self.ports[name]}"
        if name in GRPC_SERVICES:
            # In a thread of its own: the caller's may have a loop running, as Playwright's does.
            with ThreadPoolExecutor(1) as thread:
                asked = is_serving(address, self.credentials)
                return thread.submit(asyncio.run, asked).result()
        path = "/_stcore/health" if name == "frontend" else "/healthz"
        url = f"http://{address}" if name == "frontend" else self.gateway_url
        verified = self.tls.context() if url.startswith("https:") else False
        try:
            return httpx.get(url + path, timeout=2, verify=verified).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def platform(home: Path, *names: str, **settings: str) -> Iterator[Platform]:
    """The five services, or those named, running until the block ends; `settings` are environment variables."""
    running = Platform(home, settings)
    try:
        running.start(*(names or SERVICES))
        yield running
    finally:
        running.close_clients()
        running.stop()


def eventually(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Waits until `condition` is true. Raises AssertionError naming it after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{condition} did not come true within {seconds} s")
        time.sleep(0.05)


async def eventually_async(
    condition: Callable[[], Awaitable[object]], *, seconds: float = 30.0
) -> None:
    """As `eventually`, of a condition that is awaited."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{condition} did not come true within {seconds} s")
        await asyncio.sleep(0.05)


def credentials_in(home: Path) -> Credentials:
    """What calls of the services in a folder need."""
    return load_credentials(ServiceSettings(home=home))


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()
