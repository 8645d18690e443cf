// The client under test of the official conformance suite at 2026-07-28: the TypeScript SDK client,
// second line, over stdio, with countersign as its server. It speaks both eras, save where the runs
// across the eras want to have it with the later one alone.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { across, answer, play } from './conformance-scenarios.mjs';

const client = new Client(
  { name: 'interoperability', version: '1.0.0' },
  {
    capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} },
    versionNegotiation: { mode: across ? { pin: '2026-07-28' } : 'auto' },
  },
);
client.setRequestHandler('elicitation/create', answer);

await play(client, { Stdio: StdioClientTransport, Http: StreamableHTTPClientTransport });
