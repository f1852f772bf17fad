import time, json
from memgpt_proxy.agent.clean import CleanListener
from memgpt_proxy.agent.habits import Habit
from memgpt_proxy.agent.reply import Offer, Reply, StepListener
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.agent.functions import FUNCTIONS
from memgpt_proxy.agent.hearing import Hearing
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.api.replies import WholeReply
from memgpt_proxy.wire.step import StepReader

C = TokenCounter("cl100k_base")


def chunk(**d):
    return {"choices": [{"index": 0, "delta": d, "finish_reason": None}]}


def end():
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


ours = tuple(FUNCTIONS)


def t(name, make, chunks):
    for n in (2000, 8000, 32000):
        h = make()
        c = chunks(n)
        a = time.perf_counter()
        for x in c:
            h.hear([x])
        h.hear([end()])
        h.close()
        print(name, n, round(time.perf_counter() - a, 3), flush=True)


def clean(holds, json=False, beginning=None):
    offer = Offer(tuple(n for n in ours if n != "send_message"), frozenset({"get"}), clean=True)
    return Hearing(
        CleanListener(Reply(TextLimit((), None, C)), offer, holds=holds, json=json), offer
    )


def step(habit, stop=(), mt=None):
    offer = Offer(ours, frozenset({"get"}))
    return Hearing(StepListener(Reply(TextLimit(stop, mt, C)), offer, habit), offer)


txt = lambda n: [chunk(content="word ") for _ in range(n)]
t("clean held", lambda: clean(True), txt)
t(
    "clean held logprobs",
    lambda: clean(True),
    lambda n: [
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "word "},
                    "logprobs": {
                        "content": [{"token": "word ", "logprob": -1, "bytes": list(b"word ")}]
                    },
                }
            ]
        }
        for _ in range(n)
    ],
)
t("clean stream", lambda: clean(False), txt)
t("content", lambda: step(Habit.CONTENT), txt)
t("content max_tokens", lambda: step(Habit.CONTENT, mt=1000000), txt)
t("content max_tokens 40000", lambda: step(Habit.CONTENT, mt=40000), txt)
t("content stop", lambda: step(Habit.CONTENT, stop=("STOP", "wordy")), txt)


def msg(n):
    out = [
        chunk(
            tool_calls=[
                {"index": 0, "id": "a", "function": {"name": "send_message", "arguments": ""}}
            ]
        ),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"message": "'}}]),
    ]
    out += [chunk(tool_calls=[{"index": 0, "function": {"arguments": "word "}}]) for _ in range(n)]
    return out + [chunk(tool_calls=[{"index": 0, "function": {"arguments": '"}'}}])]


t("send_message", lambda: step(Habit.HELD), msg)


def theirs(n):
    out = [
        chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "get", "arguments": ""}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"m": "'}}]),
    ]
    out += [chunk(tool_calls=[{"index": 0, "function": {"arguments": "word "}}]) for _ in range(n)]
    return out + [chunk(tool_calls=[{"index": 0, "function": {"arguments": '"}'}}])]


t("client call", lambda: step(Habit.HELD), theirs)
t("client call clean held", lambda: clean(True), theirs)
