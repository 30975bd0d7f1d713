"""The programs that make up a local platform, and what each is told."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from cadre_cli.environment import child_environment, search_keys, without_provider_keys
from cadre_cli.settings import (
    PlatformSettings,
    gateway_url,
    reachable_host,
    url_of,
    variables_in_env_file,
)
from cadre_cli.supervisor.probes import HttpProbe, TcpProbe, WorkerProbe
from cadre_cli.supervisor.programs import Pace, Platform, Program
from cadre_cli.supervisor.state import Home

__all__ = ["home_of", "local_platform", "stop_seconds"]

_PREFECT_POOL = "cadre"
_WORKER = ("worker", "start", "--pool", _PREFECT_POOL, "--type", "process", "--name", "local")
# MLflow and Prefect take the processor for long when they start; nobody waits for them.
_BEHIND_NICENESS = 10
# They come up even if the others do not: they may show why.
_BEHIND_SECONDS = 30.0
# They have no calls that a user waits for, and Prefect's worker would take longer than all others together.
_BEHIND_STOP_SECONDS = 3.0


def home_of(settings: PlatformSettings) -> Home:
    """The home folder, absolute: programs may change their folder."""
    return Home(path=settings.home.resolve())


def stop_seconds(settings: PlatformSettings) -> float:
    """How long programs get to end: what their calls may take, and a second to close up."""
    return max(6.0, settings.drain_seconds + 1.0)


def local_platform(settings: PlatformSettings) -> Platform:
    """The platform on this machine."""
    environment = child_environment(settings, {**variables_in_env_file(), **os.environ})
    services = _services(settings, environment)
    return Platform(
        home=home_of(settings),
        programs=(*services, *_behind(settings, environment, services)),
        usable=_asking_the_gateway(settings, "/readyz"),
        pace=Pace(stop_seconds=stop_seconds(settings)),
    )


def _services(settings: PlatformSettings, environment: Mapping[str, str]) -> list[Program]:
    keyless = without_provider_keys(environment)
    return [
        _gateway(settings, keyless),
        _service(settings, "executor", settings.executor_port, keyless | search_keys(environment)),
        _service(settings, "llm-proxy", settings.llm_proxy_port, environment),
        _service(settings, "sandbox", settings.sandbox_port, keyless),
        _service(settings, "memory", settings.memory_port, keyless),
        _page(settings, "frontend", settings.frontend_port, keyless, health="/_stcore/health"),
    ]


def _service(
    settings: PlatformSettings, name: str, port: int, environment: Mapping[str, str]
) -> Program:
    module = f"cadre_{name.replace('-', '_')}"
    return Program(
        name=name,
        command=(sys.executable, "-m", module),
        environment=environment,
        host=settings.host,
        port=port,
        port_setting=f"{module.upper()}_PORT",
        ready=TcpProbe(host=reachable_host(settings.host), port=port),
    )


def _gateway(settings: PlatformSettings, environment: Mapping[str, str]) -> Program:
    page = _page(settings, "gateway", settings.gateway_port, environment, health="/healthz")
    return replace(page, url=gateway_url(settings), ready=_asking_the_gateway(settings, "/healthz"))


def _asking_the_gateway(settings: PlatformSettings, path: str) -> HttpProbe:
    cert, key = settings.gateway_client_cert_file, settings.gateway_client_key_file
    return HttpProbe(url=gateway_url(settings) + path, shown=(cert, key) if cert and key else None)


def _page(
    settings: PlatformSettings, name: str, port: int, environment: Mapping[str, str], *, health: str
) -> Program:
    url = url_of(settings, port)
    service = _service(settings, name, port, environment)
    return replace(service, url=url, ready=HttpProbe(url=url + health))


def _behind(
    settings: PlatformSettings, environment: Mapping[str, str], services: list[Program]
) -> list[Program]:
    keyless = without_provider_keys(environment)
    mlflow = _page(settings, "mlflow", settings.mlflow_port, keyless, health="/health")
    prefect = _page(settings, "prefect", settings.prefect_port, keyless, health="/api/health")
    worker = Program(
        name="prefect-worker",
        command=(sys.executable, "-m", "prefect", *_WORKER),
        environment=keyless,
        ready=WorkerProbe(api_url=f"{prefect.url}/api", pool=_PREFECT_POOL),
        essential=False,
        counted=False,
        after=("prefect",),
        niceness=_BEHIND_NICENESS,
        stop_seconds=_BEHIND_STOP_SECONDS,
    )
    mlflow = replace(mlflow, command=_mlflow_command(settings))
    prefect = replace(prefect, command=_prefect_command(settings))
    return [_after(services, mlflow), _after(services, prefect), worker]


def _after(services: list[Program], program: Program) -> Program:
    return replace(
        program,
        essential=False,
        after=tuple(service.name for service in services),
        after_seconds=_BEHIND_SECONDS,
        niceness=_BEHIND_NICENESS,
        stop_seconds=_BEHIND_STOP_SECONDS,
    )


def _mlflow_command(settings: PlatformSettings) -> tuple[str, ...]:
    home, port = home_of(settings).path, settings.mlflow_port
    # Only names of this machine: a page in a browser must not reach it through a name of its own.
    names = dict.fromkeys(["localhost", "127.0.0.1", settings.host])
    return (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", settings.host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
        *("--artifacts-destination", str(home / "mlflow-artifacts")),
        *("--allowed-hosts", ",".join(f"{name},{name}:{port}" for name in names)),
    )


def _prefect_command(settings: PlatformSettings) -> tuple[str, ...]:
    address = ("--host", settings.host, "--port", str(settings.prefect_port))
    return (sys.executable, "-m", "prefect", "server", "start", *address, "--analytics-off")
