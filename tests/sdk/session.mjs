// A whole session of the official TypeScript SDK client, scenario by scenario, against the
// reference server. Over stdio through countersign; with --sidecar over Streamable HTTP to a
// `countersign serve` that runs already; with --direct the same to the plain door, which shows
// whether a failure is the peers' own.
// Usage: session.mjs LABEL URL [--sidecar | --direct]

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { alive, eventually, gatewayLog, scenario } from './scenario.mjs';

const [label, url, mode] = process.argv.slice(2);
const direct = mode === '--direct';
const http = direct || mode === '--sidecar';
const { COUNTERSIGN, CERTS, LARGE_FILE, LARGE_URL } = process.env;

const upstream = gatewayLog();
const sent = []; // every message in the order it crossed, either way: what handlers cannot show
const received = [];
const notified = { logs: [], updated: [], resourcesChanged: 0 };
const asked = { sampling: [], elicitation: [], roots: 0 };
let roots = [
  { uri: 'file:///srv/one', name: 'one' },
  { uri: 'file:///srv/two', name: 'two' },
];

const client = new Client(
  { name: 'interoperability', version: '1.0.0' },
  { capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } } },
);
const transport = http
  ? new StreamableHTTPClientTransport(new URL(url))
  : new StdioClientTransport({
      command: COUNTERSIGN,
      args: ['--cert', `${CERTS}/client.pem`, '--key', `${CERTS}/client.key`, '--cacert', `${CERTS}/ca.pem`],
      env: { API_URL: url },
    });

client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
  asked.sampling.push(params);
  return { role: 'assistant', model: 'a-model', content: { type: 'text', text: 'forty-two' } };
});
client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
  asked.elicitation.push(params);
  return { action: 'accept', content: { name: 'Ada Lovelace', check: true } };
});
client.setRequestHandler(ListRootsRequestSchema, () => {
  asked.roots += 1;
  return { roots };
});
client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void notified.logs.push(params));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void notified.updated.push(params.uri));
client.setNotificationHandler(ResourceListChangedNotificationSchema, () => void (notified.resourcesChanged += 1));

const run = (name, body) => scenario(`${label}: ${name}`, body);
const call = (name, args = {}, options) => client.callTool({ name, arguments: args }, undefined, options);
const text = (result) => result.content.map((part) => part.text ?? '').join('\n');

async function connect() {
  await client.connect(transport);
  const { onmessage } = transport;
  transport.onmessage = (message, extra) => {
    received.push(message);
    onmessage(message, extra);
  };
  const send = transport.send.bind(transport);
  transport.send = (message, options) => {
    sent.push(message);
    return send(message, options);
  };
}

const connected = await run('initialize', async () => {
  await connect();
  assert.equal(client.getServerVersion().name, 'mcp-servers/everything');
  assert.match(client.getInstructions(), /\w/);
  for (const capability of ['tools', 'resources', 'prompts', 'logging', 'completions']) {
    assert.ok(client.getServerCapabilities()[capability], `no capability ${capability}`);
  }
});
if (!connected) {
  await client.close();
  process.exit(1);
}

if (!direct) {
  await run('the gateway saw the client certificate and the negotiated version', async () => {
    const seen = await eventually('notifications/initialized', () =>
      upstream().find((entry) => entry.body?.method === 'notifications/initialized'),
    );
    const protocol = { tls12: 'HTTP/1.1', tls13: 'HTTP/2.0' }[seen.door];
    assert.equal(seen.protocol, protocol);
    assert.equal(seen.verified, 'SUCCESS');
    assert.match(seen.subject, /CN=development client/);
    assert.match(seen.session, /./, 'no Mcp-Session-Id');
    assert.match(seen.version, /^2025-/);
    assert.equal(seen.status, '202');
    const starts = upstream().filter((entry) => entry.body?.method === 'initialize');
    assert.equal(starts.length, 1, 'initialize was not sent exactly once');
  });
}

await run('lists of tools, resources, templates and prompts', async () => {
  const { tools } = await client.listTools();
  const names = tools.map((tool) => tool.name);
  // The last three are there only if the client's capabilities arrived as they were sent.
  for (const name of ['echo', 'get-sum', 'trigger-sampling-request', 'trigger-elicitation-request', 'get-roots-list']) {
    assert.ok(names.includes(name), `no tool ${name} among ${names}`);
  }
  assert.ok((await client.listResources()).resources.length > 0);
  assert.ok((await client.listResourceTemplates()).resourceTemplates.length > 0);
  assert.ok((await client.listPrompts()).prompts.length > 0);
});

await run('tool calls, and an error of one', async () => {
  const odd = 'line\nfeed, \u2028, "quote", \\, caf\u00e9 \u{1f980}, \u0000';
  assert.equal(text(await call('echo', { message: odd })), `Echo: ${odd}`);
  assert.equal(text(await call('get-sum', { a: 19, b: 23 })), 'The sum of 19 and 23 is 42.');
  const wrong = await call('get-sum', { a: 'nineteen' });
  assert.equal(wrong.isError, true);
});

await run('64 calls at once, each with its own answer', async () => {
  const numbers = Array.from({ length: 64 }, (_, n) => n);
  const answers = await Promise.all(numbers.map((n) => call('get-sum', { a: n, b: 1000 })));
  answers.forEach((answer, n) => assert.equal(text(answer), `The sum of ${n} and 1000 is ${n + 1000}.`));
});

await run('progress reaches its handler before the result', async () => {
  const steps = [];
  await call('trigger-long-running-operation', { duration: 1, steps: 5 }, { onprogress: (p) => steps.push(p.progress) });
  assert.deepEqual(steps, [1, 2, 3, 4, 5]);
});

await run('a burst of 100 progress notifications crosses in order, before the result', async () => {
  const before = received.length;
  await call('trigger-long-running-operation', { duration: 0.01, steps: 100 }, { onprogress: () => {} });
  const crossed = received.slice(before);
  const result = crossed.findIndex((message) => message.result);
  const steps = crossed.slice(0, result).filter((message) => message.method === 'notifications/progress');
  assert.deepEqual(steps.map((message) => message.params.progress), Array.from({ length: 100 }, (_, n) => n + 1));
});

await run('resources are read, as text and as bytes', async () => {
  const words = await client.readResource({ uri: 'demo://resource/dynamic/text/7' });
  assert.match(words.contents[0].text, /Resource 7/);
  const bytes = await client.readResource({ uri: 'demo://resource/dynamic/blob/7' });
  assert.match(Buffer.from(bytes.contents[0].blob, 'base64').toString(), /Resource 7/);
  await assert.rejects(client.readResource({ uri: 'demo://nothing/here' }), { code: -32602 });
});

await run('prompts are got, and an argument completed', async () => {
  const prompt = await client.getPrompt({ name: 'args-prompt', arguments: { city: 'Lisbon' } });
  assert.equal(prompt.messages[0].content.text, "What's weather in Lisbon?");
  const { completion } = await client.complete({
    ref: { type: 'ref/prompt', name: 'completable-prompt' },
    argument: { name: 'department', value: 'S' },
  });
  assert.deepEqual(completion.values, ['Sales', 'Support']);
});

await run('sampling: the server asks, the client answers', async () => {
  const result = await call('trigger-sampling-request', { prompt: 'the question', maxTokens: 7 });
  assert.match(text(result), /forty-two/);
  assert.equal(asked.sampling.length, 1);
  assert.equal(asked.sampling[0].maxTokens, 7);
  assert.match(asked.sampling[0].messages[0].content.text, /the question/);
});

await run('elicitation: the server asks, the person answers', async () => {
  assert.match(text(await call('trigger-elicitation-request')), /Ada Lovelace/);
  assert.equal(asked.elicitation.length, 1);
  assert.equal(asked.elicitation[0].requestedSchema.properties.name.type, 'string');
});

await run('roots are listed, and again when they change', async () => {
  assert.match(text(await call('get-roots-list')), /2 total[^]*file:\/\/\/srv\/one/);
  roots = [...roots, { uri: 'file:///srv/three', name: 'three' }];
  await client.sendRootsListChanged();
  await eventually('the server to log the new roots', () => notified.logs.find((log) => /3 root\(s\)/.test(log.data)));
  assert.match(text(await call('get-roots-list')), /3 total[^]*file:\/\/\/srv\/three/);
  assert.ok(asked.roots >= 2);
});

await run('subscriptions and log messages arrive unasked', async () => {
  const uri = 'demo://resource/dynamic/text/9';
  await client.subscribeResource({ uri });
  await call('toggle-subscriber-updates');
  await eventually('notifications/resources/updated', () => notified.updated.includes(uri));
  await call('toggle-subscriber-updates');
  await client.unsubscribeResource({ uri });

  await client.setLoggingLevel('debug');
  await call('toggle-simulated-logging');
  await eventually('notifications/message', () => notified.logs.find((log) => /level.message/i.test(log.data)));
  await call('toggle-simulated-logging');
});

await run('an 8 MiB result, and the list_changed it causes', async () => {
  const name = `${label.replace(/\W+/g, '-')}.gz`;
  const result = await call('gzip-file-as-resource', { name, data: LARGE_URL, outputType: 'resource' });
  const { blob } = result.content[0].resource;
  assert.ok(blob.length >= 8 << 20, `only ${blob.length} characters`);
  const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
  assert.equal(digest(gunzipSync(Buffer.from(blob, 'base64'))), digest(readFileSync(LARGE_FILE)));
  await eventually('notifications/resources/list_changed', () => notified.resourcesChanged > 0);
});

await run('a 3 MiB argument, there and back', async () => {
  const message = 'a line of thirty-two characters\n'.repeat((3 << 20) / 32);
  assert.equal(text(await call('echo', { message })), `Echo: ${message}`);
});

await run('a cancelled call: the server is told, and the session goes on', async () => {
  const abort = new AbortController();
  const before = sent.length;
  const long = call('trigger-long-running-operation', { duration: 20, steps: 100 }, {
    signal: abort.signal,
    onprogress: () => abort.abort('enough'),
  });
  await assert.rejects(long, /enough/);
  const id = sent.slice(before).find((message) => message.method === 'tools/call').id;
  const told = await eventually('notifications/cancelled at the gateway', () =>
    upstream().find((entry) => entry.body?.method === 'notifications/cancelled'),
  );
  assert.deepEqual(told.body.params, { requestId: id, reason: 'enough' });
  assert.equal(told.status, '202');
  assert.equal(text(await call('echo', { message: 'still here' })), 'Echo: still here');
});

await run(http ? 'a clean exit: the session ended' : 'a clean exit: the session ended, no process left, within 2 s', async () => {
  const { pid } = transport;
  if (http) await transport.terminateSession();
  const started = performance.now();
  await client.close();
  const took = performance.now() - started;
  // The SDK sends SIGTERM after 2 s: sooner means that the end of its input was enough.
  if (!http) {
    assert.ok(took < 1_900, `it took ${Math.round(took)} ms`);
    assert.equal(alive(pid), false, `process ${pid} is still there`);
  }
  const ended = await eventually('DELETE at the gateway', () => upstream().find((entry) => entry.method === 'DELETE'));
  assert.equal(ended.status, '200');
});
