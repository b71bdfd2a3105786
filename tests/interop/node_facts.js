// What Node knows of a connection: `node node_facts.js client|server OPTIONS_AS_JSON`.
//
// Reports `facts` once it is secure (finished, peer_finished, ticket: hex or null; exported: for each of the `exports`,
// [length, label, context in hex or null], hex; ephemeral, sigalgs, reused) and each `session` of a client (hex).
// A client offers `session` (hex).  A server echoes, and asks for a certificate with `request_cert`.
// Events otherwise as in ScriptedPeer of peers.py; a client ends when its input does, a server too.

"use strict";

const tls = require("node:tls");

const [role, json] = process.argv.slice(2);
const options = JSON.parse(json);

const report = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");
const hex = (bytes) => bytes?.toString("hex") ?? null;
const bytes = (text) => (text == null ? undefined : Buffer.from(text, "hex"));

const context = {
  ca: options.ca,
  cert: options.cert,
  key: options.key,
  minVersion: options.min_version,
  maxVersion: options.max_version,
  ciphers: options.ciphers,
  sigalgs: options.sigalgs,
  ecdhCurve: options.ecdh_curve,
  dhparam: options.dhparam,
};

function exported(socket, [length, label, context]) {
  return context == null
    ? socket.exportKeyingMaterial(length, label)
    : socket.exportKeyingMaterial(length, label, bytes(context));
}

function tell(socket) {
  report("facts", {
    finished: hex(socket.getFinished()),
    peer_finished: hex(socket.getPeerFinished()),
    exported: (options.exports ?? []).map((wanted) => hex(exported(socket, wanted))),
    ephemeral: socket.getEphemeralKeyInfo(),
    sigalgs: socket.getSharedSigalgs(),
    reused: socket.isSessionReused(),
    ticket: hex(socket.getTLSTicket()),
  });
}

function follow(socket) {
  socket.on("data", (data) => report("data", { text: data.toString("latin1") }));
  socket.on("end", () => report("end"));
  socket.on("error", (error) => report("error", { code: error.code, message: error.message }));
  socket.on("close", () => report("close"));
}

function connect() {
  const socket = tls.connect({
    ...context,
    host: "127.0.0.1",
    port: options.port,
    servername: options.servername,
    session: bytes(options.session),
  });
  follow(socket);
  socket.on("session", (session) => report("session", { session: hex(session) }));
  socket.once("secureConnect", () => tell(socket));
  process.stdin.pipe(socket);
}

function serve() {
  const server = tls.createServer({ ...context, requestCert: Boolean(options.request_cert) }, (socket) => {
    follow(socket);
    tell(socket);
    socket.pipe(socket);
  });
  server.on("tlsClientError", (error) => report("error", { code: error.code, message: error.message }));
  server.listen(0, "127.0.0.1", () => report("listening", { port: server.address().port }));
  process.stdin.resume().on("end", () => process.exit());
}

if (role === "server") {
  serve();
} else {
  connect();
}
