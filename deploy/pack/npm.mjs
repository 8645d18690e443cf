#!/usr/bin/env node
// The npm packages, as tarballs: `countersign`, which is the launcher, and one for each platform
// whose binary is given. Nothing in them runs at installation.
//
//   deploy/pack/npm.mjs FOLDER linux-x64=target/dist/countersign [darwin-arm64=...]

import { execFileSync } from 'node:child_process';
import {
  chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(fileURLToPath(import.meta.url), '../../..');
const launcher = JSON.parse(readFileSync(join(root, 'deploy/npm/package.json'), 'utf8'));
const [folder, ...binaries] = process.argv.slice(2);

class Refused extends Error {}

function refuse(what) {
  throw new Refused(what);
}

/** The package that carries the binary of one platform, in a folder of its own. */
function platformPackage(work, platform, binary) {
  const name = `@countersign/${platform}`;
  if (!(name in launcher.optionalDependencies)) {
    refuse(`${platform} is none of the platforms in deploy/npm/package.json`);
  }
  const [os, cpu] = platform.split('-');
  const program = 'countersign';
  const at = join(work, platform);
  mkdirSync(at);
  copyFileSync(binary, join(at, program));
  chmodSync(join(at, program), 0o755);
  const { version, license, description } = launcher;
  const said = {
    name,
    version,
    license,
    description: `${description}: the program for ${platform}`,
    os: [os],
    cpu: [cpu],
    files: [program],
  };
  writeFileSync(join(at, 'package.json'), `${JSON.stringify(said, null, 2)}\n`);
  return at;
}

function make(work) {
  cpSync(join(root, 'deploy/npm'), join(work, 'countersign'), { recursive: true });
  const made = binaries.map((given) => {
    const [, platform, binary] =
      /^([^=]+)=(.+)$/.exec(given) ?? refuse(`expected PLATFORM=BINARY, found ${given}`);
    return platformPackage(work, platform, binary);
  });
  for (const at of [join(work, 'countersign'), ...made]) {
    copyFileSync(join(root, 'LICENSE'), join(at, 'LICENSE'));
    const words = ['pack', '--silent', '--ignore-scripts', '--pack-destination', resolve(folder)];
    execFileSync('npm', words, { cwd: at, stdio: ['ignore', 'inherit', 'inherit'] });
  }
}

if (!folder || binaries.length === 0) {
  console.error('usage: npm.mjs FOLDER PLATFORM=BINARY...');
  process.exit(2);
}
mkdirSync(folder, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'countersign-npm-'));
try {
  make(work);
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.error(`npm.mjs: ${error.message}`);
  process.exitCode = 2;
} finally {
  rmSync(work, { recursive: true });
}
