"""The package and its units: built, unpacked, judged by systemd's own measure, and run by systemd
itself, with the user, the filter of system calls and the socket that they say."""

import json
import re
import subprocess
import sys

import box
import image as dockerfile
import machine
import pki
import pytest
import upstream

UNITS = ("countersign.service", "countersign@.service")
FOLDER = dockerfile.ROOT / "deploy/systemd"
MOST_EXPOSED = 2.0
PROFILE = """
[profile.staging]
url = "https://mcp.example.com/mcp"
cert = "${CREDENTIALS_DIRECTORY}/client.pem"
key = "${CREDENTIALS_DIRECTORY}/client.key"

[profile.staging.serve]
allow_uid = %d
"""


@pytest.fixture(scope="module")
def package(image, tmp_path_factory):
    """The package, with the binary of the image."""
    out = tmp_path_factory.mktemp("deb") / "countersign.deb"
    target = image["/countersign"]
    triple = subprocess.check_output(["rustc", "--print", "host-tuple"], text=True).strip()
    assert target.samefile(dockerfile.CONTEXT / "image/countersign")
    command = ["cargo", "deb", "--no-build", "--profile", "dist", "--target", triple, "-o", out]
    subprocess.run(command, cwd=dockerfile.ROOT, check=True, stderr=subprocess.DEVNULL)
    return out


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    """What an installation puts into place."""
    root = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root


def test_the_package_has_what_is_expected_where_debian_wants_it(package, unpacked):
    names = {str(it.relative_to(unpacked)) for it in unpacked.rglob("*") if it.is_file()}
    units = {f"usr/lib/systemd/system/{it.name}" for it in FOLDER.iterdir() if it.suffix != ".toml"}
    assert len(units) == 4
    expected = {"usr/bin/countersign", "etc/countersign/countersign.toml", *units}
    expected |= {
        "usr/share/man/man1/countersign.1.gz",
        "usr/share/bash-completion/completions/countersign",
        "usr/share/fish/vendor_completions.d/countersign.fish",
        "usr/share/zsh/vendor-completions/_countersign",
    }
    assert expected <= names, expected - names
    others = {name for name in names - expected if not name.startswith("usr/share/")}
    assert not others, others
    fields = subprocess.check_output(["dpkg-deb", "-f", package], text=True)
    manifest = (dockerfile.ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.+)"', manifest, re.M)[1]
    assert f"Version: {version}-1\n" in fields, fields
    control = subprocess.check_output(["dpkg-deb", "-I", package, "conffiles"], text=True)
    assert control.split() == ["/etc/countersign/countersign.toml"]
    # Installed is not started: there is no upstream to go to yet.
    script = subprocess.check_output(["dpkg-deb", "-I", package, "postinst"], text=True)
    assert "deb-systemd-invoke start" not in script, script


def test_the_packaged_binary_runs(unpacked):
    said = subprocess.check_output([unpacked / "usr/bin/countersign", "--version"], text=True)
    assert said.startswith("countersign ")


@pytest.mark.parametrize("unit", UNITS)
def test_the_units_are_hardened(unit):
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", FOLDER / unit]
    said = subprocess.check_output(command, text=True)
    exposure = float(re.search(r"Overall exposure level for .*: ([0-9.]+)", said)[1])
    print(f"{unit}: exposure {exposure}")
    assert exposure < MOST_EXPOSED, said


def test_both_units_say_the_same_but_for_the_instance():
    plain, instance = ((FOLDER / unit).read_text() for unit in UNITS)

    def settings(text):
        text = text.replace("countersign@%i", "countersign").replace("countersign-%i", "countersign")
        text = text.replace("--profile %i", "--profile default").replace("/%i/", "/")
        lines = [line for line in text.splitlines() if not line.startswith(("#", "Description"))]
        return {line for line in lines if line and line != "PrivateUsers=yes"}

    assert settings(plain) == settings(instance)


@pytest.fixture
def running(unpacked):
    """A machine with the package, an upstream, and the certificate for it."""
    authority = pki.Authority()
    leaf = authority.leaf("client.test", client=True)
    config = (FOLDER / "countersign.toml").read_text() + PROFILE % box.NOBODY
    # The host of an example has no certificate that the machine's own roots know. There is no
    # journal either.
    trust = "[Service]\nEnvironment=SSL_CERT_FILE=/etc/ca.pem\nStandardError=append:/said\n"
    etc = {
        "passwd": "root:x:0:0::/:/bin/sh\n",
        "group": "root:x:0:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "hosts": "127.0.0.1 localhost mcp.example.com\n",
        "ca.pem": authority.pem,
        "countersign/countersign.toml": config,
        "systemd/system/countersign.service.d/tests.conf": trust,
        "systemd/system/countersign@.service.d/tests.conf": trust,
    }
    for folder in ("countersign", "countersign/staging"):
        etc |= {f"{folder}/client.pem": leaf["tls.crt"], f"{folder}/client.key": leaf["tls.key"]}
    with machine.Machine(unpacked, etc) as started:
        for name, contents in authority.leaf("mcp.example.com").items():
            (started.dir / name).write_bytes(contents)
        command = [*started.network(), sys.executable, upstream.__file__, "serve", started.dir]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert server.stdout.readline() == b"listening\n"
        yield started
        server.kill()
        server.wait()


def post(running, *where, uid=box.NOBODY):
    """What a user's curl prints; it stands in the machine's /run."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    who = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    command = [*who, "curl", "-sS", "-m", "20", "-d", body, *where]
    return running.run("env", "-C", running.file("/run"), *command, ours=True)


def call(running, *where):
    """What the upstream saw of a call over the sidecar."""
    answer = json.loads(post(running, *where))
    assert "result" in answer, (answer, running.said())
    return answer["result"]["serverInfo"]


def test_systemd_finds_no_fault_in_the_units(running):
    units = ["countersign.service", "countersign.socket"]
    units += ["countersign@staging.service", "countersign@staging.socket"]
    said = running.run("/usr/bin/systemd-analyze", "verify", "--man=no", *units, check=False)
    assert said == "", said


def test_the_first_connection_starts_it_and_a_restart_refuses_none(running):
    unit = "countersign.service"
    running.systemctl("start", "countersign.socket")
    assert running.property(unit, "ActiveState") == "inactive"
    url = "http://127.0.0.1:8080/mcp"
    assert call(running, url)["client"] == "client.test"
    # Type=notify: it is active when it says so itself.
    running.until(lambda: running.property(unit, "ActiveState") == "active", "active")
    status = running.file(f"/proc/{running.property(unit, 'MainPID')}/status").read_text()
    assert not re.search(r"^Uid:.*\t0\b", status, re.M), status
    for line in (r"^CapBnd:\t0+$", r"^NoNewPrivs:\t1$", r"^Seccomp:\t2$"):
        assert re.search(line, status, re.M), status

    before = running.property(unit, "MainPID")
    running.systemctl("reload", unit)
    assert call(running, url)["client"] == "client.test"
    assert running.property(unit, "MainPID") == before
    running.systemctl("restart", unit)
    assert call(running, url)["client"] == "client.test"
    assert running.property(unit, "MainPID") != before
    running.systemctl("stop", unit)
    assert running.property(unit, "Result") == "success"
    assert running.property(unit, "ExecMainStatus") == "0"


def test_the_watchdog_is_fed(running):
    unit = "countersign.service"
    often = running.file("/etc/systemd/system/countersign.service.d/often.conf")
    often.write_text("[Service]\nWatchdogSec=1\n")
    running.systemctl("daemon-reload")
    running.systemctl("start", unit)
    before = running.property(unit, "WatchdogTimestampMonotonic")
    for _ in range(3):
        changed = lambda: running.property(unit, "WatchdogTimestampMonotonic") != before
        running.until(changed, "a sign of life")
        before = running.property(unit, "WatchdogTimestampMonotonic")
    assert running.property(unit, "NRestarts") == "0"
    assert running.property(unit, "ActiveState") == "active"


def test_an_instance_serves_the_users_of_its_profile_over_its_socket(running):
    running.systemctl("start", "countersign@staging.socket")
    where = ["--unix-socket", "countersign-staging.sock", "http://localhost/mcp"]
    assert call(running, *where)["client"] == "client.test"
    status = ["-o", "/dev/null", "-w", "%{http_code}"]
    assert post(running, *status, *where, uid=1) == "403"
