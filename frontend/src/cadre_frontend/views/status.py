"""The state of every service, and which models can be used."""

from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import streamlit as st

from cadre_client import GatewayUnreachable, Model, ModelGroup, ServiceStatus
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.problems import errors_shown
from cadre_frontend.widgets.texts import plain

COLOURS = {"ready": "green", "starting": "orange"}
LINKED = ("gateway", "mlflow", "prefect")
ABILITIES = {"json_schema": "JSON", "reasoning": "thinking"}
NEEDED = ("gateway", "executor", "llm-proxy", "sandbox", "memory")
WHAT = {
    "gateway": "the door: HTTP API and webhooks",
    "executor": "stores and runs workflows",
    "llm-proxy": "talks to models and counts what they cost",
    "sandbox": "runs code that nobody trusts",
    "memory": "what agents remember",
    "mlflow": "traces of every run",
    "prefect": "schedules",
    "frontend": "these pages",
}


def draw_service(service: ServiceStatus) -> None:
    """One service."""
    with st.container(border=True):
        name, state, what, place = st.columns([1.2, 1, 3, 2], vertical_alignment="center")
        name.markdown(f"**{service.name}**")
        with state:
            st.badge(service.status, color=COLOURS.get(service.status, "red"))  # type: ignore[arg-type] # by the table
        what.caption(plain(service.detail or WHAT.get(service.name, "")))
        linked = service.name in LINKED and service.status == "ready"
        if linked:
            place.markdown(f"[{service.address}]({link(service)})")
        else:
            place.caption(plain(service.address))


def link(service: ServiceStatus) -> str:
    """Where a browser finds it."""
    address = service.address if "://" in service.address else f"http://{service.address}"
    return f"{address}/docs" if service.name == "gateway" else address


def draw_services(services: list[ServiceStatus]) -> None:
    """All services, and what to do when one is down. The frontend is there: you are looking at it."""
    down = [s.name for s in services if s.status != "ready"]
    if needed := [name for name in down if name in NEEDED]:
        st.error(
            f"{', '.join(needed)} {'is' if len(needed) == 1 else 'are'} not ready. The supervisor restarts what died; "
            "`cadre status` and the logs in `CADRE_HOME/logs` say more."
        )
    elif down:
        st.info(
            f"{', '.join(down)} still starting or not running. Workflows run without; it catches up."
        )
    for service in services:
        draw_service(service)
    place = urlsplit(st.context.url or "").netloc
    draw_service(ServiceStatus(name="frontend", address=place, status="ready"))


def draw_models(models: Sequence[Model]) -> None:
    """Which models can be used, and what the others need."""
    st.header("Models")
    usable = [model for model in models if model.available]
    for model in usable:
        with st.container(border=True):
            name, default, context, price = st.columns([3, 1, 2, 2], vertical_alignment="center")
            name.markdown(f"**{plain(model.id)}**")
            if model.default:
                with default:
                    st.badge("default", color="green")
            context.caption(
                f"{model.context_tokens:,} tokens"
                if model.context_tokens
                else "context size unknown"
            )
            price.caption(price_of(model))
            if model.abilities:
                name.caption(", ".join(ABILITIES.get(each, each) for each in model.abilities))
    if missing := [model for model in models if not model.available]:
        with st.expander(f"{len(missing)} models need something first"):
            for model in missing:
                st.markdown(f"**{plain(model.id)}**: {plain(model.unavailable_reason)}")


def draw_groups(groups: Sequence[ModelGroup]) -> None:
    """The operator's groups of models, and how each model of theirs is now."""
    if groups:
        st.subheader("Groups", help="Named like a model. Asked in an order drawn by weight.")
    for group in groups:
        with st.container(border=True):
            st.markdown(f"**{plain(group.name)}**")
            for each in group.deployments:
                name, weight, now = st.columns([4, 1, 3], vertical_alignment="center")
                name.markdown(plain(each.id) + (f" at {plain(each.host)}" if each.host else ""))
                weight.caption(f"weight {each.weight:g}")
                now.caption(plain(each.standing))
            if group.fallbacks:
                st.caption(f"then {plain(', '.join(group.fallbacks))}")


def price_of(model: Model) -> str:
    """US dollars per million tokens."""
    if model.input_usd_per_million is None or model.output_usd_per_million is None:
        return "price unknown"
    if model.input_usd_per_million == 0 and model.output_usd_per_million == 0:
        return "runs here, costs nothing"
    return f"${model.input_usd_per_million:f} in, ${model.output_usd_per_million:f} out per million"


def draw_state() -> None:
    """The services as they are now."""
    with errors_shown():
        draw_services(gateway().status())


st.title("Status")
st.fragment(draw_state, run_every=5.0)()
# When nobody answers at all, the services' box has said so.
with errors_shown(), suppress(GatewayUnreachable):
    known = gateway().models()
    draw_models(known.models)
    draw_groups(known.groups)
