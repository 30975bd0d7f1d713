"""The page of what comes from outside: what failed is replayed with one click."""

from tests.platform import Platform, eventually
from tests.service.frontend.conftest import Opened

HOOKED = """
flow: {name: hooked}
state: {fields: {number: {type: int, default: 0}, verdict: {type: dict, default: {}}}}
nodes: [{id: review, type: approval, message: "Go on?", outputs: [verdict]}]
triggers: [{webhook: {input: {number: "{body.number}"}}}]
"""


def test_what_failed_is_shown_and_replayed_with_a_click(services: Platform, opened: Opened) -> None:
    client = services.client()
    client.apply(HOOKED)
    delivery = client.send_sample(client.sample("webhook", "hooked", '{"other": 7}'))
    assert delivery is not None
    eventually(lambda: client.delivery(delivery.id).status == "parked")
    client.apply(HOOKED.replace("{body.number}", "{body.other}"))

    page = opened("triggers")
    shown = " ".join(each.value for each in page.markdown).replace("\\", "")
    page.button(key=f"replay-{delivery.id}").click().run()
    eventually(lambda: client.delivery(delivery.id).status == "started")
    after = opened("triggers")

    assert not page.exception
    assert "body.number has no value" in shown
    assert not after.exception
    assert not [button for button in after.button if button.label == "Replay"]
    assert client.run(delivery.run_id).inputs == {"number": 7}


def test_a_command_is_listed_without_a_run(services: Platform, opened: Opened) -> None:
    client = services.client()
    client.apply(HOOKED.replace("triggers: [", "triggers: [{telegram: {bot: helper}}, "))
    delivery = client.send_sample(client.sample("telegram", "helper", "/status"))
    assert delivery is not None
    eventually(lambda: client.delivery(delivery.id).status == "ended")

    page = opened("triggers")

    assert not page.exception
    assert delivery.run_id == ""
    assert any("A command or an answer from telegram/helper" in m.value for m in page.markdown)


def test_the_page_lists_the_addresses(services: Platform, opened: Opened) -> None:
    services.client().apply(HOOKED)

    page = opened("triggers")

    assert not page.exception
    assert "/hooks/hooked" in [each.value for each in page.code]
