from __future__ import annotations
import json, time
from concurrent.futures import ThreadPoolExecutor
import httpx
from memgpt_proxy.memory.transcript import content_id, node_id
from memgpt_proxy.stores.records import ROOT, Namespace
from tests.e2e.test_owner import headers


def test_an_import_holds_up_nobody(gateway, api_key) -> None:
    head = json.loads(
        httpx.get(f"{gateway.origin}/memgpt/export", headers=headers(api_key)).text.splitlines()[0]
    )
    namespace, lines, parent, size, n = Namespace(head["namespace"]), [json.dumps(head)], ROOT, 0, 0
    while size < 62 * 2**20:
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
        parent, size, n = name, size + len(lines[-1]), n + 1
    lines.append(json.dumps({"end": {"message": n}}))
    body = "\n".join(lines).encode()
    with ThreadPoolExecutor(1) as elsewhere:
        told = elsewhere.submit(
            lambda: httpx.post(
                f"{gateway.origin}/memgpt/import",
                headers=headers(api_key),
                content=body,
                timeout=300,
            )
        )
        waits = []
        with httpx.Client(timeout=60) as client:
            while not told.done():
                began = time.perf_counter()
                client.get(f"{gateway.origin}/healthz")
                waits.append((round(time.perf_counter() - began, 2)))
                time.sleep(0.02)
    print(
        n,
        "messages",
        told.result().status_code,
        told.result().text,
        "longest waits:",
        sorted(waits)[-6:],
        "s; whole",
        len(waits),
    )
    assert max(waits) < 0.5
