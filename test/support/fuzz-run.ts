// One run of the HTTP fuzzer against a running node: workers that draw from the seed, well-behaved and slow clients beside
// them, and at the end the count of what was stored, of memory and of descriptors.

import { Prng } from "../../src/lib/prng.ts";
import { Canary } from "./fuzz-canary.ts";
import { FuzzOracle } from "./fuzz-oracle.ts";
import { type FuzzRequest, Requests, routesOf } from "./fuzz-requests.ts";
import { SHAPES } from "./fuzz-shapes.ts";
import { SlowClients } from "./fuzz-slow.ts";
import { FUZZ_TOPICS, spoilBytes } from "./fuzz-values.ts";
import { Wire } from "./fuzz-wire.ts";
import { descriptors, resident, settle } from "./process-resources.ts";

/** Tokens of the node: the fuzzer's reaches its own topics alone, `whole` everything, the canary's its own. */
export const FUZZ_SETTINGS: Readonly<Record<string, string>> = {
  RF_BEARER_TOKENS: "fuzz@admin=fuzz.*,whole,canary",
  RF_HTTP_ADDR: "127.0.0.1:0",
  RF_IDEMPOTENCY_KEYS_MAX: "10000",
};

/** How much is done. */
export interface FuzzOptions {
  readonly url: string;
  readonly pid: number;
  readonly seed: number;
  readonly requests: number;
  readonly workers: number;
  readonly slowClients: number;
  readonly isAlive: () => boolean;
  readonly progress?: (text: string) => void;
}

/** What came of it. */
export interface FuzzOutcome {
  readonly faults: readonly string[];
  readonly requests: number;
  readonly replies: number;
  readonly statuses: ReadonlyMap<string, number>;
  /** What the server did with each shape: replies, `closed`, `waits`. */
  readonly shapes: ReadonlyMap<string, string>;
  readonly canaryRecords: number;
  readonly slowClients: number;
  readonly readyMsMax: number;
  readonly onceRecords: number;
  readonly startMebibytes: number;
  readonly endMebibytes: number;
  readonly peakMebibytes: number;
  readonly startDescriptors: number;
  readonly endDescriptors: number;
  readonly elapsedMs: number;
  /** The request that waited longest for its answer. */
  readonly slowest: { readonly ms: number; readonly request: string };
}

/** A reply must come within this, on a machine that does other things, too. */
const ANSWER_MS_MAX = 30_000;
/** Bytes that may be no whole request are given this long to be answered. */
const SPOILED_MS_MAX = 25;
const PROGRESS_REQUESTS = 50_000;
const ONCE = "fuzz.once";
const SMUGGLED = "fuzz.smuggled";
/** Requests after which the node has seen every route, and its memory counts. */
const WARM_REQUESTS = 3000;

/** Runs it. */
export async function runHttpFuzz(options: FuzzOptions): Promise<FuzzOutcome> {
  const run = new Run(options);
  return await run.run();
}

class Run {
  readonly #options: FuzzOptions;
  readonly #oracle = new FuzzOracle();
  readonly #port: number;
  readonly #random: Prng;
  readonly #shapes = new Map<string, string>();
  /** Appends to `fuzz.once` by marker: the offset that was answered. */
  readonly #once = new Map<string, number | undefined>();
  #requests = 0;
  #slowest = { ms: 0, request: "" };

  constructor(options: FuzzOptions) {
    this.#options = options;
    this.#port = Number(new URL(options.url).port);
    this.#random = new Prng(options.seed);
  }

  async run(): Promise<FuzzOutcome> {
    const { url, pid, seed, requests, workers } = this.#options;
    const started = performance.now();
    const routes = routesOf(await (await fetch(`${url}/openapi.json`)).json());
    await this.#prepare();
    const drawers = Array.from({ length: workers }, (_, i) => {
      const random = this.#random.fork(`worker ${i}`);
      return { random, drawer: new Requests(random, routes, seed * 1000 + i) };
    });
    const work = (until: number): Promise<unknown> =>
      Promise.all(drawers.map(({ random, drawer }) => this.#work(random, drawer, until)));
    await work(Math.min(WARM_REQUESTS, requests / 2));
    await settle(() => descriptors(pid) < 100);
    const start = { mebibytes: resident(pid), descriptors: descriptors(pid) };
    const canary = await Canary.start(url, this.#oracle);
    const slow = new SlowClients(this.#port, this.#random.fork("slow"), this.#options.slowClients);
    for (let done = this.#requests; done < requests; done = this.#requests) {
      await work(Math.min(requests, done + PROGRESS_REQUESTS));
      this.#options.progress?.(
        `${this.#requests} requests, ${this.#oracle.faults.length} faults ${this.#oracle.faults.at(-1) ?? ""}`,
      );
      if (!this.#options.isAlive()) {
        this.#oracle.fault("the node has ended");
        break;
      }
    }
    await slow.stop();
    await canary.stop();
    const onceRecords = await this.#checkStored();
    await settle(
      () => descriptors(pid) <= start.descriptors + 10 && resident(pid) <= start.mebibytes,
    );
    return {
      faults: this.#oracle.faults,
      requests: this.#requests,
      replies: this.#oracle.replies,
      statuses: this.#oracle.statuses,
      shapes: this.#shapes,
      canaryRecords: canary.written,
      slowClients: slow.started,
      readyMsMax: canary.readyMsMax,
      onceRecords,
      startMebibytes: start.mebibytes,
      endMebibytes: resident(pid),
      peakMebibytes: resident(pid, "VmHWM"),
      startDescriptors: start.descriptors,
      endDescriptors: descriptors(pid),
      elapsedMs: performance.now() - started,
      slowest: this.#slowest,
    };
  }

  async #prepare(): Promise<void> {
    for (const name of [...FUZZ_TOPICS, ONCE, SMUGGLED, "fuzz.big", "fuzz.slow"]) {
      await this.#ask("POST", "/broker/topics", JSON.stringify({ name, partitions: 4 }));
    }
    for (let i = 0; i < 8; i++)
      await this.#ask("POST", "/broker/topics/fuzz.big/produce?partition=0", "b".repeat(900_000));
    // What the fuzzer stores goes again, so that what stays in memory is not what it stored.
    for (const topic of FUZZ_TOPICS)
      await this.#ask("POST", "/broker/retention", JSON.stringify({ topic, max_bytes: 100_000 }));
  }

  async #ask(method: string, path: string, body?: string): Promise<string> {
    const reply = await fetch(`${this.#options.url}${path}`, {
      method,
      headers: { authorization: "Bearer fuzz" },
      ...(body !== undefined && { body }),
    });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
    return text;
  }

  async #work(random: Prng, drawer: Requests, until: number): Promise<void> {
    let wire: Wire | undefined;
    while (this.#requests < until && this.#options.isAlive()) {
      const draw = random.below(100);
      if (draw < 70) {
        if (wire === undefined || wire.isClosed) wire = await Wire.open(this.#port);
        wire = await this.#plain(wire, random.chance(0.05) ? drawer.echo() : drawer.any());
      } else if (draw < 80) await this.#spoiled(random, drawer);
      else if (draw < 86) await this.#shape(random, drawer);
      else if (draw < 93) await this.#pipeline(random, drawer);
      else if (draw < 96) await this.#pieces(random, drawer);
      else await this.#abort(random, drawer);
    }
    wire?.close();
  }

  /** A request alone on its connection is always answered. @returns the connection, when it can be used on. */
  async #plain(wire: Wire, request: FuzzRequest): Promise<Wire | undefined> {
    this.#requests += 1;
    const before = wire.replies.length;
    wire.send(request.bytes, [request.method]);
    const asked = performance.now();
    const isAnswered = await wire.settled(before + 1, ANSWER_MS_MAX);
    const reply = wire.replies[before];
    const tookMs = performance.now() - asked;
    if (tookMs > this.#slowest.ms) this.#slowest = { ms: tookMs, request: shownRequest(request) };
    if (!isAnswered) this.#oracle.fault(`no answer: ${shownRequest(request)}`);
    else if (reply === undefined)
      this.#oracle.fault(`closed without an answer: ${shownRequest(request)}`);
    if (reply !== undefined) this.#oracle.judge(reply, request, "plain");
    // A bare refusal ends its connection, and so does what says so; that the end has not come yet means nothing.
    const isLast = reply === undefined || reply.headers.get("connection") === "close";
    if (!isLast && !reply.isOpen && !wire.isClosed && wire.garbage === "") {
      wire.replies.length = 0;
      return wire;
    }
    wire.close();
    return undefined;
  }

  async #spoiled(random: Prng, drawer: Requests): Promise<void> {
    this.#requests += 1;
    const wire = await Wire.open(this.#port);
    wire.send(spoilBytes(random, drawer.any().bytes));
    await wire.settled(1, SPOILED_MS_MAX);
    for (const reply of wire.replies) this.#oracle.judge(reply, undefined, "spoiled");
    wire.close();
  }

  async #shape(random: Prng, drawer: Requests): Promise<void> {
    this.#requests += 1;
    const shape = SHAPES[random.below(SHAPES.length)];
    if (shape === undefined) return;
    const marker = drawer.marker();
    const inner = Buffer.from(drawer.produce(SMUGGLED).bytes).toString("latin1");
    const wire = await Wire.open(this.#port);
    wire.send(Buffer.from(shape.bytes(inner, `/nothing/${marker}`), "latin1"));
    const isSettled = await wire.settled(2, shape.wanted === "closed" ? 300 : SPOILED_MS_MAX);
    for (const reply of wire.replies) this.#oracle.judge(reply, undefined, shape.name);
    const statuses = wire.replies.map(({ status }) => status).join(" ");
    this.#shapes.set(
      shape.name,
      `${statuses} ${wire.isClosed ? "closed" : isSettled ? "open" : "waits"}`.trim(),
    );
    // What is refused before its body comes is refused once more when the body is none; and then nothing else is read.
    const last = wire.replies.at(-1);
    if (wire.replies.length > 1 && (last?.body !== "" || !(await wire.settled(3, ANSWER_MS_MAX))))
      this.#oracle.fault(`${shape.name}: two answers, ${statuses}`);
    wire.close();
  }

  /** Several requests at once: answered in order, or the connection ends; nothing hangs. */
  async #pipeline(random: Prng, drawer: Requests): Promise<void> {
    const count = 2 + random.below(4);
    this.#requests += count;
    const requests = Array.from({ length: count }, () =>
      random.chance(0.5) ? drawer.echo() : this.#produceOnce(drawer),
    );
    const wire = await Wire.open(this.#port);
    wire.send(
      new Uint8Array(Buffer.concat(requests.map(({ bytes }) => bytes))),
      requests.map(({ method }) => method),
    );
    const isSettled = await wire.settled(count, ANSWER_MS_MAX);
    if (!isSettled)
      this.#oracle.fault(`pipeline: ${wire.replies.length} of ${count}, then nothing`);
    for (const [i, reply] of wire.replies.entries()) {
      const request = requests[i];
      this.#oracle.judge(reply, request, "pipeline");
      if (request !== undefined) this.#acknowledge(request, reply);
    }
    wire.close();
  }

  async #pieces(random: Prng, drawer: Requests): Promise<void> {
    this.#requests += 1;
    const request = random.chance(0.5) ? this.#produceOnce(drawer) : drawer.any();
    const wire = await Wire.open(this.#port);
    let at = 0;
    while (at < request.bytes.length) {
      const size = 1 + random.below(Math.max(1, request.bytes.length >> 1));
      wire.send(request.bytes.subarray(at, at + size), at === 0 ? [request.method] : []);
      at += size;
      await Bun.sleep(0);
    }
    if (!(await wire.settled(1, ANSWER_MS_MAX))) this.#oracle.fault("pieces: no answer");
    const [reply] = wire.replies;
    if (reply !== undefined) {
      this.#oracle.judge(reply, request, "pieces");
      this.#acknowledge(request, reply);
    }
    wire.close();
  }

  /** Goes away in the middle, or before the answer. */
  async #abort(random: Prng, drawer: Requests): Promise<void> {
    this.#requests += 1;
    const request = random.chance(0.5) ? this.#produceOnce(drawer) : drawer.any();
    const wire = await Wire.open(this.#port);
    const isWhole = random.chance(0.5);
    wire.send(
      isWhole ? request.bytes : request.bytes.subarray(0, random.below(request.bytes.length)),
    );
    if (random.chance(0.5)) await Bun.sleep(random.below(3));
    const way = random.below(3);
    if (way === 0) wire.reset();
    else if (way === 1) wire.close();
    else {
      wire.halfClose();
      await wire.settled(1, SPOILED_MS_MAX);
      for (const reply of wire.replies) this.#oracle.judge(reply, undefined, "half closed");
      wire.close();
    }
  }

  #produceOnce(drawer: Requests): FuzzRequest {
    const request = drawer.produce(ONCE);
    this.#once.set(request.marker, undefined);
    return request;
  }

  #acknowledge(
    request: FuzzRequest,
    { status, body }: { readonly status: number; readonly body: string },
  ): void {
    if (status !== 200 || !this.#once.has(request.marker)) return;
    this.#once.set(request.marker, (JSON.parse(body) as { readonly offset: number }).offset);
  }

  /** Each append is there once at most; those that were answered are where the answer said; nothing was smuggled. */
  async #checkStored(): Promise<number> {
    const smuggled = JSON.parse(
      await this.#ask("GET", `/broker/consume/${SMUGGLED}/g/0?offset=0`),
    ) as Page;
    for (const { value } of smuggled.messages) this.#oracle.fault(`smuggled: ${value}`);
    const seen = new Map<string, number>();
    for (let next = 0; ; ) {
      const path = `/broker/consume/${ONCE}/g/0?offset=${next}&limit=1000`;
      const page = JSON.parse(await this.#ask("GET", path)) as Page;
      for (const { offset, value } of page.messages) {
        if (offset !== next) this.#oracle.fault(`once: ${offset} where ${next} was next`);
        next = offset + 1;
        if (seen.has(value)) this.#oracle.fault(`once: ${value} ran twice`);
        if (!this.#once.has(value)) this.#oracle.fault(`once: ${value} was never sent`);
        seen.set(value, offset);
      }
      if (!page.truncated) break;
    }
    for (const [marker, offset] of this.#once) {
      if (offset !== undefined && seen.get(marker) !== offset)
        this.#oracle.fault(`once: ${marker} was answered ${offset} and is at ${seen.get(marker)}`);
    }
    return seen.size;
  }
}

const shownRequest = ({ bytes }: FuzzRequest): string =>
  Buffer.from(bytes).toString("latin1", 0, 800);

interface Page {
  readonly messages: readonly { readonly offset: number; readonly value: string }[];
  readonly truncated: boolean;
}
