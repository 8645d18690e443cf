"""A server of the official Python SDK. It plays the tools of the reference server under their names,
over Streamable HTTP of both eras (`http`) or over HTTP+SSE of 2024-11-05 alone (`sse`). Lets in only
what has the bearer token of MATRIX_TOKEN, with the client's name behind it, and writes the port it was
given to the file MATRIX_PORT. A call that a client cancels is told by a file, too: the client waits for it.
Usage: python.py http|sse
"""

import os
import socket
import sys
import warnings
from functools import partial
from typing import Annotated

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import BaseModel

warnings.simplefilter("ignore", MCPDeprecationWarning)  # half of the features of before are deprecated
TOKEN, PORT = f"Bearer {os.environ['MATRIX_TOKEN']}", os.environ["MATRIX_PORT"]
WATCHED = "demo://resource/dynamic/text/9"
server = MCPServer("matrix-python")


def cancelled(authorization: str) -> None:
    """That a call of this client's was cancelled has reached the server."""
    name = authorization.removeprefix(f"{TOKEN}.")
    with open(PORT.removesuffix("port") + f"{name}.cancelled", "w", encoding="utf-8"):
        pass


@server.tool()
def echo(message: str) -> str:
    return f"Echo: {message}"


@server.tool("trigger-long-running-operation")
async def long(duration: float, steps: int, ctx: Context) -> str:
    try:
        for done in range(1, steps + 1):
            await anyio.sleep(duration / steps)
            await ctx.report_progress(done, steps)
    except anyio.get_cancelled_exc_class():
        cancelled(ctx.headers["authorization"])
        raise
    return "done"


@server.tool("toggle-subscriber-updates")
async def update(ctx: Context) -> str:
    await ctx.notify_resource_updated(WATCHED)
    await ctx.session.send_resource_updated(WATCHED)
    return "told"


@server.tool("gzip-file-as-resource")
async def grow(name: str, ctx: Context) -> str:
    await ctx.notify_resources_changed()
    await ctx.session.send_resource_list_changed()
    return f"told of {name}"


@server.tool("toggle-simulated-logging")
async def log(ctx: Context) -> str:
    await ctx.info("Info-level message")
    return "logged"


async def sampled(prompt: str, maxTokens: int) -> Sample:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return Sample([message], max_tokens=maxTokens)


@server.tool("trigger-sampling-request")
def sample(prompt: str, maxTokens: int, answer: Annotated[types.CreateMessageResult, Resolve(sampled)]) -> str:
    return f"LLM sampling result: {answer.content.text}"


class Person(BaseModel):
    name: str


async def asked() -> Elicit[Person]:
    return Elicit("Who are you?", Person)


@server.tool("trigger-elicitation-request")
def elicit(person: Annotated[Person, Resolve(asked)]) -> str:
    return f"accept: {person.name}"


@server.tool("trigger-url-elicitation")
async def elicit_url(url: str, message: str, ctx: Context) -> str | types.InputRequiredResult:
    if ctx.protocol_version < "2026":
        return "completed" if (await ctx.elicit_url(message, url, "one")).action == "accept" else "declined"
    if ctx.input_responses:
        return "completed" if ctx.input_responses["answer"].action == "accept" else "declined"
    params = types.ElicitRequestURLParams(message=message, url=url)
    return types.InputRequiredResult(input_requests={"answer": types.ElicitRequest(params=params)})


async def listed() -> ListRoots:
    return ListRoots()


@server.tool("get-roots-list")
def roots(answer: Annotated[types.ListRootsResult, Resolve(listed)]) -> str:
    return f"{len(answer.roots)} total\n" + "\n".join(str(root.uri) for root in answer.roots)


@server.resource("demo://resource/dynamic/text/{id}")
def resource(id: str) -> str:
    return f"Resource {id}"


@server.resource("demo://resource/note")
def note() -> str:
    return "a note"


@server.prompt("args-prompt")
def prompt(city: str) -> str:
    return f"What's weather in {city}?"


@server.prompt("completable-prompt")
def promote(department: str) -> str:
    return department


@server.completion()
async def complete(_ref, argument, _context):
    departments = ["Engineering", "Sales", "Marketing", "Support"]
    return types.Completion(values=[name for name in departments if name.startswith(argument.value)])


async def nothing(_ctx, _params):
    return types.EmptyResult()


# What MCPServer has no decorator for.
for method, params in [
    ("resources/subscribe", types.SubscribeRequestParams),
    ("resources/unsubscribe", types.UnsubscribeRequestParams),
    ("logging/setLevel", types.SetLevelRequestParams),
]:
    server._lowlevel_server.add_request_handler(method, params, nothing)


# In sessions it says so only when it is told to.
server._lowlevel_server.create_initialization_options = partial(
    server._lowlevel_server.create_initialization_options, NotificationOptions(resources_changed=True)
)


def guarded(app):
    """Only who has the token comes in."""

    async def door(scope, receive, send):
        sent = dict(scope.get("headers", [])).get(b"authorization", b"")
        if scope["type"] == "http" and not sent.startswith(f"{TOKEN}.".encode()):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return door


def main() -> None:
    app = server.sse_app() if sys.argv[1] == "sse" else server.streamable_http_app()
    listening = socket.create_server(("127.0.0.1", 0))
    with open(f"{PORT}.new", "w", encoding="utf-8") as file:
        file.write(str(listening.getsockname()[1]))
    os.rename(f"{PORT}.new", PORT)
    config = uvicorn.Config(guarded(app), log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])


main()
