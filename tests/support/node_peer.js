// A TLS client or server on Node for the interop tests: `node node_peer.js client|server OPTIONS_AS_JSON`.
// See ScriptedPeer in peers.py for the options and the events.

"use strict";

const { createHash } = require("node:crypto");
const tls = require("node:tls");

const [role, json] = process.argv.slice(2);
const options = JSON.parse(json);

const report = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");

const context = {
  ca: options.ca,
  cert: options.cert,
  key: options.key,
  ALPNProtocols: options.alpn,
  minVersion: options.min_version,
  maxVersion: options.max_version,
  ciphers: options.ciphers,
  secureOptions: options.secure_options,
};

if (options.psk) {
  const known = Buffer.from(options.psk.key, "hex");
  if (role === "server") {
    context.pskIdentityHint = options.psk.hint;
    context.pskCallback = (_socket, identity) => {
      report("psk", { identity });
      return identity === options.psk.identity ? known : null;
    };
  } else {
    context.checkServerIdentity = () => undefined;
    context.pskCallback = (hint) => {
      report("psk", { hint: hint ?? null });
      return { psk: known, identity: options.psk.identity };
    };
  }
}

function follow(socket) {
  const hash = createHash("sha256");
  let received = 0;
  socket.on("data", (data) => {
    received += data.length;
    hash.update(data);
    report("data", { text: data.length <= 256 ? data.toString("latin1") : "", received });
  });
  socket.on("end", () => report("end", { received, sha256: hash.digest("hex") }));
  socket.on("error", (error) => report("error", { code: error.code, message: error.message }));
  socket.on("close", () => report("close"));
}

function reportSecure(socket) {
  report("secure", {
    protocol: socket.getProtocol(),
    cipher: socket.getCipher().name,
    alpn: socket.alpnProtocol || null,
    servername: socket.servername || null,
    authorized: socket.authorized,
    reused: socket.isSessionReused(),
    peer: socket.getPeerCertificate()?.subject?.CN ?? null,
  });
}

function renegotiate(socket, { times, ...wanted }) {
  socket.renegotiate(wanted, (error) => {
    report("renegotiated", {
      code: error?.code ?? null,
      authorized: socket.authorized,
      peer: socket.getPeerCertificate()?.subject?.CN ?? null,
    });
    if (!error && times > 1) {
      renegotiate(socket, { times: times - 1, ...wanted });
    }
  });
}

function serve() {
  const server = tls.createServer(
    { ...context, requestCert: Boolean(options.request_cert), rejectUnauthorized: Boolean(options.request_cert) },
    (socket) => {
      reportSecure(socket);
      follow(socket);
      socket.pipe(socket);
      if (options.renegotiate) {
        renegotiate(socket, options.renegotiate);
      }
    },
  );
  server.on("tlsClientError", (error) => report("error", { code: error.code, message: error.message }));
  const where = options.path ? { path: options.path } : { host: options.host ?? "127.0.0.1", port: 0 };
  server.listen(where, () => report("listening", { port: server.address().port ?? 0 }));
  process.stdin.resume().on("end", () => process.exit());
}

function connect(session) {
  const where = options.path ? { path: options.path } : { host: options.host ?? "127.0.0.1", port: options.port };
  const rejectUnauthorized = options.verify ?? true;
  const socket = tls.connect({ ...context, ...where, servername: options.servername, rejectUnauthorized, session });
  follow(socket);
  socket.once("secureConnect", () => {
    reportSecure(socket);
    if (options.renegotiate) {
      renegotiate(socket, options.renegotiate);
    }
  });
  if (options.resume && !session) {
    socket.once("session", (fresh) => {
      socket.end();
      socket.once("close", () => connect(fresh));
    });
  } else {
    process.stdin.pipe(socket);
  }
}

if (role === "server") {
  serve();
} else {
  connect();
}
