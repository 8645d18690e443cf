"""What the Dockerfile makes, without an engine: its COPY and RUN lines are carried out as they are
written, in a folder that has nothing else in it, and the final stage becomes a list of files."""

import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
TARGET = Path(os.environ["CARGO_TARGET_DIR"])
# Not in the repository: cargo looks for its configuration in all the folders above, and would find
# what the Dockerfile forgot to copy. The same each time, or cargo would build all of it again.
CONTEXT = Path(tempfile.gettempdir()) / f"countersign-image-{zlib.crc32(bytes(TARGET)):08x}/src"


class Stage:
    """The instructions of one stage, in their order: `[(name, value)]`."""

    def __init__(self, start):
        words = start.split()
        self.base = words[0]
        self.name = words[2] if len(words) > 2 else None
        self.steps = []

    def last(self, name):
        """The value of the last instruction of that name."""
        return [value for found, value in self.steps if found == name][-1]


def stages():
    """The stages of the Dockerfile, and the arguments that stand before them."""
    parser = DockerfileParser(path=str(DOCKERFILE.parent), cache_content=True)
    found, before = [], {}
    for step in parser.structure:
        name, value = step["instruction"], step["value"]
        if name == "FROM":
            found.append(Stage(value))
        elif name == "ARG" and not found:
            before.update([value.split("=")])
        elif name != "COMMENT":
            found[-1].steps.append((name, value))
    return found, before


def ignored(path):
    """Whether the .dockerignore keeps a path of the repository out of the build."""
    out = False
    for line in (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.lstrip("!")
        if line and not line.startswith("#"):
            parts = [path, *map(str, Path(path).parents)]
            if any(fnmatch.fnmatch(part, pattern) for part in parts if part != "."):
                out = not line.startswith("!")
    return out


def build():
    """Builds the binary as the first stage does; the files of the image, by their places in it."""
    (first, last), _ = stages()
    shutil.rmtree(CONTEXT, ignore_errors=True)
    CONTEXT.mkdir(parents=True)
    # What was compiled before need not be again: cargo looks at names and dates.
    (CONTEXT / "target").symlink_to(TARGET)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    for name in ("CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"):
        if name in os.environ:
            environment[name] = os.environ[name]
    for name, value in first.steps:
        if name == "COPY":
            *sources, target = value.split()
            for source in sources:
                copy(ROOT / source, CONTEXT / target / (Path(source).name if target == "./" else ""))
        elif name == "ENV":
            for setting in parsed_env(value):
                environment.update([setting])
        elif name == "ARG":
            environment.update([value.split("=")])
        elif name == "RUN":
            words = [word for word in value.split(" ") if not word.startswith("--mount")]
            subprocess.run(["sh", "-euc", " ".join(words)], cwd=CONTEXT, env=environment, check=True)
    image = {}
    for name, value in last.steps:
        if name == "COPY":
            origin, source, target = value.split()
            assert origin == f"--from={first.name}", value
            assert source.startswith(f"{first.last('WORKDIR')}/"), value
            image[target] = CONTEXT / os.path.relpath(source, first.last("WORKDIR"))
    return image


def copy(source, target):
    """COPY, of what the .dockerignore lets through."""
    assert source.exists(), f"{source} is not there"
    files = [source] if source.is_file() else [it for it in source.rglob("*") if it.is_file()]
    for file in files:
        assert not ignored(str(file.relative_to(ROOT))), f"{file} is kept out by the .dockerignore"
        place = target if file == source else target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)


def parsed_env(value):
    """`NAME=value NAME="two words"`."""
    for word in shlex.split(value.replace("\\\n", " ")):
        name, _, setting = word.partition("=")
        yield name, "0" if setting.startswith("${") else setting


def exec_form(value):
    """The words of `CMD ["a", "b"]`."""
    return json.loads(value[value.index("[") :])
