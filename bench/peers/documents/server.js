// Hocuspocus 4 with its SQLite extension, with its defaults: it stores a document 2 seconds after an edit.

import { SQLite } from "@hocuspocus/extension-sqlite";
import { Server } from "@hocuspocus/server";

const server = new Server({
  address: "127.0.0.1",
  port: Number(process.env.PORT),
  quiet: true,
  extensions: [new SQLite({ database: process.env.DATABASE })],
});
await server.listen();
console.log(`listening on http://127.0.0.1:${process.env.PORT}`);
