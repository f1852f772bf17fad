"""The same with a large memory in Elasticsearch, and nothing held up by hand."""

from __future__ import annotations
import json, time
from concurrent.futures import ThreadPoolExecutor
import httpx
import pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.memory.transcript import content_id, node_id
from memgpt_proxy.stores.records import ROOT, Namespace
from tests.e2e.chatting import Person, send
from tests.e2e.in_process import served
from tests.e2e.test_erasing import erase
from tests.e2e.test_owner import headers
from tests.support.replies import Gate, wait


@pytest.mark.elasticsearch
def test_natural(backend, tmp_path, api_key, model, elasticsearch) -> None:
    app = create_app(
        Settings(
            data_dir=tmp_path / "d",
            elasticsearch_url=elasticsearch.url,
            elasticsearch_prefix=f"hunt_{api_key[-8:]}",
            namespace_secret="of the whole fleet",
        ),
        backend.base_url,
    )
    with served(app) as origin, ThreadPoolExecutor(2) as elsewhere:
        head = json.loads(
            httpx.get(f"{origin}/memgpt/export", headers=headers(api_key)).text.splitlines()[0]
        )
        namespace, lines, parent = Namespace(head["namespace"]), [json.dumps(head)], ROOT
        lines.append(
            json.dumps(
                {"working_context": {"version": 1, "content": "Cat: Mia", "node": "", "turn": ""}}
            )
        )
        N = 20_000
        for n in range(N):
            role = "assistant" if n % 2 else "user"
            content = content_id({"role": role, "content": f"message {n}"})
            name = node_id(namespace, parent, content)
            lines.append(
                json.dumps(
                    {
                        "message": {
                            "id": name,
                            "key": name,
                            "content": content,
                            "parent": parent,
                            "depth": n,
                            "role": role,
                            "text": f"message {n}",
                            "entries": json.dumps([{"role": role, "content": f"message {n}"}]),
                            "tokens": 3,
                            "created": time.time(),
                            "queue": "",
                            "context_version": 0,
                            "turn": "",
                            "complete": True,
                            "abandoned": False,
                        }
                    }
                )
            )
            parent = name
        lines.append(json.dumps({"end": {"message": N, "working_context": 1}}))
        print(
            httpx.post(
                f"{origin}/memgpt/import",
                headers=headers(api_key),
                content="\n".join(lines),
                timeout=300,
            ).text
        )
        person = Person(f"{origin}/v1", api_key, model)
        began = time.time()
        deleting = elsewhere.submit(erase, origin, api_key)
        time.sleep(0.3)
        gate = Gate()
        backend.reply(wait(gate) + send("Hello!"))
        asked = elsewhere.submit(person.say, "Good morning.")
        told = deleting.result(60)
        print("DELETE took", round(time.time() - began, 2), told.status_code, told.text)
        gate.open()
        asked.result(20)
        left = httpx.get(f"{origin}/memgpt/export", headers=headers(api_key)).text
    print(left[:800])
    assert "Mia" not in left
