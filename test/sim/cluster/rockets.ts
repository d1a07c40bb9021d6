// What clients do with a topic whose records are in memory only: of the log are blocks of its offsets alone, and none of them
// may be given twice, whoever leads.

import { encodeText } from "../../../src/lib/bytes.ts";
import type { Prng } from "../../../src/lib/prng.ts";
import { claim } from "../shadow.ts";
import type { Client, Clients } from "./clients.ts";
import type { ClusterWorld } from "./world.ts";

const NAME = "rocket";
const PARTITIONS = 2;

/** The topic as clients use it. */
export class RocketCalls {
  /** Offsets that were given, by partition. */
  readonly #given = Array.from({ length: PARTITIONS }, () => new Set<number>());
  readonly #world: ClusterWorld;
  readonly #clients: Clients;
  readonly #prng: Prng;
  readonly #share: number;
  #produces = 0;

  constructor(world: ClusterWorld, clients: Clients, prng: Prng) {
    this.#world = world;
    this.#clients = clients;
    this.#prng = prng;
    this.#share = prng.chance(0.25) ? 0.15 : 0;
  }

  /** Whether the next act is one of these. */
  isNext(): boolean {
    return this.#share > 0 && this.#prng.chance(this.#share);
  }

  /** A client makes the topic, or writes to it. */
  begin(client: Client): void {
    const topicId = this.#world.ledger.rocketId;
    if (topicId === undefined) {
      const shape = { name: NAME, partitions: PARTITIONS, mode: "rocket" as const };
      this.#clients.ask(client, {
        what: `create ${NAME} ${PARTITIONS}`,
        isRepeatable: true,
        ask: (node) => node.broker?.createTopic({ ...shape, ttlMs: 0, maxBytes: 0 }),
      });
      return;
    }
    const partition = this.#prng.below(PARTITIONS);
    const count = 1 + this.#prng.below(5);
    const what = `rocket ${++this.#produces} to ${topicId}/${partition} count ${count}`;
    const body = encodeText("r".repeat(count));
    // One letter each.
    const ranges = Int32Array.from({ length: 2 * count }, (_, i) => (i + 1) >> 1);
    const request = {
      topicId,
      partition,
      key: undefined,
      idempotencyKey: undefined,
      expectedOffset: -1,
      ack: "configured" as const,
      headers: undefined,
      body,
      ranges: count === 1 ? undefined : ranges,
      count,
    };
    this.#clients.start(client, {
      what,
      isRepeatable: false,
      end: () => undefined,
      send: (node, attempt, call) =>
        this.#clients.keys.hand(
          { what, client, call, attempt, node },
          (waiter) =>
            // It may not have come to this node yet.
            node.broker?.topic(NAME) === undefined
              ? { code: "topic_not_found" }
              : node.broker.produce(waiter, request),
          (outcome) => {
            const given = this.#given[partition];
            for (let offset = outcome.firstOffset; offset < outcome.firstOffset + count; offset++) {
              claim(given?.has(offset) === false, `${what}: offset ${offset} is given twice`);
              given.add(offset);
            }
          },
          () => undefined,
        ),
    });
  }
}
