// Many writers at once on a running node, until it dies or is told to stop. What was acknowledged goes to the oracle;
// what had a key and got no answer is kept, to be sent again.

import type { Prng } from "../../src/lib/prng.ts";
import { commit, produce, produceBatch, type WriteReply, type WriteTarget } from "./node-client.ts";
import { type LogOracle, recordValues } from "./node-oracle.ts";
import { waitUntil } from "./node-process.ts";

const BATCH_RECORDS_MAX = 40;
/** Long keys make the state files grow, so that merges come soon. */
const KEY_CHARS = 200;
const SMALL_BYTES_MAX = 500;
const REACH_MS_MAX = 60_000;

/** A request, so that it can be sent again as it was. */
interface Request {
  readonly id: string;
  readonly target: WriteTarget;
  readonly values: readonly string[];
  readonly isBatch: boolean;
}

/** What a load is made of. */
export interface LoadOptions {
  readonly topic: string;
  readonly partitions: number;
  readonly writers: number;
  /** Bytes of the few large records. */
  readonly largeBytes: number;
  readonly random: Prng;
  readonly oracle: LogOracle;
}

/** Writes to one topic, round after round. */
export class Load {
  /** Requests without an answer in this round, keyed or not. */
  unanswered = 0;
  /** How connections ended under them, by code. */
  readonly breaks = new Map<string, number>();
  /** Keyed requests that were sent again, and those of them that the node already had. */
  retried = 0;
  duplicates = 0;
  /** Answers other than 200, by status and name. */
  readonly refusals = new Map<string, number>();
  readonly #options: LoadOptions;
  #pending: Request[] = [];
  #requests = 0;
  #answers = 0;
  #isStopping = false;
  /** Next offsets as far as replies have told, for commits. */
  readonly #ends: number[];

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#ends = Array.from({ length: options.partitions }, () => 0);
  }

  /** Requests that were answered in this round. */
  get answers(): number {
    return this.#answers;
  }

  /** Sends again what had a key and got no answer. */
  async retry(url: string): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    for (const request of pending) {
      this.retried += 1;
      const reply = await this.#send(url, request);
      if (reply?.isDuplicate === true) this.duplicates += 1;
    }
  }

  /**
   * Writes until the connection breaks or `stop` is called.
   * @returns when `answers` requests have been answered, and a promise of the end of all writers.
   */
  async run(url: string, answers: number): Promise<{ readonly ended: Promise<void> }> {
    this.#isStopping = false;
    this.#answers = 0;
    this.unanswered = 0;
    let writing = this.#options.writers;
    const writers = Array.from({ length: writing }, () =>
      this.#write(url).finally(() => {
        writing -= 1;
      }),
    );
    const ended = Promise.all(writers).then(() => undefined);
    const isReached = (): boolean => this.#answers >= answers || writing === 0;
    await waitUntil(`${answers} requests are answered`, isReached, REACH_MS_MAX);
    return { ended };
  }

  /** Lets every writer finish its request. */
  stop(): void {
    this.#isStopping = true;
  }

  async #write(url: string): Promise<void> {
    const { random } = this.#options;
    while (!this.#isStopping) {
      const isAnswered = random.chance(0.1)
        ? await this.#commit(url)
        : (await this.#send(url, this.#draw())) !== undefined;
      if (!isAnswered) return;
      this.#answers += 1;
    }
  }

  #draw(): Request {
    const { random, topic, partitions, largeBytes } = this.#options;
    const id = `r${this.#requests++}`;
    const isBatch = random.chance(0.3);
    const count = isBatch ? 1 + random.below(BATCH_RECORDS_MAX) : 1;
    const bytes = !isBatch && random.chance(0.1) ? largeBytes : 40 + random.below(SMALL_BYTES_MAX);
    const partition = random.chance(0.3) ? undefined : random.below(partitions);
    const idempotencyKey = random.chance(0.4) ? id.padStart(KEY_CHARS, "k") : undefined;
    const target = { topic, partition, idempotencyKey };
    return { id, target, values: recordValues(id, count, bytes), isBatch };
  }

  /** Undefined: nobody knows what became of it. */
  async #send(url: string, request: Request): Promise<WriteReply | undefined> {
    const { id, target, values, isBatch } = request;
    const { oracle } = this.#options;
    try {
      const reply = isBatch
        ? await produceBatch(url, target, values)
        : await produce(url, target, values[0] as string);
      if (reply.status === 200) {
        oracle.acknowledge(id, values.length, reply);
        this.#ends[reply.partition] = reply.offset + reply.count;
        return reply;
      }
      const name = `${reply.status} ${reply.error}`;
      this.refusals.set(name, (this.refusals.get(name) ?? 0) + 1);
      if (reply.status !== 504) return reply;
    } catch (error) {
      this.unanswered += 1;
      const code = String((error as { readonly code?: unknown }).code);
      this.breaks.set(code, (this.breaks.get(code) ?? 0) + 1);
    }
    if (target.idempotencyKey !== undefined) this.#pending.push(request);
    return undefined;
  }

  async #commit(url: string): Promise<boolean> {
    const { random, oracle, topic, partitions } = this.#options;
    const partition = random.below(partitions);
    const end = this.#ends[partition] ?? 0;
    if (end === 0) return true;
    // Now and then one that goes back, which changes nothing.
    const offset = random.chance(0.2) ? random.below(end) : end - 1;
    oracle.commitAsked(partition, offset);
    try {
      const status = await commit(url, topic, "workers", partition, offset);
      if (status === 200) oracle.commitAcknowledged(partition, offset);
      return true;
    } catch {
      return false;
    }
  }
}
