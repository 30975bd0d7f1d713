"""`python -m cadre_llm_proxy` runs the service."""

from cadre_kit.serving import run_service
from cadre_kit.settings import load_settings
from cadre_llm_proxy.app import build
from cadre_llm_proxy.settings import Settings

if __name__ == "__main__":
    settings = load_settings(Settings)
    run_service("llm-proxy", settings, port=settings.llm_proxy_port, build=build)
