// The client under test of the official conformance suite at 2026-07-28: the TypeScript SDK client,
// second line, over stdio, with countersign as its server. It speaks both eras, save where the runs
// across the eras want to have it with the later one alone.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { across, answer, name, play } from './conformance-scenarios.mjs';

// The SDK probes in a process that it then ends, and begins in the next with the request itself. The
// server of this scenario takes that for one of its own revision, as the matrix of 2026-07-28 versioning
// says that some will; so here the probe goes by the same process, as with any other transport.
const InPlace = class extends StdioClientTransport {};
const Stdio = across && name === 'sse-retry' ? InPlace : StdioClientTransport;

const client = new Client(
  { name: 'interoperability', version: '1.0.0' },
  {
    capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} },
    versionNegotiation: { mode: across ? { pin: '2026-07-28' } : 'auto' },
  },
);
client.setRequestHandler('elicitation/create', answer);

await play(client, { Stdio, Http: StreamableHTTPClientTransport });
