"""`python -m cadre_sandbox`"""

from cadre_kit.serving import run_service
from cadre_kit.settings import load_settings
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

if __name__ == "__main__":
    settings = load_settings(SandboxSettings)
    run_service("sandbox", settings, port=settings.sandbox_port, build=build)
