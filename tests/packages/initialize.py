"""Starts a stdio MCP server, introduces itself, and wants an answer and a clean end.

initialize.py [--error] COMMAND...: with --error the answer has to be an error of ours, in words.
"""

import json
import subprocess
import sys

arguments = sys.argv[1:]
wants_error = arguments[0] == "--error"
command = arguments[1:] if wants_error else arguments
variables = {}
while "=" in command[0]:
    name, _, value = command.pop(0).partition("=")
    variables[name] = value

request = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
environment = None
if variables:
    environment = {"PATH": "/usr/bin:/bin", **variables}
server = subprocess.Popen(
    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
)
server.stdin.write(json.dumps(request) + "\n")
server.stdin.flush()
answer = json.loads(server.stdout.readline())
server.stdin.close()
rest = server.stdout.read()
code = server.wait(timeout=20)
print(answer, code)
assert answer["id"] == 1
if wants_error:
    assert answer["error"]["data"]["stage"] == "connect", answer
else:
    assert answer["result"]["serverInfo"]["name"], answer
assert rest == "", rest
assert code == 0, code
