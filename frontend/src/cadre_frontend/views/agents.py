"""Remote agents: where each is, what it can do, and how it is."""

import streamlit as st

from cadre_client import Agent
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.problems import errors_shown
from cadre_frontend.widgets.texts import plain

COLOURS = {"healthy": "green", "unreachable": "red"}
HOW = "`cadre agents add https://agent.example.com`"


def draw_agent(agent: Agent) -> None:
    """One agent."""
    with st.container(border=True):
        name, health, address, seen = st.columns([2, 1, 3, 2], vertical_alignment="center")
        name.markdown(f"**{plain(agent.name)}**")
        with health:
            st.badge(agent.health, color=COLOURS.get(agent.health, "orange"))  # type: ignore[arg-type] # by the table
        address.caption(plain(f"{agent.url} ({agent.protocol_binding})"))
        if agent.last_seen_time:
            seen.caption(f"seen {agent.last_seen_time:%Y-%m-%d %H:%M:%S} UTC")
        if agent.health_detail:
            st.warning(plain(agent.health_detail))
        if agent.description:
            st.markdown(plain(agent.description))
        for skill in agent.skills:
            about = f": {plain(skill.description)}" if skill.description else ""
            st.markdown(f"- **{plain(skill.name)}**{about}")


def draw_agents() -> None:
    """All of them, as they are now."""
    with errors_shown():
        agents = gateway().agents()
        if not agents:
            st.info(
                f"No remote agent is registered. Add one by the address of its card: {HOW}. Agents can also register "
                "themselves, at `/api/v1/agents`. A workflow hands work to one with `agent: NAME`."
            )
        for agent in agents:
            draw_agent(agent)


st.title("Agents")
st.fragment(draw_agents, run_every=5.0)()
