"""The official Python SDK. With `auto` it asks for the server's era first, with `modern` it speaks
2026-07-28 and asks nothing. A line of JSON a feature goes to stdout: {"feature", "verdict", "why"}.
Usage: python.py auto|modern COMMAND ARGUMENT...
"""

import json
import os
import sys
import time
import warnings
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.client.stdio import stdio_client

warnings.simplefilter("ignore", MCPDeprecationWarning)  # half of the features of before are deprecated
WATCHED = "demo://resource/dynamic/text/9"
URL_TO_OPEN = "https://example.com/consent"
MEBIBYTE = "a line of thirty-two characters\n" * ((1 << 20) // 32)
DEADLINE = 8.0


class Host:
    """The client's side: answers what the server asks and keeps what it says."""

    def __init__(self) -> None:
        self.asked, self.logs, self.updated, self.changed = [], [], [], 0

    async def sample(self, _context, params):
        self.asked.append(f"sampling {params.max_tokens}")
        answer = types.TextContent(type="text", text="forty-two")
        return types.CreateMessageResult(role="assistant", model="a-model", content=answer)

    async def elicit(self, _context, params):
        if params.mode == "url":
            self.asked.append(f"url {params.url}")
            return types.ElicitResult(action="accept")
        self.asked.append(f"form {next(iter(params.requested_schema['properties']))}")
        return types.ElicitResult(action="accept", content={"name": "Ada Lovelace"})

    async def roots(self, _context):
        return types.ListRootsResult(roots=[types.Root(uri="file:///srv/one", name="one")])

    async def log(self, params):
        self.logs.append(params)

    async def hear(self, message):
        if isinstance(message, types.ResourceUpdatedNotification):
            self.updated.append(str(message.params.uri))
        elif isinstance(message, types.ResourceListChangedNotification):
            self.changed += 1


def text(result) -> str:
    return "\n".join(getattr(part, "text", "") for part in result.content)


async def eventually(what, probe, within=4.0):
    end = time.monotonic() + within
    while not probe():
        assert time.monotonic() < end, f"{what}: not seen within {within} s"
        await anyio.sleep(0.02)


async def fails(codes, call, *arguments):
    try:
        said = await call(*arguments)
    except MCPError as error:
        assert error.code in codes, f"{error.code}: {error}"
    else:
        raise AssertionError(f"no error: {said}")


def modern(client) -> bool:
    return client.protocol_version >= "2026"


@asynccontextmanager
async def listening(client, **what):
    """What a server says unasked: asked for by a stream, or by `resources/subscribe`."""
    if modern(client):
        async with client.listen(**what):
            yield
        return
    for uri in what.get("resource_subscriptions", []):
        await client.subscribe_resource(uri)
    yield
    for uri in what.get("resource_subscriptions", []):
        await client.unsubscribe_resource(uri)


async def list_(client, _host):
    names = [tool.name for tool in (await client.list_tools()).tools]
    for name in ["echo", "trigger-sampling-request", "trigger-elicitation-request", "get-roots-list"]:
        assert name in names, f"no tool {name} among {names}"
    assert "args-prompt" in [prompt.name for prompt in (await client.list_prompts()).prompts]
    templates = [str(template.uri_template) for template in (await client.list_resource_templates()).resource_templates]
    assert any(template.startswith("demo://resource/dynamic/text/") for template in templates), templates
    assert (await client.list_resources()).resources, "no resources"


async def call(client, _host):
    odd = 'line\nfeed, \u2028, "quote", \\, caf\u00e9 \U0001f980'
    assert text(await client.call_tool("echo", {"message": odd})) == f"Echo: {odd}"


async def progress(client, _host):
    steps = []

    async def step(done, _total, _message):
        steps.append(done)

    await client.call_tool("trigger-long-running-operation", {"duration": 0.6, "steps": 3}, progress_callback=step)
    # Between two rounds of `input_required` there is no request to tell it to.
    assert len(steps) >= 2 and steps == sorted(set(steps)), steps


async def resource(client, _host):
    assert "Resource 7" in (await client.read_resource("demo://resource/dynamic/text/7")).contents[0].text


async def prompt(client, _host):
    got = await client.get_prompt("args-prompt", {"city": "Lisbon"})
    assert got.messages[0].content.text == "What's weather in Lisbon?", got


async def completion(client, _host):
    reference = types.PromptReference(type="ref/prompt", name="completable-prompt")
    completed = await client.complete(reference, {"name": "department", "value": "S"})
    assert completed.completion.values == ["Sales", "Support"], completed


async def subscribe(client, host):
    async with listening(client, resource_subscriptions=[WATCHED]):
        await client.call_tool("toggle-subscriber-updates")
        await eventually("notifications/resources/updated", lambda: WATCHED in host.updated)
        await client.call_tool("toggle-subscriber-updates")


async def list_changed(client, host):
    async with listening(client, resources_list_changed=True):
        arguments = {"name": "note.gz", "data": "data:text/plain,a%20note", "outputType": "resource"}
        await client.call_tool("gzip-file-as-resource", arguments)
        await eventually("notifications/resources/list_changed", lambda: host.changed > 0)


async def logging(client, host):
    if not modern(client):
        await client.set_logging_level("debug")
    before = len(host.logs)
    await client.call_tool("toggle-simulated-logging")
    said = "level message", "level-message", "Level message"
    await eventually(
        "notifications/message",
        lambda: any(word in str(log.data) for log in host.logs[before:] for word in said),
    )
    await client.call_tool("toggle-simulated-logging")


async def sampling(client, host):
    result = await client.call_tool("trigger-sampling-request", {"prompt": "the question", "maxTokens": 7})
    assert "forty-two" in text(result) and "sampling 7" in host.asked, (text(result), host.asked)


async def elicitation_form(client, host):
    result = await client.call_tool("trigger-elicitation-request")
    assert "Ada Lovelace" in text(result) and "form name" in host.asked, (text(result), host.asked)


async def elicitation_url(client, host):
    result = await client.call_tool("trigger-url-elicitation", {"url": URL_TO_OPEN, "message": "Open it"})
    assert "completed" in text(result) and f"url {URL_TO_OPEN}" in host.asked, (text(result), host.asked)


async def roots(client, _host):
    listed = text(await client.call_tool("get-roots-list"))
    assert "1 total" in listed and "file:///srv/one" in listed, listed


async def cancel(client, _host):
    with anyio.CancelScope() as scope:

        async def enough(_done, _total, _message):
            scope.cancel()

        arguments = {"duration": 20, "steps": 100}
        await client.call_tool("trigger-long-running-operation", arguments, progress_callback=enough)
    assert scope.cancelled_caught, "the call ended by itself"
    await eventually("what the server writes when it is told", lambda: os.path.exists(os.environ["MATRIX_CANCELLED"]))
    assert text(await client.call_tool("echo", {"message": "still here"})) == "Echo: still here"


async def result_1_mib(client, _host):
    assert text(await client.call_tool("echo", {"message": MEBIBYTE})) == f"Echo: {MEBIBYTE}"


async def errors(client, _host):
    await fails([-32602, -32002], client.read_resource, "demo://nothing/here")
    unknown = types.Request[types.RequestParams, str](method="no/such-method", params=types.RequestParams())
    await fails([-32601], client.session.send_request, unknown, types.EmptyResult)
    try:
        assert (await client.call_tool("echo", {})).is_error, "a wrong argument is no error"
    except MCPError as error:
        assert error.code == -32602, error


FEATURES = [list_, call, progress, resource, prompt, completion, subscribe, list_changed, logging, sampling]
FEATURES += [elicitation_form, elicitation_url, roots, cancel, result_1_mib, errors]


def children() -> list[int]:
    """The processes that this one started and that are still there."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
        return [int(pid) for pid in file.read().split()]


def say(feature, error=None):
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    line = {"feature": feature, "verdict": "fail" if error else "pass"}
    if error:
        line["why"] = " ".join(f"{type(error).__name__}: {error}".split())[:400]
    print(json.dumps(line), flush=True)


async def main() -> None:
    host, (mode, command, *arguments) = Host(), sys.argv[1:]
    token = {"MATRIX_TOKEN": os.environ["MATRIX_TOKEN"]}
    client = Client(
        stdio_client(StdioServerParameters(command=command, args=arguments, env=token)),
        sampling_callback=host.sample,
        elicitation_callback=host.elicit,
        list_roots_callback=host.roots,
        logging_callback=host.log,
        log_level="debug",
        message_handler=host.hear,
        mode="2026-07-28" if mode == "modern" else mode,
    )
    try:
        await client.__aenter__()
    except Exception as error:
        for feature in [*(body.__name__.strip("_") for body in FEATURES), "shutdown"]:
            say(feature, RuntimeError(f"does not connect: {error}"))
        return
    print(json.dumps({"era": "modern" if modern(client) else "legacy"}), flush=True)
    for body in FEATURES:
        feature = body.__name__.strip("_")
        try:
            with anyio.fail_after(DEADLINE):
                await body(client, host)
            say(feature)
        except Exception as error:
            say(feature, error)
    try:
        pids = children()
        started = time.monotonic()
        await client.__aexit__(None, None, None)
        took = time.monotonic() - started
        # The SDK sends SIGTERM after 2 s: sooner means that the end of its input was enough.
        assert took < 1.9, f"it took {took:.2f} s"
        assert pids and not children(), f"had {pids}, left {children()}"
        say("shutdown")
    except Exception as error:
        say("shutdown", error)


anyio.run(main)
