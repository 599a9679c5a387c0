"""The factor key of an embedded store is a private file beside the data directory."""

from pathlib import Path

import pytest

from authsvc.errors import StartupError
from authsvc.ops.factor_key_file import path_beside, read_key, read_or_make_key


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """It is beside the directory, only the owner can read it, and every later start reads the same one."""
    data = tmp_path / "data"
    data.mkdir()
    assert read_key(data) is None
    made = read_or_make_key(data)
    assert made is not None
    path = tmp_path / "data.factor-key"
    assert path == path_beside(data)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(data.iterdir()) == []
    assert len(made.strip()) == 44
    assert [read_or_make_key(data), read_key(data)] == [path.read_text()] * 2
    assert path.read_text().strip() == made.strip()


def test_a_key_that_others_know_is_refused(tmp_path: Path) -> None:
    """A file that others can read, or that a link leads to, holds no secret."""
    data = tmp_path / "data"
    read_or_make_key(data)
    path_beside(data).chmod(0o644)
    with pytest.raises(StartupError):
        read_or_make_key(data)
    path_beside(data).rename(tmp_path / "elsewhere")
    path_beside(data).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartupError):
        read_or_make_key(data)


def test_without_a_place_there_is_no_key(tmp_path: Path) -> None:
    """The service starts without one-time codes."""
    assert read_or_make_key(tmp_path / "missing" / "data") is None
