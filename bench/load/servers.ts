// Starts and stops the servers that are measured, each on a free port of loopback and a scratch directory of its own.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WorkTarget } from "../../src/load/mod.ts";

const READY_MS_MAX = 20_000;
const STOP_MS_MAX = 10_000;
const POLL_MS = 20;
const START_MS_MAX = 60_000;
const LOOK_MS = 2;
const BUN = process.execPath;
const ROOT = join(import.meta.dir, "../..");

/** A server that is up. */
export interface RunningServer extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** The command line, for the record. */
  readonly command: string;
}

// Whoever is interrupted in the middle of a measurement leaves no server behind.
const children = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

/** Finds a port that nobody listens on. Somebody else may take it before it is used: then the start fails loudly. */
export function freePort(): number {
  const listener = Bun.listen({
    port: 0,
    hostname: "127.0.0.1",
    socket: { data: () => undefined },
  });
  const { port } = listener;
  listener.stop(true);
  return port;
}

// Undefined in the environment: the temporary directory, which must be on a real disk for a result to mean anything.
const { BENCH_DIR = tmpdir() } = process.env;

/** Where servers keep their data: `BENCH_DIR`, or the temporary directory. */
export const benchDirectory: string = BENCH_DIR;

/** Makes an empty directory there. */
export const scratchDirectory = (name: string): string =>
  mkdtempSync(join(benchDirectory, `ayder-bench-${name}-`));

/** Runs `command` until `isReady`; stops by SIGTERM, and after ten seconds by SIGKILL, and removes `directory`. */
export async function startProcess(options: {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly isReady: () => Promise<boolean>;
  /** Left out: 20 seconds. */
  readonly readyMsMax?: number;
}): Promise<{ readonly pid: number } & AsyncDisposable> {
  const { command, directory } = options;
  const log = join(directory, "server.log");
  const child = Bun.spawn([...command], {
    cwd: ROOT,
    env: { ...process.env, NODE_ENV: "production", ...options.environment },
    stdout: Bun.file(log),
    stderr: Bun.file(`${log}.err`),
  });
  children.add(child);
  const deadline = performance.now() + (options.readyMsMax ?? READY_MS_MAX);
  while (!(await options.isReady().catch(() => false))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill("SIGKILL");
      const said = await Bun.file(`${log}.err`).text();
      throw new Error(
        `Cannot start ${command.join(" ")}: exit ${child.exitCode}: ${said.slice(-2000)}`,
      );
    }
    await Bun.sleep(POLL_MS);
  }
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await Promise.race([child.exited, Bun.sleep(STOP_MS_MAX)]);
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await child.exited;
    children.delete(child);
    rmSync(directory, { recursive: true, force: true });
  };
  return { pid: child.pid, [Symbol.asyncDispose]: stop };
}

async function startHttp(
  name: string,
  directory: string,
  command: readonly string[],
  port: number,
): Promise<RunningServer> {
  const url = `http://127.0.0.1:${port}`;
  const running = await startProcess({
    command,
    directory,
    environment: { RF_DATA_DIR: join(directory, "data"), RF_LOG_LEVEL: "warn" },
    isReady: async () => (await fetch(`${url}/ready`)).ok,
  });
  console.error(`${name}: pid ${running.pid} on port ${port}`);
  const dispose = (): PromiseLike<void> => running[Symbol.asyncDispose]();
  return { url, pid: running.pid, command: command.join(" "), [Symbol.asyncDispose]: dispose };
}

/** Starts the no-op route. */
export function startNoop(...options: readonly "--later"[]): Promise<RunningServer> {
  const port = freePort();
  const command = [BUN, join(import.meta.dir, "noop.ts"), "--port", String(port), ...options];
  return startHttp("noop", scratchDirectory("noop"), command, port);
}

/** Starts Ayder. @param binary A compiled file; left out, the sources are run. */
export function startAyder(binary: string | undefined): Promise<RunningServer> {
  const port = freePort();
  const directory = scratchDirectory("ayder");
  const program = binary === undefined ? [BUN, join(ROOT, "src/main.ts")] : [binary];
  const command = [...program, "--port", String(port), "--data", join(directory, "data")];
  return startHttp("ayder", directory, command, port);
}

/** What a start took, and what the node occupies right after it. */
export interface TimedStart {
  readonly readyMs: number;
  readonly residentMiB: number;
}

/** Starts the binary on `directory`, waits for its first `200` of `/ready`, lets `look` look at it, kills it. */
export async function timeStart(
  binary: string,
  directory: string,
  look?: (url: string) => Promise<void>,
): Promise<TimedStart> {
  const url = `http://127.0.0.1:${freePort()}`;
  const command = [binary, "--port", new URL(url).port, "--data", directory];
  const startedMs = performance.now();
  const child = Bun.spawn(command, { stdout: "ignore", stderr: "ignore" });
  try {
    const isReady = (): Promise<boolean> => fetch(`${url}/ready`).then(({ ok }) => ok);
    while (!(await isReady().catch(() => false))) {
      if (performance.now() - startedMs > START_MS_MAX)
        throw new Error(`The node is not ready after ${START_MS_MAX} ms`);
      await Bun.sleep(LOOK_MS);
    }
    const readyMs = performance.now() - startedMs;
    const status = await Bun.file(`/proc/${child.pid}/status`).text();
    await look?.(url);
    return { readyMs, residentMiB: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024 };
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

/** Creates the topic of `target`, unless it is there. */
export async function createTopic(
  url: string,
  target: WorkTarget,
  mode: "sealed" | "rocket" = "sealed",
): Promise<void> {
  const reply = await fetch(`${url}/broker/topics`, {
    method: "POST",
    headers: { authorization: `Bearer ${target.token}` },
    body: JSON.stringify({ name: target.topic, partitions: 8, mode }),
  });
  if (!reply.ok && reply.status !== 409) {
    throw new Error(
      `Cannot create the topic ${target.topic}: ${reply.status} ${await reply.text()}`,
    );
  }
}
