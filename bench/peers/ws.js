// node `ws`, as its README's broadcast example has it, with rooms: the floor of a hand-written Node server.
// Compression is off (its default) unless COMPRESSION is set, bufferutil is installed, the event is serialized once and sent as one Buffer.

import { WebSocketServer } from "ws";

const rooms = new Map();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: process.env.COMPRESSION !== undefined,
  clientTracking: false,
});

server.on("connection", (socket) => {
  const joined = new Set();
  socket.on("message", (frame) => {
    const message = JSON.parse(frame);
    if (message.type === "subscribe") {
      let room = rooms.get(message.topic);
      if (room === undefined) rooms.set(message.topic, (room = new Set()));
      room.add(socket);
      joined.add(room);
      socket.send(JSON.stringify({ type: "subscribed", topic: message.topic }));
    } else if (message.type === "publish") {
      const room = rooms.get(message.topic);
      if (room === undefined) return;
      const { topic, event, data } = message;
      const bytes = Buffer.from(JSON.stringify({ type: "event", topic, event, data }));
      for (const subscriber of room) subscriber.send(bytes, { binary: false });
    }
  });
  socket.on("error", () => socket.terminate());
  socket.on("close", () => {
    for (const room of joined) room.delete(socket);
  });
});
server.on("listening", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
