// The running node as a process: the compiled binary where there is one, else the sources, on a free port.
// `AYDER_BINARY` names another file to test.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
const START_MS_MAX = 30_000;
const EXIT_MS_MAX = 30_000;
const POLL_MS = 5;
// `NODE_LINES=1` shows the last words of every node.
const { NODE_LINES } = process.env;
const showsLines = NODE_LINES === "1";
/** Lines of diagnostics that are kept; all are counted. */
const LINES_KEPT = 2000;

/** One line of diagnostics, as far as a test looks at it. */
export interface LogLine {
  readonly event?: string;
  /** Of a fatal line: a name of `EXIT_CODES`. */
  readonly reason?: string;
  readonly message?: string;
  /** Of a started line. */
  readonly url?: string;
  /** A line that is no JSON. */
  readonly text?: string;
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | number | null;
}

/** What a node is started with. */
export interface NodeOptions {
  /** A free one when absent. */
  readonly port?: number;
  readonly dataDir: string;
  /** Settings; nothing of the tests' own environment but paths reaches the node. */
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Goes in front of the program: `strace` and its like. */
  readonly wrapper?: readonly string[];
  /** Another program than the one that is tested. */
  readonly program?: readonly string[];
}

/** A process that was started, whether it serves or not. */
export interface NodeProcess extends AsyncDisposable {
  readonly pid: number;
  /** Diagnostics so far, oldest first; the newest `LINES_KEPT` of them. */
  readonly lines: readonly LogLine[];
  readonly lineCount: () => number;
  readonly exited: Promise<Exit>;
  readonly isAlive: () => boolean;
  /** Sends a signal and waits, bounded, until the process has ended. */
  readonly kill: (signal: "SIGKILL" | "SIGTERM" | "SIGINT") => Promise<Exit>;
  /** Waits, bounded, for a line with this event. */
  readonly line: (event: string) => Promise<LogLine>;
}

/** A node that serves. */
export interface RunningNode extends NodeProcess {
  readonly url: string;
  /** Milliseconds from the start of the process until `/ready` said so. */
  readonly readyMs: number;
}

/** Settings with the smallest segments that there are, so that little data rolls over, derives and merges. */
export const SMALL_SEGMENTS: Readonly<Record<string, string>> = {
  RF_SEGMENT_BYTES: "1048576",
  RF_BODY_BYTES_MAX: "524288",
  RF_RECORD_BYTES_MAX: "262144",
};

/** The program and its first arguments. */
export const program: readonly string[] = (() => {
  const { AYDER_BINARY: told } = process.env;
  if (told !== undefined && told !== "") return [told];
  const built = join(ROOT, `dist/ayder-linux-${process.arch}`);
  return existsSync(built) ? [built] : [process.execPath, join(ROOT, "src/main.ts")];
})();

/** Starts a process and does not wait until it serves: for nodes that are expected to refuse, and for kills while starting. */
export function spawnNode(options: NodeOptions): NodeProcess {
  const { PATH = "", HOME = "/", TMPDIR = "/tmp" } = process.env;
  const { dataDir, env = {}, args = [], wrapper = [], port = 0 } = options;
  const child = Bun.spawn(
    [
      ...wrapper,
      ...(options.program ?? program),
      "--port",
      String(port),
      "--data",
      dataDir,
      ...args,
    ],
    {
      cwd: ROOT,
      env: { PATH, HOME, TMPDIR, NODE_ENV: "production", ...env },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  const lines: LogLine[] = [];
  let count = 0;
  const read = readLines(child.stderr, (text) => {
    count += 1;
    lines.push(parseLine(text));
    if (lines.length > LINES_KEPT) lines.shift();
  });
  const exited = child.exited.then(async () => {
    await read;
    return { code: child.exitCode, signal: child.signalCode };
  });
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null;
  const kill = async (signal: "SIGKILL" | "SIGTERM" | "SIGINT"): Promise<Exit> => {
    child.kill(signal);
    return await within(EXIT_MS_MAX, `process ${child.pid} ends after ${signal}`, exited);
  };
  return {
    pid: child.pid,
    lines,
    lineCount: () => count,
    exited,
    isAlive,
    kill,
    line: (event) =>
      waitUntil(
        `a line ${event}`,
        () => {
          const found = lines.find((line) => line.event === event);
          if (found === undefined && !isAlive()) {
            throw new Error(`The node ended before ${event}: ${JSON.stringify(lines.slice(-5))}`);
          }
          return found;
        },
        START_MS_MAX,
      ),
    [Symbol.asyncDispose]: async () => {
      if (showsLines) console.log(child.pid, child.exitCode, lines.slice(-8));
      if (isAlive()) child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Starts a node and waits, bounded, until it is ready. */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const started = performance.now();
  const node = spawnNode(options);
  try {
    const url = (await node.line("started")).url ?? "";
    const isReady = async (): Promise<boolean> => {
      if (!node.isAlive()) throw new Error(`The node ended: ${JSON.stringify(node.lines.at(-1))}`);
      return (await fetch(`${url}/ready`).catch(() => undefined))?.ok === true;
    };
    await waitUntil("the node is ready", isReady, START_MS_MAX);
    return { ...node, url, readyMs: performance.now() - started };
  } catch (error) {
    await node[Symbol.asyncDispose]();
    throw error;
  }
}

/** Starts a node that is expected to refuse; gives its end and what it said. */
export async function refusedStart(
  options: NodeOptions,
): Promise<Exit & { readonly lines: readonly LogLine[]; readonly fatal: LogLine | undefined }> {
  await using node = spawnNode(options);
  const exit = await within(START_MS_MAX, "the node refuses to start", node.exited);
  return { ...exit, lines: node.lines, fatal: node.lines.find((line) => line.event === "fatal") };
}

/** Runs another command of the program to its end. */
export async function runCommand(
  args: readonly string[],
): Promise<{ readonly code: number; readonly output: string }> {
  const child = Bun.spawn([...program, ...args], { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, output: output + errors };
}

/**
 * Asks again and again until there is an answer that counts.
 * @throws Error that names `what` after `boundMs`.
 */
export async function waitUntil<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  boundMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`Waited ${boundMs} ms in vain until ${what}`);
    await Bun.sleep(POLL_MS);
  }
}

/** Bounds a promise. */
export async function within<T>(boundMs: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`Waited ${boundMs} ms in vain until ${what}`)),
      boundMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function readLines(
  stream: ReadableStream<Uint8Array>,
  take: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of stream) {
    const parts = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) take(part);
  }
  if (rest !== "") take(rest);
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { text };
  }
}

/** Seconds of processor time that a process has used. */
export function cpuSeconds(pid: number): number {
  // Behind the name in brackets; user and system time are the 14th and 15th field, in hundredths.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
