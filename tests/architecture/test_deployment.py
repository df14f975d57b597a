"""The images, compose.yaml and the Kubernetes manifests: valid by schema, confined, bounded, and in step with the code.

No container engine is at hand where the tests run, so what an engine would refuse is looked for here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import compose_spec
import grpc
import kubernetes_validate
import pytest
import yaml
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from server.__main__ import parser
from server.settings import Settings
from server.stack.servers import GRACE_SECONDS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
MANIFESTS = ROOT / "gateway" / "kubernetes"
KUBERNETES = "1.37"
INTERPOLATION = re.compile(r"\$\{\w+(?::([-?])([^}]*))?\}")
COMPOSE: dict[str, Any] = yaml.safe_load(
    INTERPOLATION.sub(lambda found: found[2] if found[1] == "-" else "0given0", (ROOT / "compose.yaml").read_text("utf-8"))
)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("ani/")}
OBJECTS: list[dict[str, Any]] = [
    found
    for path in sorted(MANIFESTS.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for found in yaml.safe_load_all(path.read_text("utf-8"))
]
WORKLOADS = [found for found in OBJECTS if found["kind"] in {"Deployment", "Job"}]
POLICIES = [found for found in OBJECTS if found["kind"] == "NetworkPolicy"]
# What a weak server has to give: the API with its gateway, Valkey, PostgreSQL, the worker.
BUDGET = {("server", "gateway"): 512, ("cache", "broker"): 256, ("database",): 512, ("worker",): 256}


def name_of(found: dict[str, Any]) -> str:
    return f"{found['kind']}/{found['metadata']['name']}"


def by_name(kind: str, name: str) -> dict[str, Any]:
    return next(found for found in OBJECTS if found["kind"] == kind and found["metadata"]["name"] == name)


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


def container_of(workload: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = pod_of(workload)["containers"]
    assert len(containers) == 1
    return containers[0]


def environment_of(workload: dict[str, Any]) -> dict[str, str]:
    """Return what a container's process would find, with the example's secrets in place of real ones."""
    found: dict[str, str] = {}
    for source in container_of(workload).get("envFrom", []):
        if "configMapRef" in source:
            found |= by_name("ConfigMap", source["configMapRef"]["name"])["data"]
        else:
            found |= by_name("Secret", source["secretRef"]["name"])["stringData"]
    return found | {variable["name"]: variable["value"] for variable in container_of(workload).get("env", [])}


def image_environment() -> dict[str, str]:
    """Return the variables that the images set."""
    words = re.findall(r"^(?:ENV|   ) ((?:ANI|[A-Z]+_URL)\w*=\S+)", DOCKERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for word in words)


def health_checks() -> list[list[str]]:
    return [json.loads(words) for words in re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)]


@pytest.fixture
def health_server() -> Iterator[tuple[int, health.HealthServicer]]:
    """A real health service on a free port of loopback."""
    servicer = health.HealthServicer()
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, servicer
    server.stop(None).wait()


class TestDockerfile:
    def test_passes_the_linter(self) -> None:
        linter = Path(sys.executable).with_name("hadolint")

        found = subprocess.run([linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

        assert (found.returncode, found.stdout) == (0, "")

    def test_names_its_bases_and_none_by_a_moving_name(self) -> None:
        bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

        assert "latest" not in DOCKERFILE
        assert re.search(r"^ARG PYTHON=3\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
        assert set(bases) <= {"python:${PYTHON}", "dependencies", "base"}

    def test_installs_only_what_the_locks_name_with_hashes(self) -> None:
        installs = re.findall(r"pip install (.*)", DOCKERFILE)

        assert installs
        assert all("--require-hashes" in words or "--no-deps --no-build-isolation --editable ." in words for words in installs)

    def test_leaves_what_builds_behind(self) -> None:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
        tools = {re.split(r"[^\w-]", requirement)[0] for requirement in extras["build"]}
        removed = re.search(r"pip uninstall --yes \\\n((?:\s+[\w -]+)+)", DOCKERFILE)

        assert removed is not None
        assert tools | {"pip", "setuptools"} <= set(removed[1].split())
        assert not re.search(r"\b(apt|apt-get|gcc)\b", DOCKERFILE)

    def test_runs_as_a_numeric_user_that_owns_nothing_but_its_data(self) -> None:
        assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
        assert not re.search(r"COPY .*--chown", DOCKERFILE)

    def test_stops_checks_and_labels_itself(self) -> None:
        assert "STOPSIGNAL SIGTERM" in DOCKERFILE
        assert len(health_checks()) == len(re.findall(r"^HEALTHCHECK", DOCKERFILE, re.MULTILINE)) == 2
        assert {"title", "description", "licenses", "version", "revision"} <= set(
            re.findall(r"org\.opencontainers\.image\.(\w+)=", DOCKERFILE)
        )

    def test_copies_nothing_that_dockerignore_keeps_out(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        admitted = {line[1:] for line in ignored if line.startswith("!")}
        copied = {
            word.split("/")[0]
            for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
            for word in words.split()[:-1]
        }

        assert next(line for line in ignored if line and not line.startswith("#")) == "*"
        assert copied <= admitted
        assert all((ROOT / name).exists() for name in admitted)

    def test_sets_only_settings_that_exist(self) -> None:
        needed = {
            "DATABASE_URL": "postgresql://ani@database/ani",
            "ANI_TOKEN_KEYS": "/keys",
            "ANI_STORAGE_URL": "file:///files",
            "ANI_MAIL_URL": "smtp://relay.example",
            "ANI_SITE_URL": "https://ani.example",
        }

        settings = Settings.read(image_environment() | needed)

        assert settings.environment == "production"
        assert settings.data == Path("/data")

    def test_runs_commands_that_exist(self) -> None:
        defaults = [json.loads(words) for words in re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)]

        assert 'ENTRYPOINT ["ani"]' in DOCKERFILE
        assert [parser().parse_args(words).command for words in defaults] == ["gateway", "serve"]

    def test_finds_a_server_healthy_only_while_it_serves(self, health_server: tuple[int, health.HealthServicer]) -> None:
        port, servicer = health_server
        check = [word.replace("50051", str(port)) for word in health_checks()[1]]
        servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        serving = subprocess.run([sys.executable, *check[1:]], capture_output=True, check=False, timeout=30)
        servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        draining = subprocess.run([sys.executable, *check[1:]], capture_output=True, check=False, timeout=30)

        assert check[0] == "python"
        assert serving.returncode == 0
        assert draining.returncode == 1


class TestCompose:
    def test_is_what_the_specification_calls_valid(self) -> None:
        found = compose_spec.PyCompose.from_json(json.dumps(COMPOSE))

        assert set(found.service_names()) == set(SERVICES)

    def test_runs_commands_that_exist(self) -> None:
        commands = {name: parser().parse_args(service["command"]).command for name, service in OURS.items()}

        assert commands == {"gateway": "gateway", "server": "serve", "worker": "worker", "migrate": "migrate"}

    @pytest.mark.parametrize("name", OURS)
    def test_gives_each_part_settings_that_it_takes(self, name: str) -> None:
        assert Settings.read(SERVICES[name]["environment"], stores=name != "gateway").environment == "production"

    def test_gives_the_public_door_no_secret(self) -> None:
        assert "0given0" not in json.dumps(SERVICES["gateway"])

    def test_has_gateway_and_servers_believe_the_same_proxies(self) -> None:
        hops = {SERVICES[name]["environment"]["ANI_TRUSTED_HOPS"] for name in ("gateway", "server")}

        assert len(hops) == 1

    def test_upstreams_are_the_processes_of_the_server(self) -> None:
        servers = Settings.read(SERVICES["server"]["environment"])
        first = int(servers.listen.rpartition(":")[2])

        upstreams = Settings.read(SERVICES["gateway"]["environment"], stores=False).upstreams

        assert upstreams == tuple(f"server:{first + index}" for index in range(servers.servers))

    @pytest.mark.parametrize("name", SERVICES)
    def test_confines_each_service(self, name: str) -> None:
        service = SERVICES[name]

        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "network_mode"}

    @pytest.mark.parametrize("name", SERVICES)
    def test_names_a_version_of_each_image(self, name: str) -> None:
        tag = SERVICES[name]["image"].rpartition(":")[2]

        assert re.match(r"\d", tag)

    @pytest.mark.parametrize("parts", BUDGET, ids="+".join)
    def test_limits_add_up_to_the_weak_server(self, parts: tuple[str, ...]) -> None:
        limits = [SERVICES[name]["deploy"]["resources"]["limits"] for name in parts]

        assert sum(int(limit["memory"].removesuffix("M")) for limit in limits) == BUDGET[parts]
        assert all(limit["pids"] and float(limit["cpus"]) for limit in limits)

    def test_opens_one_port_in_one_place(self) -> None:
        ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

        assert ports == {"gateway": ["8080:8080"]}
        assert COMPOSE["networks"]["inside"]["internal"] is True
        assert {name for name, service in SERVICES.items() if service["networks"] != ["inside"]} == {"gateway", "worker"}

    def test_waits_for_what_a_part_cannot_do_without(self) -> None:
        conditions = {
            (name, other): needed["condition"]
            for name, service in SERVICES.items()
            for other, needed in service.get("depends_on", {}).items()
        }

        assert {other for _, other in conditions} <= set(SERVICES)
        assert conditions["server", "migrate"] == conditions["worker", "migrate"] == "service_completed_successfully"
        assert conditions["migrate", "database"] == conditions["gateway", "server"] == "service_healthy"
        assert conditions["server", "cache"] == "service_started"

    def test_gives_a_stopping_part_the_time_it_takes(self) -> None:
        settings = Settings.read(SERVICES["server"]["environment"])

        assert int(SERVICES["server"]["stop_grace_period"].removesuffix("s")) > settings.drain_seconds + GRACE_SECONDS

    def test_keeps_the_connections_within_what_the_database_takes(self) -> None:
        servers = Settings.read(SERVICES["server"]["environment"])
        most = next(int(word.partition("=")[2]) for word in SERVICES["database"]["command"] if "max_connections" in word)

        assert servers.database_pool * (servers.servers + 1) + 10 <= most

    def test_checks_the_health_of_each_store(self) -> None:
        checks = {
            name: service["healthcheck"]["test"] for name, service in SERVICES.items() if "test" in service.get("healthcheck", {})
        }

        assert set(checks) == {"database", "cache", "broker"}


class TestKubernetes:
    @pytest.mark.parametrize("found", OBJECTS, ids=name_of)
    def test_objects_are_what_the_schema_calls_valid(self, found: dict[str, Any]) -> None:
        assert kubernetes_validate.validate(found, KUBERNETES, strict=True) == KUBERNETES
        assert found["kind"] == "Namespace" or found["metadata"]["namespace"] == "ani"

    def test_kustomization_names_every_manifest_but_the_example(self) -> None:
        kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text("utf-8"))
        manifests = {path.name for path in MANIFESTS.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}
        images = {container_of(workload)["image"] for workload in WORKLOADS}

        assert set(kustomization["resources"]) == manifests
        assert images == {f"{image['name']}:{image['newTag']}" for image in kustomization["images"]}

    def test_namespace_holds_its_pods_to_the_strictest_standard(self) -> None:
        labels = by_name("Namespace", "ani")["metadata"]["labels"]

        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

    @pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
    def test_pods_are_confined(self, workload: dict[str, Any]) -> None:
        pod, container = pod_of(workload), container_of(workload)

        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False

    @pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
    def test_pods_are_bounded(self, workload: dict[str, Any]) -> None:
        resources = container_of(workload)["resources"]

        assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod_of(workload)["volumes"] if "emptyDir" in volume)

    @pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
    def test_pods_mount_each_volume_and_the_places_that_are_written_to(self, workload: dict[str, Any]) -> None:
        mounts = {mount["name"]: mount["mountPath"] for mount in container_of(workload)["volumeMounts"]}

        assert set(mounts) == {volume["name"] for volume in pod_of(workload)["volumes"]}
        assert {"/data", "/tmp"} <= set(mounts.values())

    @pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
    def test_pods_take_their_settings_and_none_that_kubernetes_invents(self, workload: dict[str, Any]) -> None:
        stores = container_of(workload)["args"] != ["gateway"]

        assert Settings.read(environment_of(workload), stores=stores).environment == "production"
        assert pod_of(workload)["enableServiceLinks"] is False

    @pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
    def test_pods_run_commands_that_exist(self, workload: dict[str, Any]) -> None:
        container = container_of(workload)

        assert parser().parse_args(container["args"]).command in {"serve", "worker", "gateway", "migrate"}
        assert re.fullmatch(r"ani/(server|gateway):\d[\w.-]*", container["image"])

    @pytest.mark.parametrize("name", ["ani-server", "ani-gateway"])
    def test_what_takes_calls_is_probed(self, name: str) -> None:
        container = container_of(by_name("Deployment", name))

        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()

    def test_servers_are_probed_by_the_standard_health_service(self) -> None:
        container = container_of(by_name("Deployment", "ani-server"))
        port = int(environment_of(by_name("Deployment", "ani-server"))["ANI_LISTEN"].rpartition(":")[2])

        assert container["startupProbe"]["grpc"] == {"port": port, "service": "ani.catalog.v1.CatalogService"}
        assert container["readinessProbe"]["grpc"] == container["livenessProbe"]["grpc"] == {"port": port}

    def test_stopping_servers_have_the_time_they_take(self) -> None:
        workload = by_name("Deployment", "ani-server")
        pause = container_of(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = Settings.read(environment_of(workload)).drain_seconds

        assert pod_of(workload)["terminationGracePeriodSeconds"] > pause + drain + GRACE_SECONDS

    def test_three_servers_stay_two_when_nodes_are_emptied(self) -> None:
        workload = by_name("Deployment", "ani-server")
        budget = by_name("PodDisruptionBudget", "ani-server")["spec"]

        assert workload["spec"]["replicas"] == 3
        assert workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert budget["minAvailable"] == 2

    @pytest.mark.parametrize("found", [one for one in OBJECTS if one["kind"] in {"Service", "PodDisruptionBudget"}], ids=name_of)
    def test_selectors_find_pods(self, found: dict[str, Any]) -> None:
        selector = found["spec"]["selector"].get("matchLabels", found["spec"]["selector"])
        labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in WORKLOADS]

        assert any(selector.items() <= candidate.items() for candidate in labels)

    def test_upstreams_are_the_pods_behind_the_headless_service(self) -> None:
        service = by_name("Service", "ani-server")
        port = service["spec"]["ports"][0]["port"]

        upstreams = Settings.read(environment_of(by_name("Deployment", "ani-gateway")), stores=False).upstreams

        assert service["spec"]["clusterIP"] == "None"
        assert upstreams == (f"ani-server.ani.svc.cluster.local:{port}",)

    def test_gateway_and_servers_believe_the_same_proxies(self) -> None:
        hops = {environment_of(by_name("Deployment", name))["ANI_TRUSTED_HOPS"] for name in ("ani-gateway", "ani-server")}

        assert len(hops) == 1

    def test_public_door_is_given_no_secret(self) -> None:
        container = container_of(by_name("Deployment", "ani-gateway"))

        assert "secret" not in json.dumps(
            [container["envFrom"], container["env"], pod_of(by_name("Deployment", "ani-gateway"))["volumes"]]
        )

    def test_only_the_gateway_is_open_to_everyone(self) -> None:
        open_to_all = {
            policy["metadata"]["name"] for policy in POLICIES for rule in policy["spec"].get("ingress", []) if "from" not in rule
        }

        assert by_name("NetworkPolicy", "deny-all")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        assert open_to_all == {"gateway"}
