"""Taking back what a turn wrote: what others wrote since stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory.undo import apply

LINES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6).map("\n".join)


@given(LINES, LINES)
def test_a_change_and_its_inverse_leave_nothing(before: str, after: str) -> None:
    assert apply(apply(before, before, after), after, before) == before


@given(LINES, LINES, st.sampled_from(["tea", "milk"]))
def test_what_others_appended_stays(before: str, after: str, other: str) -> None:
    now = f"{after}\n{other}".lstrip("\n")
    undone = apply(now, after, before).splitlines()
    assert [line for line in undone if line != other] == before.splitlines()
    assert sorted(undone) == sorted([*before.splitlines(), other])


def test_a_replaced_line_comes_back_in_its_place() -> None:
    before = "Name: Sam\nTown: Rome\nTea"
    after = "Name: Sam\nTown: Paris\nTea"
    assert apply(f"{after}\nMilk", after, before) == f"{before}\nMilk"


def test_a_line_that_others_have_changed_since_stays_as_it_is() -> None:
    assert apply("Town: Oslo", "Town: Paris", "Town: Rome") == "Town: Oslo"


def test_what_else_may_part_lines_is_kept() -> None:
    before = "Name: Ann\u2028Lee\fTown:\x85Rome"
    assert apply(f"{before}\nTea", f"{before}\nTea", before) == before


def test_a_long_text_of_lines_that_come_again() -> None:
    before = [line for number in range(1500) for line in ("-", str(number))]
    after = [line for number in range(1500) for line in ("-", str(number + 5000))]
    assert apply("\n".join(after), "\n".join(after), "\n".join(before)).splitlines() == before
    kept = [*before[:100], "Tea", *before[100:]]
    changed = apply("\n".join([*kept, "-"]), "\n".join([*before, "-"]), "\n".join(before))
    assert changed.splitlines() == kept
