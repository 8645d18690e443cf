// What a person reads in their MCP client when the gateway and countersign do not get along:
// each case of refusals.json, by the TypeScript SDK client. The answer to `initialize` must be a
// JSON-RPC error that says who refused and which flag to use, and no request may have got through.
// Usage: refusals.mjs LABEL URL

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { McpError } from '@modelcontextprotocol/sdk/types.js';
import { alive, eventually, gatewayLog, scenario } from './scenario.mjs';

const [label, url] = process.argv.slice(2);
const { COUNTERSIGN, CERTS } = process.env;
const cases = JSON.parse(readFileSync(new URL('refusals.json', import.meta.url)));

for (const refusal of cases) {
  await scenario(`${label}: ${refusal.name}`, async () => {
    const upstream = gatewayLog();
    const given = ['cert', 'key', 'cacert'].filter((flag) => refusal[flag]);
    const transport = new StdioClientTransport({
      command: COUNTERSIGN,
      args: given.flatMap((flag) => [`--${flag}`, `${CERTS}/${refusal[flag]}`]),
      env: { API_URL: url },
      stderr: 'ignore',
    });
    const client = new Client({ name: 'interoperability', version: '1.0.0' });

    const started = performance.now();
    let pid;
    const spawned = transport.start.bind(transport);
    transport.start = async () => {
      await spawned();
      ({ pid } = transport);
    };
    const error = await client.connect(transport).then(
      () => assert.fail('initialize was answered as if all were well'),
      (refused) => refused,
    );
    assert.ok(error instanceof McpError, `not a JSON-RPC error: ${error}`);
    assert.ok(performance.now() - started < 10_000, 'it took longer than 10 s');
    const said = `${error.message} ${error.data?.hint ?? ''}`;
    for (const pattern of refusal.says) assert.match(said, new RegExp(pattern, 'i'));
    assert.equal(upstream().some((entry) => entry.status.startsWith('2')), false, 'a request got through');
    await eventually(`the end of process ${pid}`, () => !alive(pid), 1_900);
  });
}
