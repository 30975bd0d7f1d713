"""What people do in the browser, on the real platform and its embedded model."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.fakes.prefect_server import prefect_server
from tests.platform import Platform

pytestmark = pytest.mark.browser

WISH = "Find out whether a mail is a question or a complaint, and answer it"
DOUBLE = """\
schema_version: "1.0"
flow: {name: double, description: Doubles a number.}
state:
  fields:
    number: {type: int, required: true}
    twice: {type: int, default: 0}
nodes:
  - {id: compute, inputs: {number: "{state.number}"}, code: "result = number * 2", outputs: [twice]}
edges:
  - {from: START, to: compute}
  - {from: compute, to: END}
"""


def describe(page: Page, services: Platform, wish: str = WISH) -> None:
    page.goto(services.frontend_url)
    page.get_by_role("heading", name="What should your agents do?").wait_for()
    page.get_by_test_id("stChatInput").locator("textarea").fill(wish)
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Diagram").wait_for()


def run_button(page: Page) -> None:
    page.get_by_test_id("stFormSubmitButton").get_by_role("button", name="Run").click()


@pytest.fixture
def double(services: Platform) -> str:
    with services.client() as client:
        return client.apply(DOUBLE).workflow.name


def test_a_description_is_built_saved_run_and_answered(page: Page, services: Platform) -> None:
    describe(page, services)
    page.get_by_role("img", name="Diagram of the steps").wait_for()

    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Open mail_question_complaint").wait_for()
    page.get_by_role("tab", name="Run").click()
    page.get_by_role("textbox", name="message").fill("Where is my parcel?")
    run_button(page)

    page.get_by_role("heading", name="Outputs").wait_for()
    expect(page.get_by_test_id("stMain")).to_contain_text("succeeded")
    expect(page.get_by_role("table")).to_contain_text("kind")


def test_a_wish_that_overtakes_the_pages_first_drawing_is_built(
    page: Page, services: Platform
) -> None:
    with services.suspended("memory"):
        page.goto(services.frontend_url)
        page.get_by_test_id("stChatInput").locator("textarea").fill(WISH)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Cancel").wait_for()

    page.get_by_role("tab", name="Diagram").wait_for()


def test_a_file_is_downloaded_as_it_is_shown(
    page: Page, services: Platform, tmp_path: Path
) -> None:
    describe(page, services)

    with page.expect_download() as downloading:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    downloading.value.save_as(tmp_path / "file.yaml")

    assert downloading.value.suggested_filename == "mail_question_complaint.yaml"
    with services.client() as client:
        assert client.validate((tmp_path / "file.yaml").read_text()).valid


def test_a_conversation_survives_a_restart_of_the_frontend(page: Page, services: Platform) -> None:
    describe(page, services)
    page.get_by_role("button", name=WISH[:40]).first.wait_for()
    address = page.url
    page.goto("about:blank")

    services.kill("frontend")
    services.start("frontend")

    page.goto(address)
    page.get_by_role("tab", name="YAML").click()
    expect(page.get_by_role("textbox", name="Workflow file")).to_contain_text("complaint")


def test_a_workflow_is_run_from_its_form(page: Page, services: Platform, double: str) -> None:
    page.goto(f"{services.frontend_url}/workflows?workflow={double}")

    page.get_by_role("spinbutton", name="number").fill("21")
    run_button(page)

    page.get_by_role("heading", name="Outputs").wait_for()
    expect(page.get_by_text("42", exact=True)).to_be_visible()
    address = page.url
    page.reload()
    page.get_by_role("heading", name="Outputs").wait_for()
    assert page.url == address


def test_the_runs_are_listed_and_lead_to_each(page: Page, services: Platform, double: str) -> None:
    with services.client() as client:
        started = client.start_run(workflow=double, inputs={"number": 1})
        list(client.watch(started.id))
    page.goto(f"{services.frontend_url}/runs?status=succeeded&of={double}")

    page.get_by_test_id("stMain").get_by_role("button", name=double).first.click()

    page.get_by_role("heading", name="Outputs").wait_for()
    assert "run=" in page.url


def test_a_run_is_cancelled_while_it_is_watched(page: Page, services: Platform) -> None:
    slow = DOUBLE.replace("name: double", "name: slow").replace(
        'code: "result = number * 2"',
        'sandbox: {timeout: 120}, code: "import time; time.sleep(110)"',
    )
    with services.client() as client:
        started = client.start_run(source=slow, inputs={"number": 1})
    page.goto(f"{services.frontend_url}/runs?run={started.id}")

    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_the_status_shows_each_service(page: Page, services: Platform) -> None:
    page.goto(f"{services.frontend_url}/status")

    main = page.get_by_test_id("stMain")
    page.get_by_role("heading", name="Models").wait_for()
    for name in (*services.ports, "embedded/smollm2-135m-instruct"):
        expect(main).to_contain_text(name)


def test_a_batch_leads_to_the_run_of_a_row_that_failed(page: Page, services: Platform) -> None:
    source = DOUBLE.replace("result = number * 2", "result = 2 // number")
    with services.client() as client, prefect_server(services.ports["prefect"]):
        batch = client.create_batch([({"number": n}, n + 1) for n in (1, 0, 2)], source=source)
        page.goto(f"{services.frontend_url}/batches")
        page.get_by_test_id("stMain").get_by_role("button", name="double").click()
        page.get_by_role("button", name="Cancel").wait_for()
        while not client.advance_batch(batch.id, batch.launches).status.is_final:
            continue

    page.get_by_role("heading", name="Rows that failed").wait_for()
    expect(page.get_by_test_id("stMain")).to_contain_text("3 of 3 rows ended")
    page.get_by_role("link", name="Row 2").click()

    page.get_by_role("button", name="Resume from the failed step").wait_for()
    page.get_by_role("link", name="Its batch").click()
    page.get_by_role("heading", name="Rows that failed").wait_for()
