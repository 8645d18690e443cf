// The reference server over WebSocket: one message a text frame, subprotocol `mcp`, as the
// TypeScript SDK's WebSocketClientTransport has it; the SDK has no server for it.

import { AsyncResource } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { WebSocketServer } from 'ws';
import { createServer } from '@modelcontextprotocol/server-everything/dist/server/index.js';

class Transport {
  sessionId = randomUUID();

  constructor(socket) {
    this.socket = socket;
  }

  async start() {
    // Bound to the handshake: it says for whom a message is handled.
    this.socket.on('message', AsyncResource.bind((data) => this.onmessage?.(JSON.parse(data.toString()))));
    this.socket.on('close', () => this.onclose?.());
    this.socket.on('error', (error) => this.onerror?.(error));
  }

  async send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async close() {
    this.socket.close();
  }
}

new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  handleProtocols: (offered) => offered.has('mcp') && 'mcp',
}).on('connection', async (socket) => {
  const { server, cleanup } = createServer();
  const transport = new Transport(socket);
  server.server.onclose = () => cleanup(transport.sessionId);
  await server.connect(transport);
});
