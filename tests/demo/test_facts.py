from datetime import date

import pytest

from memgpt_proxy.demo.facts import facts, third_person

FEBRUARY_7 = date(2026, 2, 7)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("my name is Sam", ["Name is Sam"]),
        ("My name’s sam and i like chess", ["Name is Sam", "Likes chess"]),
        ("My name is Sam Smith.", ["Name is Sam Smith"]),
        ("i'm Sam", ["Name is Sam"]),
        ("hi im sam", ["Name is Sam"]),
        ("call me Sam", ["Name is Sam"]),
        ("my dog is called Rex", ["Dog named Rex"]),
        ("my dog's name is rex, isn't that sweet?", ["Dog named Rex"]),
        ("I have a dog named Rex and a cat named Tom", ["Dog named Rex", "Cat named Tom"]),
        ("my sister Anna and my brother tom are here", ["Sister named Anna", "Brother named Tom"]),
        ("james is my bf", ["Boyfriend named James"]),
        ("my favourite colour is green", ["Favourite colour is green"]),
        ("green is my favorite color", ["Favorite color is green"]),
        ("i live in Lisbon", ["Lives in Lisbon"]),
        ("i live in new york with my cat", ["Lives in New York"]),
        ("i moved to Porto", ["Lives in Porto"]),
        ("I work at Acme as a nurse", ["Works at Acme"]),
        ("i work as a teacher", ["Works as a teacher"]),
        ("i'm allergic to peanuts", ["Allergic to peanuts"]),
        ("i was born on May 3", ["Birthday is May 3"]),
        ("my birthday is the 3rd of may 1990", ["Birthday is May 3, 1990"]),
        ("I'm 34 years old and I'm vegan", ["Age is 34", "Is vegan"]),
        ("I am a nurse.", ["Is a nurse"]),
        ("my email is sam@example.com", ["Email is sam@example.com"]),
        ("remember that i parked on level 3", ["Parked on level 3"]),
        ("please remember that my bike is red", ["Bike is red"]),
        ("remember: the door code is 1234", ["The door code is 1234"]),
        ("don't forget to buy milk", ["To do: buy milk"]),
    ],
)
def test_a_statement_becomes_short_facts_in_the_third_person(said: str, expected: list[str]):
    assert sorted(fact.text for fact in facts(said, None)) == sorted(expected)


def test_the_posters_birthday_cake_tells_two_facts():
    said = facts("fun my bf james baked me a birthday cake", FEBRUARY_7)
    assert {fact.text for fact in said} == {"Birthday is February 7", "Boyfriend named James"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("it's my birthday today!", ["Birthday is February 7"]),
        ("yesterday was my birthday", ["Birthday is February 6"]),
        ("my birthday is tomorrow", ["Birthday is February 8"]),
        ("last week my mom baked me a birthday cake", []),
    ],
)
def test_a_birthday_is_counted_from_today(said: str, expected: list[str]):
    assert [fact.text for fact in facts(said, FEBRUARY_7)] == expected


@pytest.mark.parametrize(
    "said",
    [
        "",
        "I'm tired",
        "i'm fine, thanks",
        "call me back later",
        "my mom is great",
        "my mom called me",
        "my bf always baked me cakes",
        "my bf baked me a cake",
        "what's my name?",
        "where do i live",
        "remember when we talked about six flags?",
        "I love it",
        "lol yeah six flags",
        "my birthday is coming up",
        "fun my friend baked me a birthday cake",
    ],
)
def test_what_states_nothing_lasting_gives_no_fact_without_a_date(said: str):
    assert facts(said, None) == []


def test_text_of_endless_length_is_not_read_as_talk():
    assert facts("my name is Sam " + "and so on " * 10_000, None) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("i parked on level 3", "Parked on level 3"),
        ("i'm out on Friday", "Is out on Friday"),
        ("i have to call my bank", "Has to call their bank"),
        ("i need glasses", "Needs glasses"),
        ("i don't eat meat", "Doesn't eat meat"),
        ("my car is in lot B", "Car is in lot B"),
        ("i bought shoes", "Bought shoes"),
        ("i study law", "Studies law"),
    ],
)
def test_third_person(said: str, expected: str):
    assert third_person(said) == expected
