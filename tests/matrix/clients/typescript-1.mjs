// The official TypeScript SDK 1: it speaks MCP up to 2025-11-25.
// Usage: typescript-1.mjs COMMAND ARGUMENT...

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  EmptyResultSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { ANSWERS, ROOTS, elicited, host, play } from './features.mjs';

const [command, ...args] = process.argv.slice(2);

await play(async () => {
  const client = new Client(
    { name: 'matrix-typescript-1', version: '1.0.0' },
    { capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } } },
  );
  client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
    host.asked.push(`sampling ${params.maxTokens}`);
    return ANSWERS.sampling;
  });
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => elicited(params));
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: ROOTS }));
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void host.logs.push(params));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void host.updated.push(params.uri));
  client.setNotificationHandler(ResourceListChangedNotificationSchema, () => void (host.changed += 1));

  const transport = new StdioClientTransport({ command, args, env: { MATRIX_TOKEN: process.env.MATRIX_TOKEN } });
  await client.connect(transport);
  return {
    era: 'legacy',
    pid: transport.pid,
    list: async (what) => (await client[`list${what[0].toUpperCase()}${what.slice(1)}`]())[what],
    call: (name, args = {}, options) => client.callTool({ name, arguments: args }, undefined, options),
    read: (uri) => client.readResource({ uri }),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    complete: (params) => client.complete(params),
    watch: async (uri) => {
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    watchLists: async () => async () => {},
    level: (level) => client.setLoggingLevel(level),
    unknown: (method) => client.request({ method, params: {} }, EmptyResultSchema),
    close: () => client.close(),
  };
});
