// What the clients under test of the official conformance suite do, scenario by scenario: the suite
// names one in the environment, and appends its URL to the command. What is judged is what reaches the
// suite's own server. Either client can do all of them; which SDK it is, is the caller's part.
// Without COUNTERSIGN the client goes to that server directly: what the suite expects of it. With
// PROTOCOL it is said to countersign which era the client speaks.

import assert from 'node:assert/strict';

const { COUNTERSIGN, PROTOCOL, MCP_CONFORMANCE_CONTEXT: context } = process.env;

/** The scenario. */
export const name = process.env.MCP_CONFORMANCE_SCENARIO;

/** Whether the suite's server speaks the other era: the client has no second one then. */
export const across = Boolean(PROTOCOL);

/** What the user says to each question. */
export function answer() {
  // Nothing filled in: the SDK puts the schema's defaults in, and they must arrive.
  const content = name === 'elicitation-sep1034-client-defaults' ? {} : { confirmed: true };
  return { action: 'accept', content };
}

/** Connects `client` by whichever of the two transports the environment asks for, does what the
 * scenario wants, and leaves. */
export async function play(client, { Stdio, Http }) {
  const url = process.argv.at(-1);
  const args = PROTOCOL ? ['--protocol', PROTOCOL] : [];
  const transport = COUNTERSIGN
    ? new Stdio({ command: COUNTERSIGN, args, env: { API_URL: url } })
    : new Http(new URL(url));
  await client.connect(transport);
  await scenarios[name](client);
  await client.close();
}

const call = (client, name, args = {}) => client.callTool({ name, arguments: args });

const scenarios = {
  initialize: async (client) => {
    await client.listTools();
  },
  tools_call: async (client) => {
    await client.listTools();
    const sum = await call(client, 'add_numbers', { a: 5, b: 3 });
    assert.equal(sum.content[0].text, 'The sum of 5 and 3 is 8');
  },
  'elicitation-sep1034-client-defaults': async (client) => {
    await client.listTools();
    await call(client, 'test_client_elicitation_defaults');
  },
  'sse-retry': async (client) => {
    const result = await call(client, 'test_reconnection');
    assert.match(result.content[0].text, /completed successfully/);
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
    // The modern SDK takes no result without a type; the suite wants it asked for no more than once.
    await call(client, 'test_mrtr_no_result_type').catch(() => {});
  },
  'json-schema-ref-no-deref': async (client) => {
    await client.listTools();
  },
};
