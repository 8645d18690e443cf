// The client under test of the official conformance suite at 2026-07-28: the TypeScript SDK client,
// second line, over stdio, with countersign as its server. As conformance.mjs otherwise.

import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const url = process.argv.at(-1);
const { COUNTERSIGN, MCP_CONFORMANCE_SCENARIO: name, MCP_CONFORMANCE_CONTEXT: context } = process.env;

const call = (client, name, args = {}) => client.callTool({ name, arguments: args });

const scenarios = {
  tools_call: async (client) => {
    await client.listTools();
    const sum = await call(client, 'add_numbers', { a: 5, b: 3 });
    assert.equal(sum.content[0].text, 'The sum of 5 and 3 is 8');
  },
  'request-metadata': async (client) => {
    await client.listTools();
  },
  'http-standard-headers': async (client) => {
    for (const tool of (await client.listTools()).tools) await call(client, tool.name);
    for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri });
    for (const { name } of (await client.listPrompts()).prompts) await client.getPrompt({ name });
  },
  'http-custom-headers': async (client) => {
    await client.listTools();
    for (const { name, arguments: args } of JSON.parse(context).toolCalls) await call(client, name, args);
  },
  'http-invalid-tool-headers': async (client) => {
    for (const tool of (await client.listTools()).tools) await call(client, tool.name, { region: 'eu' });
  },
  'sep-2322-client-request-state': async (client) => {
    await client.listTools();
    const waiting = call(client, 'test_mrtr_echo_state');
    await call(client, 'test_mrtr_unrelated');
    await waiting;
    await call(client, 'test_mrtr_no_state');
    // This SDK takes no result without a type; the suite wants it asked for no more than once.
    await call(client, 'test_mrtr_no_result_type').catch(() => {});
  },
  'json-schema-ref-no-deref': async (client) => {
    await client.listTools();
  },
};

const client = new Client(
  { name: 'interoperability', version: '1.0.0' },
  {
    capabilities: { elicitation: { form: {} }, sampling: {}, roots: {} },
    versionNegotiation: { mode: 'auto' },
  },
);
client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { confirmed: true } }));

const transport = COUNTERSIGN
  ? new StdioClientTransport({ command: COUNTERSIGN, args: [], env: { API_URL: url } })
  : new StreamableHTTPClientTransport(new URL(url));

await client.connect(transport);
await scenarios[name](client);
await client.close();
