// The official conformance suite's verdict on a server, directly and by each of some ways to it: they
// must be equal, check by check. One difference is right: the guard of a sidecar refuses a web page
// of a foreign origin, whether the server behind it does or not. Of the checks of the scenarios that
// the revision requires, LEAST percent must pass directly: failures are soon equal.
// Usage: verdicts.mjs SERVER REVISION LEAST ORIGIN PATH [WAY=ORIGIN...]   with VERDICTS, a directory

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { scenario } from './scenario.mjs';

const SUITE = fileURLToPath(new URL('node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url));
const GUARDED = 'dns-rebinding-protection: localhost-host-rebinding-rejected';

const [server, revision, least, origin, path, ...ways] = process.argv.slice(2);
const label = `conformance of ${server}, ${revision}`;

/** What the suite says of `url`: every check as [scenario: id, status], and whether it is required. */
async function judge(name, url) {
  const directory = `${process.env.VERDICTS}/${`${server} ${revision} ${name}`.replace(/[^\w.-]+/g, '-')}`;
  mkdirSync(directory, { recursive: true });
  const suite = spawn(process.execPath, [SUITE, 'server', '--url', url, '--requirements', revision, '-o', directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  });
  const [said] = await Promise.all([text(suite.stdout), once(suite, 'exit')]);
  writeFileSync(`${directory}/said`, said);
  assert.match(said, /=== SUMMARY ===/, 'the suite did not end');
  // Extensions, and scenarios that came after the release.
  const aside = new Set(Array.from(said.matchAll(/^ {2}\S ([\w/-]+) \([\w-]+\)$/gm), (match) => match[1]));

  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name: run }) => {
      const named = /^server-(.*)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(run)[1];
      const file = `${directory}/${run}/checks.json`;
      const ended = existsSync(file);
      const checks = ended ? JSON.parse(readFileSync(file, 'utf8')) : [{ id: 'ends', status: 'FAILURE' }];
      return checks.map(({ id, status }) => ({ check: `${named}: ${id}`, status, required: !aside.has(named) }));
    });
}

/** The statuses of each check, in order: an id comes more than once where a scenario repeats it. */
function statuses(verdict) {
  const found = new Map();
  for (const { check, status } of verdict) found.set(check, [...(found.get(check) ?? []), status]);
  return found;
}

const count = (verdict, status) => verdict.filter((check) => check.status === status).length;

function figures(verdict) {
  const required = verdict.filter((check) => check.required);
  const passed = count(required, 'SUCCESS');
  const judged = passed + count(required, 'FAILURE');
  const all = `${count(verdict, 'SUCCESS')} of ${verdict.length} checks pass`;
  return { share: (100 * passed) / judged, words: `${all}; of the required, ${passed} of ${judged}` };
}

/** The checks whose verdict differs, and how many the guard of the sidecar passes for the server. */
function compare(direct, through) {
  const [here, there] = [statuses(direct), statuses(through)];
  assert.deepEqual(there.get(GUARDED), ['SUCCESS'], 'the guard lets in a web page of a foreign origin');
  const guarded = here.get(GUARDED)[0] === 'SUCCESS' ? 0 : 1;
  const differences = [...new Set([...here.keys(), ...there.keys()])]
    .filter((check) => check !== GUARDED && String(here.get(check)) !== String(there.get(check)))
    .map((check) => `${check}: ${here.get(check) ?? 'absent'} directly, ${there.get(check) ?? 'absent'} here`);
  assert.equal(differences.length, 0, differences.join('; '));
  return guarded;
}

let direct;
await scenario(`${label}, directly`, async () => {
  direct = await judge('directly', origin + path);
  const { share, words } = figures(direct);
  assert.ok(share >= Number(least), `${words}: less than ${least} %`);
  return words;
});
for (const way of direct ? ways : []) {
  const [, name, through] = /^([^=]+)=(.*)$/.exec(way);
  await scenario(`${label}, sidecar, ${name}`, async () => {
    const verdict = await judge(name, through + path);
    const guarded = compare(direct, verdict);
    const equal = `${direct.length - guarded} of ${verdict.length} checks are as directly`;
    return guarded ? `${equal}; ${guarded} is the guard's: it refuses what the server lets in` : equal;
  });
}
