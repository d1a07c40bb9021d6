// Writers side by side, each with one request in flight: single records and batches, with idempotency keys and without.
// What had a key and got no reply is sent again until it has one; what had none is left to its fate.

import type { Ledger, Placement, WriteRequest } from "./ledger.ts";
import type { Route } from "./route.ts";

const BATCH_RECORDS_MAX = 20;
const BATCH_SHARE = 0.3;
const KEYED_SHARE = 0.5;
/** Of the requests, those that leave the choice of the partition to the node. */
const UNPLACED_SHARE = 0.2;
/** Milliseconds before another node is asked. */
const PAUSE_MS = 5;

/** What happened to the writers so far. */
export interface WriterCounts {
  /** Requests that were acknowledged. */
  readonly acknowledged: number;
  /** Requests without a reply. */
  readonly unanswered: number;
  /** Requests sent again with their idempotency key. */
  readonly retried: number;
  /** Of those, the ones that had been stored the first time. */
  readonly duplicates: number;
}

/** What a writer is given. */
export interface WriterTask {
  readonly topic: string;
  readonly partitions: number;
  readonly ledger: Ledger;
  readonly newRoute: () => Route;
  readonly signal: AbortSignal;
  /** Called for each acknowledgement, before anything else happens. @param sentMs When its request left. */
  readonly acknowledged: (url: string, sentMs: number) => void;
}

/** An acknowledged request and its place. */
interface Kept {
  readonly request: WriteRequest;
  readonly placement: Placement;
}

/** All writers of a proof. */
export class Writers {
  readonly #task: WriterTask;
  readonly #counts = { acknowledged: 0, unanswered: 0, retried: 0, duplicates: 0 };
  readonly #keyed: Kept[] = [];
  #requests = 0;
  #isStopping = false;

  constructor(task: WriterTask) {
    this.#task = task;
  }

  get counts(): WriterCounts {
    return { ...this.#counts };
  }

  /** Writes with `writers` connections until `stop`. Resolves when each has come to the end of its last request. */
  async run(writers: number): Promise<void> {
    this.#isStopping = false;
    await Promise.all(Array.from({ length: writers }, (_, writer) => this.#write(writer)));
  }

  /** Lets each writer finish its request. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Sends `count` acknowledged requests again, with their keys: they must be where they were. Gives how many it were. */
  async repeat(count: number): Promise<number> {
    const { topic, ledger, newRoute, signal } = this.#task;
    using route = newRoute();
    const step = Math.max(1, Math.floor(this.#keyed.length / count));
    let repeated = 0;
    for (let i = 0; i < this.#keyed.length && !signal.aborted; ) {
      const { request, placement } = this.#keyed[i] as Kept;
      const { client } = route;
      const outcome = await client?.produce(topic, request);
      if (client === undefined || outcome?.kind !== "done") {
        if (client !== undefined) route.turn(client);
        await Bun.sleep(PAUSE_MS);
        continue;
      }
      const { partition, offset, isDuplicate } = outcome.value;
      if (!isDuplicate || offset !== placement.offset || partition !== placement.partition)
        ledger.fault(
          "doubled",
          `${request.id}: sent again, and stored at ${offset} of ${partition}`,
        );
      repeated += 1;
      i += step;
    }
    return repeated;
  }

  async #write(writer: number): Promise<void> {
    using route = this.#task.newRoute();
    while (!this.#isStopping && !this.#task.signal.aborted) {
      const request = this.#draw(writer);
      const placement = await this.#deliver(route, request);
      if (placement !== undefined && request.idempotencyKey !== undefined)
        this.#keyed.push({ request, placement });
    }
  }

  #draw(writer: number): WriteRequest {
    const { partitions } = this.#task;
    const id = `w${writer}-${this.#requests++}`;
    const chance = (share: number): boolean => Math.random() < share;
    return {
      id,
      writer,
      partition: chance(UNPLACED_SHARE) ? undefined : Math.floor(Math.random() * partitions),
      count: chance(BATCH_SHARE) ? 2 + Math.floor(Math.random() * (BATCH_RECORDS_MAX - 1)) : 1,
      idempotencyKey: chance(KEYED_SHARE) ? `key-${id}` : undefined,
    };
  }

  /** Sends a request until its fate is known or must stay unknown. Undefined: it was not acknowledged. */
  async #deliver(route: Route, request: WriteRequest): Promise<Placement | undefined> {
    const { topic, ledger, signal } = this.#task;
    let wasUnanswered = false;
    while (!signal.aborted) {
      const { client } = route;
      if (client === undefined) {
        await Bun.sleep(PAUSE_MS);
        continue;
      }
      ledger.sent(request);
      const sentMs = performance.now();
      const outcome = await client.produce(topic, request);
      if (outcome.kind === "done") {
        this.#counts.acknowledged += 1;
        // Where it had been stored, it is there once; where not, it is stored now.
        if (wasUnanswered && outcome.value.isDuplicate) this.#counts.duplicates += 1;
        this.#task.acknowledged(client.url, sentMs);
        ledger.acknowledge(request, outcome.value);
        return outcome.value;
      }
      route.turn(client, outcome.kind === "refused" ? outcome.leaderUrl : undefined);
      if (outcome.kind === "unknown") {
        this.#counts.unanswered += 1;
        if (request.idempotencyKey === undefined) return undefined;
        if (!wasUnanswered) this.#counts.retried += 1;
        wasUnanswered = true;
      } else if (this.#isStopping && !wasUnanswered) return undefined;
      await Bun.sleep(PAUSE_MS);
    }
    return undefined;
  }
}
