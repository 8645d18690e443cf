// A server of the official TypeScript SDK 2 that speaks 2026-07-28 and refuses what came before.
// It plays the tools of the reference server under their names.

import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import {
  McpServer,
  ResourceTemplate,
  completable,
  createMcpHandler,
  inputRequired,
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import { cancelled, client } from './door.mjs';

const says = (text) => ({ content: [{ type: 'text', text }] });
const pause = (duration) => new Promise((resolve) => setTimeout(resolve, duration));
const DEPARTMENTS = ['Engineering', 'Sales', 'Marketing', 'Support'];

/** Asks for one thing, then replies with what came. */
const asking = (request, reply) => (args, ctx) => {
  const answer = ctx.mcpReq.inputResponses?.answer;
  return answer ? reply(answer, args) : inputRequired({ inputRequests: { answer: request(args) } });
};

async function long({ duration, steps }, ctx) {
  const { progressToken } = ctx.mcpReq._meta ?? {};
  const name = client();
  for (let progress = 1; progress <= steps; progress += 1) {
    await pause((duration / steps) * 1_000);
    if (ctx.mcpReq.signal.aborted) {
      cancelled(name);
      break;
    }
    if (progressToken === undefined) continue;
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: steps } });
  }
  return says('done');
}

const TOOLS = {
  echo: [z.object({ message: z.string() }), ({ message }) => says(`Echo: ${message}`)],
  'trigger-long-running-operation': [z.object({ duration: z.number(), steps: z.number() }), long],
  'toggle-subscriber-updates': [
    z.object({}),
    () => {
      handler.notify.resourceUpdated('demo://resource/dynamic/text/9');
      return says('told');
    },
  ],
  'gzip-file-as-resource': [
    z.object({ name: z.string() }),
    () => {
      handler.notify.resourcesChanged();
      return says('told');
    },
  ],
  'toggle-simulated-logging': [
    z.object({}),
    async (_args, ctx) => {
      await ctx.mcpReq.log('info', 'Info-level message');
      return says('logged');
    },
  ],
  'trigger-sampling-request': [
    z.object({ prompt: z.string(), maxTokens: z.number() }),
    asking(
      ({ prompt, maxTokens }) =>
        inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens }),
      (answer) => says(`LLM sampling result: ${answer.content.text}`),
    ),
  ],
  'trigger-elicitation-request': [
    z.object({}),
    asking(
      () =>
        inputRequired.elicit({
          message: 'Who are you?',
          requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
        }),
      (answer) => says(`${answer.action}: ${answer.content.name}`),
    ),
  ],
  'trigger-url-elicitation': [
    z.object({ url: z.string(), message: z.string() }),
    asking(
      ({ url, message }) => inputRequired.elicitUrl({ url, message }),
      (answer) => says(answer.action === 'accept' ? 'completed' : answer.action),
    ),
  ],
  'get-roots-list': [
    z.object({}),
    asking(
      () => inputRequired.listRoots(),
      ({ roots }) => says(`${roots.length} total\n${roots.map(({ uri }) => uri).join('\n')}`),
    ),
  ],
};

function offer() {
  const server = new McpServer(
    { name: 'matrix-modern', version: '1.0.0' },
    { capabilities: { tools: {}, resources: { subscribe: true, listChanged: true }, prompts: {}, logging: {}, completions: {} } },
  );
  for (const [name, [inputSchema, reply]] of Object.entries(TOOLS)) server.registerTool(name, { inputSchema }, reply);
  server.registerResource('note', 'demo://resource/note', {}, (uri) => ({ contents: [{ uri: uri.href, text: 'a note' }] }));
  const template = new ResourceTemplate('demo://resource/dynamic/text/{id}', { list: undefined });
  server.registerResource('text', template, {}, (uri, { id }) => ({
    contents: [{ uri: uri.href, text: `Resource ${id}` }],
  }));
  const user = (text) => ({ messages: [{ role: 'user', content: { type: 'text', text } }] });
  server.registerPrompt('args-prompt', { argsSchema: z.object({ city: z.string() }) }, ({ city }) =>
    user(`What's weather in ${city}?`),
  );
  const department = completable(z.string(), (value) => DEPARTMENTS.filter((name) => name.startsWith(value)));
  server.registerPrompt('completable-prompt', { argsSchema: z.object({ department }) }, (args) => user(args.department));
  return server;
}

const handler = createMcpHandler(offer, { legacy: 'reject' });
createServer(toNodeHandler(handler)).listen(0, '127.0.0.1');
