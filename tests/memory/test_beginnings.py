"""Beginnings seen before: recognised or not, a transcript's messages have the same names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.api.chat_request import check_messages, parse_chat_request
from memgpt_proxy.errors import InvalidRequest
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.names import Names, Stop, known, names
from memgpt_proxy.memory.transcript import Message, chain, content_id, root_of
from memgpt_proxy.stores.records import ROOT, Namespace, NodeId
from tests.stores.build import ALICE, BOB

NAMED = root_of("a name")
PLACES = st.sampled_from([(ALICE, ROOT), (ALICE, NAMED), (BOB, ROOT)])

Place = tuple[Namespace, NodeId]


def talk(length: int, start: int = 0) -> list[Message]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"message {n}"} for n in range(start, start + length)]


def expected(place: Place, messages: list[Message]) -> list[NodeId]:
    return chain(place[0], map(content_id, messages), place[1])


def see(beginnings: Beginnings, place: Place, messages: list[Message]) -> list[Stop]:
    """What a request does that sends these messages: recognise them, name them, keep them."""
    stops = beginnings.stops(*place, messages)
    _, keys = names(place[0], messages, place[1], stops)
    beginnings.keep(place[0], messages, keys, stops)
    return stops


@st.composite
def changes(draw: st.DrawFn, messages: list[Message]) -> list[Message]:
    """A client's next transcript: it has gone on, deleted, edited or gone back."""
    at = draw(st.integers(0, len(messages) - 1))
    more = talk(draw(st.integers(1, 300)), draw(st.sampled_from([len(messages), 7])))
    edited = {**messages[at], "content": draw(st.sampled_from(["edited", "", " message 3 "]))}
    return draw(
        st.sampled_from(
            [
                messages + more,
                messages[: at + 1],
                messages[:at] + more,
                [*messages[:at], edited, *messages[at + 1 :]],
                messages[:at] + messages[at + 1 :] or messages,
                messages,
            ]
        )
    )


@given(st.data())
def test_a_known_beginning_changes_no_name(data: st.DataObject) -> None:
    beginnings = Beginnings(data.draw(st.sampled_from([3, 20, 1000])))
    messages = talk(data.draw(st.integers(1, 600)))
    for _ in range(data.draw(st.integers(2, 6))):
        place = data.draw(PLACES)
        keys = expected(place, messages)
        stops = see(beginnings, place, messages)
        assert [stop.key for stop in stops] == [keys[stop.length - 1] for stop in stops]
        contents, named = names(place[0], messages, place[1], stops)
        assert list(contents) == [content_id(message) for message in messages]
        assert list(named) == keys
        messages = data.draw(changes(messages))


@given(st.integers(1, 700), st.integers(0, 40))
def test_what_is_sent_again_is_known_but_for_its_end(length: int, more: int) -> None:
    beginnings = Beginnings()
    see(beginnings, (ALICE, ROOT), talk(length))
    stops = beginnings.stops(ALICE, ROOT, talk(length + more))
    reached = known(stops)
    assert length - 25 < reached <= length - 8 or (reached == 1 and length < 25)


def test_a_long_transcript_is_known_by_few_runs() -> None:
    beginnings = Beginnings()
    see(beginnings, (ALICE, ROOT), talk(10_000))
    stops = beginnings.stops(ALICE, ROOT, talk(10_002))
    assert [stop.length for stop in stops][:3] == [1, 513, 1025]
    assert len(stops) < 60


@pytest.mark.parametrize("place", [(BOB, ROOT), (ALICE, NAMED)])
def test_nothing_is_known_in_another_place(place: Place) -> None:
    beginnings = Beginnings()
    see(beginnings, (ALICE, ROOT), talk(100))
    assert beginnings.stops(*place, talk(100)) == []


def test_what_was_used_longest_ago_is_forgotten() -> None:
    beginnings = Beginnings(most=8)
    for talks in (talk(100), talk(100, 1000), talk(100)):
        see(beginnings, (ALICE, ROOT), talks)
    assert beginnings.stops(ALICE, ROOT, talk(100))[-1].length == 81
    assert beginnings.stops(ALICE, ROOT, talk(100, 1000)) == []


DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]

WRONG: list[Any] = [
    {"role": "user", "content": "x", "unknown": DEEP},
    1,
    {},
    {"role": "user"},
    {"role": "tool", "tool_call_id": "c", "content": "x"},
    {"role": "user", "content": [{"type": "text"}]},
    {"role": "assistant", "content": None, "tool_calls": [{}]},
]
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "x"}


@given(st.data())
def test_a_known_beginning_spares_no_mistake(data: st.DataObject) -> None:
    messages = [*talk(20), CALL, RESULT, RESULT, *talk(40)]
    beginnings = Beginnings()
    see(beginnings, (ALICE, ROOT), messages)
    at = data.draw(st.integers(0, len(messages) - 1))
    wrong = data.draw(st.sampled_from(WRONG))
    instead = data.draw(st.integers(0, 1))
    changed = [*messages[:at], wrong, *messages[at + instead :]]
    assert mistake(beginnings, changed) == mistake(Beginnings(), changed)
    assert mistake(beginnings, messages) is None


@given(st.integers(1, 22))
def test_results_that_came_first_once_do_not_next_time(start: int) -> None:
    messages = [*talk(20), CALL, *[RESULT] * 40][start:]
    beginnings = Beginnings()
    see(beginnings, (ALICE, ROOT), messages)
    assert mistake(beginnings, messages) == mistake(Beginnings(), messages)


def mistake(beginnings: Beginnings, messages: list[Any]) -> str | None:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    try:
        request = parse_chat_request(body)
        stops = beginnings.stops(ALICE, ROOT, request.messages)
        check_messages(request, known(stops))
    except InvalidRequest as error:
        return error.param
    return None


@given(st.lists(st.integers(0, 9), max_size=8), st.data())
def test_names_are_a_sequence(lengths: list[int], data: st.DataObject) -> None:
    borders = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    whole = list(range(borders[-1]))
    pieces = Names(borders, lambda piece: whole[borders[piece] : borders[piece + 1]])
    wanted = data.draw(st.slices(len(whole)))
    assert pieces[wanted] == whole[wanted]
    assert [pieces[at - len(whole)] for at in whole] == whole
    assert list(pieces) == whole
    with pytest.raises(IndexError):
        pieces[len(whole)]
