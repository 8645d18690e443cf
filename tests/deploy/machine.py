"""A machine that has systemd for its first process, in namespaces of its own: the real manager, with
the units of the package and with nothing else to manage. What it lacks of a whole Debian is in
`SETUP`; nothing of it reaches the machine that the tests run on."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

# Programs of this machine that the other one has as well.
PROGRAMS = "bash env kill mount sh systemctl systemd-analyze umount"
# What units refer to; none of Debian's own units is there.
TARGETS = "basic multi-user network-online shutdown sockets sysinit"

SETUP = f"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 machine $ROOT
cd $ROOT
mkdir -p usr/bin usr/lib usr/sbin usr/lib64 etc/systemd/system proc sys dev run tmp var/tmp var/lib root home old
for link in bin sbin lib lib64; do ln -s usr/$link $link; done
for own in lib lib64 sbin; do mount --bind /usr/$own usr/$own; done
for program in {PROGRAMS}; do cp -L /usr/bin/$program usr/bin/; done
mount -t tmpfs -o mode=755 none usr/lib/systemd/system
for target in {TARGETS}; do echo '[Unit]' > usr/lib/systemd/system/$target.target; done
for kind in usr etc; do cp -a $PACKAGE/$kind/. $kind/ ; done
cp -a $EXTRA/. etc/
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755 none dev
for node in null zero random urandom full tty console; do
    touch dev/$node; [ ! -e /dev/$node ] || mount --bind /dev/$node dev/$node
done
mkdir dev/shm dev/pts
mount -t tmpfs none dev/shm
mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 none run
ip link set lo up
pivot_root . old
umount -l old
# Credentials are mounted by a child, and reach the service by propagation.
mount --make-rshared /
echo ready
exec env -i container=tests PATH=/usr/bin:/usr/sbin \\
    SYSTEMD_UNIT_PATH=/etc/systemd/system:/usr/lib/systemd/system \\
    /usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
"""


class Machine:
    """`package` is the tree of an unpacked package, `etc` are further files (path to contents)."""

    def __init__(self, package, etc):
        self.dir = Path(tempfile.mkdtemp(prefix="countersign-machine-"))
        (self.dir / "root").mkdir()
        for name, contents in etc.items():
            place = self.dir / "etc" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
            place.chmod(0o600 if name.endswith(".key") else 0o644)
        self.log = self.dir / "log"
        where = {"ROOT": self.dir / "root", "PACKAGE": package, "EXTRA": self.dir / "etc"}
        variables = [f"{name}={path}" for name, path in where.items()]
        spaces = ["--mount", "--net", "--pid", "--cgroup", "--ipc", "--uts"]
        with self.log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["env", *variables, "unshare", *spaces, "--fork", "--kill-child", "sh", "-c", SETUP],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.until(lambda: "ready" in self.log.read_text(), "its files are there")
            self.until(lambda: self.show("--property=Version").startswith("Version="), "it is up")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # With it ends its first process, and so all of them.
        self._outer.kill()
        self._outer.wait()
        shutil.rmtree(self.dir)

    def _first(self):
        path = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        children = path.read_text().split() if path.exists() else []
        assert children, f"the machine did not start: {self.log.read_text()}"
        return children[0]

    def said(self):
        """What the manager and the services of the machine said."""
        said = self.file("/said")
        status = self.run("/usr/bin/systemctl", "status", "--no-pager", "countersign*", check=False)
        return self.log.read_text() + status + (said.read_text() if said.exists() else "")

    def file(self, path):
        """A file of the machine, as seen from here."""
        return Path(f"/proc/{self._first()}/root{path}")

    def run(self, *words, check=True, ours=False):
        """What a program of the machine prints, or one of `ours` that is in its network alone."""
        spaces = ["-n"] if ours else ["-m", "-n", "-p"]
        done = subprocess.run(
            ["nsenter", "-t", self._first(), *spaces, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0 or not check, f"{words}: {done.stderr}{self.said()}"
        return done.stdout + ("" if check else done.stderr)

    def network(self):
        """The words that start a program of ours in the machine's network."""
        return ["nsenter", "-t", self._first(), "-n"]

    def systemctl(self, *words):
        """Asks the manager for something."""
        return self.run("/usr/bin/systemctl", *words)

    def show(self, *words):
        """What the manager knows of a unit; nothing before it can be asked."""
        return self.run("/usr/bin/systemctl", "show", *words, check=False)

    def property(self, unit, name):
        """One property of a unit."""
        return self.show(unit, f"--property={name}", "--value").strip()

    def until(self, holds, what):
        """Waits for something, for 20 seconds."""
        for _ in range(200):
            if holds():
                return
            time.sleep(0.1)
        raise AssertionError(f"not in time: {what}: {self.log.read_text()}")
