"""The turn as a state machine: what continues it, what ends it, what it puts behind the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.agent.executor import CallResult
from memgpt_proxy.agent.functions import FUNCTIONS
from memgpt_proxy.agent.habits import Habit
from memgpt_proxy.agent.reply import Offer
from memgpt_proxy.agent.turn import Action, Execute, Finish, RunStep, Turn
from memgpt_proxy.memory.transcript import Message
from tests.agent.build import Call, Said, call, hear, new_reply, offer, said, send

DONE = CallResult("Done.")
FAILED = CallResult("Error: no.", failed=True)

append = call("working_context_append", content="Birthday is February 7")
search = call("recall_storage_search", query="six flags")
weather = call("get_weather", id="w1", city="Lisbon")


@dataclass(slots=True)
class Played:
    """A turn run on scripted answers: its actions, and every message that it added."""

    turn: Turn
    actions: list[Action]
    added: list[Message]

    @property
    def end(self) -> Action:
        return self.actions[-1]

    @property
    def executed(self) -> list[list[str]]:
        return [[c.function.name for c in a.calls] for a in self.actions if isinstance(a, Execute)]

    @property
    def alerts(self) -> list[str]:
        return [m["content"] for m in self.added if m["role"] == "user"]

    @property
    def results(self) -> list[str]:
        return [m["content"] for m in self.added if m["role"] == "tool"]


def play(
    *answers: Said,
    max_steps: int = 12,
    offered: Offer | None = None,
    results: Mapping[str, CallResult] | None = None,
    stop: Sequence[str] = (),
    max_tokens: int | None = None,
    habit: Habit = Habit.FUNCTION,
) -> Played:
    """Run a turn until it finishes or the script has no answer left."""
    reply = new_reply(stop, max_tokens)
    offered = offered or offer()
    turn = Turn(reply, offered, max_steps)
    played = Played(turn, [turn.begin()], [])
    script = iter(answers)
    while not isinstance(played.end, Finish):
        match played.end:
            case RunStep():
                answer = next(script, None)
                if answer is None:
                    break
                _, step = hear(reply, offered, answer.chunks(), habit)
                played.actions.append(turn.stepped(step))
            case Execute(calls=calls):
                given_results = [(results or {}).get(c.function.name, DONE) for c in calls]
                played.actions.append(turn.executed(given_results))
        played.added += turn.take_added()
    return played


AGAIN = RunStep(last=False)

CHAINING = {
    "a message yields": ([send("hi")], Finish("stop")),
    "a message with a heartbeat goes on": ([send("hi", request_heartbeat=True)], AGAIN),
    "a heartbeat may be written as text": ([send("hi", request_heartbeat="True")], AGAIN),
    "an edit beside a message yields": ([append, send("hi")], Finish("stop")),
    "an edit with a heartbeat goes on": (
        [call("working_context_append", content="x", request_heartbeat=True), send("hi")],
        AGAIN,
    ),
    "a retrieval goes on": ([search], AGAIN),
    "a retrieval goes on unasked": (
        [call("archival_storage_search", query="x", request_heartbeat=False), send("hi")],
        AGAIN,
    ),
    "a retrieval by date goes on": (
        [
            call("recall_storage_search_date", start_date="2024-01-01", end_date="2024-01-02"),
            send("hi"),
        ],
        AGAIN,
    ),
    "an unknown function goes on": ([call("make_coffee"), send("hi")], AGAIN),
    "an empty message goes on": ([send("")], AGAIN),
    "a message with malformed arguments goes on": ([Call("send_message", "[1")], AGAIN),
    "the client's tool ends the turn": ([weather], Finish("tool_calls")),
    "the client's tool beside ours ends the turn": ([search, weather], Finish("tool_calls")),
    "the client's tool beside a heartbeat ends the turn": (
        [send("I look.", request_heartbeat=True), weather],
        Finish("tool_calls"),
    ),
}


@pytest.mark.parametrize(("calls", "expected"), CHAINING.values(), ids=CHAINING)
def test_chaining(calls: list[Call], expected: Action) -> None:
    assert play(said(*calls), offered=offer("get_weather")).end == expected


def test_a_failed_call_goes_on() -> None:
    played = play(said(append, send("hi")), results={"working_context_append": FAILED})
    assert played.end == AGAIN
    assert played.results == ["Error: no.", "Message sent."]
    assert played.alerts == []


def test_plain_content_is_the_reply_where_it_may_be() -> None:
    played = play(said(content="Hello."), habit=Habit.HELD)
    assert played.end == Finish("stop")
    assert played.added == [{"role": "assistant", "content": "Hello."}]


def test_a_turn_without_a_word_is_reminded_twice_then_ended() -> None:
    thought = said(content="Hm.")
    played = play(thought, thought, thought, thought)
    assert played.actions == [AGAIN, AGAIN, AGAIN, RunStep(last=True), Finish(None)]
    waiting = "System Alert: The user is still waiting for a reply. Call send_message now."
    last = (
        "System Alert: The limit of steps for one turn is reached; no other function can be called "
        "now. Call send_message with the best answer you have."
    )
    assert played.alerts == [waiting, waiting, last]


def test_an_edit_alone_is_reminded() -> None:
    played = play(said(append), said(send("Noted.")))
    assert played.actions == [AGAIN, *played.actions[1:2], AGAIN, Finish("stop")]
    assert played.executed == [["working_context_append"]]
    assert len(played.alerts) == 1


def test_the_reminder_names_no_function_that_is_not_offered() -> None:
    played = play(said(append), offered=offer(without=["send_message"]))
    assert played.alerts == [
        "System Alert: The user is still waiting for a reply. Write the reply now."
    ]


def test_the_last_step_may_only_reply() -> None:
    searches = [said(call("recall_storage_search", query=str(n))) for n in range(3)]
    played = play(*searches, said(send("I found nothing.")), max_steps=4)
    steps = [action for action in played.actions if isinstance(action, RunStep)]
    assert [step.last for step in steps] == [False, False, False, True]
    assert played.end == Finish("stop")
    assert len(played.alerts) == 1


def test_a_last_step_that_calls_on_ends_the_turn() -> None:
    played = play(said(search), said(append), max_steps=2)
    assert played.end == Finish(None)


def test_after_a_reply_the_limit_of_steps_ends_quietly() -> None:
    chatter = [said(send(str(n), request_heartbeat=True)) for n in range(3)]
    played = play(*chatter, max_steps=3)
    assert played.end == Finish("stop")
    assert played.alerts == []


@pytest.mark.parametrize(
    "again",
    [search, Call("recall_storage_search", '{ "query":"six flags" }')],
    ids=["word for word", "spaced otherwise"],
)
def test_the_same_call_again_is_warned_of_and_not_run(again: Call) -> None:
    played = play(said(search), said(again), said(send("hi")))
    assert played.executed == [["recall_storage_search"]]
    assert "you made this very call before" in played.results[1]
    assert played.end == Finish("stop")


def test_a_call_may_be_made_again_once_its_result_is_out_of_the_prompt() -> None:
    """Else the model would be told of a result above, and find that it was evicted."""
    played = play(said(search))
    turn = played.turn
    turn.may_repeat()
    _, step = hear(turn.reply, offer(), said(search).chunks())
    assert isinstance(turn.stepped(step), Execute)


def test_the_same_call_twice_in_one_step_runs_once() -> None:
    played = play(said(search, search))
    assert played.executed == [["recall_storage_search"]]
    assert played.results[0] == "Done."
    assert "you made this very call before" in played.results[1]


def test_the_next_page_is_another_call() -> None:
    pages = [said(call("archival_storage_search", query="x", page=page)) for page in (1, 2)]
    assert len(play(*pages).executed) == 2


def test_an_unknown_function_is_told_of() -> None:
    played = play(said(call("make_coffee")))
    assert played.results == ["Error: there is no function make_coffee."]


def test_a_function_that_is_not_offered_is_unknown() -> None:
    played = play(said(append), offered=offer(without=["working_context_append"]))
    assert played.results == ["Error: there is no function working_context_append."]


def test_malformed_arguments_reach_the_executor_as_none() -> None:
    played = play(said(Call("working_context_append", '{"content": }')))
    execute = played.actions[1]
    assert isinstance(execute, Execute)
    assert execute.calls[0].arguments is None


def test_an_unheard_message_is_told_of() -> None:
    assert play(said(send(""))).results == ["Error: message is empty; the user has heard nothing."]
    assert play(said(Call("send_message", "[1"))).results == [
        "Error: the arguments are not a JSON object; the user has heard nothing."
    ]


def test_calls_run_and_answer_in_order() -> None:
    first = call("working_context_append", id="a", content="1")
    third = call("archival_storage_insert", id="c", content="3")
    played = play(said(first, send("2", id="b"), third))
    assert played.executed == [["working_context_append", "archival_storage_insert"]]
    assert [m.get("tool_call_id") for m in played.added] == [None, "a", "b", "c"]
    assert played.results == ["Done.", "Message sent.", "Done."]


def test_ours_run_before_the_turn_pauses_for_the_clients() -> None:
    played = play(said(append, weather, search), offered=offer("get_weather"))
    assert played.executed == [["working_context_append", "recall_storage_search"]]
    calls = played.added[0]["tool_calls"]
    assert [c["function"]["name"] for c in calls] == [append.name, weather.name, search.name]
    assert [m["tool_call_id"] for m in played.added[1:]] == [calls[0]["id"], calls[2]["id"]]
    assert played.end == Finish("tool_calls")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("by_function", [True, False])
def test_a_reply_that_was_cut_says_so(reason: str, by_function: bool) -> None:
    answer = (
        said(Call("send_message", '{"message": "It is lo'), finish_reason=reason)
        if by_function
        else said(content="It is lo", finish_reason=reason)
    )
    played = play(answer, habit=Habit.HELD)
    assert played.end == Finish(reason)


def test_the_clients_own_limits_end_the_turn() -> None:
    long = send("one two three four five", request_heartbeat=True)
    assert play(said(long), max_tokens=2).end == Finish("length")
    assert play(said(long), stop=["three"]).end == Finish("stop")


@pytest.mark.parametrize("text", ["three", "three four"])
def test_a_stop_text_at_the_beginning_leaves_an_empty_reply(text: str) -> None:
    for answer in (said(send(text)), said(content=text)):
        played = play(answer, stop=["three"], habit=Habit.CONTENT)
        assert played.end == Finish("stop")
        assert played.turn.reply.message() == {"role": "assistant", "content": ""}
        assert played.alerts == []


def test_a_reply_that_only_begins_a_stop_text_is_a_reply() -> None:
    for answer in (said(send("th")), said(content="th")):
        played = play(answer, stop=["three"], habit=Habit.CONTENT)
        assert played.end == Finish("stop")
        assert played.turn.reply.text == "th"


def test_a_clients_call_that_was_cut_says_so() -> None:
    cut = said(Call("get_weather", '{"city": "Lis', "w1"), finish_reason="length")
    assert play(cut, offered=offer("get_weather")).end == Finish("length")


HALF = '{"content": "Birthday is Febru'


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_memory_call_that_was_cut_is_a_failed_one(reason: str) -> None:
    whole = call("archival_storage_insert", id="a", content="1")
    cut = said(whole, Call("working_context_append", HALF, "b"), finish_reason=reason)
    played = play(cut)
    assert played.executed == [["archival_storage_insert"]]
    assert played.end == AGAIN
    done, told = played.results
    assert (done, told.startswith("Error: the answer was cut off inside this call")) == (
        "Done.",
        True,
    )


def test_a_memory_call_that_was_cut_may_be_made_again() -> None:
    cut = said(Call("working_context_append", HALF), finish_reason="length")
    played = play(cut, said(Call("working_context_append", HALF + '"}')), said(send("hi")))
    assert played.executed == [["working_context_append"]]
    assert played.end == Finish("stop")


def test_a_memory_call_as_text_that_was_cut_is_a_failed_one() -> None:
    save = '{"name": "working_context_append", "arguments": ' + HALF
    assert play(said(content=save, finish_reason="length")).executed == []
    forgotten = play(said(content=save, finish_reason="stop"))
    assert forgotten.executed == [["working_context_append"]], "the end is certain there"


def test_a_memory_call_that_is_whole_is_run_wherever_the_answer_was_cut() -> None:
    cut = said(append, content="", finish_reason="length")
    assert play(cut).executed == [["working_context_append"]]


def test_a_call_whose_end_was_forgotten_is_mended() -> None:
    assert play(said(Call("working_context_append", HALF))).executed == [["working_context_append"]]


NAMES = [*FUNCTIONS, "get_weather", "make_coffee"]


@st.composite
def answers(draw: st.DrawFn) -> Said:
    arguments = st.one_of(
        st.sampled_from(
            ["", "{}", "[1", "3", '{"message": "hi"}', '{"message": "cut of', "```json\n{}```"]
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "message": st.text(max_size=5),
                "content": st.text(max_size=5),
                "query": st.sampled_from("ab"),
                "request_heartbeat": st.booleans(),
            },
        ).map(json.dumps),
        st.text(max_size=8),
    )
    calls = st.lists(st.builds(Call, st.sampled_from(NAMES), arguments), max_size=3)
    finish = st.sampled_from([None, "length", "stop"])
    content = st.sampled_from(["", "Hm."])
    return Said(draw(content), tuple(draw(calls)), draw(finish))


@given(
    script=st.lists(answers(), min_size=8, max_size=8),
    failing=st.sets(st.sampled_from([*FUNCTIONS])),
    max_steps=st.integers(2, 7),
    habit=st.sampled_from(Habit),
)
def test_any_model_is_brought_to_an_end(
    script: list[Said], failing: set[str], max_steps: int, habit: Habit
) -> None:
    played = play(
        *script,
        max_steps=max_steps,
        offered=offer("get_weather"),
        results=dict.fromkeys(failing, FAILED),
        habit=habit,
    )
    assert isinstance(played.end, Finish)
    steps = [action for action in played.actions if isinstance(action, RunStep)]
    assert len(steps) <= max_steps
    assert all(not step.last for step in steps[:-1])
    assert (played.end.reason is None) == (
        not played.turn.reply.messages and not played.turn.reply.calls
    )
    check_calls(played.added)


def check_calls(added: Sequence[Message]) -> None:
    """Each call of ours has one result, in order; the client's have none; all can be read."""
    waiting: list[str] = []
    for message in added:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
            continue
        assert not waiting
        for each in message.get("tool_calls", ()):
            json.loads(each["function"]["arguments"])
            if each["function"]["name"] != "get_weather":
                waiting.append(each["id"])
    assert not waiting
