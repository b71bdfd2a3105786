// A TLS client on Node: node_client.js HOST PORT CA N CONCURRENCY RESUME. It makes N verified connections, CONCURRENCY at
// a time, each sends "D 1", reads a byte and closes in order, and prints one line of JSON.
'use strict';
const fs = require('fs');
const tls = require('tls');

const [host, port, ca] = process.argv.slice(2, 5);
const [count, concurrency, resume] = process.argv.slice(5).map(Number);
const secureContext = tls.createSecureContext({
  ca: fs.readFileSync(ca), minVersion: 'TLSv1.3', ecdhCurve: 'X25519',
});
let session;
let resumed = 0;

function visit(keep) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host, port: Number(port), secureContext, servername: 'localhost', minVersion: 'TLSv1.3', ecdhCurve: 'X25519', session,
    });
    if (keep) socket.on('session', (fresh) => { session = session || fresh; });
    socket.on('secureConnect', () => {
      if (socket.isSessionReused()) resumed++;
      socket.write('D 1\n');
    });
    socket.on('data', () => socket.end());
    socket.on('error', reject);
    socket.on('close', resolve);
  });
}

async function many(connections) {
  let todo = connections;
  const worker = async () => { while (todo-- > 0) await visit(false); };
  await Promise.all(Array.from({ length: Math.min(concurrency, connections) }, worker));
}

async function main() {
  if (resume) await visit(true);
  const warmup = Math.max(Math.floor(count / 4), concurrency);
  await many(warmup);
  resumed = 0;
  const before = process.cpuUsage();
  const begin = process.hrtime.bigint();
  await many(count);
  const elapsed = Number(process.hrtime.bigint() - begin) / 1e9;
  const used = process.cpuUsage(before);
  console.log(JSON.stringify({
    n: count, warmup: warmup + resume, resumed, elapsed, cpu: (used.user + used.system) / 1e6,
    version: `Node ${process.versions.node} OpenSSL ${process.versions.openssl}`,
  }));
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
