// The features of the matrix, played by a client of a TypeScript SDK. Which calls its SDK has for
// them, the driver tells by `client`; what the server said unasked and what it asked is in `host`.
// A line of JSON a feature goes to stdout: {"feature", "verdict", "why"}.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';

export const ROOTS = [{ uri: 'file:///srv/one', name: 'one' }];
export const ANSWERS = {
  sampling: { role: 'assistant', model: 'a-model', content: { type: 'text', text: 'forty-two' } },
  form: { action: 'accept', content: { name: 'Ada Lovelace' } },
  url: { action: 'accept' },
};
export const WATCHED = 'demo://resource/dynamic/text/9';
export const URL_TO_OPEN = 'https://example.com/consent';
const MEBIBYTE = 'a line of thirty-two characters\n'.repeat((1 << 20) / 32);
const DEADLINE = 8_000;

/** What a client heard and was asked, in the order it came. */
export const host = { logs: [], updated: [], changed: 0, asked: [] };

export const elicited = ({ mode, url, requestedSchema }) => {
  host.asked.push(mode === 'url' ? `url ${url}` : `form ${Object.keys(requestedSchema.properties)[0]}`);
  return mode === 'url' ? ANSWERS.url : ANSWERS.form;
};

const text = (result) => result.content.map((part) => part.text ?? '').join('\n');
export const pause = (duration) => new Promise((resolve) => setTimeout(resolve, duration));

async function eventually(what, probe, within = 4_000) {
  for (const end = Date.now() + within; Date.now() < end; await pause(20)) if (probe()) return;
  assert.fail(`${what}: not seen within ${within} ms`);
}

const alive = (pid) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const features = {
  async list(client) {
    const names = (await client.list('tools')).map(({ name }) => name);
    for (const name of ['echo', 'trigger-sampling-request', 'trigger-elicitation-request', 'get-roots-list']) {
      assert.ok(names.includes(name), `no tool ${name} among ${names}`);
    }
    const prompts = (await client.list('prompts')).map(({ name }) => name);
    assert.ok(prompts.includes('args-prompt'), `no prompt args-prompt among ${prompts}`);
    const templates = await client.list('resourceTemplates');
    assert.ok(templates.some(({ uriTemplate }) => uriTemplate.startsWith('demo://resource/dynamic/text/')));
    assert.ok((await client.list('resources')).length > 0, 'no resources');
  },
  async call(client) {
    const odd = 'line\nfeed, \u2028, "quote", \\, caf\u00e9 \u{1f980}';
    assert.equal(text(await client.call('echo', { message: odd })), `Echo: ${odd}`);
  },
  async progress(client) {
    const steps = [];
    const onprogress = ({ progress }) => steps.push(progress);
    await client.call('trigger-long-running-operation', { duration: 0.6, steps: 3 }, { onprogress });
    // SDK 1 may drop the one that it reads together with the result; SDK 2 tells of a round of
    // `input_required` as a step of its own, and between the rounds there is no request to tell it to.
    const told = [...new Set(steps)];
    assert.ok(told.length >= 2 && told.every((step, n) => n === 0 || step > told[n - 1]), `steps ${steps}`);
  },
  async resource(client) {
    assert.match((await client.read('demo://resource/dynamic/text/7')).contents[0].text, /Resource 7/);
  },
  async prompt(client) {
    const { messages } = await client.prompt('args-prompt', { city: 'Lisbon' });
    assert.equal(messages[0].content.text, "What's weather in Lisbon?");
  },
  async completion(client) {
    const { completion } = await client.complete({
      ref: { type: 'ref/prompt', name: 'completable-prompt' },
      argument: { name: 'department', value: 'S' },
    });
    assert.deepEqual(completion.values, ['Sales', 'Support']);
  },
  async subscribe(client) {
    const leave = await client.watch(WATCHED);
    await client.call('toggle-subscriber-updates');
    await eventually('notifications/resources/updated', () => host.updated.includes(WATCHED));
    await client.call('toggle-subscriber-updates');
    await leave();
  },
  async list_changed(client) {
    const leave = await client.watchLists();
    await client.call('gzip-file-as-resource', { name: 'note.gz', data: 'data:text/plain,a%20note', outputType: 'resource' });
    await eventually('notifications/resources/list_changed', () => host.changed > 0);
    await leave();
  },
  async logging(client) {
    await client.level('debug');
    const before = host.logs.length;
    await client.call('toggle-simulated-logging');
    await eventually('notifications/message', () => host.logs.slice(before).some(({ data }) => /level.message/i.test(data)));
    await client.call('toggle-simulated-logging');
  },
  async sampling(client) {
    const result = await client.call('trigger-sampling-request', { prompt: 'the question', maxTokens: 7 });
    assert.match(text(result), /forty-two/);
    assert.ok(host.asked.includes('sampling 7'), `was asked ${host.asked}`);
  },
  async elicitation_form(client) {
    assert.match(text(await client.call('trigger-elicitation-request')), /Ada Lovelace/);
    assert.ok(host.asked.includes('form name'), `was asked ${host.asked}`);
  },
  async elicitation_url(client) {
    const result = await client.call('trigger-url-elicitation', { url: URL_TO_OPEN, message: 'Open it' });
    assert.match(text(result), /completed/);
    assert.ok(host.asked.includes(`url ${URL_TO_OPEN}`), `was asked ${host.asked}`);
  },
  async roots(client) {
    assert.match(text(await client.call('get-roots-list')), /1 total[^]*file:\/\/\/srv\/one/);
  },
  async cancel(client) {
    const abort = new AbortController();
    const long = client.call('trigger-long-running-operation', { duration: 20, steps: 100 }, {
      signal: abort.signal,
      onprogress: () => abort.abort('enough'),
    });
    await assert.rejects(long, /enough|abort/i);
    await eventually('what the server writes when it is told', () => existsSync(process.env.MATRIX_CANCELLED));
    assert.equal(text(await client.call('echo', { message: 'still here' })), 'Echo: still here');
  },
  async result_1_mib(client) {
    assert.equal(text(await client.call('echo', { message: MEBIBYTE })), `Echo: ${MEBIBYTE}`);
  },
  async errors(client) {
    await assert.rejects(client.read('demo://nothing/here'), ({ code }) => [-32602, -32002].includes(code));
    await assert.rejects(client.unknown('no/such-method'), { code: -32601 });
    const wrong = await client.call('echo', {}).catch((error) => error);
    assert.ok(wrong.isError === true || wrong.code === -32602, `a wrong argument: ${JSON.stringify(wrong)}`);
  },
  async shutdown(client) {
    const { pid } = client;
    const started = performance.now();
    await client.close();
    // The SDK sends SIGTERM after 2 s: sooner means that the end of its input was enough.
    const took = Math.round(performance.now() - started);
    assert.ok(took < 1_900, `it took ${took} ms`);
    assert.equal(alive(pid), false, `process ${pid} is still there`);
  },
};

const flat = (error) => String(error?.message ?? error).replace(/\s+/g, ' ').slice(0, 400);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function within(deadline, body) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${deadline} ms`)), deadline);
  });
  try {
    return await Promise.race([body(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Connects and plays every feature, one after the other; those that `without` names, the client has no API for. */
export async function play(connect, without = {}) {
  let client, broken;
  try {
    client = await within(20_000, connect);
    say({ era: client.era });
  } catch (error) {
    broken = `does not connect: ${flat(error)}`;
  }
  for (const [feature, body] of Object.entries(features)) {
    const none = without[feature];
    try {
      if (none) say({ feature, verdict: 'none', why: none });
      else if (broken) say({ feature, verdict: 'fail', why: broken });
      else {
        await within(DEADLINE, () => body(client));
        say({ feature, verdict: 'pass' });
      }
    } catch (error) {
      say({ feature, verdict: 'fail', why: flat(error) });
    }
  }
  process.exit(0);
}
