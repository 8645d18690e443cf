// Preloaded into every server that runs on Node: lets in only what has the bearer token of
// MATRIX_TOKEN, with the client's name behind it, and writes the port it was given to the file
// MATRIX_PORT. A call that a client cancels is told by a file, too: the client waits for it.

import { AsyncLocalStorage } from 'node:async_hooks';
import { renameSync, writeFileSync } from 'node:fs';
import { Server } from 'node:http';
import { Protocol } from '@modelcontextprotocol/sdk/shared/protocol.js';

const { MATRIX_TOKEN, MATRIX_PORT } = process.env;
const caller = new AsyncLocalStorage();

/** The client that this code runs for. */
export const client = () => caller.getStore();

/** That a call of this client's was cancelled has reached the server. */
export const cancelled = (name) => writeFileSync(MATRIX_PORT.replace(/port$/, `${name}.cancelled`), '');

export const nameOf = (request) => {
  const [, name] = (request.headers.authorization ?? '').split(`Bearer ${MATRIX_TOKEN}.`);
  return name;
};

const { emit } = Server.prototype;
Server.prototype.emit = function (event, ...args) {
  if (event === 'listening') {
    writeFileSync(`${MATRIX_PORT}.new`, String(this.address().port));
    renameSync(`${MATRIX_PORT}.new`, MATRIX_PORT);
  }
  if (event !== 'request' && event !== 'upgrade') return emit.call(this, event, ...args);
  const name = nameOf(args[0]);
  if (name) return caller.run(name, () => emit.call(this, event, ...args));
  if (event === 'request') args[1].writeHead(401).end();
  else args[1].end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
  return true;
};

// The tools of the reference server do not look whether they are cancelled; its SDK does.
const { _oncancel } = Protocol.prototype;
Protocol.prototype._oncancel = function (notification) {
  if (client() && this._requestHandlerAbortControllers.has(notification.params.requestId)) cancelled(client());
  return _oncancel.call(this, notification);
};
