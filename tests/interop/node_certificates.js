// What Node reads in certificates: `node node_certificates.js reader|client|server [OPTIONS_AS_JSON]`.
//
// A reader answers each line of its input, a certificate in hex, with its fields; null when Node does not take it.
// For a line "curves" it answers with a SubjectPublicKeyInfo in hex for each curve, for "version" with its version.
// A client, or a server that asks its client for a certificate, reports `certificates` once it is secure: the peer's in
// full (`chain`), the peer's alone (`peer`) and its own (`own`).  Events otherwise as in ScriptedPeer of peers.py.
// Bytes are told in hex, and that a certificate is its own issuer by "itself".

"use strict";

const { X509Certificate, generateKeyPairSync, getCurves } = require("node:crypto");
const readline = require("node:readline");
const tls = require("node:tls");

const [role, json] = process.argv.slice(2);
const options = JSON.parse(json ?? "{}");

const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");
const report = (event, fields = {}) => say({ event, ...fields });

function plain(fields) {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => {
      if (key === "issuerCertificate") {
        return [key, value === fields ? "itself" : plain(value)];
      }
      return [key, Buffer.isBuffer(value) ? value.toString("hex") : value];
    }),
  );
}

function read(line) {
  if (line === "version") {
    return process.version;
  }
  if (line === "curves") {
    return Object.fromEntries(getCurves().flatMap((namedCurve) => keyOn(namedCurve)));
  }
  let certificate;
  try {
    certificate = new X509Certificate(Buffer.from(line, "hex"));
  } catch {
    return null;
  }
  return plain(certificate.toLegacyObject());
}

function keyOn(namedCurve) {
  const publicKeyEncoding = { type: "spki", format: "der" };
  const privateKeyEncoding = { type: "pkcs8", format: "der" };
  try {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve, publicKeyEncoding, privateKeyEncoding });
    return [[namedCurve, publicKey.toString("hex")]];
  } catch {
    return []; // a curve for key exchange alone
  }
}

function follow(socket) {
  socket.on("error", (error) => report("error", { code: error.code, message: error.message }));
  socket.on("close", () => report("close"));
  report("certificates", {
    chain: plain(socket.getPeerCertificate(true)),
    peer: plain(socket.getPeerCertificate()),
    own: plain(socket.getCertificate()),
  });
  socket.resume();
}

const context = { ca: options.ca, cert: options.cert, key: options.key, rejectUnauthorized: false };

if (role === "reader") {
  readline.createInterface({ input: process.stdin }).on("line", (line) => say(read(line)));
} else if (role === "client") {
  const socket = tls.connect({ ...context, host: "127.0.0.1", port: options.port }, () => follow(socket));
  process.stdin.resume().on("end", () => socket.end());
} else {
  const server = tls.createServer({ ...context, requestCert: true }, (socket) => follow(socket));
  server.listen(0, "127.0.0.1", () => report("listening", { port: server.address().port }));
  process.stdin.resume().on("end", () => process.exit());
}
