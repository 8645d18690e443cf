#!/usr/bin/env node
// The npm packages, as tarballs: `countersign`, which is the launcher, and one for each platform
// whose binary is given. Nothing in them runs at installation. A binary for linux must be static,
// since npm installs it on musl as well as on glibc, old and new; --dynamic is for trying.
//
//   deploy/pack/npm.mjs [--dynamic] FOLDER linux-x64=BINARY [darwin-arm64=...]

import { execFileSync } from 'node:child_process';
import {
  chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(fileURLToPath(import.meta.url), '../../..');
const launcher = JSON.parse(readFileSync(join(root, 'deploy/npm/package.json'), 'utf8'));
const dynamic = process.argv.includes('--dynamic');
const [folder, ...binaries] = process.argv.slice(2).filter((it) => it !== '--dynamic');

class Refused extends Error {}

function refuse(what) {
  throw new Refused(what);
}

/** Whether an ELF file of 64 bits names a loader, which then has to be where it runs. */
function hasInterpreter(binary) {
  const bytes = readFileSync(binary);
  if (bytes.toString('latin1', 0, 4) !== '\x7fELF' || bytes[4] !== 2 || bytes[5] !== 1) {
    refuse(`${binary} is no program for linux: expected ELF, 64 bits, little-endian`);
  }
  const [table, size, count] = [Number(bytes.readBigUInt64LE(32)), bytes.readUInt16LE(54), bytes.readUInt16LE(56)];
  const PT_INTERP = 3;
  return Array.from({ length: count }, (_, at) => bytes.readUInt32LE(table + at * size)).includes(PT_INTERP);
}

/** The package that carries the binary of one platform, in a folder of its own. */
function platformPackage(work, platform, binary) {
  const name = `@countersign/${platform}`;
  if (!(name in launcher.optionalDependencies)) {
    refuse(`${platform} is none of the platforms in deploy/npm/package.json`);
  }
  const [os, cpu] = platform.split('-');
  if (os === 'linux' && !dynamic && hasInterpreter(binary)) {
    refuse(`${binary} needs the libraries of one machine: docs/packages.md says how to build a static one`);
  }
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
    // Packages of an organisation are private unless they say this.
    publishConfig: { access: 'public' },
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
  console.error('usage: npm.mjs [--dynamic] FOLDER PLATFORM=BINARY...');
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
