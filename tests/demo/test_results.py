from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.demo.keys import pairs
from memgpt_proxy.demo.results import Hit, Results, parse
from tests.demo.conversation import SIX_FLAGS

ONE, TWO = "a0000000-0000-4000-8000-000000000001", "b0000000-0000-4000-8000-000000000002"


def test_the_posters_recall_results():
    assert parse(SIX_FLAGS) == Results(
        (
            Hit("lol yeah six flags", date(2024, 1, 24)),
            Hit("I love six flags been like 100 times", date(2024, 1, 14)),
            Hit("james and I actually first met at six flags", date(2023, 10, 12)),
        ),
        total=3,
    )


def test_archival_results_have_no_dates():
    found = parse('Showing 2 of 124 results (page 13/13): "a, b", "c\nd"')
    assert found == Results((Hit("a, b"), Hit("c\nd")), total=124, page=13, pages=13)


def test_pages_without_hits():
    past = "Showing 0 of 3 results (page 2/1): past the end; the last page is 1."
    assert parse(past) == Results((), total=3, page=2, pages=1)
    assert parse("Error: page has to be 1 or more.") == Results()


def test_pairs_as_documents_write_them():
    for entry in (
        f"Key: {ONE} Value: {TWO}",
        f"{ONE}: {TWO}",
        f'{{"{ONE}": "{TWO}"}}',
        f'{{"key": "{ONE}", "value": "{TWO}"}}',
        f"key {ONE.upper()} = {TWO}",
    ):
        assert pairs(f'Showing 1 of 1 results (page 1/1): "{entry}"') == {ONE: TWO}


def test_neighbours_in_a_list_are_no_pair():
    assert pairs(f'"{ONE}: x", "{TWO}: y"') == {ONE: "x", TWO: "y"}
    assert pairs(f"{ONE}, {TWO}") == {}


@given(st.text())
def test_any_text_is_read(text: str):
    assert len(parse(f"Showing 1 of 1 results (page 1/1): {text}").hits) <= len(text)
    pairs(text)
