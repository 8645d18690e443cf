"""The npm launcher under signals: SIGTERM reaches the program, which ends in peace, and so does the
launcher; a program that is killed leaves a launcher that died of the same.

signals.py LAUNCHER
"""

import os
import signal
import subprocess
import sys
import time

DEADLINE = 20


def start():
    launcher = subprocess.Popen(
        [sys.argv[1], "serve", "--listen", "127.0.0.1:0", "http://127.0.0.1:9/mcp"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "listening on" not in (line := launcher.stderr.readline()):
        assert line, "it did not start"
    children = f"/proc/{launcher.pid}/task/{launcher.pid}/children"
    with open(children, encoding="ascii") as file:
        (program,) = map(int, file.read().split())
    return launcher, program


def is_gone(pid):
    for _ in range(DEADLINE * 10):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


launcher, program = start()
launcher.send_signal(signal.SIGTERM)
assert launcher.wait(timeout=DEADLINE) == 0, launcher.returncode
assert is_gone(program)

launcher, program = start()
os.kill(program, signal.SIGKILL)
assert launcher.wait(timeout=DEADLINE) == -signal.SIGKILL, launcher.returncode
