// More connections than the node takes: the others wait, who is connected is served, its log goes on into new files, and when
// some leave, some of those that wait come in.

import { expect, test } from "bun:test";
import { createTopic, produce } from "../support/node-client.ts";
import { SMALL_SEGMENTS, startNode, waitUntil } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
/** Three quarters of them are for connections. */
const DESCRIPTORS = 1024;
const CONNECTIONS_MAX = 768;
const CLIENTS = 1500;

test.skipIf(process.platform !== "linux")(
  `of ${CLIENTS} clients about ${CONNECTIONS_MAX} are served, and the others when those leave`,
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const wrapper = ["sh", "-c", `ulimit -n ${DESCRIPTORS}; exec "$@"`, "sh"];
    await using node = await startNode({ dataDir, wrapper, env: SMALL_SEGMENTS });
    await createTopic(node.url, "t", 1);
    const port = Number(new URL(node.url).port);
    const served = new Set<Bun.Socket>();
    const opening: Promise<unknown>[] = [];
    for (let i = 0; i < CLIENTS; i++) {
      opening.push(
        Bun.connect({
          hostname: "127.0.0.1",
          port,
          socket: {
            open: (socket) => void socket.write("GET /health HTTP/1.1\r\nHost: node\r\n\r\n"),
            data: (socket) => void served.add(socket),
            error: () => undefined,
            connectError: () => undefined,
          },
        }).catch(() => undefined),
      );
      // A listener's queue is let in whole; the look comes between.
      if (i % 50 === 49) await Bun.sleep(25);
    }
    await node.line("connections_full");
    await waitUntil("the first are served", () => served.size >= CONNECTIONS_MAX - 50);
    await Bun.sleep(300);
    const first = [...served];

    // The test's own client has kept its connection: its writes go on, into new segments, which want descriptors.
    const writes = [];
    for (let i = 0; i < 30; i++)
      writes.push((await produce(node.url, { topic: "t" }, "x".repeat(200_000))).status);
    for (const socket of first) socket.end();
    await waitUntil("those that waited are served", () => served.size >= first.length + 300);

    expect(first.length).toBeLessThan(DESCRIPTORS);
    expect(new Set(writes)).toEqual(new Set([200]));
    expect((await node.kill("SIGTERM")).code).toBe(0);
    await Promise.all(opening);
    for (const socket of served) socket.end();
    clean();
  },
  TEST_MS_MAX,
);
