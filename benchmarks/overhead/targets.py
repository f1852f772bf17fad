"""What is measured: how each proxy is started, and the requests it is given."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from benchmarks.conditions import of_gateway, output
from benchmarks.overhead import install
from benchmarks.overhead.load import (
    CHAT,
    CHAT_STREAM,
    EMBEDDINGS,
    MODEL,
    MODELS,
    STREAM_MODEL,
    TEXT_STREAM,
    Request,
)
from benchmarks.process import Command

KEY = "bench"
AUTHORIZATION = f"Authorization: Bearer {KEY}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A row of the table: whole answers of one kind and, where there are such, streams."""

    label: str
    whole: Request
    stream: Request | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where one start of a proxy lives: an empty directory, its port and the backend's."""

    directory: Path
    port: int
    backend_port: int

    @property
    def backend_url(self) -> str:
        return f"http://127.0.0.1:{self.backend_port}/v1"


@dataclass(frozen=True, slots=True)
class Target:
    """A proxy: how to start it, the path that tells that it is ready, and its rows."""

    name: str
    version: str
    command: Callable[[Site], Command]
    ready: str
    workloads: Sequence[Workload]
    headers: Callable[[Site], Sequence[str]] = lambda site: (AUTHORIZATION,)


def nginx() -> Target:
    program = install.install_nginx()

    def command(site: Site) -> Command:
        template = Template((install.HERE / "nginx.conf").read_text())
        text = template.substitute(
            directory=site.directory, port=site.port, backend_port=site.backend_port
        )
        configuration = site.directory / "nginx.conf"
        configuration.write_text(text)
        arguments = [str(program), "-p", str(site.directory), "-c", str(configuration)]
        return Command(arguments, site.directory / "log")

    version = output(str(program), "-v").rpartition("/")[2]
    return Target("nginx", version, command, "/v1/models", [Workload("nginx", CHAT, CHAT_STREAM)])


def litellm() -> Target:
    program = install.install_litellm()

    def command(site: Site) -> Command:
        configuration = site.directory / "config.json"  # JSON is YAML
        configuration.write_text(json.dumps(_litellm_configuration(site)))
        arguments = [str(program), "--config", str(configuration), "--host", "127.0.0.1"]
        arguments += ["--port", str(site.port), "--num_workers", "1", "--telemetry", "False"]
        environment = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the price list that comes with it
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # no keys, no database
        }
        return Command(arguments, site.directory / "log", environment)

    workload = Workload("LiteLLM proxy", CHAT, CHAT_STREAM)
    version = install.LITELLM_VERSION
    return Target("litellm", version, command, "/health/readiness", [workload])


def _litellm_configuration(site: Site) -> dict[str, object]:
    return {
        "model_list": [
            {
                "model_name": model,
                "litellm_params": {
                    "model": f"openai/{model}",
                    "api_base": site.backend_url,
                    "api_key": KEY,
                },
            }
            for model in (MODEL, STREAM_MODEL)
        ]
    }


def portkey() -> Target:
    script = install.install_portkey()

    def command(site: Site) -> Command:
        arguments = ["node", str(script), f"--port={site.port}", "--headless"]
        return Command(arguments, site.directory / "log")

    def headers(site: Site) -> Sequence[str]:
        host = f"x-portkey-custom-host: {site.backend_url}"
        return (AUTHORIZATION, "x-portkey-provider: openai", host)

    workload = Workload("Portkey gateway", CHAT, CHAT_STREAM)
    return Target("portkey", install.PORTKEY_VERSION, command, "/", [workload], headers)


def gateway(start: Sequence[str]) -> Target:
    """The gateway of this checkout, started by the arguments given: an interpreter, a script."""
    install.need(start[0], "run scripts/setup, or say --gateway-command")

    def command(site: Site) -> Command:
        arguments = [*start, "serve", "--host", "127.0.0.1", "--port", str(site.port)]
        arguments += ["--backend-url", site.backend_url]
        arguments += ["--data-dir", str(site.directory / "data")]
        return Command(arguments, site.directory / "log")

    workloads = [
        Workload("gateway, full memory", CHAT, CHAT_STREAM),
        Workload("gateway, passed through: GET /v1/models", MODELS),
        Workload("gateway, passed through: POST /v1/embeddings", EMBEDDINGS, TEXT_STREAM),
    ]
    return Target("gateway", of_gateway()["memgpt-proxy"], command, "/readyz", workloads)
