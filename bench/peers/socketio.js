// Socket.IO 4 as its page "Performance tuning" advises: WebSocket only, no compression, bufferutil installed,
// the reference to the first HTTP request discarded.

import { Server } from "socket.io";
import { createServer } from "node:http";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.engine.on("connection", (raw) => {
  raw.request = null;
});
io.on("connection", (socket) => {
  socket.on("subscribe", (room, answer) => {
    socket.join(room);
    answer("subscribed");
  });
  socket.on("publish", (room, data) => io.to(room).emit("m", data));
});
http.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${http.address().port}`));
