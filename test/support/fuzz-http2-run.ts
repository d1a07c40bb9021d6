// One run of the HTTP/2 fuzzer against a running node: connections that tell stories, clients that behave beside them, and at
// the end the count of what was stored, of memory and of descriptors.

import { connect } from "node:http2";
import { Prng } from "../../src/lib/prng.ts";
import { FRAME, FRAME_HEADER_BYTES } from "../../src/load/http2-frames.ts";
import { Canary } from "./fuzz-canary.ts";
import { Http2Stories, type Http2Story } from "./fuzz-http2-stories.ts";
import { FuzzOracle } from "./fuzz-oracle.ts";
import { descriptors, resident, settle } from "./process-resources.ts";

/** How much is done. */
export interface Http2FuzzOptions {
  readonly url: string;
  readonly pid: number;
  readonly seed: number;
  readonly stories: number;
  readonly workers: number;
  readonly isAlive: () => boolean;
  readonly progress?: (text: string) => void;
}

/** What came of it. */
export interface Http2FuzzOutcome {
  readonly faults: readonly string[];
  readonly stories: number;
  /** Header blocks that the node sent: answers, most of them. */
  readonly replies: number;
  /** Records of stories that are stored. */
  readonly records: number;
  readonly canaryRecords: number;
  /** Requests of the client that speaks HTTP/2 as it should. */
  readonly neighbourRequests: number;
  readonly readyMsMax: number;
  readonly startMebibytes: number;
  readonly endMebibytes: number;
  readonly peakMebibytes: number;
  readonly startDescriptors: number;
  readonly endDescriptors: number;
  readonly elapsedMs: number;
}

const TOPIC = "fuzz.http2";
/** Nobody waits longer for what a story may come to. */
const STORY_MS_MAX = 150;
const ANSWER_MS_MAX = 30_000;
const PAUSE_MS = 10;
const PROGRESS_STORIES = 1000;
/** Stories after which pools and caches are full, and memory counts. */
const WARM_STORIES = 200;

/** Runs it. */
export async function runHttp2Fuzz(options: Http2FuzzOptions): Promise<Http2FuzzOutcome> {
  const { url, pid, seed, isAlive } = options;
  const started = performance.now();
  const port = Number(new URL(url).port);
  const oracle = new FuzzOracle();
  const random = new Prng(seed);
  await ask(url, "POST", "/broker/topics", `{"name":"${TOPIC}","partitions":1}`);
  const drawers = Array.from(
    { length: options.workers },
    (_, i) => new Http2Stories(random.fork(`worker ${i}`)),
  );
  let [stories, replies] = [0, 0];
  const work = (until: number): Promise<unknown> =>
    Promise.all(
      drawers.map(async (drawer) => {
        while (stories < until && isAlive()) {
          stories += 1;
          if (stories % PROGRESS_STORIES === 0)
            options.progress?.(`${stories} stories, ${replies} replies, ${resident(pid)} MiB`);
          replies += await tell(port, drawer.next(), drawer.random);
        }
      }),
    );
  await work(Math.min(WARM_STORIES, options.stories / 2));
  await settle(() => descriptors(pid) < 100);
  const start = { mebibytes: resident(pid), descriptors: descriptors(pid) };
  const canary = await Canary.start(url, oracle);
  const neighbour = new Neighbour(url, oracle);
  await work(options.stories);
  if (!isAlive()) oracle.fault("the node has ended");
  await neighbour.stop();
  await canary.stop();
  const records = await checkStored(url, drawers, oracle);
  await settle(
    () => descriptors(pid) <= start.descriptors + 10 && resident(pid) <= start.mebibytes,
  );
  return {
    faults: oracle.faults,
    stories,
    replies,
    records,
    canaryRecords: canary.written,
    neighbourRequests: neighbour.answered,
    readyMsMax: canary.readyMsMax,
    startMebibytes: start.mebibytes,
    endMebibytes: resident(pid),
    peakMebibytes: resident(pid, "VmHWM"),
    startDescriptors: start.descriptors,
    endDescriptors: descriptors(pid),
    elapsedMs: performance.now() - started,
  };
}

/** Sends a story on a connection of its own, reads for a while or not at all, and goes. @returns how many header blocks came. */
async function tell(port: number, { bytes }: Http2Story, random: Prng): Promise<number> {
  const counter = new FrameCounter();
  const closed = Promise.withResolvers<void>();
  let unsent = bytes;
  const flush = (socket: { write(bytes: Uint8Array): number }): void => {
    while (unsent.length > 0) {
      const written = socket.write(unsent);
      if (written <= 0) return;
      unsent = unsent.subarray(written);
    }
  };
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data: (_, piece) => counter.take(piece),
      drain: flush,
      close: () => closed.resolve(),
      error: () => closed.resolve(),
    },
  });
  const isDeaf = random.chance(0.15);
  if (isDeaf) socket.pause();
  flush(socket);
  await Promise.race([closed.promise, Bun.sleep(random.below(STORY_MS_MAX))]);
  if (random.chance(0.5)) socket.end();
  else socket.terminate();
  // A deaf client may have a reply in the way of its end.
  if (isDeaf) socket.terminate();
  return counter.headers;
}

/** Counts the header blocks in what a server sends. */
class FrameCounter {
  headers = 0;
  #head: number[] = [];
  #payload = 0;

  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const skipped = Math.min(this.#payload, bytes.length - at);
      this.#payload -= skipped;
      at += skipped;
      if (this.#payload > 0 || at === bytes.length) return;
      this.#head.push(bytes[at++] as number);
      if (this.#head.length < FRAME_HEADER_BYTES) continue;
      const [high = 0, middle = 0, low = 0, type] = this.#head;
      this.#payload = (high << 16) | (middle << 8) | low;
      if (type === FRAME.headers) this.headers += 1;
      this.#head = [];
    }
  }
}

/** A client that speaks HTTP/2 as it should, on one connection for the whole run: each answer is to its own request. */
class Neighbour {
  answered = 0;
  #isStopping = false;
  readonly #oracle: FuzzOracle;
  readonly #session: ReturnType<typeof connect>;
  readonly #running: Promise<void>;

  constructor(url: string, oracle: FuzzOracle) {
    this.#oracle = oracle;
    this.#session = connect(url);
    this.#session.on("error", (error) => oracle.fault(`neighbour: ${String(error)}`));
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
    this.#session.close();
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const name = `neighbour.${this.answered}`;
      const text = await this.#get(`/broker/topics/${name}`);
      if (!text.includes(`Topic ${name} does not exist`)) {
        this.#oracle.fault(`neighbour: ${name} got ${text.slice(0, 300)}`);
        return;
      }
      this.answered += 1;
      await Bun.sleep(PAUSE_MS);
    }
  }

  #get(path: string): Promise<string> {
    const stream = this.#session.request({ ":path": path, authorization: "Bearer whole" });
    const ended = Promise.withResolvers<string>();
    let text = "";
    stream.setEncoding("utf8");
    stream.on("data", (piece: string) => {
      text += piece;
    });
    stream.on("end", () => ended.resolve(text));
    stream.on("error", (error) => ended.resolve(String(error)));
    const late = setTimeout(() => ended.resolve("nothing in time"), ANSWER_MS_MAX);
    stream.end();
    return ended.promise.finally(() => clearTimeout(late));
  }
}

/** What a produce of a story stored is there once. @returns how much there is. */
async function checkStored(
  url: string,
  drawers: readonly Http2Stories[],
  oracle: FuzzOracle,
): Promise<number> {
  const seen = new Set<string>();
  for (let next = 0; ; ) {
    const path = `/broker/consume/${TOPIC}/g/0?offset=${next}&limit=1000`;
    const page = JSON.parse(await ask(url, "GET", path)) as {
      readonly messages: readonly { readonly offset: number; readonly value: string }[];
      readonly truncated: boolean;
    };
    for (const { offset, value } of page.messages) {
      if (offset !== next) oracle.fault(`${offset} where ${next} was next`);
      next = offset + 1;
      // Others are of bodies that were spoiled.
      if (!drawers.some(({ markers }) => markers.has(value))) continue;
      if (seen.has(value)) oracle.fault(`${value} ran twice`);
      seen.add(value);
    }
    if (!page.truncated) return seen.size;
  }
}

async function ask(url: string, method: string, path: string, body?: string): Promise<string> {
  const reply = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: "Bearer whole" },
    ...(body !== undefined && { body }),
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
  return text;
}
