// Where the processor time of a write goes, part by part, beside a route that keeps nothing and answers at once or in a later
// turn of its loop, all in turns: from samples of the kernel (`perf`, Debian's linux-perf) and the processor time of the whole
// process. It needs to be root, or perf_event_paranoid below 1.
// Usage: bun bench/profile.ts [--binary dist/ayder-linux-x64] [--rounds 3] [--seconds 6] [--connections 64] [--http2 --streams 32]
//        [--name profile]

import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { produceWork, runLoad } from "../src/load/mod.ts";
import { circumstances, keepResult, median, printTable } from "./load/report.ts";
import {
  benchDirectory,
  createTopic,
  type RunningServer,
  scratchDirectory,
  startAyder,
  startNoop,
} from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "6" },
    connections: { type: "string", default: "64" },
    http2: { type: "boolean", default: false },
    streams: { type: "string", default: "32" },
    name: { type: "string", default: "profile" },
  },
});

/** Compiling what is hot takes most of this: it would be a seventh of the time otherwise. */
const SETTLE_MS = 20_000;
const SAMPLES_PER_SECOND = 999;
const target = { topic: "bench", partition: 0, token: "dev" };

const PARTS = {
  kernel: "kernel: sockets, polling, hand-over to the disk",
  engine: "Bun: HTTP, requests, promises, replies, collection, the interpreter",
  own: "JavaScript that is compiled: ours and the framework's",
  library: "C library",
  disk: "kernel threads that write and sync",
  helpers: "Bun's other threads: compiler, collector, allocator",
} as const;
type Part = keyof typeof PARTS;

/** Which part a line of the report belongs to: a thread by its name, and the file that its code is in. */
function partOf(thread: string, main: string, object: string): Part {
  if (thread.startsWith("iou-")) return "disk";
  if (thread !== main) return "helpers";
  if (object.startsWith("[kernel")) return "kernel";
  if (object.startsWith("[JIT]") || object === "[unknown]") return "own";
  return /^(libc|\[vdso\]|libm|libpthread)/.test(object) ? "library" : "engine";
}

interface Slice {
  readonly perSecond: number;
  readonly micros: number;
  readonly parts: Readonly<Record<Part, number>>;
}

async function slice(server: RunningServer, file: string): Promise<Slice> {
  const seconds = Number(values.seconds);
  const load = runLoad({
    url: server.url,
    serverPids: [server.pid],
    work: produceWork(target, 64),
    connections: Number(values.connections),
    streams: Number(values.streams),
    protocol: values.http2 ? "http2" : "http1",
    warmupMs: SETTLE_MS,
    durationMs: seconds * 1000,
  });
  await Bun.sleep(SETTLE_MS);
  const record = ["perf", "record", "-F", String(SAMPLES_PER_SECOND), "-o", file];
  const samples = Bun.spawn([...record, "-p", String(server.pid), "--", "sleep", String(seconds)], {
    stdout: "ignore",
    stderr: "ignore",
  });
  const result = await load;
  await samples.exited;
  const micros = result.server?.microseconds ?? 0;
  const main = (await Bun.file(`/proc/${server.pid}/comm`).text()).trim();
  const said = Bun.spawnSync(
    [
      "perf",
      "report",
      "-i",
      file,
      "--no-children",
      "--sort",
      "comm,dso",
      "-F",
      "overhead,comm,dso",
      "-t",
      "|",
    ],
    { stderr: "ignore" },
  ).stdout.toString();
  const parts = Object.fromEntries(Object.keys(PARTS).map((part) => [part, 0])) as Record<
    Part,
    number
  >;
  for (const line of said.split("\n")) {
    const [share, thread, object] = line.split("|").map((cell) => cell.trim());
    if (
      share === undefined ||
      thread === undefined ||
      object === undefined ||
      !/^[\d.]+%$/.test(share)
    )
      continue;
    parts[partOf(thread, main, object)] += (Number.parseFloat(share) / 100) * micros;
  }
  return { perSecond: result.repliesPerSecond, micros, parts };
}

async function main(): Promise<void> {
  if (Bun.which("perf") === null)
    throw new Error("perf is not installed: apt-get install -y linux-perf");
  const around = await circumstances(benchDirectory);
  await using stack = new AsyncDisposableStack();
  const directory = scratchDirectory("profile");
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const servers = {
    "nothing kept": stack.use(await startNoop()),
    "nothing kept, answered later": stack.use(await startNoop("--later")),
    Ayder: stack.use(await startAyder(values.binary)),
  };
  await createTopic(servers.Ayder.url, target);
  const slices: Record<string, Slice[]> = {};
  for (let round = 0; round < Number(values.rounds); round++)
    for (const [name, server] of Object.entries(servers)) {
      const found = await slice(server, join(directory, "perf.data"));
      slices[name] = [...(slices[name] ?? []), found];
      console.error(`round ${round + 1}: ${name} ${found.perSecond}/s, ${found.micros} us`);
    }
  const of = (name: string, figure: (slice: Slice) => number): number =>
    median((slices[name] ?? []).map(figure));
  const row = (title: string, figure: (slice: Slice) => number): string[] => {
    const figures = Object.keys(servers).map((name) => of(name, figure));
    return [title, ...figures.map((micros) => micros.toFixed(1))];
  };
  const table = [
    ...(Object.keys(PARTS) as Part[]).map((part) => row(PARTS[part], ({ parts }) => parts[part])),
    row("all", ({ micros }) => micros),
  ];
  printTable(["processor time of a write, us", ...Object.keys(servers)], table);
  const path = await keepResult(values.name, { ...around, settings: values, table, slices });
  console.log(`kept in ${path}`);
}

await main();
