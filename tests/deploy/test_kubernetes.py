"""The manifests: built by kustomize, checked against the schemas of Kubernetes, held to the
restricted standard, and their countersign started with the arguments, the files and the user that
they say. Of a cluster's own doing, nothing is tested: schedulers, drivers, networks."""

import json
import re
import subprocess
import tomllib

import box
import image as dockerfile
import pki
import pytest
import upstream
import yaml

FOLDER = dockerfile.ROOT / "deploy/kubernetes"
OVERLAYS = ("sidecar", "service")
# The first whose native sidecars are on by default, and the newest that there are schemas for.
VERSIONS = ("1.29", "1.37")
CALLER = "spiffe://cluster.local/ns/agents/sa/agent"
UNITS = {"KiB": 1 << 10, "Ki": 1 << 10, "MiB": 1 << 20, "Mi": 1 << 20, "GiB": 1 << 30, "Gi": 1 << 30}
# What it takes with connections and no message, and how often a message is in memory: measured with
# large ones, it was less than 2 times, and the less the more there were.
BASE = 32 << 20
COPIES = 2


def build(overlay):
    """What `kubectl apply -k` would send."""
    return subprocess.check_output(["kubectl", "kustomize", FOLDER / overlay], text=True)


def objects(overlay):
    """The objects of an overlay, by kind."""
    return {found["kind"]: found for found in yaml.safe_load_all(build(overlay))}


def pods(overlay):
    """The specification of the overlay's pods."""
    return objects(overlay)["Deployment"]["spec"]["template"]["spec"]


def containers(spec):
    """All containers of a pod."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def ours(spec):
    """The container that is countersign."""
    return next(it for it in containers(spec) if it["name"] == "countersign")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_hold(overlay, version, tmp_path):
    path = tmp_path / "built.yaml"
    path.write_text(build(overlay))
    subprocess.run(["kubernetes-validate", "--strict", "--quiet", "-k", version, path], check=True)


def test_the_schemas_would_find_a_mistake(tmp_path):
    path = tmp_path / "built.yaml"
    path.write_text(build("sidecar").replace("restartPolicy:", "restartsPolicy:"))
    command = ["kubernetes-validate", "--strict", "--quiet", path]
    assert subprocess.run(command, capture_output=True).returncode != 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_restricted_standard_is_kept(overlay):
    spec = pods(overlay)
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == box.NOBODY
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(spec):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]
        assert "memory" in container["resources"]["limits"], container["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_refers_to_something_refers_to_what_is_there(overlay):
    found, spec = objects(overlay), pods(overlay)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert found["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels
    assert spec["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in containers(spec):
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
    config = next(it["configMap"] for it in spec["volumes"] if "configMap" in it)
    assert config["name"] == found["ConfigMap"]["metadata"]["name"]
    modes = [it["secret"]["defaultMode"] for it in spec["volumes"] if "secret" in it]
    assert modes == [0o440]


def test_the_sidecar_starts_first_and_ends_last():
    sidecar = pods("sidecar")["initContainers"][0]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("countersign", "Always")
    assert "startupProbe" in sidecar


def test_the_service_leads_to_the_pods_and_they_scale():
    found = objects("service")
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert found["Service"]["spec"]["selector"].items() <= labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
    [port] = found["Service"]["spec"]["ports"]
    [named] = ours(pods("service"))["ports"]
    assert port["targetPort"] == named["name"]
    [allowed] = found["NetworkPolicy"]["spec"]["ingress"][0]["ports"]
    assert allowed["port"] == named["containerPort"]
    scaled = found["HorizontalPodAutoscaler"]["spec"]
    target = {key: found["Deployment"][key] for key in ("apiVersion", "kind")}
    assert scaled["scaleTargetRef"] == {**target, "name": found["Deployment"]["metadata"]["name"]}
    assert scaled["minReplicas"] >= 2 and "replicas" not in found["Deployment"]["spec"]
    # The names that callers use are in the certificate that the pods get, and are let in.
    name, space = found["Service"]["metadata"]["name"], found["Service"]["metadata"]["namespace"]
    serving = next(it for it in pods("service")["volumes"] if it["name"] == "serving")
    names = serving["csi"]["volumeAttributes"]["csi.cert-manager.io/dns-names"]
    names = names.replace("${POD_NAMESPACE}", space).split(",")
    assert names == [name, *(f"{name}.{space}{rest}" for rest in ("", ".svc", ".svc.cluster.local"))]
    config = tomllib.loads(found["ConfigMap"]["data"]["countersign.toml"])
    assert config["profile"]["default"]["serve"]["allow_host"] == names


def size(text):
    """How many bytes `8MiB` or `128Mi` are."""
    number, unit = re.fullmatch(r"([0-9]+)([KMG]iB?)", text).groups()
    return int(number) * UNITS[unit]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_four_of_the_largest_messages_at_a_time_fit_into_its_memory(overlay):
    config = tomllib.loads(objects(overlay)["ConfigMap"]["data"]["countersign.toml"])
    largest = size(config["profile"]["default"]["max_message"])
    limit = size(ours(pods(overlay))["resources"]["limits"]["memory"])
    assert BASE + 4 * COPIES * largest <= limit


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_image_is_of_this_version_and_in_a_registry_to_be_named(overlay):
    manifest = tomllib.loads((dockerfile.ROOT / "Cargo.toml").read_text())
    tag = f"registry.example.com/countersign:{manifest['package']['version']}"
    assert ours(pods(overlay))["image"] == tag


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_out_go_names_and_https_alone(overlay):
    names, https = objects(overlay)["NetworkPolicy"]["spec"]["egress"]
    assert names == {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    assert https == {"ports": [{"protocol": "TCP", "port": 443}]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_certificates_are_for_their_use_and_readable_by_who_runs(overlay):
    uses = {"identity": "digital signature,client auth", "serving": "digital signature,server auth"}
    found = {it["name"]: it["csi"] for it in pods(overlay)["volumes"] if "csi" in it}
    assert set(found) == ({"identity"} if overlay == "sidecar" else {"identity", "serving"})
    for name, csi in found.items():
        said = csi["volumeAttributes"].items()
        said = {key.removeprefix("csi.cert-manager.io/"): value for key, value in said}
        assert (csi["driver"], csi["readOnly"]) == ("csi.cert-manager.io", True)
        assert said["key-usages"] == uses[name]
        assert said["fs-group"] == str(box.NOBODY)
        # Whoever proves the one authority's names to callers is not whom the upstream knows.
        issuers = {"identity": "mcp-clients", "serving": "workloads"}
        assert (said["issuer-kind"], said["issuer-name"]) == ("ClusterIssuer", issuers[name])
    uri = found["identity"]["volumeAttributes"]["csi.cert-manager.io/uri-sans"]
    assert uri == "spiffe://cluster.local/ns/${POD_NAMESPACE}/sa/${SERVICE_ACCOUNT_NAME}"


def test_the_namespace_is_made_and_held_to_the_same_standard():
    namespace = objects("service")["Namespace"]["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for kind, found in objects("service").items():
        assert kind == "Namespace" or found["metadata"]["namespace"] == namespace["name"], kind


def test_one_replica_goes_at_a_time_and_callers_keep_theirs():
    found = objects("service")
    budget = found["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1 and "minAvailable" not in budget
    rolling = found["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}
    service = found["Service"]["spec"]
    assert service["sessionAffinity"] == "ClientIP"
    # docs/deploy.md says how long.
    assert service["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] == 3 * 3600


def test_what_must_be_there_before_is_in_the_documents():
    text = (dockerfile.ROOT / "docs/deploy.md").read_text()
    for overlay in OVERLAYS:
        for volume in pods(overlay)["volumes"]:
            if "csi" in volume:
                assert volume["csi"]["driver"] in text
                assert volume["csi"]["volumeAttributes"]["csi.cert-manager.io/issuer-name"] in text
            elif "secret" in volume:
                assert volume["secret"]["secretName"] in text


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_time_to_drain(overlay):
    spec = pods(overlay)
    pause = ours(spec).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = re.search(r"--drain-timeout TIME.*\| (\d+)s \|", reference())[1]
    assert spec["terminationGracePeriodSeconds"] > pause + int(drain)


def reference():
    return (dockerfile.ROOT / "docs/REFERENCE.md").read_text()


class Running:
    """The countersign of an overlay, in a box with an upstream for each host of its profiles."""

    def __init__(self, pod, overlay, image, hosts, server):
        self.pod, found, spec = pod, objects(overlay), pods(overlay)
        authority = pki.Authority()
        self.callers = pki.Authority("callers")
        upstream.start(pod, authority, *hosts)
        serving = self.callers.leaf(server)
        identity = authority.leaf("spiffe://cluster.local/ns/default/sa/countersign", client=True)
        files = {
            "config": found["ConfigMap"]["data"],
            "identity": identity,
            "serving": serving,
            "tokens": {name: f"{name}-secret\n" for name in ("acme", "globex", "token")},
        }
        container = ours(spec)
        self.root = pod.root(image)
        for mount in container["volumeMounts"]:
            assert mount["readOnly"] is True, mount
            pod.volume(self.root, mount["mountPath"], files[mount["name"]])
        # The hosts of an example have no certificate that the image's own roots know.
        roots = {"SSL_CERT_FILE": "/run/identity/ca.crt"}
        (_, last), _ = dockerfile.stages()
        words = [*dockerfile.exec_form(last.last("ENTRYPOINT")), *container["args"]]
        who = {"root": self.root, "uid": box.NOBODY}
        probes = [container[it]["exec"]["command"] for it in ("startupProbe", "readinessProbe")]
        assert pod.run(*probes[0], check=False, **who).returncode != 0
        process = pod.start(*words, env=roots, until="listening on", **who)
        for probe in probes:
            pod.healthy(*probe, **who)
        assert "warning" not in process.log.read_text(), process.log.read_text()

    def call(self, url, *curl):
        """What the upstream saw of a call."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        headers = ["-H", "Content-Type: application/json", "-H", "Accept: application/json"]
        command = ["curl", "-sS", "--fail-with-body", *headers, *curl, "-d", body, url]
        return json.loads(self.pod.run(*command).stdout)["result"]["serverInfo"]


def test_each_tenant_of_the_pod_is_called_with_its_own_token(image):
    hosts = ["acme.mcp.example.com", "globex.mcp.example.com"]
    with box.Box(hosts) as pod:
        running = Running(pod, "sidecar", image, hosts, "localhost")
        [agent] = pods("sidecar")["containers"]
        for variable in agent["env"]:
            tenant = variable["name"].split("_")[0].lower()
            seen = running.call(variable["value"])
            assert seen["host"] == f"{tenant}.mcp.example.com", seen
            assert seen["path"] == "/mcp", seen
            assert seen["authorization"] == f"Bearer {tenant}-secret", seen
            assert seen["client"].startswith("spiffe://"), seen


def test_the_service_lets_in_who_has_the_certificate_and_nobody_else(image):
    found = objects("service")["Service"]["metadata"]
    server = f"{found['name']}.{found['namespace']}.svc.cluster.local"
    with box.Box(["mcp.example.com", server]) as pod:
        running = Running(pod, "service", image, ["mcp.example.com"], server)
        url = f"https://{server}:8443/mcp"
        (pod.dir / "ca.crt").write_bytes(running.callers.pem)

        def certificate(name):
            leaf = running.callers.leaf(name, client=True)
            for file in ("tls.crt", "tls.key"):
                (pod.dir / file).write_bytes(leaf[file])
            return ["--cert", f"{pod.dir}/tls.crt", "--key", f"{pod.dir}/tls.key"]

        trust = ["--cacert", f"{pod.dir}/ca.crt"]
        seen = running.call(url, *trust, *certificate(CALLER))
        assert seen["authorization"] == "Bearer token-secret", seen
        assert seen["client"].startswith("spiffe://"), seen
        stranger = certificate("spiffe://cluster.local/ns/elsewhere/sa/agent")
        status = ["-o", "/dev/null", "-w", "%{http_code}"]
        post = ["curl", "-sS", *trust, *status, "-d", "{}", url]
        assert pod.run(*post, *stranger).stdout == b"403"
        assert pod.run(*post, check=False).stdout == b"000"
