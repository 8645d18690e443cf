// Preloaded into every server that runs on Node: lets in only what has the bearer token of
// MATRIX_TOKEN, and writes the port it was given to the file MATRIX_PORT.

import { renameSync, writeFileSync } from 'node:fs';
import { Server } from 'node:http';

const { MATRIX_TOKEN, MATRIX_PORT } = process.env;
const { emit } = Server.prototype;

Server.prototype.emit = function (event, ...args) {
  if (event === 'listening') {
    writeFileSync(`${MATRIX_PORT}.new`, String(this.address().port));
    renameSync(`${MATRIX_PORT}.new`, MATRIX_PORT);
  }
  if ((event === 'request' || event === 'upgrade') && args[0].headers.authorization !== `Bearer ${MATRIX_TOKEN}`) {
    if (event === 'request') args[1].writeHead(401).end();
    else args[1].end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
    return true;
  }
  return emit.call(this, event, ...args);
};
