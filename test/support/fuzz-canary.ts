// Clients that behave, beside the fuzzer: one appends to a topic of its own and reads it back, one counts a key up, one asks
// whether the node is ready. What they see must be theirs, whole and in time.

import type { FuzzOracle } from "./fuzz-oracle.ts";

const TOPIC = "canary";
/** `/ready` may take this long on a machine that does other things, too. */
export const READY_MS_MAX = 5000;
const PAUSE_MS = 15;

/** Runs them all until it is stopped. */
export class Canary {
  readyMsMax = 0;
  written = 0;
  read = 0;
  puts = 0;
  #isStopping = false;
  readonly #url: string;
  readonly #oracle: FuzzOracle;
  readonly #running: Promise<unknown>;

  private constructor(url: string, oracle: FuzzOracle) {
    this.#url = url;
    this.#oracle = oracle;
    this.#running = Promise.all([this.#write(), this.#read(), this.#count(), this.#ready()]);
  }

  /** Makes the topic and starts. */
  static async start(url: string, oracle: FuzzOracle): Promise<Canary> {
    const made = await ask(url, "/broker/topics", "POST", `{"name":"${TOPIC}","partitions":1}`);
    if (made.status !== 200) throw new Error(`Cannot make ${TOPIC}: ${made.text}`);
    return new Canary(url, oracle);
  }

  /** Stops, and reads everything once more. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
    this.read = 0;
    while (this.read < this.written) {
      const before = this.read;
      await this.#readPage();
      if (this.read > before) continue;
      this.#oracle.fault(`canary: ${this.written} were written and ${this.read} are there`);
      return;
    }
  }

  async #loop(pauseMs: number, turn: () => Promise<void>): Promise<void> {
    while (!this.#isStopping) {
      try {
        await turn();
      } catch (error) {
        this.#oracle.fault(`canary: ${String(error)}`);
        return;
      }
      await Bun.sleep(pauseMs);
    }
  }

  #write(): Promise<void> {
    return this.#loop(PAUSE_MS, async () => {
      const path = `/broker/topics/${TOPIC}/produce?partition=0`;
      const { status, text } = await ask(this.#url, path, "POST", `canary ${this.written}`);
      if (status === 503) return;
      if (status !== 200 || (JSON.parse(text) as { offset: number }).offset !== this.written)
        this.#oracle.fault(`canary: record ${this.written} got ${status} ${text}`);
      this.written += 1;
    });
  }

  #read(): Promise<void> {
    return this.#loop(PAUSE_MS, () => this.#readPage());
  }

  async #readPage(): Promise<void> {
    const path = `/broker/consume/${TOPIC}/g/0?offset=${this.read}&limit=1000&strict=1`;
    const { status, text } = await ask(this.#url, path);
    if (status !== 200) {
      this.#oracle.fault(`canary: reading got ${status} ${text}`);
      return;
    }
    const { messages } = JSON.parse(text) as {
      readonly messages: readonly { readonly offset: number; readonly value: string }[];
    };
    for (const { offset, value } of messages) {
      if (offset !== this.read || value !== `canary ${offset}`)
        this.#oracle.fault(`canary: ${value} at ${offset}, where ${this.read} was next`);
      this.read = offset + 1;
    }
  }

  #count(): Promise<void> {
    return this.#loop(PAUSE_MS, async () => {
      const path = `/kv/${TOPIC}/count?cas=${this.puts}`;
      const { status, text } = await ask(this.#url, path, "PUT", String(this.puts));
      if (status === 503) return;
      if (status !== 200) this.#oracle.fault(`canary: put ${this.puts} got ${status} ${text}`);
      this.puts += 1;
    });
  }

  #ready(): Promise<void> {
    return this.#loop(50, async () => {
      const asked = performance.now();
      const { status, text } = await ask(this.#url, "/ready");
      const tookMs = performance.now() - asked;
      this.readyMsMax = Math.max(this.readyMsMax, tookMs);
      if (status !== 200 || text !== '{"ready":true}')
        this.#oracle.fault(`canary: /ready said ${status} ${text}`);
      if (tookMs > READY_MS_MAX) this.#oracle.fault(`canary: /ready took ${tookMs.toFixed(0)} ms`);
    });
  }
}

async function ask(
  url: string,
  path: string,
  method = "GET",
  body?: string,
): Promise<{ readonly status: number; readonly text: string }> {
  const reply = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: "Bearer canary" },
    signal: AbortSignal.timeout(60_000),
    ...(body !== undefined && { body }),
  });
  return { status: reply.status, text: await reply.text() };
}
