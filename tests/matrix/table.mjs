// Makes docs/matrix.md of what the clients said, or compares with it.
// Usage: table.mjs write|check RESULTS DOCUMENT
// A cell passes, or impossible.json names it and says why. Every other one is a failure, and so is one
// that passes although it is called impossible.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [mode, results, document] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const read = (...path) => readFileSync(join(here, ...path), 'utf8');

const npm = (name) => JSON.parse(read('node_modules', name, 'package.json')).version;
const pip = (name) => read('../sdk/requirements.txt').match(new RegExp(`^${name}==(.+)$`, 'm'))[1];
const cargo = (name) => read('rmcp', 'Cargo.lock').match(new RegExp(`name = "${name}"\\nversion = "(.+)"`))[1];

const V1 = `TypeScript SDK ${npm('@modelcontextprotocol/sdk')}`;
const V2 = `TypeScript SDK ${npm('@modelcontextprotocol/client')}`;
const PYTHON = `Python SDK ${pip('mcp')}`;
const RUST = `rmcp ${cargo('rmcp')}`;
const EVERYTHING = `server-everything ${npm('@modelcontextprotocol/server-everything')}`;

const CLIENTS = {
  'typescript-1': [V1, 'Speaks MCP up to 2025-11-25.'],
  'typescript-2': [V2, 'Asks for the server\'s era and speaks it (`mode: \'auto\'`).'],
  python: [PYTHON, 'Asks for the server\'s era and speaks it (its default).'],
  rmcp: [RUST, 'Opens with `initialize` (its default), so speaks MCP up to 2025-11-25.'],
  inspector: [`Inspector ${npm('@modelcontextprotocol/inspector')}, its command line`, 'Speaks MCP up to 2025-11-25 (its default).'],
  'modern-only': [
    `Modern only: ${V2}`,
    'Speaks 2026-07-28 and nothing else (`pin`): it asks `server/discover` first, and has nothing to fall back to when that is refused. Hence `--protocol modern` before servers of the other era.',
  ],
  'modern-only-python': [`Modern only: ${PYTHON}`, 'Speaks 2026-07-28 from its first request on, and asks nothing (`mode="2026-07-28"`). A WebSocket carries both eras as they are, hence `--protocol modern` there.'],
};

const SERVERS = {
  'everything-http': ['everything', EVERYTHING, 'Streamable HTTP', ['legacy']],
  'everything-sse': ['everything, SSE', EVERYTHING, 'HTTP+SSE of 2024-11-05', ['legacy']],
  python: ['Python', PYTHON, 'Streamable HTTP', ['legacy', 'modern']],
  rmcp: ['rmcp', RUST, 'Streamable HTTP', ['legacy', 'modern']],
  modern: ['modern only', `TypeScript SDK ${npm('@modelcontextprotocol/server')}, \`legacy: 'reject'\``, 'Streamable HTTP', ['modern']],
  sse: ['SSE only', PYTHON, 'HTTP+SSE of 2024-11-05', ['legacy']],
  websocket: ['WebSocket', `${EVERYTHING} on ws ${npm('ws')}`, 'WebSocket, subprotocol `mcp`', ['legacy']],
};

const ERAS = { legacy: 'up to 2025-11-25', modern: '2026-07-28' };

const FEATURES = {
  list: ['list', 'tools, prompts, resources and their templates'],
  call: ['call', '`tools/call`, with characters that are escaped'],
  progress: ['progress', 'notifications of a call, in order'],
  resource: ['resource', '`resources/read`'],
  prompt: ['prompt', '`prompts/get`'],
  completion: ['completion', '`completion/complete`'],
  subscribe: ['subscribe', '`resources/subscribe` or `subscriptions/listen`, and the update'],
  list_changed: ['list_changed', '`notifications/resources/list_changed`'],
  logging: ['logging', '`logging/setLevel` or a level on the request, and the message'],
  sampling: ['sampling', 'the server asks for it in a call'],
  elicitation_form: ['elicitation, form', 'the server asks for it in a call'],
  elicitation_url: ['elicitation, URL', 'the server asks for it in a call'],
  roots: ['roots', 'the server asks for them in a call'],
  cancel: ['cancel', 'of a call in progress: the server is told, and the next call is answered'],
  result_1_mib: ['1 MiB result', 'of a call, byte for byte'],
  errors: ['error shapes', 'no such resource, no such method, a wrong argument'],
  shutdown: ['shutdown', 'the client leaves: no process stays, within 1.9 s'],
};

// --- what was said --------------------------------------------------------------------------

const impossible = JSON.parse(read('impossible.json'));
const fits = (pattern, name) => pattern === '*' || pattern.split(' ').includes(name);
const known = (client, server, feature) =>
  impossible.find((row) => fits(row.client, client) && fits(row.server, server) && fits(row.feature, feature))?.why;

const failures = [];

function said(client, server) {
  let lines = '';
  try {
    lines = readFileSync(join(results, `${client}.${server}.jsonl`), 'utf8');
  } catch {}
  const heard = { verdicts: {} };
  for (const line of lines.split('\n').filter(Boolean).map((line) => JSON.parse(line))) {
    if (line.feature) heard.verdicts[line.feature] = line;
    else Object.assign(heard, line);
  }
  return heard;
}

const reasons = [];
const note = (why) => {
  if (!reasons.includes(why)) reasons.push(why);
  return `[${reasons.indexOf(why) + 1}]`;
};

function cell(client, server, feature, verdicts) {
  const { verdict = 'nothing', why = 'the client did not say' } = verdicts[feature] ?? {};
  const expected = known(client, server, feature);
  const where = `${client} before ${server}, ${feature}`;
  if (expected) {
    if (verdict === 'pass') failures.push(`${where}: passes, but impossible.json calls it impossible`);
    return note(expected);
  }
  if (verdict === 'pass') return 'ok';
  failures.push(`${where}: ${why}`);
  return '**fails**';
}

function way(client, server) {
  const { era, flags } = said(client, server);
  if (!era) {
    failures.push(`${client} before ${server}: the client said nothing of its era`);
    return '?';
  }
  const words = [era];
  if (!SERVERS[server][3].includes(era)) words.push('translated');
  if (flags) words.push(`with \`${flags}\``);
  return words.join(', ');
}

// --- the document ---------------------------------------------------------------------------

const row = (...cells) => `| ${cells.join(' | ')} |`;
const rule = (count) => `|${'---|'.repeat(count)}`;

function table(client) {
  const [name, speaks] = CLIENTS[client];
  const servers = Object.keys(SERVERS);
  const heard = Object.fromEntries(servers.map((server) => [server, said(client, server).verdicts]));
  return [
    `## ${name}`,
    '',
    speaks,
    '',
    row('', ...servers.map((server) => SERVERS[server][0])),
    rule(servers.length + 1),
    row('era', ...servers.map((server) => way(client, server))),
    ...Object.keys(FEATURES).map((feature) =>
      row(FEATURES[feature][0], ...servers.map((server) => cell(client, server, feature, heard[server]))),
    ),
    '',
  ];
}

function render() {
  const tables = Object.keys(CLIENTS).flatMap(table);
  return [
    '# Clients and servers, through countersign',
    '',
    '<!-- Made by tests/matrix/run: change that, not this. -->',
    '',
    'Real clients before real servers, each pair with countersign between them: the client speaks to it over',
    'stdio, it speaks to the server over the server\'s transport with a bearer token that the server asks for.',
    '`tests/matrix/run` plays every pair and writes this page; `tests/matrix/run --check` fails when a cell is',
    'not what it says here.',
    '',
    '*legacy* is MCP up to 2025-11-25: `initialize` and sessions. *modern* is MCP since 2026-07-28: requests that',
    'say all of themselves. The row *era* tells what the client speaks before this server; *translated* means that',
    'the server speaks the other era alone, and countersign translates. `--protocol` is its default, `auto`, where',
    'nothing else is said.',
    '',
    '**ok**: it works. A number: it can\'t, and [why](#what-is-impossible).',
    '',
    row('server', 'software', 'transport', 'speaks'),
    rule(4),
    ...Object.values(SERVERS).map(([name, software, transport, eras]) =>
      row(name, software, transport, eras.map((era) => ERAS[era]).join(', and ')),
    ),
    '',
    row('feature', 'what is tried'),
    rule(2),
    ...Object.values(FEATURES).map((words) => row(...words)),
    '',
    ...tables,
    '## What is impossible',
    '',
    ...reasons.map((why, n) => `${n + 1}. ${why}`),
    '',
  ].join('\n');
}

const made = render();
for (const failure of failures) console.log(`FAIL  ${failure}`);
if (mode === 'write') writeFileSync(document, made);
else {
  let written = [];
  try {
    written = readFileSync(document, 'utf8').split('\n');
  } catch {}
  made.split('\n').forEach((line, n) => {
    if (line !== written[n]) failures.push(`${document}:${n + 1}: says ${written[n]}, found ${line}`);
  });
  if (written.length > made.split('\n').length) failures.push(`${document}: has more lines than were found`);
  for (const failure of failures.filter((failure) => failure.startsWith(document))) console.log(`FAIL  ${failure}`);
}
const cells = Object.keys(CLIENTS).length * Object.keys(SERVERS).length * Object.keys(FEATURES).length;
console.log(`${cells} cells, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
