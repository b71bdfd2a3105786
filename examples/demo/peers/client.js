// Node as a client: fetches /file, prints one line of JSON. Its argument is JSON: port, servername, ca (a path).

"use strict";

const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const tls = require("node:tls");

const { port, servername, ca } = JSON.parse(process.argv[2]);

const socket = tls.connect({ host: "127.0.0.1", port, servername, ca: readFileSync(ca), ALPNProtocols: ["http/1.1"] });
const report = {};
const digest = createHash("sha256");
let head = Buffer.alloc(0);
let size = -1;

socket.on("secureConnect", () => {
  report.protocol = socket.getProtocol();
  report.group = socket.getEphemeralKeyInfo()?.name ?? null;
  report.authorized = socket.authorized;
  socket.write("GET /file HTTP/1.0\r\n\r\n");
});
socket.on("data", (data) => {
  if (size < 0) {
    head = Buffer.concat([head, data]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    size = 0;
    data = head.subarray(end + 4);
  }
  size += data.length;
  digest.update(data);
});
socket.on("end", () => console.log(JSON.stringify({ ...report, size, sha256: digest.digest("hex") })));
