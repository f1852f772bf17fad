from __future__ import annotations
import json, time
import httpx
import pytest
from memgpt_proxy.memory.transcript import content_id, node_id
from memgpt_proxy.stores.records import ROOT, Namespace
from tests.e2e.chatting import send
from tests.support.replies import call
from tests.e2e.test_owner import headers


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, {}),
        ({"created": 9e15}, {}),
        ({"created": -9e15}, {}),
        ({}, {"start": 10}),
        ({}, {"start": -5}),
        ({"tokens": -(10**12)}, {}),
        ({"tokens": 2**52}, {}),
        ({"entries": '[{"role":"user","content":5}]'}, {}),
        ({"entries": '[{"role":"user","content":[5]}]'}, {}),
        ({"entries": '[{"role":"assistant","tool_calls":[{}]}]'}, {}),
        ({"entries": "[]"}, {}),
        ({"context_version": -3}, {}),
        ({"context_version": 99}, {}),
        ({"entries": '[{"role":"assistant","tool_calls":5}]'}, {}),
    ],
)
def test_no_500(backend, gateway, person, api_key, changes, state) -> None:
    head = json.loads(
        httpx.get(f"{gateway.origin}/memgpt/export", headers=headers(api_key)).text.splitlines()[0]
    )
    namespace = Namespace(head["namespace"])
    content = content_id({"role": "user", "content": "hi"})
    name = node_id(namespace, ROOT, content)
    message = {
        "id": name,
        "key": name,
        "content": content,
        "parent": "",
        "depth": 0,
        "role": "user",
        "text": "hi",
        "entries": json.dumps([{"role": "user", "content": "hi"}]),
        "tokens": 3,
        "created": time.time(),
        "queue": name if state else "",
        "context_version": 0,
        "turn": "",
        "complete": True,
        "abandoned": False,
        **changes,
    }
    lines = [head, {"message": message}]
    end = {"message": 1}
    if state:
        lines.insert(
            1,
            {
                "queue_state": {
                    "node": name,
                    "start": 0,
                    "summary": "s",
                    "context": {"version": 0, "content": ""},
                    "counts": {"messages": 1, "passages": 0},
                    **state,
                }
            },
        )
        end["queue_state"] = 1
    lines.append({"end": end})
    answer = httpx.post(
        f"{gateway.origin}/memgpt/import",
        headers=headers(api_key),
        content="\n".join(map(json.dumps, lines)),
    )
    print(answer.status_code, answer.text)
    if answer.status_code == 400:
        return
    for body in (
        [{"role": "user", "content": "hi"}],
        [{"role": "user", "content": "hi"}, {"role": "user", "content": "and"}],
    ):
        backend.reply(call("recall_storage_search", {"query": "hi"}), send("Hello."))
        told = httpx.post(
            f"{gateway.base_url}/chat/completions",
            headers=headers(api_key),
            timeout=10,
            json={"model": person.model, "messages": body},
        )
        backend.reset()
        assert told.status_code == 200, told.text
