from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.demo.edits import Edit, told

TODAY = date(2026, 2, 14)


@pytest.mark.parametrize(
    ("known", "said", "expected"),
    [
        (
            "Boyfriend named James",
            "actually james and i broke up",
            Edit("Boyfriend named James", "Ex-boyfriend named James"),
        ),
        (
            "Girlfriend named Ana",
            "my gf and i split up",
            Edit("Girlfriend named Ana", "Ex-girlfriend named Ana"),
        ),
        (
            "Boyfriend named James",
            "we broke up last night",
            Edit("Boyfriend named James", "Ex-boyfriend named James"),
        ),
        (
            "Ex-boyfriend named James",
            "james and i are back together",
            Edit("Ex-boyfriend named James", "Boyfriend named James"),
        ),
        (
            "Boyfriend named James",
            "james and i got married!",
            Edit("Boyfriend named James", "Husband named James"),
        ),
        ("Lives in Lisbon", "i moved to Porto", Edit("Lives in Lisbon", "Lives in Porto")),
        ("Name is Sam", "call me Sammy", Edit("Name is Sam", "Name is Sammy")),
        (
            "Favorite color is red",
            "my favourite color is now blue",
            Edit("Favorite color is red", "Favourite color is blue"),
        ),
        (
            "Lives in Lisbon",
            "i don't live in lisbon anymore",
            Edit("Lives in Lisbon", "No longer lives in Lisbon"),
        ),
        ("Lives in Lisbon", "forget where i live", Edit("Lives in Lisbon", "")),
        ("Name is Sam", "please forget my name", Edit("Name is Sam", "")),
    ],
)
def test_a_correction_replaces_what_is_known(known: str, said: str, expected: Edit):
    assert told(said, TODAY, ["Birthday is February 7", known]) == [expected]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("Name is Sam", "my name is sam"),
        ("Dog named Rex", "my dog Rex is asleep"),
        ("Boyfriend named James", "james and tom broke up"),
        ("Boyfriend named James", "my friends Ana and Tom said hello"),
        ("Name is Sam", "don't forget my name"),
    ],
)
def test_what_is_known_is_not_touched_without_a_reason(known: str, said: str):
    assert known not in [edit.old for edit in told(said, TODAY, [known])]
    assert known not in [edit.new for edit in told(said, TODAY, [known])]


KEPT = [
    "Name is Sam",
    "Middle name is Lee",
    "Dog named Rex",
    "Boyfriend named James",
    "Sister named Ana",
    "Lives in Lisbon",
]


@pytest.mark.parametrize(
    ("said", "forgotten"),
    [
        ("forget my name", ["Name is Sam"]),
        ("Please forget my name.", ["Name is Sam"]),
        ("forget what my name is", ["Name is Sam"]),
        ("forget that my name is Sam", ["Name is Sam"]),
        ("forget that my name is Rex", []),
        ("forget my middle name", ["Middle name is Lee"]),
        ("forget my dog", ["Dog named Rex"]),
        ("forget my dog's name", ["Dog named Rex"]),
        ("forget the name of my dog", ["Dog named Rex"]),
        ("forget my sister's name", ["Sister named Ana"]),
        ("forget Rex", ["Dog named Rex"]),
        ("forget my cat", []),
        ("forget where i live", ["Lives in Lisbon"]),
    ],
)
def test_what_is_forgotten_is_what_was_meant(said: str, forgotten: list[str]):
    assert told(said, TODAY, KEPT) == [Edit(line, "") for line in forgotten]


@given(
    st.lists(
        st.builds(
            "{} named {}".format,
            st.sampled_from(["Dog", "Cat", "Boss", "Son", "Best friend", "Wife"]),
            st.sampled_from(["Rex", "Sam", "Name", "Ana Nam", "Namey"]),
        ),
        unique=True,
    )
)
def test_nobody_elses_name_is_forgotten_with_ones_own(others: list[str]):
    assert told("forget my name", TODAY, ["Name is Sam", *others]) == [Edit("Name is Sam", "")]


def test_one_more_of_a_kind_stands_beside_the_first():
    assert told("my other dog is called Max", TODAY, ["Dog named Rex"]) == [
        Edit("", "Dog named Max")
    ]


def test_a_partner_heard_of_when_it_is_over_is_an_ex():
    assert told("my bf james and i broke up", TODAY, []) == [Edit("", "Ex-boyfriend named James")]
    assert told("james and i broke up", TODAY, []) == [Edit("", "Ex-partner named James")]
