"""The workflows: what there is, what each looks like, and a form to run it."""

import streamlit as st

from cadre_client import Workflow
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.amounts import ago
from cadre_frontend.widgets.diagram import draw
from cadre_frontend.widgets.forms import inputs_form
from cadre_frontend.widgets.problems import errors_shown, show_problems
from cadre_frontend.widgets.texts import plain

HELLO = """\
# yaml-language-server: $schema=http://127.0.0.1:7400/api/v1/schema
schema_version: "1.0"
flow:
  name: hello
  description: Greets somebody.
state:
  fields:
    name: {type: str, default: world, description: Whom to greet}
    greeting: {type: str, default: ""}
nodes:
  - id: greet
    prompt: "Say hello to {state.name} in one short, friendly sentence."
    llm: {max_tokens: 60}
    outputs: [greeting]
edges:
  - {from: START, to: greet}
  - {from: greet, to: END}
"""


def open_workflow(name: str | None) -> None:
    """Shows a workflow, or the list, from the next drawing on."""
    if name is None:
        st.query_params.clear()
    else:
        st.query_params["workflow"] = name


def draw_list() -> None:
    """All workflows, one a row."""
    st.title("Workflows")
    workflows = gateway().workflows()
    if not workflows:
        draw_empty()
    for workflow in workflows:
        with st.container(border=True):
            name, what, saved = st.columns([2, 5, 2], vertical_alignment="center")
            name.button(
                workflow.name,
                key=f"open-{workflow.name}",
                type="tertiary",
                icon=":material/account_tree:",
                on_click=open_workflow,
                args=(workflow.name,),
            )
            if workflow.description:
                what.write(plain(workflow.description))
            saved.caption(f"version {workflow.version} · {ago(workflow.applied_time)}")
    draw_upload()


def draw_empty() -> None:
    """What to do when there is none."""
    st.info(
        "There are no workflows yet. Describe one in the chat, add a file below, or begin with an example."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Add the example hello", icon=":material/add:", type="primary")
        st.page_link("views/chat.py", label="Open the chat", icon=":material/chat:")
    if pressed:
        gateway().apply(HELLO)
        open_workflow("hello")
        st.rerun()


def draw_upload() -> None:
    """Adds a workflow file."""
    with st.expander("Add a workflow file", icon=":material/upload_file:"):
        uploaded = st.file_uploader("A YAML file, at most 1 MiB", type=["yaml", "yml"])
        pasted = st.text_area("Or paste it here", height=160)
        try:
            source = uploaded.getvalue().decode() if uploaded else pasted
        except UnicodeDecodeError:
            st.error("The file is not text in UTF-8. Save it as UTF-8 and upload it again.")
            return
        if st.button("Check and save", disabled=not source.strip()):
            checked = gateway().validate(source)
            show_problems(checked.problems)
            if checked.valid and checked.workflow:
                gateway().apply(source)
                open_workflow(checked.workflow.name)
                st.rerun()


def draw_one(workflow: Workflow) -> None:
    """One workflow: diagram and form, file, versions."""
    st.title(workflow.name)
    st.write(plain(workflow.description))
    st.caption(
        " · ".join(
            [
                f"version {workflow.version}",
                f"saved {ago(workflow.applied_time)}",
                *map(plain, workflow.tags),
            ]
        )
    )
    if workflow.graph:
        draw(workflow.graph)
    with errors_shown():
        draw_run_form(workflow)
    with st.expander("File", icon=":material/code:"):
        st.code(workflow.source, language="yaml")
        st.download_button(
            "Download",
            workflow.source,
            file_name=f"{workflow.name}.yaml",
            mime="application/yaml",
            icon=":material/download:",
        )
    draw_versions(workflow)
    draw_delete(workflow)


def draw_run_form(workflow: Workflow) -> None:
    """Runs this version."""
    values = inputs_form(workflow.inputs, key=f"{workflow.name}-{workflow.version}")
    if values is not None:
        started = gateway().start_run(
            workflow=workflow.name, version=workflow.version, inputs=values
        )
        st.switch_page("views/runs.py", query_params={"run": started.id})


def draw_versions(workflow: Workflow) -> None:
    """Which versions there are, and the file of each."""
    versions = gateway().versions(workflow.name)
    if len(versions) < 2:
        return
    with st.expander(f"{len(versions)} versions", icon=":material/history:"):
        numbers = [version.version for version in versions]
        chosen = st.selectbox("Version", numbers, format_func=lambda number: f"version {number}")
        st.code(gateway().workflow(workflow.name, version=chosen).source, language="yaml")


def draw_delete(workflow: Workflow) -> None:
    """Deleting takes two presses."""
    with st.popover("Delete", icon=":material/delete:"):
        st.write(f"Hide {workflow.name} and all its versions? Its runs stay.")
        if st.button("Delete it", type="primary"):
            gateway().delete_workflow(workflow.name)
            open_workflow(None)
            st.rerun()


chosen = st.query_params.get("workflow")
if chosen:
    st.button(
        "All workflows",
        icon=":material/arrow_back:",
        type="tertiary",
        on_click=open_workflow,
        args=(None,),
    )
    draw_one(gateway().workflow(chosen))
else:
    draw_list()
