// OCSP stapling with Node: `node node_stapling.js client|server OPTIONS_AS_JSON`.
//
// A client asks for a response and reports `ocsp` (response: hex, or null).
// A server staples `response` (hex, or null) and reports `asked` (certificate, issuer: hex, or null).
// Events otherwise as in ScriptedPeer of peers.py; a client ends when its input does, a server too.

"use strict";

const tls = require("node:tls");

const [role, json] = process.argv.slice(2);
const options = JSON.parse(json);

const report = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");
const hex = (bytes) => bytes?.toString("hex") ?? null;

function follow(socket) {
  socket.on("data", (data) => report("data", { text: data.toString("latin1") }));
  socket.on("end", () => report("end"));
  socket.on("error", (error) => report("error", { code: error.code, message: error.message }));
  socket.on("close", () => report("close"));
}

function connect() {
  const socket = tls.connect({
    ca: options.ca,
    host: "127.0.0.1",
    port: options.port,
    servername: options.servername,
    maxVersion: options.max_version,
    requestOCSP: true,
  });
  follow(socket);
  socket.on("OCSPResponse", (response) => report("ocsp", { response: hex(response) }));
  socket.once("secureConnect", () => report("secure"));
  process.stdin.resume().on("end", () => socket.end());
}

function serve() {
  const server = tls.createServer({ ca: options.ca, cert: options.cert, key: options.key }, (socket) => {
    follow(socket);
    report("secure");
    socket.write("welcome");
  });
  server.on("OCSPRequest", (certificate, issuer, answer) => {
    report("asked", { certificate: hex(certificate), issuer: hex(issuer) });
    setImmediate(() => answer(null, options.response ? Buffer.from(options.response, "hex") : null));
  });
  server.listen(0, "127.0.0.1", () => report("listening", { port: server.address().port }));
  process.stdin.resume().on("end", () => process.exit());
}

if (role === "server") {
  serve();
} else {
  connect();
}
