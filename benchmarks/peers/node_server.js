// A TLS server on Node: node_server.js PORT CERT KEY. After the handshake it reads lines: "D n" sends n bytes, "U n"
// takes n bytes and answers "OK n", "E" echoes everything from then on.
'use strict';
const fs = require('fs');
const tls = require('tls');

const [port, cert, key] = process.argv.slice(2);
const CHUNK = Buffer.alloc(256 * 1024);

function converse(socket) {
  let state = 'line';
  let line = '';
  let left = 0;
  let total = 0;

  function send() {
    while (left > 0) {
      const count = Math.min(left, CHUNK.length);
      left -= count;
      if (!socket.write(count === CHUNK.length ? CHUNK : CHUNK.subarray(0, count))) break;
    }
    if (left === 0) state = 'line';
  }

  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('drain', () => {
    if (state === 'download') send();
    else if (state === 'echo') socket.resume();
  });
  socket.on('data', (data) => {
    while (data.length > 0) {
      if (state === 'echo') {
        if (!socket.write(data)) socket.pause();
        return;
      }
      if (state === 'upload') {
        const taken = Math.min(data.length, left);
        left -= taken;
        data = data.subarray(taken);
        if (left === 0) {
          state = 'line';
          socket.write(`OK ${total}\n`);
        }
        continue;
      }
      const newline = data.indexOf(10);
      if (newline < 0) {
        line += data.toString('latin1');
        return;
      }
      const command = line + data.toString('latin1', 0, newline);
      line = '';
      data = data.subarray(newline + 1);
      if (command === 'E') {
        state = 'echo';
        continue;
      }
      total = left = Number(command.slice(2));
      state = command[0] === 'U' ? 'upload' : 'download';
      if (state === 'download') send();
    }
  });
}

const server = tls.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, converse);
server.on('tlsClientError', () => {});
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 1024 }, () => {
  process.stderr.write(`ready Node ${process.versions.node} OpenSSL ${process.versions.openssl}\n`);
});
process.on('SIGTERM', () => process.exit(0));
