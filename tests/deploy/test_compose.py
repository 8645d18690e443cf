"""compose.yaml: read by Compose itself, and then each service run as it says, in one box where all
their names are loopback. What an engine would fetch (nginx, Node, curl) is this machine's."""

import json
import os
import subprocess

import box
import image as dockerfile
import pytest

FILE = dockerfile.ROOT / "deploy/compose.yaml"
NPM = dockerfile.TARGET / "deploy/npm"
# What the images' own entrypoints are, where the file does not say one.
ENTRYPOINTS = {"try": ["curl"], "countersign": ["/countersign"]}


@pytest.fixture(scope="module")
def services():
    """The services, as Compose understands them."""
    command = ["docker-compose", "-f", FILE, "--profile", "*", "config", "--format", "json"]
    return json.loads(subprocess.check_output(command))["services"]


def words(services, name):
    """What a service runs."""
    service = services[name]
    return [*(service.get("entrypoint") or ENTRYPOINTS.get(name, [])), *service["command"]]


def test_every_service_is_bound_to_do_its_work_and_no_more(services):
    assert set(services) == {"countersign", "try", "gateway", "server", "certificates"}
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "ports" not in service, name
        assert name == "certificates" or service["user"] == f"{box.NOBODY}:{box.NOBODY}", name
        tag = service["image"].rpartition(":")[2]
        assert name == "countersign" or tag not in ("latest", service["image"]), name
    build = services["countersign"]["build"]
    assert f"{build['context']}/{build['dockerfile']}" == str(dockerfile.DOCKERFILE)


def test_only_what_the_files_say_is_mounted_and_it_is_there(services):
    for name, service in services.items():
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or os.path.isfile(volume["source"]), (name, volume)


def test_it_starts_and_a_client_without_a_credential_is_served(services, image):
    mounts = [
        (volume["source"], volume["target"])
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    with box.Box(services, mounts=mounts) as pod:
        for _ in range(2):
            pod.run(*words(services, "certificates"))
        assert b"ca.key" not in pod.run("ls", "/run/certs").stdout
        # Where Compose has a volume, the box has one folder for all.
        server = words(services, "server")
        variables = {**services["server"]["environment"], "PATH": os.environ["PATH"]}
        from_here = ["env", "-C", NPM, *server]
        pod.start(*from_here, uid=box.NOBODY, env=variables, until="listening on port 3001")
        gateway = pod.start(*words(services, "gateway"), uid=box.NOBODY, until="start worker process")

        root = pod.root(image)
        share(pod, root, "/run/certs")
        sidecar = words(services, "countersign")
        (_, last), _ = dockerfile.stages()
        health = dockerfile.exec_form(last.last("HEALTHCHECK"))
        assert pod.run(*health, root=root, uid=box.NOBODY, check=False).returncode != 0
        pod.start(*sidecar, root=root, uid=box.NOBODY, until="listening on 127.0.0.1:8080")
        pod.healthy(*health, root=root, uid=box.NOBODY)

        said = pod.run(*words(services, "try"), uid=box.NOBODY).stdout
        assert b"serverInfo" in said, said
        line = gateway.log.read_text()
        assert '"POST /mcp HTTP/' in line and " 200 " in line, line
        # The way around the sidecar is closed.
        around = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "https://gateway:8443/mcp"]
        assert pod.run(*around).stdout == b"400"


def share(pod, root, place):
    """Makes a folder of the box seen in a root, as a volume is."""
    pod.run("mount", "-o", "remount,bind,rw", root)
    pod.run("mkdir", "-p", f"{root}{place}")
    pod.run("mount", "-o", "remount,bind,ro", root)
    pod.run("mount", "--bind", "-o", "ro", place, f"{root}{place}")
