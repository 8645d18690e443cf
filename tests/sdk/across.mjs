// The official conformance suite's client scenarios, run across the eras: the suite's server speaks one
// revision, and the SDK client behind countersign the other era alone. Every check passes, or stands in
// across.json with the clause of the specification for which it can't: then it must not pass. What is
// explained there is in docs/eras.md, word for word.
// Usage: across.mjs CLIENT PROTOCOL REVISION SCENARIO...   with VERDICTS, a directory

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { scenario } from './scenario.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const SUITE = here('node_modules/@modelcontextprotocol/conformance/dist/index.js');
const AT_A_TIME = 3;

const [client, protocol, revision, ...names] = process.argv.slice(2);
const label = `conformance ${revision}, --protocol ${protocol}`;
const explained = JSON.parse(readFileSync(here('across.json'), 'utf8'));

/** What the suite says of a scenario: the statuses of each check, and whether the client did it all. */
async function judge(name) {
  const directory = `${process.env.VERDICTS}/across ${protocol} ${name}`;
  mkdirSync(directory, { recursive: true });
  // The suite splits the command at blanks and gives it to a shell: the paths go by variables.
  const command = ['--command', '"$NODE" "$CLIENT"'];
  const suite = spawn(process.execPath, [SUITE, 'client', '--spec-version', revision, '--scenario', name, '-o', directory, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE: process.execPath, CLIENT: here(client), PROTOCOL: protocol, NODE_NO_WARNINGS: '1' },
  });
  const [out, errors] = await Promise.all([text(suite.stdout), text(suite.stderr), once(suite, 'exit')]);
  const said = out + errors;
  writeFileSync(`${directory}/said`, said);
  assert.match(said, /OVERALL: /, `the suite did not end: ${said.slice(0, 200)}`);

  const [run] = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const checks = JSON.parse(readFileSync(`${directory}/${run.name}/checks.json`, 'utf8'));
  const found = new Map([['client', [/EXITED WITH ERROR|TIMED OUT/.test(said) ? 'FAILURE' : 'SUCCESS']]]);
  for (const { id, name: what, status } of checks.filter((check) => check.status !== 'INFO')) {
    const check = `${id} ${what}`;
    found.set(check, [...(found.get(check) ?? []), status]);
  }
  return found;
}

/** Holds a verdict to what is explained: no more fails, and no less. */
function hold(name, found) {
  const failed = [...found].filter(([, statuses]) => statuses.some((status) => status !== 'SUCCESS'));
  const known = explained
    .filter((entry) => entry.protocol === protocol && entry.scenario === name)
    .flatMap((entry) => entry.checks);
  const unexplained = failed.filter(([check]) => !known.includes(check));
  assert.ok(unexplained.length === 0, unexplained.map(([check, statuses]) => `${check}: ${statuses}`).join('; '));
  const gone = known.filter((check) => !failed.some(([it]) => it === check));
  assert.ok(gone.length === 0, `explained in across.json, and not failing: ${gone.join('; ')}`);
  const words = `${found.size - failed.length} of ${found.size} pass`;
  return known.length ? `${words}, ${known.length} explained` : words;
}

/** An explanation as a row of the table in docs/eras.md. */
function row({ scenario, checks, clause, reason }) {
  return `| \`${protocol}\` | ${scenario} | ${checks.map((check) => `\`${check}\``).join(', ')} | ${clause} | ${reason} |`;
}

const waiting = names.values();
const worker = async () => {
  for (const name of waiting) await scenario(`${label}: ${name}`, async () => hold(name, await judge(name)));
};
await Promise.all(Array.from({ length: AT_A_TIME }, worker));

await scenario(`${label}: what is explained`, async () => {
  const documented = readFileSync(here('../../docs/eras.md'), 'utf8');
  for (const entry of explained.filter((entry) => entry.protocol === protocol)) {
    assert.ok(names.includes(entry.scenario), `${entry.scenario} is in across.json and not required`);
    assert.ok(documented.includes(row(entry)), `docs/eras.md has no row: ${row(entry)}`);
  }
});
