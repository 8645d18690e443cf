// The client under test of the official conformance suite that speaks no revision after 2025-11-25:
// the TypeScript SDK client, first line, over stdio, with countersign as its server.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { answer, play } from './conformance-scenarios.mjs';

const client = new Client(
  { name: 'interoperability', version: '1.0.0' },
  { capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} } },
);
client.setRequestHandler(ElicitRequestSchema, answer);

await play(client, { Stdio: StdioClientTransport, Http: StreamableHTTPClientTransport });
