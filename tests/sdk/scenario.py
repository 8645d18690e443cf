"""What every Python part of the tests stands on: a named scenario with a deadline, reported on
one line, and the gateway's log, which says what the upstream received. Names no product.
"""

import json
import os
import time
import traceback

import anyio

DEADLINE = 30.0


class Report:
    """Prints a line a scenario and counts the failures."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.failed = 0

    async def run(self, name, body, *arguments, deadline=DEADLINE) -> bool:
        """Runs one scenario; True when it passed. A deadline of None is for what enters or leaves
        a task group of its own, which must happen in the task that called."""
        started = time.monotonic()
        try:
            if deadline is None:
                await body(*arguments)
            else:
                with anyio.fail_after(deadline):
                    await body(*arguments)
        except Exception as error:
            self.failed += 1
            print(f"FAIL  {self.label}: {name}: {one_line(error)}", flush=True)
            return False
        print(f"ok    {self.label}: {name} ({(time.monotonic() - started) * 1000:.0f} ms)", flush=True)
        return True


class Entry(dict):
    """One request as the gateway saw it."""

    def calls(self, method: str) -> bool:
        """True when its body is a message of that method."""
        return isinstance(self["body"], dict) and self["body"].get("method") == method


class GatewayLog:
    """The gateway's log from now on, an Entry a request."""

    def __init__(self) -> None:
        self.path = os.environ["GATEWAY_LOG"]
        self.start = os.path.getsize(self.path)

    def __call__(self) -> list[Entry]:
        with open(self.path, encoding="utf-8") as file:
            file.seek(self.start)
            lines = file.read().split("\n")[:-1]
        entries = [Entry(json.loads(line)) for line in lines]
        for entry in entries:
            entry["body"] = json.loads(entry["body"]) if entry["body"] else None
        return entries


async def eventually(what, probe, within=5.0):
    """Waits until `probe` returns something, asking often: for what another process writes."""
    end = time.monotonic() + within
    while not (found := probe()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not seen within {within} s")
        await anyio.sleep(0.02)
    return found


def children() -> list[int]:
    """The processes that this one started and that are still there."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                # The name in parentheses may hold anything: the fields begin after the last one.
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid():
            found.append(int(name))
    return found


def one_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    where = traceback.extract_tb(error.__traceback__)[-1]
    flat = " | ".join(f"{type(error).__name__}: {error}".split("\n"))[:600]
    return f"{flat} ({os.path.basename(where.filename)}:{where.lineno})"
