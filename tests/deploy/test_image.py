"""The Dockerfile, and the binary that it makes, in a root with nothing else in it."""

import json
import re
import subprocess

import box
import image as dockerfile
import pki
import upstream

MOST = 15_000_000
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def line(message):
    return (json.dumps(message) + "\n").encode()


def test_the_linter_has_nothing_to_say():
    subprocess.run(["hadolint", "--failure-threshold", "style", dockerfile.DOCKERFILE], check=True)


def test_it_names_the_toolchain_and_the_version_that_we_have():
    (_, last), before = dockerfile.stages()
    toolchain = (dockerfile.ROOT / "rust-toolchain.toml").read_text()
    assert f'channel = "{before["RUST"]}"' in toolchain
    manifest = (dockerfile.ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.+)"', manifest, re.M)[1]
    assert ("ARG", f"VERSION={version}") in last.steps
    labels = last.last("LABEL")
    name = json.loads((dockerfile.ROOT / "deploy/server.json").read_text())["name"]
    assert f'io.modelcontextprotocol.server.name="{name}"' in labels
    assert 'org.opencontainers.image.source="${SOURCE}"' in labels
    description = re.search(r'^description = "(.+)"', manifest, re.M)[1]
    assert f'org.opencontainers.image.description="{description}"' in labels


def test_nobody_runs_it_and_nothing_else_is_in_it():
    (_, last), _ = dockerfile.stages()
    assert last.base == "scratch"
    assert last.last("USER") == f"{box.NOBODY}:{box.NOBODY}"
    assert [name for name, _ in last.steps if name in ("RUN", "ADD", "VOLUME")] == []


def test_keys_in_the_folder_stay_out():
    for path in (".git/config", "certs/made/client.key", "target/dist/countersign", ".env"):
        assert dockerfile.ignored(path), path
    assert not dockerfile.ignored("src/main.rs")


def test_it_is_built_as_we_build_it(image):
    built = image["/countersign"].parents[1]
    assert not built.is_relative_to(dockerfile.ROOT), "what is above would be found there"
    assert not [it for it in built.parents if (it / ".cargo/config.toml").exists()]
    config = ".cargo/config.toml"
    assert (built / config).read_bytes() == (dockerfile.ROOT / config).read_bytes()
    # Of no date but the one that was given.
    assert {source.stat().st_mtime for source in image.values()} == {0}


def test_it_is_small_and_needs_no_library(image):
    assert set(image) == {"/countersign", "/LICENSE"}
    assert sum(source.stat().st_size for source in image.values()) < MOST
    said = subprocess.check_output(["file", "-b", image["/countersign"]], text=True)
    assert "static-pie linked" in said and "stripped" in said, said


def test_it_runs_where_nothing_else_is(image):
    (_, last), _ = dockerfile.stages()
    entry = dockerfile.exec_form(last.last("ENTRYPOINT"))
    with box.Box() as pod:
        root = pod.root({"/countersign": image["/countersign"]})
        done = pod.run(*entry, "--version", root=root, uid=box.NOBODY)
        assert done.stdout.startswith(b"countersign "), done.stdout


def test_names_are_found_in_the_hosts_file(image):
    call(image, names=["gateway.test"])


def test_names_are_found_by_asking_a_name_server(image):
    call(image, etc={"resolv.conf": "nameserver 127.0.0.53\n"}, server=True)


def call(image, names=(), etc=None, server=False):
    """A call by the bridge in an empty root, to an upstream that wants its certificate."""
    authority = pki.Authority()
    with box.Box(names, etc) as pod:
        upstream.start(pod, authority, "gateway.test")
        if server:
            upstream.names(pod, "gateway.test")
        root = pod.root(image)
        pod.volume(root, "/run/identity", authority.leaf("client.test", client=True))
        files = ["--cert", "/run/identity/tls.crt", "--key", "/run/identity/tls.key"]
        files += ["--cacert", "/run/identity/ca.crt"]
        bridge = ["/countersign", *files, "https://gateway.test/mcp"]
        done = pod.run(*bridge, stdin=line(INITIALIZE), root=root, uid=box.NOBODY)
        answer = json.loads(done.stdout)
        assert answer["result"]["serverInfo"]["client"] == "client.test", answer
        # The roots of the image are its own, and a stranger is no more trusted for it.
        done = pod.run(
            "/countersign", "https://gateway.test/mcp", stdin=line(INITIALIZE), root=root, uid=box.NOBODY
        )
        answer = json.loads(done.stdout)
        assert "we trust the built-in roots" in answer["error"]["message"], answer
