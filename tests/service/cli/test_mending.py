"""`cadre fix` makes the changes that are sure, `cadre explain` explains codes, `cadre apply --version` goes back."""

from pathlib import Path

import pytest
from tests.service.cli.conftest import Cadre

_WRONG = """flow: {name: fixes}
state: {fields: {message: str, mood: str}}
nodes:
  - id: classify
    promt: "Grüße {state.mesage}, {state.mesage}"
    outputs: [mod]
    timeout_seconds: 5
    when: mood == glad
"""
_RIGHT = """flow: {name: fixes}
state: {fields: {message: str, mood: str}}
nodes:
  - id: classify
    prompt: "Grüße {state.message}, {state.message}"
    outputs: [mood]
    timeout: 5
    when: mood == 'glad'
"""


def _text(cadre: Cadre, name: str) -> str:
    return (cadre.folder / name).read_bytes().decode()


def test_fix_mends_what_is_sure_round_by_round_and_shows_it(cadre: Cadre) -> None:
    mended = cadre("fix", cadre.write("flow.yaml", _WRONG))

    assert _text(cadre, "flow.yaml") == _RIGHT
    assert mended.returncode == 0
    assert '-    promt: "Grüße {state.mesage}' in mended.stdout
    assert '+    prompt: "Grüße {state.message}' in mended.stdout


def test_fix_leaves_a_file_as_it_is_that_it_has_mended(cadre: Cadre) -> None:
    again = cadre("fix", cadre.write("flow.yaml", _RIGHT))

    assert again.returncode == 0
    assert again.stdout == "There is nothing to change in flow.yaml.\n"


def test_fix_check_changes_nothing_and_ends_with_2(cadre: Cadre) -> None:
    checked = cadre("fix", cadre.write("flow.yaml", _WRONG), "--check")

    assert checked.returncode == 2
    assert _text(cadre, "flow.yaml") == _WRONG
    assert cadre("fix", cadre.write("flow.yaml", _RIGHT), "--check").returncode == 0


def test_fix_says_in_json_what_it_changed_and_what_only_the_author_can_mend(cadre: Cadre) -> None:
    document = cadre.json(
        "fix", cadre.write("flow.yaml", _WRONG + "    retry: {max_attempts: 90}\n")
    )

    assert document["changed"] is True
    assert {fix["code"] for fix in document["fixes"]} == {
        "UNKNOWN_FIELD",
        "UNKNOWN_STATE_FIELD",
        "OLD_NAME",
        "UNQUOTED_TEXT",
    }
    assert document["valid"] is False
    assert [problem["code"] for problem in document["problems"]] == ["INVALID_VALUE"]


def test_fix_keeps_line_ends_and_the_file_s_mode(cadre: Cadre) -> None:
    file = cadre.folder / "flow.yaml"
    file.write_bytes(_WRONG.replace("\n", "\r\n").encode())
    file.chmod(0o640)

    cadre("fix", "flow.yaml")

    assert _text(cadre, "flow.yaml") == _RIGHT.replace("\n", "\r\n")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in Path(cadre.folder).glob("*")] == ["flow.yaml"]


def test_fix_writes_what_came_from_standard_input_to_standard_output(cadre: Cadre) -> None:
    assert cadre("fix", "-", stdin=_WRONG).stdout == _RIGHT


def test_validate_names_the_commands_that_help(cadre: Cadre) -> None:
    shown = cadre("validate", cadre.write("flow.yaml", _WRONG)).stderr

    assert '    5 |     promt: "Grüße' in shown
    assert "            ^\n" in shown
    assert "`cadre fix flow.yaml` mends" in shown
    assert "`cadre explain UNKNOWN_FIELD` says more" in shown


def test_explain_shows_a_wrong_and_a_right_example_without_a_platform(cadre_alone: Cadre) -> None:
    shown = cadre_alone("explain", "unknown_field")

    assert shown.returncode == 0
    assert shown.stdout.index("promt: hi") < shown.stdout.index("prompt: hi")


def test_explain_prints_json_and_lists_every_code(cadre_alone: Cadre) -> None:
    one = cadre_alone.json("explain", "NO_ROUTE")
    all_of_them = cadre_alone.json("explain")["codes"]

    assert set(one) == {"code", "meaning", "wrong", "right"}
    assert one in all_of_them
    assert len(all_of_them) > 80


@pytest.mark.parametrize(("said", "hint"), [("NO_ROUT", "NO_ROUTE"), ("XXXX", "cadre explain")])
def test_explain_of_an_unknown_code_says_what_was_meant(
    cadre_alone: Cadre, said: str, hint: str
) -> None:
    refused = cadre_alone("explain", said)

    assert refused.returncode == 2
    assert hint in refused.stderr


def test_an_older_version_is_applied_again_as_the_newest(cadre: Cadre, triage: str) -> None:
    cadre("apply", triage)
    cadre("apply", cadre.write("b.yaml", "name: triage\nnodes: [b]\n"))

    back = cadre("apply", "triage", "--version", "1")

    assert back.stdout == "triage version 3 is stored\n"
    assert "nodes: []" in cadre("workflows", "show", "triage", "--version", "3").stdout
    diff = cadre("workflows", "show", "triage", "--diff", "1", "3").stdout
    assert diff == "The two versions are equal.\n"
