// What every JavaScript part of the tests stands on: a named scenario with a deadline, reported
// on one line, and the gateway's log, which says what the upstream received. Names no SDK and
// no product.

import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const DEADLINE_MS = 30_000;

/** Runs `body` within a deadline and prints its line, with the text that it returns if it returns
 * one; a failure fails the process, later. */
export async function scenario(name, body) {
  const started = performance.now();
  const deadline = new AbortController();
  try {
    const words = await Promise.race([
      body(),
      sleep(DEADLINE_MS, null, { signal: deadline.signal }).then(() => {
        throw new Error(`not done after ${DEADLINE_MS / 1000} s`);
      }),
    ]);
    console.log(`ok    ${words ? `${name}: ${words}` : name} (${Math.round(performance.now() - started)} ms)`);
    return true;
  } catch (error) {
    console.log(`FAIL  ${name}: ${oneLine(error)}`);
    process.exitCode = 1;
    return false;
  } finally {
    deadline.abort();
  }
}

/** Waits until `probe` returns something, asking often: for what is written by another process. */
export async function eventually(what, probe, within = 5_000) {
  const end = performance.now() + within;
  for (;;) {
    const found = probe();
    if (found) return found;
    if (performance.now() > end) throw new Error(`${what}: not seen within ${within} ms`);
    await sleep(20);
  }
}

/** The gateway's log from now on: an entry a request, with its body parsed where it was logged. */
export function gatewayLog(path = process.env.GATEWAY_LOG) {
  const from = statSync(path).size;
  return () =>
    readFileSync(path)
      .subarray(from)
      .toString()
      .split('\n')
      .slice(0, -1)
      .map((line) => {
        const entry = JSON.parse(line);
        return { ...entry, body: entry.body ? JSON.parse(entry.body) : undefined };
      });
}

/** True while a process of that id exists. */
export function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function oneLine(error) {
  const text = error?.name === 'AssertionError' ? error.message : (error?.stack ?? String(error));
  const flat = text.replace(/\s*\n\s*/g, ' | ');
  return flat.length > 600 ? `${flat.slice(0, 600)}...` : flat;
}
