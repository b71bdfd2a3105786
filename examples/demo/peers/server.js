// Node as a server: gives a file and takes one. Its argument is JSON: cert, key and file (paths).

"use strict";

const { createHash } = require("node:crypto");
const { createReadStream, readFileSync } = require("node:fs");
const https = require("node:https");

const { cert, key, file } = JSON.parse(process.argv[2]);

const server = https.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
  if (request.method === "PUT") {
    const digest = createHash("sha256");
    request.on("data", (data) => digest.update(data));
    request.on("end", () => response.end(digest.digest("hex")));
  } else {
    createReadStream(file).pipe(response);
  }
});
server.listen(0, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
