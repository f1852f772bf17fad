"""The chart and the gateway agree: on settings, probes and files."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.draining import Draining
from memgpt_proxy.reference import settings_reference
from memgpt_proxy.server import KEEP_ALIVE_SECONDS, Server
from memgpt_proxy.settings_sources import load_settings
from memgpt_proxy.stores.redis.url import SCHEMES
from tests.conftest import StartGateway
from tests.docs.shell import has_value
from tests.support.chart_schema import CHART, SAID_ELSEWHERE, SCHEMA, elsewhere, written
from tests.support.helm import (
    CASES,
    NAMESPACE,
    RELEASE,
    Helm,
    HelmError,
    Manifest,
    environment,
    of_kind,
)
from tests.support.kubernetes_schemas import carried, versions

NAME = f"{RELEASE}-memgpt-proxy"
SECRET = "0123456789abcdef0123456789abcdef"

LONGEST_NAME = 38
"""With the endings of the chart, and the hash of a StatefulSet, that is a label still."""

TEMPLATE = "templates/dashboards.yaml"

WITH_ELASTICSEARCH = {"bundled", "everything", "fleet", "production"}
"""Cases whose memory is there."""

REDIS_SCHEMES = sorted(SCHEMES.keys() - {"unix"})
"""A pod has no socket of another's."""

GOOGLES_SECONDS = 600
"""How long Google's load balancers keep an idle connection to a backend."""

chart = pytest.mark.chart


def test_the_schema_has_all_settings() -> None:
    assert json.loads(SCHEMA.read_text()) == written(), "run python -m tests.support.chart_schema"


def test_values_of_other_names_stand_for_settings_that_there_are() -> None:
    assert set(Settings.model_fields) >= SAID_ELSEWHERE


def named_in_templates() -> set[str]:
    """Return the names that begin as an environment variable of the gateway does."""
    texts = (path.read_text() for path in CHART.rglob("*") if path.suffix in {".yaml", ".tpl"})
    found = {name for text in texts for name in re.findall(rf"{ENV_PREFIX}([A-Z_]+)", text)}
    return found - {""}


def test_every_setting_that_is_named_is_one_of_the_gateway() -> None:
    known = set(re.findall(rf"`{ENV_PREFIX}([A-Z_]+)`", settings_reference()))
    assert named_in_templates() - known == set()


@chart
@pytest.mark.parametrize("case", sorted(CASES))
def test_the_gateway_takes_what_is_rendered(
    helm: Helm, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    manifests = helm.manifests(CASES[case])
    name = "memory" if case == "everything" else NAME
    given = environment(manifests, name)
    if case in {"fleet", "production"}:
        given[f"{ENV_PREFIX}NAMESPACE_SECRET"] = SECRET  # the operator's own Secret
    for variable, value in given.items():
        assert variable.removeprefix(ENV_PREFIX).lower() in Settings.model_fields
        monkeypatch.setenv(variable, value)
    settings = load_settings({})
    assert settings.host == "0.0.0.0"
    assert str(settings.data_dir) == "/var/lib/memgpt-proxy"
    assert bool(settings.elasticsearch_url) == (case in WITH_ELASTICSEARCH)


@chart
def test_what_is_set_arrives(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment(helm.manifests(CASES["everything"]), "memory").items():
        monkeypatch.setenv(variable, value)
    settings = load_settings({})
    assert settings.tokens_per_minute == 2_000_000
    assert settings.flush_to == 0.4
    assert settings.conversation_headers == ("X-Chat", "X-Thread")
    assert [each.pattern for each in settings.task_prompts] == ["^Write a title, short", "^Tags"]
    assert [key.get_secret_value() for key in settings.accepted_keys] == ["sk-one", "sk-two"]
    assert settings.drain_seconds == 1200
    assert not settings.access_log


@chart
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"backend": {"urll": "http://vllm/v1"}}, "urll"),
        ({"backend": {"url": "vllm:8000"}}, "/backend/url"),
        ({"settings": {"context_windows": 8192}}, "context_windows"),
        ({"settings": {"max_steps": "many"}}, "/settings/max_steps"),
        ({"settings": {"reply_mode": "aloud"}}, "/settings/reply_mode"),
        ({"replicas": "three"}, "/replicas"),
        ({"draining": {"seconds": -1}}, "/draining/seconds"),
        ({"ingress": {"enabled": True}}, "/ingress/hosts"),
        ({"ingress": {"streaming": "apache"}}, "/ingress/streaming"),
        ({"httpRoute": {"enabled": True}}, "/httpRoute/parentRefs"),
        ({"elasticsearch": {"url": "es:9200"}}, "/elasticsearch/url"),
        ({"redis": {"url": "http://redis"}}, "/redis/url"),
        ({"secrets": {"namespace_secret": "fifteen-letters"}}, "/secrets/namespace_secret"),
        ({"existingSecret": "Not_a_name"}, "/existingSecret"),
        ({"image": {"digest": "sha256:1"}}, "/image/digest"),
        (
            {"commonLabels": {"app.kubernetes.io/name": "other"}},
            "/commonLabels/app.kubernetes.io~1name",
        ),
        (
            {"podLabels": {"app.kubernetes.io/component": "test"}},
            "/podLabels/app.kubernetes.io~1component",
        ),
        ({"podSpec": {"containers": []}}, "/podSpec/containers"),
        ({"service": {"spec": {"selector": {}}}}, "/service/spec/selector"),
        ({"configFiles": {"files": {"a/b": ""}}}, "a/b"),
        ({"podSpec": {"initContainer": []}}, "initContainer"),
        ({"podSpec": {"initContainers": [{"image": "wait"}]}}, "/podSpec/initContainers/0"),
        ({"extraContainers": [{"image": "proxy"}]}, "/extraContainers/0"),
        ({"extraVolumes": [{"secret": {}}]}, "/extraVolumes/0"),
        ({"extraVolumeMounts": [{"name": "more"}]}, "/extraVolumeMounts/0"),
        ({"extraEnv": [{"value": "1"}]}, "/extraEnv/0"),
        ({"fullnameOverride": "My_Release"}, "/fullnameOverride"),
        ({"fullnameOverride": "n" * (LONGEST_NAME + 1)}, "/fullnameOverride"),
        ({"nameOverride": "n" * 64}, "/nameOverride"),
        ({"startupSeconds": 0}, "/startupSeconds"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: Helm, values: dict[str, Any], told: str) -> None:
    with pytest.raises(HelmError, match="values don't meet the specifications") as refused:
        helm.template({"backend": {"demo": True}} | values)
    assert told in str(refused.value)


@chart
@pytest.mark.parametrize("scheme", REDIS_SCHEMES)
def test_every_redis_that_the_gateway_takes_can_be_told(helm: Helm, scheme: str) -> None:
    """And its policy lets it through, to the Redis behind sentinels too."""
    fleet = yaml.safe_load(CASES["fleet"].read_text()) | {"existingSecret": ""}
    url = f"{scheme}://:password@redis.cache:7000" + "/service" * scheme.endswith("sentinel")
    values = {"redis": {"url": url}, "secrets": {"namespace_secret": SECRET}}
    manifests = helm.manifests(fleet | values)
    assert environment(manifests, NAME)[f"{ENV_PREFIX}REDIS_URL"] == url
    asked = {"7000", "6379"} if scheme.endswith("sentinel") else {"7000"}
    assert asked <= egress_ports(manifests)


@pytest.mark.parametrize("scheme", REDIS_SCHEMES)
def test_every_redis_that_the_gateway_takes_is_documented(scheme: str) -> None:
    assert f"{scheme}://" in str(Settings.model_fields["redis_url"].description)


@chart
@pytest.mark.parametrize("name", sorted(elsewhere() - {"data_dir"}))
def test_a_setting_that_is_set_elsewhere_is_refused_with_its_place(helm: Helm, name: str) -> None:
    with pytest.raises(HelmError, match=rf"settings\.{name} .*instead") as refused:
        helm.template({"backend": {"demo": True}, "settings": {name: "1"}})
    [value] = re.findall(r"Set ([\w.]+) instead", str(refused.value))
    has_value(value.split("."))


@chart
def test_the_data_directory_is_that_of_the_volume(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"settings\.data_dir is the chart's own"):
        helm.template({"backend": {"demo": True}, "settings": {"data_dir": "/data"}})


@chart
def test_a_redis_among_the_secrets_is_refused_with_its_place(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"secrets\.redis_url .* Set redis\.url"):
        helm.template({"backend": {"demo": True}, "secrets": {"redis_url": "redis://r"}})


@chart
def test_the_fields_of_a_pod_are_those_of_kubernetes(python_checkers: Path) -> None:
    """Of its newest version that is known here: any other name is a typing error."""
    definitions = json.loads(
        (carried() / f"v{versions()[-1]}-local-strict" / "_definitions.json").read_text()
    )["$defs"]
    known = definitions["io.k8s.api.core.v1.PodSpec"]["properties"].keys()
    told = json.loads(SCHEMA.read_text())["properties"]["podSpec"]["properties"]
    assert told.keys() == known


def unguarded(schema: dict[str, Any], path: str = "") -> list[str]:
    """Return the objects of a schema that have names, and take any other.

    Names that are told only to refuse them are none.
    """
    parts = {name: part for name, part in schema.get("properties", {}).items() if part}
    found = [path] if parts and schema.get("additionalProperties", True) else []
    for name, part in parts.items():
        found += unguarded(part, f"{path}/{name}")
    return found


def test_no_name_is_mistyped_unseen() -> None:
    """``global`` has names of other charts, too."""
    assert unguarded(json.loads(SCHEMA.read_text())) == ["/global"]


def test_the_schema_has_all_values() -> None:
    def names(values: object, schema: dict[str, Any], path: str) -> None:
        for name, value in values.items() if isinstance(values, dict) else ():
            if known := schema.get("properties"):
                assert name in known, f"{path}/{name}"
                names(value, known[name], f"{path}/{name}")

    names(yaml.safe_load((CHART / "values.yaml").read_text()), json.loads(SCHEMA.read_text()), "")


@chart
@pytest.mark.parametrize("case", sorted(CASES))
def test_the_same_values_give_the_same_release(helm: Helm, case: str) -> None:
    assert helm.template(CASES[case]) == helm.template(CASES[case])


@chart
def test_a_gateway_runs_as_the_pod_would(helm: Helm, start_gateway: StartGateway) -> None:
    manifests = helm.manifests(CASES["embedded"])
    _, container = container_of(manifests, "StatefulSet")
    assert container["args"] == ["serve"]
    moved = {"HOST", "PORT", "DATA_DIR", "BACKEND_URL", "DRAIN_DELAY_SECONDS"}  # the test's own
    given = environment(manifests, NAME)
    gateway = start_gateway(
        env={name: text for name, text in given.items() if name[len(ENV_PREFIX) :] not in moved}
    )
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        assert httpx.get(gateway.origin + path).status_code == 200


@chart
def test_dashboards_are_shipped(helm: Helm, copied_chart: Path) -> None:
    (copied_chart / "dashboards").mkdir(exist_ok=True)
    dashboard = {"title": "Turns", "expr": 'rate(x{a="{{b}}"}[5m])'}
    (copied_chart / "dashboards" / "turns.json").write_text(json.dumps(dashboard, indent=2))
    shipped = yaml.safe_load(
        helm.template(CASES["everything"], "--show-only", TEMPLATE, chart=copied_chart)
    )
    assert json.loads(shipped["data"]["turns.json"]) == dashboard
    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert shipped["metadata"]["namespace"] == NAMESPACE


def container_of(manifests: list[Manifest], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod of the one workload of a kind, and its container."""
    [pod] = [each["spec"]["template"]["spec"] for each in of_kind(manifests, kind)]
    [container] = pod["containers"]
    return pod, container


def files_in(
    manifests: list[Manifest], kind: str, secrets: dict[str, dict[str, str]]
) -> dict[str, str]:
    """Return the files that a container is given, by their paths: of ConfigMaps and of Secrets."""
    pod, container = container_of(manifests, kind)
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(manifests, "ConfigMap")}
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    found: dict[str, str] = {}
    for volume in pod["volumes"]:
        held: dict[str, str] = {}
        if "configMap" in volume:
            held = maps[volume["configMap"]["name"]]
        elif "secret" in volume:
            held = secrets[volume["secret"]["secretName"]]
        found |= {f"{mounted[volume['name']]}/{name}": text for name, text in held.items()}
    return found


@chart
def test_several_backends_with_their_keys(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = helm.manifests(CASES["backends"])
    _, container = container_of(manifests, "StatefulSet")
    assert {"secretRef": {"name": "memgpt-secret"}} in container["envFrom"]
    for path, text in files_in(manifests, "StatefulSet", {"vendor-key": {"api-key": "b"}}).items():
        (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        # As the pod sees it, but beneath the test's own folder.
        (tmp_path / path.lstrip("/")).write_text(text.replace(" /etc/", f" {tmp_path}/etc/"))
    given = environment(manifests, NAME)
    given["MEMGPT_BACKENDS_FILE"] = f"{tmp_path}{given['MEMGPT_BACKENDS_FILE']}"
    of_the_secret = {"OPENAI_API_KEY": "a", "MEMGPT_ACCEPTED_KEYS": "sk-one"}
    for variable, value in (given | of_the_secret).items():
        monkeypatch.setenv(variable, value)
    several = read_backends(load_settings({}))
    assert several is not None
    keys = {backend.name: backend.key() for backend in several.backends}
    assert keys == {"openai": "a", "vendor": "b", "vllm": None}
    assert {str(backend.url.port) for backend in several.backends} <= egress_ports(manifests)


def egress_ports(manifests: list[Manifest]) -> set[str]:
    policies = of_kind(manifests, "NetworkPolicy")
    [policy] = [each for each in policies if "annotations" not in each["metadata"]]  # no hook's
    rules = policy["spec"]["egress"]
    return {str(port["port"]) for rule in rules for port in rule.get("ports", ())}


@chart
def test_the_production_values_do_what_is_said_of_them(helm: Helm) -> None:
    manifests = helm.manifests(CASES["production"])
    _, container = container_of(manifests, "Deployment")
    assert {"secretRef": {"name": "memgpt-secret"}} in container["envFrom"]
    assert of_kind(manifests, "Secret") == [], "what is secret is the operator's"
    authorities = {"elasticsearch-ca": {"ca.crt": "a"}, "redis-ca": {"ca.crt": "b"}}
    files = files_in(manifests, "Deployment", authorities)
    given = environment(manifests, NAME)
    assert files[given["MEMGPT_ELASTICSEARCH_CA_FILE"]] == "a"
    assert files[given["MEMGPT_REDIS_CA_FILE"]] == "b"
    assert given["MEMGPT_ELASTICSEARCH_URL"].count("https://") == 3
    [ingress] = of_kind(manifests, "Ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["memory.example.org"], "secretName": "memory-tls"}]
    [scaler] = of_kind(manifests, "HorizontalPodAutoscaler")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 12)
    assert {"443", "9200", "6380", "53"} <= egress_ports(manifests)
    for kind in ("PodDisruptionBudget", "ServiceMonitor", "PrometheusRule"):
        assert len(of_kind(manifests, kind)) == 1, kind


@chart
def test_it_can_be_a_part_of_another_chart(helm: Helm, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "whole" / "charts" / "memgpt-proxy")
    about = {"apiVersion": "v2", "name": "whole", "version": "1.0.0"}
    (tmp_path / "whole" / "Chart.yaml").write_text(yaml.safe_dump(about))
    values = {
        "memgpt-proxy": yaml.safe_load(CASES["fleet"].read_text()),
        "global": {"imageRegistry": "registry.example.org", "storageClass": "of another chart"},
    }
    manifests = [
        each
        for each in yaml.safe_load_all(helm.template(values, chart=tmp_path / "whole"))
        if each is not None
    ]
    _, container = container_of(manifests, "Deployment")
    assert container["image"].startswith("registry.example.org/memgpt-proxy:")


@chart
def test_it_is_packaged_with_its_dashboards(helm: Helm, tmp_path: Path) -> None:
    helm.run("package", CHART, "--destination", tmp_path)
    [packed] = tmp_path.glob("memgpt-proxy-*.tgz")
    assert helm.template(CASES["everything"], chart=packed) == helm.template(CASES["everything"])
    with tarfile.open(packed) as archive:
        names = archive.getnames()
    assert "memgpt-proxy/values.schema.json" in names
    assert not [
        name for name in names if name.startswith(("memgpt-proxy/ci/", "memgpt-proxy/tests"))
    ]


@chart
def test_no_load_balancer_outlasts_the_connections_of_the_gateway(helm: Helm) -> None:
    values = yaml.safe_load(CASES["embedded"].read_text())
    values["ingress"] |= {"streaming": "alb", "timeoutSeconds": 3600}
    [ingress] = of_kind(helm.manifests(values), "Ingress")
    told = ingress["metadata"]["annotations"]["alb.ingress.kubernetes.io/load-balancer-attributes"]
    server = Server(Any, Draining(), delay=0, grace=0)  # type: ignore[arg-type]
    assert 0 < int(told.removeprefix("idle_timeout.timeout_seconds=")) < KEEP_ALIVE_SECONDS
    assert server.config.timeout_keep_alive == KEEP_ALIVE_SECONDS > GOOGLES_SECONDS


@pytest.mark.parametrize("case", sorted(CASES))
def test_files_that_are_given_are_named(case: str) -> None:
    values = yaml.safe_load(CASES[case].read_text())
    given = values.get("configFiles", {}).get("files", {})
    named = " ".join(map(str, values.get("settings", {}).values()))
    named += " ".join(str(each.get("value")) for each in values.get("extraEnv", ()))
    assert [name for name in given if f"/etc/memgpt-proxy/{name}" not in named] == []
