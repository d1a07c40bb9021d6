// A produce on its way between the room that speaks HTTP and the one that decides: numbers and bytes, nothing else,
// so that the two may one day run on threads of their own.

import type { Refusal } from "./errors.ts";

/** Which nodes must have synced a write before it is answered. `configured` takes the node's own. */
export type Ack = "configured" | "leader" | "majority" | "all";

/** One record or a batch of them. The broker reads it at once and keeps nothing of it, so one object may serve many. */
export interface ProduceRequest {
  topicId: number;
  /** -1: by key when there is one, else spread evenly. */
  partition: number;
  key: Uint8Array | undefined;
  idempotencyKey: Uint8Array | undefined;
  /** -1: none. */
  expectedOffset: number;
  ack: Ack;
  /** Encoded by `encodeHeaders`; kept with every record of the request. */
  headers: Uint8Array | undefined;
  /** One record: its value. Several: the body in which `ranges` lie. */
  body: Uint8Array;
  /** Undefined: one record, the whole body. Else `[start, end, start, end, …]`, one pair per record, in order. */
  ranges: Int32Array | undefined;
  /** Records: how many pairs of `ranges` count. */
  count: number;
}

/** How a produce ended, in numbers only: the hot path makes no object for it. */
export interface ProduceSink {
  /** When the write that the completions speak of was handed to the disk: milliseconds of the monotonic clock. */
  submittedMs: number;
  /**
   * A produce was stored, or was stored before.
   * @param waiter As given with the request.
   * @param raftIndex Of the entry that holds it; 0 for duplicates.
   * @param synced 1 true, 0 false, -1 null. 2: committed, and not yet synced on as many nodes as was asked: the outcome
   *   is known, and a second call tells when they have it.
   * @param duplicate -1: no idempotency key was given; 0: first write; 1: duplicate.
   */
  produced(
    waiter: number,
    firstOffset: number,
    count: number,
    partition: number,
    raftIndex: number,
    synced: number,
    duplicate: number,
  ): void;
  /** A produce was refused, or its fate is unknown (`timeout`). */
  refused(waiter: number, refusal: Refusal): void;
}
