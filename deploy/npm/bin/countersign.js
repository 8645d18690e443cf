#!/usr/bin/env node
// Starts the program out of the package for this platform. Its stdin, stdout and stderr are ours:
// no byte passes through here. Signals are handed on, and we end as it ended.
'use strict';

const { spawn } = require('node:child_process');
const { constants } = require('node:os');
const { isatty } = require('node:tty');

const platform = `${process.platform}-${process.arch}`;
const name = 'countersign';

function find() {
  const from = `@countersign/${platform}`;
  const { optionalDependencies } = require('../package.json');
  try {
    return require.resolve(`${from}/${name}`);
  } catch {
    const known = Object.keys(optionalDependencies);
    const why = known.includes(from)
      ? `the package ${from} is not installed: install again without --omit=optional or --no-optional`
      : `there is no package for ${platform}, only for ${known.map((it) => it.split('/')[1]).join(', ')}: ` +
        'build it from source with cargo';
    process.stderr.write(`countersign: ${why}\n`);
    process.exit(1);
  }
}

const child = spawn(find(), process.argv.slice(2), { stdio: 'inherit' });

// Caught, a signal does not end us before the program has ended. What the keys of a terminal send
// reaches it from there: once more from us would be the second one, which means at once.
const terminal = [0, 1, 2].some((fd) => isatty(fd));
for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) {
  const byKey = terminal && (signal === 'SIGINT' || signal === 'SIGQUIT');
  process.on(signal, () => byKey || child.kill(signal));
}

child.on('error', (error) => {
  process.stderr.write(`countersign: ${error.path ?? name} can't be started: ${error.message}\n`);
  process.exit(error.code === 'ENOENT' ? 127 : 126);
});

child.on('exit', (code, signal) => {
  if (signal === null) process.exit(code);
  // Killed by a signal: so are we, or what a shell makes of it.
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  setTimeout(() => process.exit(128 + (constants.signals[signal] ?? 0)), 1000);
});
