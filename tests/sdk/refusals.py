"""The cases of refusals.json once more, by the Python SDK client: it asks `server/discover` first,
and the error that a person sees must still be the one that explains.
Usage: refusals.py LABEL URL
"""

import json
import os
import re
import sys
from pathlib import Path

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from scenario import GatewayLog, Report, children

LABEL, URL = sys.argv[1:]


async def refused(case) -> None:
    upstream, certs = GatewayLog(), os.environ["CERTS"]
    flags = [flag for flag in ("cert", "key", "cacert") if flag in case]
    server = StdioServerParameters(
        command=os.environ["COUNTERSIGN"],
        args=[word for flag in flags for word in (f"--{flag}", f"{certs}/{case[flag]}")],
        env={"API_URL": URL},
    )
    with open(os.devnull, "w") as nowhere:
        try:
            async with Client(stdio_client(server, errlog=nowhere)):
                raise AssertionError("initialize was answered as if all were well")
        except* MCPError as group:
            error = group.exceptions[0]
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
    hint = error.data.get("hint", "") if isinstance(error.data, dict) else ""
    for pattern in case["says"]:
        assert re.search(pattern, f"{error.message} {hint}", re.IGNORECASE), f"no {pattern} in: {error.message} {hint}"
    assert not any(entry["status"].startswith("2") for entry in upstream()), "a request got through"
    assert not children(), f"left {children()}"


async def main() -> int:
    report = Report(LABEL)
    for case in json.loads(Path(__file__).with_name("refusals.json").read_text()):
        with anyio.move_on_after(30) as deadline:
            await report.run(case["name"], refused, case, deadline=None)
        if deadline.cancelled_caught:
            print(f"FAIL  {LABEL}: {case['name']}: not done after 30 s", flush=True)
            report.failed += 1
    return report.failed


sys.exit(min(anyio.run(main), 1))
