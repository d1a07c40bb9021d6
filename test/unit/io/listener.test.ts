// The listening socket of this process, as the kernel knows it: found by its port, counted, closed to those who come, and open again.

import { afterEach, expect, test } from "bun:test";
import { Listener } from "../../../src/io/mod.ts";

const isLinux = process.platform === "linux";
let server: Bun.Server<undefined> | undefined;
afterEach(async () => {
  await server?.stop(true);
});

const serve = (hostname: string): { readonly port: number; readonly url: string } => {
  server = Bun.serve({ hostname, port: 0, fetch: () => new Response("here") });
  return { port: server.port ?? 0, url: server.url.href };
};

const REQUEST = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/** A connection that was answered once; before that, the kernel may keep it to itself. */
async function connect(hostname: string, port: number) {
  const answers: string[] = [];
  const socket = await Bun.connect({
    hostname,
    port,
    socket: { data: (_, bytes) => void answers.push(bytes.toString()) },
  });
  const ask = async (): Promise<string> => {
    const before = answers.length;
    socket.write(REQUEST);
    while (answers.length === before) await Bun.sleep(2);
    return answers.at(-1)?.split("\r\n")[0] ?? "";
  };
  expect(await ask()).toBe("HTTP/1.1 200 OK");
  return { ask, end: () => socket.end() };
}

const find = (port: number): Listener => {
  const listener = Listener.find(port);
  if (listener === undefined) throw new Error(`Something listens at ${port}`);
  return listener;
};

test.skipIf(!isLinux).each(["127.0.0.1", "::1", "0.0.0.0"])(
  "whoever comes to %s while it is closed waits, who was there is served, and then everyone is",
  async (hostname) => {
    const { port } = serve(hostname);
    const listener = find(port);
    const client = hostname === "0.0.0.0" ? "127.0.0.1" : hostname;
    const earlier = await connect(client, port);

    expect(listener.setAccepting(false)).toBe(true);
    let isIn = false;
    const later = connect(client, port).then((connection) => {
      isIn = true;
      return connection;
    });
    await Bun.sleep(300);
    expect(isIn).toBe(false);
    expect(await earlier.ask()).toBe("HTTP/1.1 200 OK");

    expect(listener.setAccepting(true)).toBe(true);
    for (const connection of [earlier, await later, await connect(client, port)]) connection.end();
  },
);

test.skipIf(!isLinux)("connections are counted, roughly", async () => {
  const { port } = serve("127.0.0.1");
  const listener = find(port);
  const before = listener.connections();
  const open = await Promise.all(Array.from({ length: 100 }, () => connect("127.0.0.1", port)));

  // Both ends of each are in this process.
  expect(listener.connections() - before).toBeWithin(190, 211);
  expect(listener.descriptorsMax).toBeGreaterThan(200);
  for (const connection of open) connection.end();
});

test("where nobody listens, or no C can be called, there is no listener", () => {
  const { port } = serve("127.0.0.1");
  const noLibc = (): never => {
    throw new Error("No C here");
  };

  expect(Listener.find(1)).toBeUndefined();
  expect(Listener.find(port, noLibc)).toBeUndefined();
});
