"""A box: a network, mounts and processes of its own, as a pod or a container has them. Names mean
loopback in it, nothing outside can be reached, and all that runs in it ends with it."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

# Who things run as in the image, and who owns what they may read.
NOBODY = 65532


class Box:
    """`names` all mean 127.0.0.1; `etc` are further files in every root's /etc. Roots are
    directories that processes see as theirs, writable by none of them."""

    def __init__(self, names=(), etc=None, mounts=()):
        self.dir = Path(tempfile.mkdtemp(prefix="countersign-deploy-"))
        self.dir.chmod(0o755)
        lines = [f"127.0.0.1 {name}\n" for name in ("localhost", *names)]
        self.etc = {"hosts": "".join(lines), "resolv.conf": "", **(etc or {})}
        for name, text in self.etc.items():
            (self.dir / name).write_text(text)
        # Docker and the kubelet write these two as well.
        binds = [(self.dir / name, f"/etc/{name}") for name in self.etc]
        script = ["set -eu", "mount --make-rprivate /", "mount -t proc proc /proc"]
        script += ["mount -t tmpfs run /run", "mkdir /run/certs", "ip link set lo up"]
        for source, target in (*binds, *mounts):
            script.append(f"[ -e {target} ] || touch {target}; mount --bind {source} {target}")
        script += ["echo in", "exec sleep infinity"]
        self._outer = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script)],
            stdout=subprocess.PIPE,
        )
        assert self._outer.stdout.readline() == b"in\n", "no box could be made"
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        self._inner = children.split()[0]
        self._logs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._outer.kill()
        self._outer.wait()
        shutil.rmtree(self.dir)

    def root(self, image):
        """A root with the files of `image` (path to path) and nothing else but /etc."""
        root = self.dir / f"root{len(list(self.dir.glob('root*')))}"
        (root / "etc").mkdir(parents=True)
        for name in self.etc:
            shutil.copy(self.dir / name, root / "etc" / name)
        for target, source in image.items():
            place = root / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, place) if same_disk(source, root) else shutil.copy2(source, place)
        self.run("mount", "--bind", root, root)
        self.run("mount", "-o", "remount,bind,ro", root)
        return root

    def volume(self, root, place, files, mode=0o440):
        """Files at `place` of a root, as the kubelet mounts them for a group: root's, and `fsGroup`'s
        to read."""
        folder = (self.dir / root.name).with_name(f"{root.name}{place.replace('/', '-')}")
        folder.mkdir()
        for name, contents in files.items():
            (folder / name).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
            os.chown(folder / name, 0, NOBODY)
            (folder / name).chmod(mode)
        self.run("mount", "-o", "remount,bind,rw", root)
        self.run("mkdir", "-p", f"{root}{place}")
        self.run("mount", "-o", "remount,bind,ro", root)
        self.run("mount", "--bind", folder, f"{root}{place}")
        return folder

    def command(self, *words, root=None, uid=0, env=None):
        """The words to start a program in the box with, and with no privilege to gain."""
        enter = ["setpriv", "--no-new-privs", "nsenter", "-t", self._inner, "-m", "-n", "-p"]
        variables = [f"{name}={value}" for name, value in (env or {}).items()]
        if root is None:
            who = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
            return [*enter, "env", *variables, *who, *map(str, words)]
        # A root has no env(1): its variables are set on the way in.
        path = f"PATH={os.environ['PATH']}"
        into = ["chroot", "--groups=", f"--userspec={uid}:{uid}", str(root)]
        return ["env", "-i", path, *variables, *enter, *into, *map(str, words)]

    def run(self, *words, check=True, stdin=None, timeout=60, **how):
        """Runs a program in the box to its end."""
        done = subprocess.run(
            self.command(*words, **how),
            input=stdin or b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
        )
        said = done.stderr.decode(errors="replace")
        assert done.returncode == 0 or not check, f"{words}: {done.returncode}: {said}"
        return done

    def healthy(self, *words, **how):
        """Asks until the answer is yes, as an engine does; for 10 seconds."""
        for _ in range(100):
            done = self.run(*words, check=False, **how)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(f"{words}: {done.returncode}: {done.stderr.decode()}")

    def start(self, *words, until=None, uid=0, **how):
        """Starts a program in the box, and waits until it says `until`."""
        log = self.dir / f"log{len(self._logs)}"
        # As a container's runtime does it: whoever runs may open its own output anew.
        log.touch()
        log.chmod(0o666)
        self._logs.append(log)
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(*words, uid=uid, **how),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        process.log = log
        for _ in range(1200):
            said = log.read_text(errors="replace")
            if until is None or until in said:
                return process
            assert process.poll() is None, f"{words}: ended before it said '{until}': {said}"
            time.sleep(0.05)
        raise AssertionError(f"{words}: did not say '{until}' in a minute: {said}")


def same_disk(one, other):
    """Whether a hard link can do for a copy."""
    return os.stat(one).st_dev == os.stat(other).st_dev
