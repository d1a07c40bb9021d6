// A node as a process of ours: started, killed, started again. It ends with us, however we end: its standard input is a
// pipe that the kernel closes with us, and RF_STOP_WITH_STDIN makes it look.

import { waitUntil } from "./patience.ts";

const START_MS_MAX = 30_000;
const ASK_MS_MAX = 1000;
/** Lines of its log that are kept, to say why it ended. */
const LINES_KEPT = 50;
const LINE_CHARS_MAX = 2000;

/** What a node is started with. */
export interface NodeSettings {
  /** The executable and its first arguments. */
  readonly program: readonly string[];
  /** The whole environment, settings included. */
  readonly env: Readonly<Record<string, string>>;
  readonly dataDir: string;
}

/** Kills what still runs when this process exits: a proof that is cut short comes to no end of its own. */
const running = new Set<Bun.Subprocess<"pipe", "ignore", "pipe">>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** One life of a node. */
export class NodeProcess implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"pipe", "ignore", "pipe">;
  readonly #lines: string[] = [];
  #url: string | undefined;
  /** Resolves when it has ended. */
  readonly exited: Promise<void>;

  constructor({ program, env, dataDir }: NodeSettings) {
    this.#child = Bun.spawn([...program, "--data", dataDir], {
      env: { ...env, RF_STOP_WITH_STDIN: "1" },
      stdin: "pipe",
      stdout: "ignore",
      stderr: "pipe",
    });
    running.add(this.#child);
    const read = this.#read();
    this.exited = this.#child.exited.then(async () => {
      running.delete(this.#child);
      await read;
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Base of its HTTP address, once it has said that it serves. */
  get url(): string | undefined {
    return this.#url;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Its last words, for whoever wants to know why it ended. */
  get lastWords(): string {
    return this.#lines.find((line) => line.includes('"fatal"')) ?? this.#lines.at(-1) ?? "nothing";
  }

  /** SIGKILL, at once. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Waits until `/ready` says so; returns the base of its address. */
  async ready(signal: AbortSignal): Promise<string> {
    return await waitUntil(
      "a node is ready",
      async () => {
        if (!this.isAlive)
          throw new Error(`The node ended before it was ready, and said: ${this.lastWords}`);
        if (this.#url === undefined) return undefined;
        const reply = await fetch(`${this.#url}/ready`, {
          // A connection of its own: one that is kept may be to a process that is gone.
          keepalive: false,
          signal: AbortSignal.timeout(ASK_MS_MAX),
        }).catch(() => undefined);
        return reply?.ok === true && this.#url;
      },
      { boundMs: START_MS_MAX, signal },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.exited;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const piece of this.#child.stderr) {
      const parts = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = (parts.pop() ?? "").slice(0, LINE_CHARS_MAX);
      for (const part of parts) this.#take(part);
    }
    if (rest !== "") this.#take(rest);
  }

  #take(line: string): void {
    this.#lines.push(line.slice(0, LINE_CHARS_MAX));
    if (this.#lines.length > LINES_KEPT) this.#lines.shift();
    if (!line.includes('"event":"started"')) return;
    try {
      const { url } = JSON.parse(line) as { readonly url?: unknown };
      if (typeof url === "string") this.#url = url;
    } catch {
      // Not a line of a node: another program was named, and it will not become ready.
    }
  }
}

/** Starts a node and returns at once. */
export const startNode = (settings: NodeSettings): NodeProcess => new NodeProcess(settings);
