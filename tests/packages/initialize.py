"""Starts a stdio MCP server, introduces itself, and wants an answer and a clean end.

initialize.py [NAME=VALUE...] COMMAND...: with variables, the environment is these alone.
"""

import json
import subprocess
import sys

command = sys.argv[1:]
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
assert answer["result"]["serverInfo"]["name"], answer
assert rest == "", rest
assert code == 0, code
