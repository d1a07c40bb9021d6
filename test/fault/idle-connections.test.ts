// Connections that are open and silent cost little memory and hold nobody up. `IDLE_CONNECTIONS=19000` is the long run: it wants
// a third more descriptors.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { createTopic, produce } from "../support/node-client.ts";
import { startNode, waitUntil } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const { IDLE_CONNECTIONS = "2000" } = process.env;
const CONNECTIONS = Number(IDLE_CONNECTIONS);
/** Connections that are being made at the same time: more than the queue of the listener takes would be dropped. */
const OPENING_MAX = 200;
const GROWTH_MIB_MAX = 60;

/** Resident memory of a process in MiB. */
function residentMebibytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

test(
  `${CONNECTIONS} connections that have asked once and are silent cost less than ${GROWTH_MIB_MAX} MiB`,
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir });
    await createTopic(node.url, "idle", 1);
    const port = Number(new URL(node.url).port);
    const before = residentMebibytes(node.pid);
    let answered = 0;
    const open = () =>
      Bun.connect({
        hostname: "127.0.0.1",
        port,
        socket: {
          open: (socket) => {
            socket.write("GET /health HTTP/1.1\r\nHost: node\r\n\r\n");
          },
          data: () => {
            answered += 1;
          },
        },
      });
    const sockets: Awaited<ReturnType<typeof open>>[] = [];
    while (sockets.length < CONNECTIONS) {
      const count = Math.min(OPENING_MAX, CONNECTIONS - sockets.length);
      sockets.push(...(await Promise.all(Array.from({ length: count }, open))));
    }
    await waitUntil("every connection has its answer", () => answered >= CONNECTIONS);

    const growth = residentMebibytes(node.pid) - before;
    expect((await produce(node.url, { topic: "idle" }, "still quick")).status).toBe(200);
    const asked = performance.now();
    const exit = await node.kill("SIGTERM");

    expect(growth).toBeLessThan(GROWTH_MIB_MAX);
    expect(exit.code).toBe(0);
    console.log(
      `idle connections: ${CONNECTIONS} cost ${growth.toFixed(1)} MiB over ${before.toFixed(0)}, ` +
        `stopped in ${(performance.now() - asked).toFixed(0)} ms`,
    );
    for (const socket of sockets) socket.end();
    clean();
  },
  TEST_MS_MAX,
);
