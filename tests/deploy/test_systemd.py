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
URL = "http://127.0.0.1:8080/mcp"
TOKEN = "what-callers-show"
SHOWN = ["-H", f"Authorization: Bearer {TOKEN}"]
STATUS = ["-o", "/dev/null", "-w", "%{http_code}"]
PROFILE = """
[profile.staging]
url = "https://mcp.example.com/mcp"
cert = "${CREDENTIALS_DIRECTORY}/client.pem"
key = "${CREDENTIALS_DIRECTORY}/client.key"

[profile.staging.serve]
allow_uid = %d
"""


def reference():
    return (dockerfile.ROOT / "docs/REFERENCE.md").read_text()


def drop_in(word):
    """The text for `systemctl edit` in docs/deploy.md that has this word."""
    text = (dockerfile.ROOT / "docs/deploy.md").read_text()
    [found] = [it for it in re.findall(r"```text\n(\[Service\].*?)```", text, re.S) if word in it]
    return found


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


def settings(unit):
    """The settings of a unit, each with the values it is given."""
    found = {}
    for line in (FOLDER / unit).read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_ends_in_peace_and_comes_back(unit):
    said = settings(unit)
    drain = re.search(r"--drain-timeout TIME.*\| (\d+)s \|", reference())[1]
    assert int(said["TimeoutStopSec"][0]) > int(drain)
    assert said["Restart"] == ["on-failure"]
    # A flag or a file that is wrong, and a file of LoadCredential that is not there.
    assert set(said["RestartPreventExitStatus"][0].split()) == {"2", "78", "243"}
    # What restarts by itself never comes to its limit.
    within = int(said["StartLimitIntervalSec"][0]) / int(said["RestartSec"][0])
    assert within < int(said["StartLimitBurst"][0])
    assert said["LimitCORE"] == ["0"]
    [command] = said["ExecStart"]
    folder = said["RuntimeDirectory"][0]
    assert f" --admin unix:%t/{folder}/admin.sock" in command
    assert said["RuntimeDirectoryMode"] == ["0750"]


def test_both_units_say_the_same_but_for_the_instance():
    plain, instance = ((FOLDER / unit).read_text() for unit in UNITS)

    def lines(text):
        text = text.replace("countersign@%i", "countersign").replace("countersign-%i", "countersign")
        text = text.replace("--profile %i", "--profile default").replace("/%i/", "/")
        said = {line for line in text.splitlines() if not line.startswith(("#", "Description"))}
        # The one listens where every user is, the other where it is told users apart.
        return said - {"", "PrivateUsers=yes", "LoadCredential=callers:/etc/countersign/callers"}

    assert lines(plain) == lines(instance)


def test_the_guides_that_the_package_has_lead_to_each_other(unpacked):
    docs = unpacked / "usr/share/doc/countersign/docs"
    guides = [*docs.glob("*.md"), *docs.glob("credentials/*.md")]
    assert docs / "REFERENCE.md" in guides and docs / "credentials/jwt.md" in guides
    for guide in guides:
        for link in re.findall(r"\]\(([^)#:]+\.md)[)#]", guide.read_text()):
            place = (guide.parent / link).resolve()
            assert not place.is_relative_to(docs) or place.is_file(), f"{guide}: {link}"


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
        etc |= {f"{folder}/callers": f"{TOKEN}\n"}
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
    assert post(running, *STATUS, URL) == "401"
    assert call(running, URL, *SHOWN)["client"] == "client.test"
    # Type=notify: it is active when it says so itself.
    running.until(lambda: running.property(unit, "ActiveState") == "active", "active")
    status = running.file(f"/proc/{running.property(unit, 'MainPID')}/status").read_text()
    assert not re.search(r"^Uid:.*\t0\b", status, re.M), status
    for line in (r"^CapBnd:\t0+$", r"^NoNewPrivs:\t1$", r"^Seccomp:\t2$"):
        assert re.search(line, status, re.M), status

    before = running.property(unit, "MainPID")
    running.systemctl("reload", unit)
    assert call(running, URL, *SHOWN)["client"] == "client.test"
    assert running.property(unit, "MainPID") == before
    running.systemctl("restart", unit)
    assert call(running, URL, *SHOWN)["client"] == "client.test"
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
    assert post(running, *STATUS, *where, uid=1) == "403"


@pytest.mark.parametrize("name", ["countersign", "countersign@staging"])
def test_root_may_ask_how_it_is(running, name):
    running.systemctl("start", f"{name}.service")
    socket = f"unix:/run/{name.replace('@', '-')}/admin.sock"
    running.run("/usr/bin/countersign", "serve", "--healthcheck", "--admin", socket)
    # To others the folder is closed.
    place = running.file("/run") / name.replace("@", "-")
    assert place.stat().st_mode & 0o007 == 0


def test_prometheus_gets_in_where_the_documents_say(running):
    edit(running, drop_in("--admin"))
    running.systemctl("start", "countersign.service")
    asked = ["curl", "-sS", "-m", "20", "http://127.0.0.1:9901/metrics"]
    assert "countersign_requests" in running.run(*asked, ours=True)


def test_a_token_does_without_a_certificate(running):
    folder = running.file("/etc/countersign")
    for name in ("client.pem", "client.key"):
        (folder / name).unlink()
    (folder / "token").write_text("upstream-token\n")
    config = (folder / "countersign.toml").read_text()
    config = re.sub(r"^(cert|key) = .*\n", "", config, flags=re.M).replace("#bearer", "bearer")
    (folder / "countersign.toml").write_text(config)
    edit(running, drop_in("LoadCredential=\n"))
    running.systemctl("start", "countersign.service")
    admin = "unix:/run/countersign/admin.sock"
    running.run("/usr/bin/countersign", "serve", "--healthcheck", "--admin", admin)
    assert post(running, *STATUS, URL) == "401"


def test_a_start_that_fails_is_given_up_and_begun_again_by_hand(running):
    config = running.file("/etc/countersign/countersign.toml")
    right = config.read_text()
    config.write_text(right.replace("https://", "nowhere://"))
    running.systemctl("start", "countersign.socket")
    running.run("curl", "-sS", "-m", "20", URL, check=False, ours=True)
    given_up = lambda: running.property("countersign.socket", "ActiveState") == "failed"
    running.until(given_up, "an end of the starts")
    assert running.property("countersign.socket", "Result") == "service-start-limit-hit"
    config.write_text(right)
    running.systemctl("reset-failed", "countersign.service", "countersign.socket")
    running.systemctl("start", "countersign.socket")
    assert call(running, URL, *SHOWN)["client"] == "client.test"


def edit(running, text):
    """What `systemctl edit countersign` does."""
    folder = running.file("/etc/systemd/system/countersign.service.d")
    (folder / "override.conf").write_text(text)
    running.systemctl("daemon-reload")
