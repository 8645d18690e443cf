// The Inspector's command line: a process of its own for each request, in its default era, which is
// that of before 2026-07-28.
// Usage: inspector.mjs COMMAND ARGUMENT...

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const ROOTS = [{ uri: 'file:///srv/one', name: 'one' }];
const [command, ...args] = process.argv.slice(2);
const cli = join(dirname(createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json')), 'clients/cli/build/index.js');
const work = mkdtempSync(join(tmpdir(), 'matrix-inspector-'));
const config = join(work, 'servers.json');
const env = { MATRIX_TOKEN: process.env.MATRIX_TOKEN };
writeFileSync(config, JSON.stringify({ mcpServers: { upstream: { command, args, env, roots: ROOTS } } }));

/** What it prints for one method; what it fails with is thrown. */
async function ask(method, ...rest) {
  const words = [cli, '--config', config, '--server', 'upstream', '--quiet', '--format', 'json', '--method', method, ...rest];
  const { stdout } = await promisify(execFile)(process.execPath, words, {
    env: { ...process.env, HOME: work },
    maxBuffer: 8 << 20,
    timeout: 15_000,
  });
  return JSON.parse(stdout);
}

const result = (said) => said.result ?? said;
const text = (said) => result(said).content.map((part) => part.text ?? '').join('\n');
const call = (name, args = {}) => ask('tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args));

const features = {
  async list() {
    const names = result(await ask('tools/list')).tools.map(({ name }) => name);
    assert.ok(names.includes('echo'), `no tool echo among ${names}`);
    assert.ok(result(await ask('prompts/list')).prompts.length > 0, 'no prompts');
    assert.ok(result(await ask('resources/list')).resources.length > 0, 'no resources');
    assert.ok(result(await ask('resources/templates/list')).resourceTemplates.length > 0, 'no templates');
  },
  async call() {
    const odd = 'line\nfeed, \u2028, "quote", \\, caf\u00e9 \u{1f980}';
    assert.equal(text(await call('echo', { message: odd })), `Echo: ${odd}`);
  },
  async resource() {
    const { contents } = result(await ask('resources/read', '--uri', 'demo://resource/dynamic/text/7'));
    assert.match(contents[0].text, /Resource 7/);
  },
  async prompt() {
    const { messages } = result(await ask('prompts/get', '--prompt-name', 'args-prompt', '--prompt-args', 'city=Lisbon'));
    assert.equal(messages[0].content.text, "What's weather in Lisbon?");
  },
  async roots() {
    assert.match(text(await call('get-roots-list')), /1 total[^]*file:\/\/\/srv\/one/);
  },
  async errors() {
    const said = await ask('resources/read', '--uri', 'demo://nothing/here').then(
      (answer) => assert.fail(`no error: ${JSON.stringify(answer)}`),
      (error) => `${error.stdout}${error.stderr}`,
    );
    // It keeps the code to itself.
    assert.match(said, /not found|unknown resource|no such resource/i);
  },
  async shutdown() {
    const left = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
    assert.equal(left, '');
    await call('echo', { message: 'and leave' });
  },
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ era: 'legacy' });
for (const [feature, body] of Object.entries(features)) {
  try {
    await body();
    say({ feature, verdict: 'pass' });
  } catch (error) {
    say({ feature, verdict: 'fail', why: `${error.message} ${error.stderr ?? ''}`.replace(/\s+/g, ' ').slice(-400) });
  }
}
rmSync(work, { recursive: true });
