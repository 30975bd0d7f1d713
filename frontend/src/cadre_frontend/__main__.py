"""`python -m cadre_frontend`: serves the pages until SIGTERM or SIGINT."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamlit.starlette import App
from streamlit.web import bootstrap
from streamlit.web.server.starlette.starlette_server import UvicornRunner

from cadre_frontend.headers import SecurityHeaders
from cadre_frontend.settings import load_settings

_APP = Path(__file__).with_name("app.py")


def main() -> None:
    """Serves the pages; ends with status 2 when a setting is wrong."""
    try:
        settings = load_settings()
    except ValueError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - there is no log yet
        sys.exit(2)
    options: dict[str, Any] = {
        "server_address": settings.host,
        "server_port": settings.port,
        "server_headless": True,
        "server_fileWatcherType": "none",
        "server_maxUploadSize": 2,
        "browser_gatherUsageStats": False,
        "client_showErrorDetails": "none",
        "client_toolbarMode": "viewer",
        # Per scheme: a colour for both would make one light theme of the two.
        "theme_light_primaryColor": "#3b5bdb",
        "theme_dark_primaryColor": "#748ffc",
        "theme_headingFontSizes": ["2rem", "1.4rem", "1.15rem", "1rem", "1rem", "1rem"],
        "theme_baseRadius": "0.5rem",
    }
    bootstrap.load_config_options(flag_options=options)
    # Given here, because a file would put the secret on the disk once more.
    openid = settings.openid
    secrets = {"auth": dict(openid.as_streamlit_has_it())} if openid is not None else None
    # It ends by the signal that ended it.
    with suppress(KeyboardInterrupt):
        UvicornRunner(SecurityHeaders(App(_APP, secrets=secrets))).run()


if __name__ == "__main__":
    main()
