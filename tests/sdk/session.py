"""A whole session of the official Python SDK client, scenario by scenario, against the reference
server. Over stdio through countersign; with --sidecar over Streamable HTTP to a `countersign
serve` that runs already; with --direct the same to the plain door, which shows whether a failure
is the peers' own. The client connects in its default mode, which asks `server/discover` on the
same way before it falls back to `initialize`.
Usage: session.py LABEL URL [--sidecar | --direct]
"""

import base64
import gzip
import hashlib
import os
import sys
import time
from collections import defaultdict

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from scenario import GatewayLog, Report, children, eventually

LABEL, URL, *MODE = sys.argv[1:]
DIRECT = MODE == ["--direct"]
HTTP = DIRECT or MODE == ["--sidecar"]
ROOTS = [types.Root(uri="file:///srv/one", name="one"), types.Root(uri="file:///srv/two", name="two")]


class Host:
    """The client's side: answers what the server asks and keeps what it says."""

    def __init__(self) -> None:
        self.asked = defaultdict(list)
        self.heard = defaultdict(list)

    async def sample(self, _context, params):
        self.asked["sampling"].append(params)
        answer = types.TextContent(type="text", text="forty-two")
        return types.CreateMessageResult(role="assistant", model="a-model", content=answer)

    async def elicit(self, _context, params):
        self.asked["elicitation"].append(params)
        return types.ElicitResult(action="accept", content={"name": "Ada Lovelace", "check": True})

    async def roots(self, _context):
        self.asked["roots"].append(None)
        return types.ListRootsResult(roots=ROOTS)

    async def hear(self, message):
        if isinstance(message, Exception):
            self.heard["exceptions"].append(message)
        else:
            self.heard[message.method].append(message.params)


def text(result) -> str:
    return "\n".join(getattr(part, "text", "") for part in result.content)


async def gateway(client, upstream):
    def initialized():
        return next((entry for entry in upstream() if entry.calls("notifications/initialized")), None)

    seen = await eventually("notifications/initialized", initialized)
    assert seen["protocol"] == {"tls12": "HTTP/1.1", "tls13": "HTTP/2.0"}[seen["door"]], seen
    assert seen["verified"] == "SUCCESS" and "CN=development client" in seen["subject"], seen
    assert seen["session"] and seen["version"].startswith("2025-") and seen["status"] == "202", seen
    starts = [entry for entry in upstream() if entry.calls("initialize")]
    assert len(starts) == 1, f"initialize was sent {len(starts)} times"


async def lists(client):
    names = [tool.name for tool in (await client.list_tools()).tools]
    for name in ["echo", "get-sum", "trigger-sampling-request", "trigger-elicitation-request", "get-roots-list"]:
        assert name in names, f"no tool {name} among {names}"
    assert (await client.list_resources()).resources
    assert (await client.list_resource_templates()).resource_templates
    assert (await client.list_prompts()).prompts


async def calls(client):
    odd = 'line\nfeed, \u2028, "quote", \\, caf\u00e9 \U0001f980, \0'
    assert text(await client.call_tool("echo", {"message": odd})) == f"Echo: {odd}"
    assert text(await client.call_tool("get-sum", {"a": 19, "b": 23})) == "The sum of 19 and 23 is 42."
    assert (await client.call_tool("get-sum", {"a": "nineteen"})).is_error


async def at_once(client):
    async def one(n):
        answer = text(await client.call_tool("get-sum", {"a": n, "b": 1000}))
        assert answer == f"The sum of {n} and 1000 is {n + 1000}.", answer

    async with anyio.create_task_group() as group:
        for n in range(64):
            group.start_soon(one, n)


async def progress(client):
    steps = []

    async def step(done, _total, _message):
        steps.append(done)

    await client.call_tool("trigger-long-running-operation", {"duration": 1, "steps": 5}, progress_callback=step)
    assert steps == [1, 2, 3, 4, 5], steps


async def resources(client):
    words = await client.read_resource("demo://resource/dynamic/text/7")
    assert "Resource 7" in words.contents[0].text
    content = await client.read_resource("demo://resource/dynamic/blob/7")
    assert b"Resource 7" in base64.b64decode(content.contents[0].blob)
    try:
        await client.read_resource("demo://nothing/here")
    except MCPError as error:
        assert error.code == -32602, error
    else:
        raise AssertionError("a resource that is not there was read")


async def prompts(client):
    prompt = await client.get_prompt("args-prompt", {"city": "Lisbon"})
    assert prompt.messages[0].content.text == "What's weather in Lisbon?"
    reference = types.PromptReference(type="ref/prompt", name="completable-prompt")
    completed = await client.complete(reference, {"name": "department", "value": "S"})
    assert completed.completion.values == ["Sales", "Support"]


async def sampling(client, host):
    result = await client.call_tool("trigger-sampling-request", {"prompt": "the question", "maxTokens": 7})
    assert "forty-two" in text(result)
    (request,) = host.asked["sampling"]
    assert request.max_tokens == 7 and "the question" in request.messages[0].content.text


async def elicitation(client, host):
    assert "Ada Lovelace" in text(await client.call_tool("trigger-elicitation-request"))
    (request,) = host.asked["elicitation"]
    assert request.requested_schema["properties"]["name"]["type"] == "string"


async def roots(client, host):
    assert "2 total" in text(await client.call_tool("get-roots-list"))
    ROOTS.append(types.Root(uri="file:///srv/three", name="three"))
    await client.session.send_roots_list_changed()

    def logged():
        return any("3 root(s)" in str(log.data) for log in host.heard["notifications/message"])

    await eventually("the server to log the new roots", logged)
    listed = text(await client.call_tool("get-roots-list"))
    assert "3 total" in listed and "file:///srv/three" in listed
    assert len(host.asked["roots"]) >= 2


async def unasked(client, host):
    uri = "demo://resource/dynamic/text/9"
    await client.subscribe_resource(uri)
    await client.call_tool("toggle-subscriber-updates")
    updated = "notifications/resources/updated"
    await eventually(updated, lambda: any(str(update.uri) == uri for update in host.heard[updated]))
    await client.call_tool("toggle-subscriber-updates")


async def large(client, host):
    arguments = {"name": "python-" + LABEL.replace("/", "-").replace(" ", "-") + ".gz", "outputType": "resource"}
    result = await client.call_tool("gzip-file-as-resource", {**arguments, "data": os.environ["LARGE_URL"]})
    blob = result.content[0].resource.blob
    assert len(blob) >= 8 << 20, f"only {len(blob)} characters"
    with open(os.environ["LARGE_FILE"], "rb") as file:
        expected = hashlib.sha256(file.read()).digest()
    assert hashlib.sha256(gzip.decompress(base64.b64decode(blob))).digest() == expected
    changed = "notifications/resources/list_changed"
    await eventually(changed, lambda: host.heard[changed])


async def large_argument(client):
    message = "a line of thirty-two characters\n" * ((3 << 20) // 32)
    assert text(await client.call_tool("echo", {"message": message})) == f"Echo: {message}"


async def cancel(client, upstream):
    with anyio.CancelScope() as scope:

        async def enough(_done, _total, _message):
            scope.cancel()

        arguments = {"duration": 20, "steps": 100}
        await client.call_tool("trigger-long-running-operation", arguments, progress_callback=enough)
    assert scope.cancelled_caught, "the call ended by itself"

    def cancelled():
        return next((entry for entry in upstream() if entry.calls("notifications/cancelled")), None)

    told = await eventually("notifications/cancelled at the gateway", cancelled)
    assert told["status"] == "202" and told["body"]["params"]["requestId"] is not None, told
    assert text(await client.call_tool("echo", {"message": "still here"})) == "Echo: still here"


async def leave(client, upstream):
    pids = children()
    started = time.monotonic()
    await client.__aexit__(None, None, None)
    took = time.monotonic() - started
    if not HTTP:
        # The SDK sends SIGTERM after 2 s: sooner means that the end of its input was enough.
        assert took < 1.9, f"it took {took:.2f} s"
        assert pids and not children(), f"had {pids}, left {children()}"
    ended = await eventually(
        "DELETE at the gateway", lambda: next((entry for entry in upstream() if entry["method"] == "DELETE"), None)
    )
    assert ended["status"] == "200", ended


async def main() -> int:
    upstream, host, report = GatewayLog(), Host(), Report(LABEL)
    certs = os.environ["CERTS"]
    server = URL if HTTP else stdio_client(
        StdioServerParameters(
            command=os.environ["COUNTERSIGN"],
            args=["--cert", f"{certs}/client.pem", "--key", f"{certs}/client.key", "--cacert", f"{certs}/ca.pem"],
            env={"API_URL": URL},
        )
    )
    client = Client(
        server,
        sampling_callback=host.sample,
        elicitation_callback=host.elicit,
        list_roots_callback=host.roots,
        message_handler=host.hear,
    )

    async def initialize():
        await client.__aenter__()
        assert client.server_info.name == "mcp-servers/everything"
        for capability in ["tools", "resources", "prompts", "logging", "completions"]:
            assert getattr(client.server_capabilities, capability), f"no capability {capability}"

    if not await report.run("initialize", initialize, deadline=None):
        return 1
    if not DIRECT:
        await report.run("the gateway saw the client certificate and the negotiated version", gateway, client, upstream)
    await report.run("lists of tools, resources, templates and prompts", lists, client)
    await report.run("tool calls, and an error of one", calls, client)
    await report.run("64 calls at once, each with its own answer", at_once, client)
    await report.run("progress reaches its handler before the result", progress, client)
    await report.run("resources are read, as text and as bytes", resources, client)
    await report.run("prompts are got, and an argument completed", prompts, client)
    await report.run("sampling: the server asks, the client answers", sampling, client, host)
    await report.run("elicitation: the server asks, the person answers", elicitation, client, host)
    await report.run("roots are listed, and again when they change", roots, client, host)
    await report.run("subscriptions arrive unasked", unasked, client, host)
    if not HTTP:  # over HTTP this SDK ends an event stream at an event of more than 1 MiB
        await report.run("an 8 MiB result, and the list_changed it causes", large, client, host)
        await report.run("a 3 MiB argument, there and back", large_argument, client)
    await report.run("a cancelled call: the server is told, and the session goes on", cancel, client, upstream)
    name = "a clean exit: the session ended" + ("" if HTTP else ", no process left, within 2 s")
    await report.run(name, leave, client, upstream, deadline=None)
    return report.failed


sys.exit(min(anyio.run(main), 1))
