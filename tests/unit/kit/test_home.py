"""The folder of all state is made for its owner only, or the service says why not."""

from pathlib import Path

import pytest

from cadre_kit.errors import FailedPrecondition
from cadre_kit.serving import make_home
from cadre_kit.settings import ServiceSettings


def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    make_home(ServiceSettings(home=tmp_path / "a" / "b"))

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(FailedPrecondition) as caught:
        make_home(ServiceSettings(home=tmp_path / "file" / "home"))
    assert caught.value.code == "HOME_NOT_WRITABLE"
    assert "CADRE_HOME" in caught.value.resolution
