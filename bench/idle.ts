// What a node costs that nobody uses: the size of its file, its start on an empty directory, memory and processor time in its
// first seconds, at rest, and with thousands of idle connections. Usage: bun bench/idle.ts [--binary F] [--connections 10000] [--seconds 10] [--starts 21]

import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { cpuBetween, readProcessCpu } from "../src/load/mod.ts";
import { circumstances, keepResult, median } from "./load/report.ts";
import { benchDirectory, scratchDirectory, startAyder, timeStart } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    connections: { type: "string", default: "10000" },
    seconds: { type: "string", default: "10" },
    starts: { type: "string", default: "21" },
    name: { type: "string", default: "idle" },
  },
});

const starts: number[] = [];
for (let i = 0; i < Number(values.starts); i++) {
  const directory = scratchDirectory("start");
  starts.push((await timeStart(values.binary, directory)).readyMs);
  rmSync(directory, { recursive: true, force: true });
}

await using server = await startAyder(values.binary);
const { hostname, port } = new URL(server.url);

const residentMiB = async (): Promise<number> => {
  const status = await Bun.file(`/proc/${server.pid}/status`).text();
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
};

/** Share of one processor over some seconds, in percent. */
async function processorPercent(): Promise<number> {
  const before = readProcessCpu(server.pid);
  await Bun.sleep(Number(values.seconds) * 1000);
  const after = readProcessCpu(server.pid);
  if (before === undefined || after === undefined) throw new Error("The node is gone");
  const { user, system } = cpuBetween(before, after);
  return (user + system) / 1e4 / Number(values.seconds);
}

const REQUEST = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/** Opens a connection, makes one request, and leaves it open. */
function connect(): Promise<{ end(): void }> {
  return new Promise((resolve, reject) => {
    Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        open: (socket) => {
          socket.write(REQUEST);
        },
        data: (socket) => resolve(socket),
        error: (_, error) => reject(error),
        connectError: (_, error) => reject(error),
      },
    }).catch(reject);
  });
}

// The next segment is prepared, and what has run a few times is compiled.
const firstPercent = await processorPercent();
const restPercent = await processorPercent();
const restMiB = await residentMiB();
const open = [];
for (let i = 0; i < Number(values.connections); i += 100) {
  open.push(...(await Promise.all(Array.from({ length: 100 }, connect))));
}
const connectedMiB = await residentMiB();
const connectedPercent = await processorPercent();
for (const socket of open) socket.end();

const result = {
  binaryMB: Bun.file(values.binary).size / 1e6,
  readyMsMedian: median(starts),
  readyMsWorst: Math.max(...starts),
  restMiB,
  firstPercent,
  restPercent,
  connections: open.length,
  connectedMiB,
  moreMiB: connectedMiB - restMiB,
  connectedPercent,
};
console.table([result]);
console.log(
  `kept in ${await keepResult(values.name, { ...(await circumstances(benchDirectory)), ...result })}`,
);
