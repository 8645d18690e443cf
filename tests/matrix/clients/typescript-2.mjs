// The official TypeScript SDK 2. With `auto` it asks for the server's era first, with `modern` it
// speaks 2026-07-28 and nothing else.
// Usage: typescript-2.mjs auto|modern COMMAND ARGUMENT...

import { Client, LOG_LEVEL_META_KEY } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { ANSWERS, ROOTS, elicited, host, play } from './features.mjs';

const [mode, command, ...args] = process.argv.slice(2);
const anything = { '~standard': { version: 1, vendor: 'matrix', validate: (value) => ({ value }) } };

await play(async () => {
  const client = new Client(
    { name: `matrix-typescript-2-${mode}`, version: '1.0.0' },
    {
      capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} },
      versionNegotiation: { mode: mode === 'modern' ? { pin: '2026-07-28' } : 'auto' },
    },
  );
  client.setRequestHandler('sampling/createMessage', ({ params }) => {
    host.asked.push(`sampling ${params.maxTokens}`);
    return ANSWERS.sampling;
  });
  client.setRequestHandler('elicitation/create', ({ params }) => elicited(params));
  client.setRequestHandler('roots/list', () => ({ roots: ROOTS }));
  client.setNotificationHandler('notifications/message', ({ params }) => void host.logs.push(params));
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => void host.updated.push(params.uri));
  client.setNotificationHandler('notifications/resources/list_changed', () => void (host.changed += 1));

  const transport = new StdioClientTransport({ command, args, env: { MATRIX_TOKEN: process.env.MATRIX_TOKEN } });
  await client.connect(transport);
  const modern = client.getProtocolEra() === 'modern';
  let logs;
  const listen = async (filter) => {
    const stream = await client.listen(filter);
    return () => stream.close();
  };
  return {
    era: client.getProtocolEra(),
    pid: transport.pid,
    list: async (what) => (await client[`list${what[0].toUpperCase()}${what.slice(1)}`]())[what],
    call: (name, args = {}, options) => client.callTool({ name, arguments: args, ...(logs && { _meta: logs }) }, options),
    read: (uri) => client.readResource({ uri }),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    complete: (params) => client.complete(params),
    watch: async (uri) => {
      if (modern) return listen({ resourceSubscriptions: [uri] });
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    watchLists: async () => (modern ? listen({ resourcesListChanged: true }) : async () => {}),
    level: async (level) => {
      if (modern) logs = { [LOG_LEVEL_META_KEY]: level };
      else await client.setLoggingLevel(level);
    },
    unknown: (method) => client.request({ method, params: {} }, anything),
    close: () => client.close(),
  };
});
