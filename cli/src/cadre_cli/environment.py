"""The environment that the platform's programs are started with."""

from collections.abc import Mapping
from pathlib import Path

from cadre_cli.settings import PlatformSettings, gateway_url, reachable_host, url_of

__all__ = ["child_environment", "prefect_database", "search_keys", "without_provider_keys"]

# Keys of services that the executor's web_search asks.
_SEARCH_KEYS = ("BRAVE_API_KEY", "SERPER_API_KEY", "TAVILY_API_KEY")
_AGENT_SECRETS = "AGENT_"
# What Prefect calls the URL of its database, now and before.
_PREFECT_DATABASES = (
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
)
# Nothing is reported to anyone, and nothing is fetched at a start.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Ten processes and 1.7 GB for jobs that nothing here starts.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "STREAMLIT_SERVER_HEADLESS": "true",
    "PYTHONUNBUFFERED": "1",
}


def child_environment(settings: PlatformSettings, given: Mapping[str, str]) -> dict[str, str]:
    """What was `given`, and where everything is: a port that was moved holds for all. A given address stays."""
    home = settings.home.resolve()
    prefect = url_of(settings, settings.prefect_port)
    mlflow = url_of(settings, settings.mlflow_port)
    return {
        **_addresses(settings),
        "CADRE_GATEWAY_URL": gateway_url(settings),
        "CADRE_MLFLOW_URL": mlflow,
        "CADRE_PREFECT_URL": prefect,
        "CADRE_TRACES_ENDPOINT": f"{mlflow}/v1/traces",
        "PREFECT_API_URL": f"{prefect}/api",
        **_prefect_database(home / "prefect", given),
        **given,
        **_QUIET,
        "CADRE_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        **_direct_loopback(given),
    }


def prefect_database(folder: Path) -> str:
    """The URL of Prefect's database in a folder, where Prefect would put it, with the executor's plug-in."""
    return f"sqlite+aiosqlite:///{folder / 'prefect.db'}?plugin=cadre_prefect"


def without_provider_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The same without `..._API_KEY`s that are not the platform's own: only the llm-proxy talks to providers."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("CADRE_") or not name.upper().endswith("_API_KEY")
    }


def search_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The keys of search services and of remote agents, which only the executor asks."""
    return {
        name: value
        for name, value in environment.items()
        if name in _SEARCH_KEYS or name.startswith(_AGENT_SECRETS)
    }


def _addresses(settings: PlatformSettings) -> dict[str, str]:
    host = reachable_host(settings.host)
    ports = {
        "EXECUTOR": settings.executor_port,
        "LLM_PROXY": settings.llm_proxy_port,
        "SANDBOX": settings.sandbox_port,
        "MEMORY": settings.memory_port,
    }
    return {f"CADRE_{name}_ADDRESS": f"{host}:{port}" for name, port in ports.items()}


def _prefect_database(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    if any(name in given for name in _PREFECT_DATABASES):
        return {}
    return {_PREFECT_DATABASES[0]: prefect_database(folder)}


def _direct_loopback(given: Mapping[str, str]) -> dict[str, str]:
    """A proxy cannot reach this machine's loopback, and gRPC, httpx and requests would all ask it to."""
    already = given.get("NO_PROXY") or given.get("no_proxy") or ""
    hosts = ",".join(filter(None, [already, "localhost,127.0.0.1,::1"]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}
