"""How far a move has come outlives the process, wherever it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.moving.state import Stand, StateError, kept_state
from memgpt_proxy.stores.portable import Mark
from memgpt_proxy.stores.records import Owner

pytestmark = pytest.mark.slow

ONE, OTHER = Owner("1"), Owner("2")
FIRST, SECOND = Stand(Mark("a mark"), 7), Stand(Mark("another"), 9, done=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.moving"


def test_what_was_reached_is_there_again(path: Path) -> None:
    with kept_state(path, "here", "there") as state:
        assert state.of(ONE) == Stand()
        state.reached(ONE, FIRST)
        state.reached(OTHER, FIRST)
        state.reached(OTHER, SECOND)
    with kept_state(path, "here", "there") as state:
        assert (state.of(ONE), state.of(OTHER)) == (FIRST, SECOND)
        assert state.records == 16
    assert path.stat().st_mode & 0o077 == 0


@given(data=st.data())
def test_a_line_that_was_cut_off_is_passed_over(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("state") / "memory.moving"
    with kept_state(path, "here", "there") as state:
        state.reached(ONE, FIRST)
        whole = path.read_bytes()
        state.reached(ONE, SECOND)
    last = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + last[: data.draw(st.integers(0, len(last) - 1))])
    with kept_state(path, "here", "there") as state:
        assert state.of(ONE) == FIRST
        state.reached(OTHER, SECOND)
    with kept_state(path, "here", "there") as state:
        assert (state.of(ONE), state.of(OTHER)) == (FIRST, SECOND)


@pytest.mark.parametrize("length", range(1, 30))
def test_a_head_that_was_cut_off_is_written_anew(path: Path, length: int) -> None:
    with kept_state(path, "here", "there"):
        pass
    path.write_bytes(path.read_bytes()[:length])
    with kept_state(path, "here", "there") as state:
        state.reached(ONE, FIRST)
    with kept_state(path, "here", "there") as state:
        assert state.of(ONE) == FIRST


@pytest.mark.parametrize("places", [("here", "elsewhere"), ("there", "here")])
def test_the_state_of_another_move_is_refused(path: Path, places: tuple[str, str]) -> None:
    with kept_state(path, "here", "there") as state:
        state.reached(ONE, FIRST)
    kept = path.read_bytes()
    with pytest.raises(StateError, match="another move"), kept_state(path, *places):
        pass
    assert path.read_bytes() == kept


@pytest.mark.parametrize("line", [b"[]", b"{}", b"text", b"[1, 2, 3]", b'"abcd"', b"7"])
def test_a_file_of_something_else_is_refused(path: Path, line: bytes) -> None:
    with kept_state(path, "here", "there"):
        pass
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(StateError), kept_state(path, "here", "there"):
        pass


def test_a_file_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "none" / "state"
    with pytest.raises(StateError, match="No such file"), kept_state(path, "here", "there"):
        pass
