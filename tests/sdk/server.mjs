// What the official conformance suite asks of a server, with the official TypeScript SDK 2: sessions
// of 2025-11-25 and requests of 2026-07-28 at one address. The names of tools, prompts and resources
// are the suite's. It passes all that either revision requires: that two ways to a server fail alike
// says little of them.
// Listens on the socket file, or the port, that PORT names.

import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node';
import {
  CLIENT_CAPABILITIES_META_KEY,
  McpServer,
  ResourceTemplate,
  WebStandardStreamableHTTPServerTransport,
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
  isLegacyRequest,
} from '@modelcontextprotocol/server';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=';
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';

const states = createRequestStateCodec({ key: randomBytes(32) });

// --- tools ----------------------------------------------------------------------------------

const text = (words) => ({ type: 'text', text: words });
const says = (...content) => ({ content: content.map((part) => (typeof part === 'string' ? text(part) : part)) });
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const embedded = (uri, words) => ({ type: 'resource', resource: { uri, mimeType: 'text/plain', text: words } });
const strings = (...names) => Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
const object = (properties) => ({ type: 'object', properties, required: Object.keys(properties) });

/** What a client may be asked for, and what of its answer is taken. */
const form = (message, requestedSchema, take) => ({
  capability: 'elicitation',
  request: inputRequired.elicit({ message, requestedSchema }),
  take: (answer) => (answer?.action === 'accept' ? take(answer.content ?? {}) : undefined),
});
const field = (message, name, type = 'string') =>
  form(message, object({ [name]: { type } }), (content) => (typeof content[name] === type ? content[name] : undefined));
const model = (prompt) => ({
  capability: 'sampling',
  request: inputRequired.createMessage({ messages: [{ role: 'user', content: text(prompt) }], maxTokens: 50 }),
  take: (answer) => answer?.content?.text,
});
const roots = { capability: 'roots', request: inputRequired.listRoots(), take: (answer) => answer?.roots?.length };

/** Asks until all that it `needs` is there, then replies; what it asked for is kept in a sealed state. */
const asking = (needs, reply, { sealed = false } = {}) => async (args, ctx) => {
  const needed = Object.entries(typeof needs === 'function' ? needs(args, ctx) : needs);
  const taken = needed.map(([key, need]) => [key, need.take(ctx.mcpReq.inputResponses?.[key])]);
  const complete = taken.every(([, value]) => value !== undefined);
  if (complete && (!sealed || ctx.mcpReq.requestState())) return reply(Object.fromEntries(taken));
  return inputRequired({
    inputRequests: Object.fromEntries(needed.map(([key, need]) => [key, need.request])),
    ...(sealed && { requestState: await states.mint({ nonce: randomUUID() }) }),
  });
};
const NAME = field('Who are you?', 'name');
const CONFIRM = field('Is that right?', 'ok', 'boolean');

async function rounds(_args, ctx) {
  const { round = 0, name } = ctx.mcpReq.requestState() ?? {};
  const asks = async (key, need, state) =>
    inputRequired({ inputRequests: { [key]: need.request }, requestState: await states.mint(state) });
  const color = field('Which color?', 'color');
  if (round === 0) return asks('step1', NAME, { round: 1 });
  if (round === 1) return asks('step2', color, { round: 2, name: NAME.take(ctx.mcpReq.inputResponses?.step1) });
  return says(`${name} likes ${color.take(ctx.mcpReq.inputResponses?.step2)}`);
}

async function steps(_args, ctx) {
  const { progressToken } = ctx.mcpReq._meta ?? {};
  for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
  }
  return says('done');
}

async function logs(_args, ctx) {
  for (const data of ['started', 'working', 'ended']) {
    await ctx.mcpReq.notify({ method: 'notifications/message', params: { level: 'info', data } });
  }
  return says('done');
}

const titled = (...names) => names.map((name) => ({ const: name, title: name.toUpperCase() }));
const one = ['option1', 'option2', 'option3'];
const ENUMS = {
  untitledSingle: { type: 'string', enum: one },
  titledSingle: { type: 'string', oneOf: titled('value1', 'value2', 'value3') },
  legacyEnum: { type: 'string', enum: ['opt1', 'opt2'], enumNames: ['Option 1', 'Option 2'] },
  untitledMulti: { type: 'array', items: { type: 'string', enum: one } },
  titledMulti: { type: 'array', items: { anyOf: titled('value1', 'value2', 'value3') } },
};
const DEFAULTS = {
  name: { type: 'string', default: 'John Doe' },
  age: { type: 'integer', default: 30 },
  score: { type: 'number', default: 95.5 },
  status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', default: true },
};
const whole = (properties) =>
  asking({ form: form('Please fill this in', { type: 'object', properties }, (content) => content) }, ({ form: given }) =>
    says(JSON.stringify(given)),
  );

// The suite looks for every one of these keywords, as they are written here.
const CONTACT = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address: { $anchor: 'addressDef', type: 'object', properties: strings('street', 'city') } },
  properties: {
    ...strings('name', 'phone', 'email'),
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};
const REGION = { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } };

/** A tool's name, and what answers it; where it takes arguments, both and their schema. */
const TOOLS = {
  test_simple_text: () => says('This is a simple text response for testing.'),
  test_image_content: () => says(image),
  test_audio_content: () => says({ type: 'audio', data: WAV, mimeType: 'audio/wav' }),
  test_embedded_resource: () => says(embedded('test://embedded-resource', 'embedded')),
  test_multiple_content_types: () => says('several', image, embedded('test://mixed-content-resource', 'mixed')),
  test_tool_with_logging: logs,
  test_tool_with_progress: steps,
  test_error_handling: () => {
    throw new Error('This tool intentionally returns an error for testing');
  },
  test_reconnection: async (_args, ctx) => {
    ctx.http?.closeSSE?.();
    return says('Reconnection test completed successfully');
  },
  test_sampling: [
    asking(({ prompt }) => ({ answer: model(prompt) }), ({ answer }) => says(`LLM response: ${answer}`)),
    object(strings('prompt')),
  ],
  test_elicitation: [
    asking(({ message }) => ({ given: form(message, object(strings('response')), (content) => content) }), ({ given }) =>
      says(`User response: ${JSON.stringify(given)}`),
    ),
    object(strings('message')),
  ],
  test_elicitation_sep1034_defaults: whole(DEFAULTS),
  test_elicitation_sep1330_enums: whole(ENUMS),
  json_schema_2020_12_tool: [() => says('ok'), CONTACT],
  test_x_mcp_header: [({ region }) => says(`region ${region}`), REGION],
  test_missing_capability: asking({ answer: model('Say pong') }, ({ answer }) => says(answer)),
  test_streaming_elicitation: () => says('nothing is asked for on this stream'),
  test_logging_tool: async (_args, ctx) => {
    await ctx.mcpReq.log('info', 'for those who asked for it');
    return says('logged');
  },
  test_trigger_tool_change: () => {
    modern.notify.toolsChanged();
    return says('told');
  },
  test_trigger_prompt_change: () => {
    modern.notify.promptsChanged();
    return says('told');
  },
  test_input_required_result_elicitation: asking({ user_name: NAME }, ({ user_name }) => says(`Hello, ${user_name}!`)),
  test_input_required_result_sampling: asking({ capital_question: model('What is the capital of France?') }, (given) =>
    says(given.capital_question),
  ),
  test_input_required_result_list_roots: asking({ client_roots: roots }, ({ client_roots }) => says(`${client_roots}`)),
  test_input_required_result_request_state: asking({ confirm: CONFIRM }, () => says('state-ok'), { sealed: true }),
  test_input_required_result_tampered_state: asking({ confirm: CONFIRM }, () => says('integrity-ok'), { sealed: true }),
  test_input_required_result_multiple_inputs: asking(
    { user_name: NAME, greeting: model('Greet them'), client_roots: roots },
    (given) => says(`${given.greeting} ${given.user_name}, ${given.client_roots} root(s)`),
    { sealed: true },
  ),
  test_input_required_result_multi_round: rounds,
  test_input_required_result_capabilities: asking((_args, ctx) => {
    const able = ctx.mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
    const needs = { user_name: NAME, greeting: model('Greet them'), client_roots: roots };
    return Object.fromEntries(Object.entries(needs).filter(([, need]) => able[need.capability]));
  }, () => says('enough')),
};

// --- the server -----------------------------------------------------------------------------

function offer() {
  const server = new McpServer(
    { name: 'conformance', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        prompts: { listChanged: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: states.verify },
    },
  );
  for (const [name, entry] of Object.entries(TOOLS)) {
    const [reply, schema = object({})] = Array.isArray(entry) ? entry : [entry];
    server.registerTool(name, { description: `The suite's ${name}`, inputSchema: fromJsonSchema(schema) }, reply);
  }

  const resource = (name, uri, mimeType, content) =>
    server.registerResource(name, uri, { description: `The suite's ${name}`, mimeType }, (read, variables) => ({
      contents: [{ uri: read.href, mimeType, ...content(variables) }],
    }));
  resource('static-text', 'test://static-text', 'text/plain', () => ({ text: 'a text that stays' }));
  resource('static-binary', 'test://static-binary', 'image/png', () => ({ blob: PNG }));
  resource('watched-resource', 'test://watched-resource', 'text/plain', () => ({ text: 'watched' }));
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  resource('template', template, 'application/json', ({ id }) => ({ text: JSON.stringify({ id }) }));

  const prompt = (name, names, content) =>
    server.registerPrompt(
      name,
      { description: `The suite's ${name}`, argsSchema: fromJsonSchema(object(strings(...names))) },
      (args) => ({ messages: content(args).map((part) => ({ role: 'user', content: part })) }),
    );
  prompt('test_simple_prompt', [], () => [text('This is a simple prompt for testing.')]);
  prompt('test_prompt_with_arguments', ['arg1', 'arg2'], ({ arg1, arg2 }) => [text(`arg1='${arg1}', arg2='${arg2}'`)]);
  prompt('test_prompt_with_embedded_resource', ['resourceUri'], ({ resourceUri }) => [embedded(resourceUri, 'embedded')]);
  prompt('test_prompt_with_image', [], () => [image, text('What is this?')]);
  server.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'Asks before it is filled in' },
    (ctx) =>
      asking({ user_context: field('In which context?', 'context') }, ({ user_context }) => ({
        messages: [{ role: 'user', content: text(user_context) }],
      }))({}, ctx),
  );

  const nothing = () => ({});
  server.server.setRequestHandler('resources/subscribe', nothing);
  server.server.setRequestHandler('resources/unsubscribe', nothing);
  server.server.setRequestHandler('logging/setLevel', nothing);
  server.server.setRequestHandler('completion/complete', () => ({ completion: { values: ['paris', 'park'] } }));
  return server;
}

// --- both eras at one address ---------------------------------------------------------------

/** Keeps what was said on each stream, so that a client may come back to it. */
function memory() {
  const said = [];
  return {
    async storeEvent(stream, message) {
      said.push({ stream, message });
      return String(said.length - 1);
    },
    async replayEventsAfter(last, { send }) {
      const { stream } = said[Number(last)];
      for (const [id, event] of said.entries()) {
        if (id > Number(last) && event.stream === stream) await send(String(id), event.message);
      }
      return stream;
    },
  };
}

const sessions = new Map();

async function session(request) {
  const id = request.headers.get('mcp-session-id');
  if (id) {
    return sessions.get(id)?.handleRequest(request) ?? Response.json({ error: 'no such session' }, { status: 404 });
  }
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: memory(),
    retryInterval: 500,
    onsessioninitialized: (given) => void sessions.set(given, transport),
    onsessionclosed: (given) => void sessions.delete(given),
  });
  await offer().connect(transport);
  return transport.handleRequest(request);
}

const modern = createMcpHandler(offer, { legacy: 'reject' });
const serve = toNodeHandler({
  async fetch(request, options) {
    return (await isLegacyRequest(request)) ? session(request) : modern.fetch(request, options);
  },
});
const guards = [localhostHostValidation(), localhostOriginValidation()];
createServer((request, response) => {
  if (guards.every((passes) => passes(request, response))) void serve(request, response);
}).listen(process.env.PORT);
