"""The page of batches, on the real services; the flow run that would advance a batch is the test's."""

from tests.fakes.prefect_server import prefect_server
from tests.platform import Platform, eventually
from tests.service.frontend.conftest import Opened

from cadre_client import Batch, Client

DIVIDES = """
flow: {name: divides}
state: {fields: {by: {type: int, required: true}, result: {type: float, default: 0}}}
nodes:
  - {id: divide, code: "result = 1 / inputs['by']", inputs: {by: "{state.by}"}, outputs: [result]}
"""


def started(services: Platform, client: Client) -> Batch:
    client.apply(DIVIDES)
    rows = [({"by": by}, by + 2) for by in (0, 1, 2)]
    with prefect_server(services.ports["prefect"]):
        return client.create_batch(rows, workflow="divides")


def test_a_batch_shows_its_progress_what_failed_and_the_way_to_the_run(
    services: Platform, opened: Opened
) -> None:
    client = services.client()
    batch = started(services, client)
    waiting = opened("batches", batch=batch.id)
    eventually(lambda: client.advance_batch(batch.id, batch.launches).status.is_final)

    listed = opened("batches")
    page = opened("batches", batch=batch.id)

    assert not waiting.exception
    assert "waits for a Prefect worker" in waiting.info[0].value
    assert not listed.exception
    assert "divides" in [button.label for button in listed.button]
    assert not page.exception
    # Programs cost nothing, so nothing is said of it.
    assert "2 succeeded · 1 failed" in [caption.value for caption in page.caption]
    assert any("CODE_FAILED" in each.value for each in page.markdown)
    (link,) = page.get("page_link")
    assert link.proto.label == "Row 1"
    failed = client.runs(batch_id=batch.id, status="failed")[0]
    assert failed.id in link.proto.query_string


def test_a_batch_is_cancelled_with_a_click(services: Platform, opened: Opened) -> None:
    client = services.client()
    batch = started(services, client)

    page = opened("batches", batch=batch.id)
    next(button for button in page.button if button.label == "Cancel").click().run()

    assert not page.exception
    assert client.batch(batch.id).status == "cancelled"
