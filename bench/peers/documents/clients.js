// Editors of documents: node clients.js ours|batched|hocuspocus URL. Reads one task as a line of JSON, prints
// one answer as a line of JSON, and so on. `ours` sends each edit at once, `batched` is the provider's default.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import WebSocket from "ws";

const [kind, url] = process.argv.slice(2);
const root = pathToFileURL(`${import.meta.dirname}/../../../`).href;
const isOurs = kind !== "hocuspocus";
// Each provider works with the Yjs that it imports.
const Y = await import(isOurs ? `${root}node_modules/yjs/dist/yjs.mjs` : "yjs");

async function ours() {
  const { createClient } = await import(`${root}packages/realtime/dist/esm/index.js`);
  const { AerostackProvider } = await import(`${root}packages/realtime/dist/esm/yjs/index.js`);
  return {
    connection: () => createClient({ url, WebSocket }),
    provider: (client, name, document) =>
      new AerostackProvider(client, `docs/${name}`, document, kind === "ours" ? { interval: 0 } : {}),
    close: (client) => client.disconnect(),
    saved: (provider) => provider.saved,
  };
}

async function hocuspocus() {
  const { HocuspocusProvider, HocuspocusProviderWebsocket } = await import("@hocuspocus/provider");
  return {
    connection: () => new HocuspocusProviderWebsocket({ url: url.replace("http", "ws"), WebSocketPolyfill: WebSocket }),
    provider: (websocketProvider, name, document) => {
      const provider = new HocuspocusProvider({ websocketProvider, name, document });
      provider.attach();
      return provider;
    },
    close: (websocket) => websocket.destroy(),
    saved: (provider) => provider.unsyncedChanges === 0,
  };
}

const side = await (isOurs ? ours() : hocuspocus());

function editor(name, connection = undefined) {
  const own = connection ?? side.connection();
  const doc = new Y.Doc();
  const provider = side.provider(own, name, doc);
  const synced = new Promise((resolve) => provider.on("synced", () => resolve()));
  return { doc, text: doc.getText("text"), provider, synced, connection: own };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(holds) {
  while (!holds()) await pause(5);
}

let editors = [];
let shared;

const tasks = {
  /** `count` editors of one document, each with a connection. */
  async edit({ name, count }) {
    editors = Array.from({ length: count }, () => editor(name));
    await Promise.all(editors.map(({ synced }) => synced));
    return {};
  },
  /** One of them types a letter every `ms`; returns the ms until each of the others had each letter. */
  async type({ edits, ms }) {
    const [writer, ...readers] = editors;
    const found = [];
    const began = [];
    for (const { text } of readers) {
      let had = text.length;
      text.observe(() => {
        const now = performance.now();
        for (; had < text.length; had++) found.push(now - began[had]);
      });
    }
    for (let n = 0; n < edits; n++) {
      began[n] = performance.now();
      writer.text.insert(n, "a");
      await pause(ms);
    }
    await until(() => found.length === edits * readers.length);
    return { found };
  },
  /** Write a document of `edits` edits, `batch` in one turn of the event loop. */
  async write({ name, edits, batch }) {
    const { doc, text, provider, synced, connection } = editor(name);
    await synced;
    for (let n = 0; n < edits; n++) {
      const at = n % 50 ? Math.min(text.length, (n * 7919) % (text.length + 1)) : 0;
      if (n % 10 === 9) text.delete(Math.min(at, text.length - 1), 1);
      else text.insert(at, "etaoin shrdlu"[n % 13]);
      if (n % batch === 0) await pause(0);
    }
    await until(() => side.saved(provider));
    await pause(4_000); // Hocuspocus stores it now
    const length = text.length;
    provider.destroy();
    side.close(connection);
    doc.destroy();
    return { length };
  },
  /** The ms until a new editor with a connection of its own has the document. */
  async open({ name, length }) {
    const began = performance.now();
    const { doc, text, provider, synced, connection } = editor(name);
    await synced;
    await until(() => text.length === length);
    const took = performance.now() - began;
    provider.destroy();
    side.close(connection);
    doc.destroy();
    await pause(200); // the server lets go of it
    return { took };
  },
  /** Open `count` documents of 1,000 letters on one connection, and keep them open. */
  async keep({ first, count }) {
    shared ??= side.connection();
    for (let n = first; n < first + count; n++) {
      const { text, synced, provider } = editor(`kept-${n}`, shared);
      await synced;
      text.insert(0, "a".repeat(1_000));
      await until(() => side.saved(provider));
      editors.push({ provider });
    }
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { task, ...options } = JSON.parse(line);
  console.log(JSON.stringify(await tasks[task](options)));
}
process.exit(0);
