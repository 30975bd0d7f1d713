"""A plot, a table and a page that a program of a run made are seen on the run's page."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.platform import SERVICES, Platform, platform

pytestmark = [pytest.mark.browser, pytest.mark.docker, pytest.mark.timeout(900)]

BASE = Path(__file__).parents[1] / "compose" / "stand_in_base.sh"
CHARTS = """\
schema_version: "1.0"
flow: {name: charts, description: Draws what was sold.}
state:
  fields:
    sold: {type: "list[int]", required: true}
    total: {type: int, default: 0}
nodes:
  - id: draw
    inputs: {sold: "{state.sold}"}
    sandbox: {mode: docker, packages: [matplotlib], preset: medium}
    code: |
      import csv
      import matplotlib.pyplot as plt
      plt.bar(range(len(sold)), sold)
      plt.title("Sold")
      plt.savefig("sold.png")
      with open("sold.csv", "w", newline="") as file:
          writer = csv.writer(file)
          writer.writerow(["day", "pieces"])
          writer.writerows(enumerate(sold, 1))
      with open("page.html", "w") as file:
          file.write("<p>Three days</p><script>top.document.title = 'LEAKED'; document.body.append('RAN')</script>")
      result = sum(sold)
    timeout_seconds: 600
    outputs: [total]
edges:
  - {from: START, to: draw}
  - {from: draw, to: END}
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform with containers."""
    subprocess.run([str(BASE)], check=True, timeout=600)
    home = tmp_path_factory.mktemp("home")
    with platform(home, *SERVICES, "frontend", CADRE_SANDBOX_DOCKER="true") as running:
        yield running


def test_what_a_program_made_is_on_the_run_s_page(page: Page, services: Platform) -> None:
    with services.client() as client:
        started = client.start_run(source=CHARTS, inputs={"sold": [3, 1, 2]})
        list(client.watch(started.id))
        run = client.run(started.id)
        left = {file.path: file.media_type for file in client.run_files(started.id)}
    assert run.error is None
    assert run.outputs is not None
    assert run.outputs["total"] == 6
    assert left == {
        "draw/page.html": "text/html",
        "draw/sold.csv": "text/csv",
        "draw/sold.png": "image/png",
    }

    page.goto(f"{services.frontend_url}/runs?run={started.id}")

    page.get_by_role("heading", name="Files").wait_for()
    picture = page.get_by_test_id("stImage").locator("img")
    picture.wait_for()
    expect(picture).to_have_js_property("naturalWidth", 640)
    table = page.get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    table.locator("canvas").first.wait_for()
    # What the canvas draws is in it as a table too, for those who do not see.
    cell = table.locator("[role=gridcell]").filter(has_text="3")
    cell.first.wait_for(state="attached")
    made = page.get_by_test_id("stIFrame").content_frame.locator("iframe").content_frame
    expect(made.get_by_text("Three days")).to_be_visible()
    expect(made.get_by_text("RAN")).to_have_count(0)
    assert "LEAKED" not in page.title()
