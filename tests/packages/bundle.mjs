// What a client starts for a bundle whose form is filled in but for the passphrase: variables,
// command and arguments, a line each, made by the code that is published for clients.
//
//   TOOLS=node_modules node bundle.mjs FOLDER CERTS URL TOKEN

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { getMcpConfigForManifest } = await import(
  pathToFileURL(join(process.env.TOOLS, '@anthropic-ai/mcpb/dist/index.js'))
);
const [folder, certs, url, token] = process.argv.slice(2);
const config = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')),
  extensionPath: folder,
  systemDirs: {},
  userConfig: {
    api_url: url,
    client_cert: join(certs, 'client.pem'),
    client_key: join(certs, 'client.key'),
    cacert: join(certs, 'ca.pem'),
    token,
  },
  pathSeparator: '/',
});
const variables = Object.entries(config.env).map(([name, value]) => `${name}=${value}`);
console.log([...variables, config.command, ...config.args].join('\n'));
