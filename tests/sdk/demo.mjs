// The official TypeScript SDK client before `countersign serve --demo`: no upstream, no certificate
// and no token of its own, and the demo's gateway, which asks for both, knows it all the same.
// Usage: demo.mjs LABEL URL

import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { scenario } from './scenario.mjs';

const [label, url] = process.argv.slice(2);

await scenario(`${label}: tools with progress, resources and prompts`, async () => {
  const client = new Client({ name: 'interoperability', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(url));
  await client.connect(transport);
  const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
  const text = (result) => result.content[0].text;

  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name), ['greet', 'count_down', 'whoami']);
  assert.equal(text(await call('greet', { name: 'Ada' })), 'Hello, Ada!');
  assert.match(text(await call('whoami')), /^You are .+, of the tenant .+/);
  const steps = [];
  await call('count_down', { from: 2 }, { onprogress: ({ progress }) => steps.push(progress) });
  assert.deepEqual(steps, [1, 2]);

  const { resources } = await client.listResources();
  const { contents } = await client.readResource({ uri: resources[0].uri });
  assert.match(contents[0].text, /client certificate/);
  const { messages } = await client.getPrompt({ name: 'introduce', arguments: { name: 'Ada' } });
  assert.match(messages[0].content.text, /Ada/);
  await client.close();
});
