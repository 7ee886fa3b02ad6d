// Socket.IO 4 as its page "Performance tuning" advises: WebSocket only, no compression, bufferutil installed,
// the reference to the first HTTP request discarded. As a node of a cluster, with the adapter that ADAPTER names
// (redis or redis-streams) on the Redis of REDIS_URL; redis-streams comes with connection state recovery.

import { createAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { createServer } from "node:http";

const { ADAPTER, PORT = "0", REDIS_URL } = process.env;

async function cluster() {
  if (!ADAPTER) return {};
  const client = createClient({ url: REDIS_URL });
  const second = client.duplicate();
  for (const each of [client, second]) {
    each.on("error", () => {}); // it connects again
    await each.connect();
  }
  if (ADAPTER === "redis") return { adapter: createAdapter(client, second) };
  return { adapter: createStreamsAdapter(client), connectionStateRecovery: {} };
}

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  ...(await cluster()),
});

io.engine.on("connection", (raw) => {
  raw.request = null;
});
io.on("connection", (socket) => {
  socket.on("subscribe", (room, answer) => {
    socket.join(room);
    answer("subscribed");
  });
  socket.on("publish", (room, data, answer) => {
    io.to(room).emit("m", data);
    answer?.();
  });
});
http.listen(Number(PORT), "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${http.address().port}`));
