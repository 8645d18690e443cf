// The documented mTLS wrapper configuration, word for word but for the host: wrapper.mcp.json is
// read the way a host reads its .mcp.json, and what it says is started. The command is a link
// named `mtls-wrapper`, the URL has no path, and trust comes by SSL_CERT_FILE.
// Usage: wrapper.mjs LABEL, with the configuration's variables in the environment

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { eventually, gatewayLog, scenario } from './scenario.mjs';

const [label] = process.argv.slice(2);

const expanded = readFileSync(new URL('wrapper.mcp.json', import.meta.url), 'utf8').replace(
  /\$\{(\w+)\}/g,
  (_, name) => JSON.stringify(process.env[name]).slice(1, -1),
);
const { command, args, env } = JSON.parse(expanded).mcpServers['secure-api'];

await scenario(`${label}: the documented wrapper configuration carries a session`, async () => {
  const upstream = gatewayLog();
  const client = new Client({ name: 'interoperability', version: '1.0.0' });
  try {
    await client.connect(new StdioClientTransport({ command, args, env }));
    assert.ok((await client.listTools()).tools.length > 0);
    const { content } = await client.callTool({ name: 'echo', arguments: { message: 'wrapped' } });
    assert.equal(content[0].text, 'Echo: wrapped');
  } finally {
    await client.close();
  }
  const seen = await eventually('the session at the gateway', () => upstream().find((entry) => entry.method === 'DELETE'));
  assert.equal(seen.path, '/');
  assert.match(seen.subject, /CN=development client/);
});
