// The clients of `python -m bench.cluster_faults`: subscribers behind a load balancer over two nodes, one publisher,
// and, where the server has presence, a member on the first node and a watcher on the second. All use the client
// library of the server under test, with its own way to reconnect and to recover.
//
// node cluster_clients.js DIALECT PORT_A PORT_B SUBSCRIBERS MESSAGES_PER_SECOND
// Prints "ready", publishes numbered messages until a line comes on stdin, waits until nothing arrives any more, and
// prints one line of JSON.

import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { setInterval as every, setTimeout as pause } from "node:timers/promises";
import { Centrifuge } from "centrifuge";
import { io } from "socket.io-client";
import WebSocket from "ws";
import { createClient } from "../../packages/realtime/dist/esm/index.js";

const [dialect, a, b, subscribers, rate] = process.argv.slice(2);
const CHANNEL = "room";
const PEOPLE = "people";
const QUIET_MS = 3_000;
const PATIENCE_MS = 60_000;

// Each client: subscribe(receive, reportGap), publish(number) that resolves when the server has acknowledged it, and
// join() and members() where the server has presence.
const CLIENTS = {
  aerostack(url) {
    const client = createClient({ url, WebSocket, apiKey: "ac_secret_dev" });
    const channel = client.channel("bench/room");
    const people = client.channel("bench/people");
    return {
      subscribe: (receive, reportGap) => channel.on("m", ({ data }) => receive(data)).on("gap", reportGap).subscribe(),
      publish: (number) => channel.publish("m", number),
      join: () => people.track({ here: true }),
      members: async () => (await people.presence()).length,
    };
  },
  centrifugo(url) {
    const client = new Centrifuge(`${url.replace("http", "ws")}/connection/websocket`, { websocket: WebSocket });
    client.connect();
    const subscription = client.newSubscription(CHANNEL);
    return {
      subscribe: (receive, reportGap) => {
        const first = new Promise((resolve) => subscription.once("subscribed", resolve));
        subscription.on("publication", ({ data }) => receive(data));
        subscription.on("subscribed", ({ wasRecovering, recovered }) => wasRecovering && !recovered && reportGap());
        subscription.subscribe();
        return first;
      },
      publish: (number) => client.publish(CHANNEL, number),
      join: async () => client.newSubscription(PEOPLE).subscribe(),
      members: async () => Object.keys((await client.presence(PEOPLE)).clients).length,
    };
  },
  "socket.io"(url) {
    const socket = io(url, { transports: ["websocket"] });
    return {
      subscribe: async (receive, reportGap) => {
        socket.on("m", receive);
        await socket.emitWithAck("subscribe", CHANNEL);
        socket.on("connect", () => {
          if (socket.recovered) return;
          reportGap();
          socket.emit("subscribe", CHANNEL, () => {});
        });
      },
      publish: (number) => socket.timeout(10_000).emitWithAck("publish", CHANNEL, number),
    };
  },
};

/** A load balancer: each connection goes to the next node that accepts it. */
async function balanced(ports) {
  let turn = 0;
  const server = createServer((near) => {
    near.on("error", () => {});
    const attempt = (left) => {
      const far = connect(Number(ports[turn++ % ports.length]), "127.0.0.1");
      let connected = false;
      far.once("connect", () => {
        connected = true;
        near.pipe(far).pipe(near);
        far.once("close", () => near.destroy());
        near.once("close", () => far.destroy());
      });
      far.on("error", () => (left && !connected ? attempt(left - 1) : near.destroy()));
    };
    attempt(ports.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address().port;
}

const url = (port) => `http://127.0.0.1:${port}`;
const open = CLIENTS[dialect];
const balancer = await balanced([a, b]);
const readers = [];
let last = performance.now();
for (let index = 0; index < Number(subscribers); index++) {
  const reader = { numbers: new Set(), repeated: 0, gaps: 0, silence: 0, last: performance.now() };
  readers.push(reader);
  await open(url(balancer)).subscribe(
    (number) => {
      const now = (last = performance.now());
      reader.silence = Math.max(reader.silence, now - reader.last);
      reader.last = now;
      reader.repeated += reader.numbers.has(number);
      reader.numbers.add(number);
    },
    () => {
      reader.gaps += 1;
    },
  );
}
const publisher = open(url(b));
const acknowledged = [];
let refused = 0;
const gone = presence();
await (await gone).present;

for (const reader of readers) reader.last = performance.now();
let number = 0;
let publishing = true;
const commands = createInterface(process.stdin)[Symbol.asyncIterator]();
const load = (async () => {
  const begin = performance.now();
  for await (const _ of every(5)) {
    if (!publishing) return;
    for (; number < ((performance.now() - begin) / 1000) * Number(rate); number++) {
      const sent = number;
      publisher.publish(sent).then(
        () => acknowledged.push(sent),
        () => refused++,
      );
    }
  }
})();
console.log("ready");
await commands.next();
publishing = false;
await load;
const until = performance.now() + PATIENCE_MS;
last = performance.now();
while (performance.now() < Math.min(until, last + QUIET_MS)) await pause(100);

const missing = readers.map(({ numbers }) => acknowledged.filter((each) => !numbers.has(each)).length);
const total = (choose) => readers.reduce((sum, reader, index) => sum + choose(reader, missing[index]), 0);
console.log(
  JSON.stringify({
    sent: number,
    acknowledged: acknowledged.length,
    refused,
    unreported: total(({ gaps }, lost) => (gaps ? 0 : lost)),
    reported: total(({ gaps }, lost) => (gaps ? lost : 0)),
    gaps: total(({ gaps }) => gaps),
    repeated: total(({ repeated }) => repeated),
    silence: Math.max(...readers.map(({ silence }) => silence)) / 1000,
    gone: (await gone).after(),
  }),
);
process.exit(0);

/** A member on node A, watched from node B: when its node is killed, how long it is shown, in s; -1: to the end. */
async function presence() {
  const member = open(url(a));
  const watcher = open(url(b));
  if (!member.join) return { present: undefined, after: () => null };
  let killed = 0;
  let left = null;
  const here = async () => (await watcher.members()) > 0;
  const present = (async () => {
    await member.join();
    while (!(await here().catch(() => false))) await pause(50);
  })();
  present.then(async () => {
    const probe = connect(Number(a), "127.0.0.1").on("error", () => {});
    probe.once("close", () => (killed = performance.now()));
    for await (const _ of every(100)) {
      const shown = await here().catch(() => true);
      if (!shown) {
        left ??= performance.now();
        return;
      }
    }
  });
  return { present, after: () => (killed ? (left ? (left - killed) / 1000 : -1) : null) };
}
