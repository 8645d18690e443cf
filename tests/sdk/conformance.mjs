// The client under test of the official conformance suite: the TypeScript SDK client over stdio,
// with countersign as its server. The suite appends its URL to the command and names the scenario
// in the environment; what is judged is what reaches the suite's own server.
// Without COUNTERSIGN the SDK client goes there directly: what the suite expects of it.

import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const url = process.argv.at(-1);
const { COUNTERSIGN, MCP_CONFORMANCE_SCENARIO: name } = process.env;

const scenarios = {
  initialize: async (client) => {
    await client.listTools();
  },
  tools_call: async (client) => {
    await client.listTools();
    const sum = await client.callTool({ name: 'add_numbers', arguments: { a: 5, b: 3 } });
    assert.equal(sum.content[0].text, 'The sum of 5 and 3 is 8');
  },
  'elicitation-sep1034-client-defaults': async (client) => {
    // Nothing filled in: the SDK puts the schema's defaults in, and they must arrive.
    client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: {} }));
    await client.listTools();
    await client.callTool({ name: 'test_client_elicitation_defaults', arguments: {} });
  },
  'sse-retry': async (client) => {
    const result = await client.callTool({ name: 'test_reconnection', arguments: {} });
    assert.match(result.content[0].text, /completed successfully/);
  },
};

const client = new Client(
  { name: 'interoperability', version: '1.0.0' },
  { capabilities: { elicitation: { form: { applyDefaults: true } } } },
);
const transport = COUNTERSIGN
  ? new StdioClientTransport({ command: COUNTERSIGN, args: [], env: { API_URL: url } })
  : new StreamableHTTPClientTransport(new URL(url));

await client.connect(transport);
await scenarios[name](client);
await client.close();
