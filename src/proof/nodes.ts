// The nodes that are proved: one alone, or a cluster on loopback addresses of its own.

import { Client } from "./client.ts";
import { type NodeProcess, type NodeSettings, startNode } from "./node-process.ts";
import { waitUntil } from "./patience.ts";
import type { StateReport } from "./report.ts";
import type { Scratch } from "./scratch.ts";

const SAME_MS_MAX = 60_000;
const STABLE_PAUSE_MS = 20;

/** Small files, so that a short proof fills several of them and is killed between any two steps of that, too. */
const SETTINGS: Readonly<Record<string, string>> = {
  RF_SEGMENT_BYTES: "1048576",
  RF_BODY_BYTES_MAX: "524288",
  RF_RECORD_BYTES_MAX: "262144",
  RF_LOG_LEVEL: "info",
};

/** What nodes are made of. */
export interface NodesOptions {
  readonly count: number;
  readonly program: readonly string[];
  /** What each node's environment has besides its settings. */
  readonly env: Readonly<Record<string, string>>;
  readonly token: string;
  readonly scratch: Scratch;
  /** Called when a node ends that nobody has killed. */
  readonly ended: (reason: string) => void;
}

/** One node, through all its lives. */
export class ProvedNode {
  readonly id: string;
  readonly #settings: NodeSettings;
  readonly #ended: (reason: string) => void;
  #process: NodeProcess | undefined;
  #isWanted = false;

  constructor(id: string, settings: NodeSettings, ended: (reason: string) => void) {
    this.id = id;
    this.#settings = settings;
    this.#ended = ended;
  }

  /** Base of its address; undefined while it does not serve. */
  get url(): string | undefined {
    return this.#isWanted ? this.#process?.url : undefined;
  }

  start(): void {
    const started = startNode(this.#settings);
    this.#process = started;
    this.#isWanted = true;
    started.exited.then(
      () => {
        if (this.#isWanted && this.#process === started)
          this.#ended(`${this.id} ended by itself, and said: ${started.lastWords}`);
      },
      (error: unknown) => this.#ended(String(error)),
    );
  }

  /** Waits until it is ready. */
  async ready(signal: AbortSignal): Promise<void> {
    await this.#process?.ready(signal);
  }

  /** SIGKILL, at once. `gone` waits for the end. */
  kill(): void {
    this.#isWanted = false;
    this.#process?.kill();
  }

  /** Resolves when its process has ended. */
  async gone(): Promise<void> {
    await this.#process?.exited;
  }
}

/** All nodes of a proof. Disposing of them leaves no process. */
export class Nodes implements AsyncDisposable {
  readonly all: readonly ProvedNode[];
  readonly #token: string;

  constructor(options: NodesOptions) {
    const { count, program, env, token, scratch, ended } = options;
    this.#token = token;
    const ids = Array.from({ length: count }, (_, i) => `node${i + 1}`);
    // An own address per node, drawn for each proof: ports that are free now will be free when the node takes them.
    const block = `127.${randomByte()}.${randomByte()}`;
    const hosts = ids.map((_, i) => (count === 1 ? "127.0.0.1" : `${block}.${i + 1}`));
    const list = ids.map((id, i) => `${id}:${hosts[i]}:${freePort(hosts[i] ?? "")}:100`).join(",");
    this.all = ids.map((id, i) => {
      const cluster = { RF_HA_ENABLED: "1", RF_HA_NODES: list, RF_HA_NODE_ID: id };
      return new ProvedNode(
        id,
        {
          program,
          dataDir: scratch.directory(id),
          env: {
            ...env,
            ...SETTINGS,
            RF_HTTP_ADDR: `${hosts[i]}:0`,
            RF_BEARER_TOKENS: token,
            ...(count > 1 && cluster),
            ...(count > 1 && i === 0 && { RF_HA_BOOTSTRAP_LEADER: "1" }),
          },
        },
        ended,
      );
    });
  }

  /** Addresses of those that serve. */
  get urls(): readonly string[] {
    return this.all.flatMap(({ url }) => (url === undefined ? [] : [url]));
  }

  /** Starts all and waits until each is ready. */
  async start(signal: AbortSignal): Promise<void> {
    for (const node of this.all) node.start();
    await Promise.all(this.all.map((node) => node.ready(signal)));
  }

  /** The node at an address. */
  at(url: string): ProvedNode | undefined {
    return this.all.find((node) => node.url === url);
  }

  /** Waits until all nodes show their state at the same place in the log, and gives what each shows. */
  async states(signal: AbortSignal): Promise<readonly StateReport[]> {
    return await waitUntil(
      "all nodes have applied the same",
      async () => {
        const shown: StateReport[] = [];
        for (const { id, url } of this.all) {
          if (url === undefined) return undefined;
          using client = new Client(url, this.#token);
          const state = await client.stateHash();
          if (state === undefined) return undefined;
          shown.push({ node: id, applied_index: state.index, hash: state.hash });
        }
        const [first] = shown;
        if (shown.every(({ applied_index: index }) => index === first?.applied_index)) return shown;
        await Bun.sleep(STABLE_PAUSE_MS);
        return undefined;
      },
      { boundMs: SAME_MS_MAX, signal },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.all) node.kill();
    await Promise.all(this.all.map((node) => node.gone()));
  }
}

const randomByte = (): number => 1 + Math.floor(Math.random() * 253);

/** A port that is free on an address which nobody else uses. */
function freePort(host: string): number {
  using listener = Bun.listen({ hostname: host, port: 0, socket: { data: () => undefined } });
  return listener.port;
}
