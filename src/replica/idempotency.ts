// Whether a request was made before: keys that the log remembers, and those whose first write is under way. A second request
// waits for the first one's outcome and gets it. Only what was done is remembered.

import { KeyWindow } from "../broker/mod.ts";
import { Fingerprint } from "../lib/checksum.ts";
import { newRemembered, putRemembered, type Remembered } from "../model/command-codec.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Replica } from "./replica.ts";

/** Bytes of a `remembered` command besides its key and detail. */
const REMEMBERED_BYTES = 48;

/** Scopes of keys that are no topic's: namespaces count from here on. */
const NAMESPACE_SCOPES = 0x80_00_00_00;
/** The one scope of all transactions. */
export const TRANSACTION_SCOPE = 0xff_ff_ff_ff;
/** The scope of a namespace's idempotency keys. */
export const namespaceScope = (namespaceId: number): number => NAMESPACE_SCOPES + namespaceId;

/** Bytes that an idempotency key takes in an entry. */
export const rememberedBytes = (key: Uint8Array | undefined): number =>
  key === undefined ? 0 : REMEMBERED_BYTES + key.length;

/** What a key stands for, besides whose it is. */
export type Done = Pick<Remembered, "partition" | "count" | "firstOffset" | "detail">;

/** The keys of one kind of request. */
export class Idempotency {
  /** Of the request that is being looked at: reset it and put in whatever makes two requests different. */
  readonly fingerprint = new Fingerprint();
  readonly #replica: Replica;
  /** Keys whose first write is under way; the tag is the index of its entry. */
  readonly #underWay = new KeyWindow();
  readonly #found = newRemembered();
  readonly #outcome = newRemembered();

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /**
   * Whether the key was used in the window; then the answer is on its way. The fingerprint says whether for the same.
   * @param note Called with what else the first request came to, before it is answered.
   */
  isKnown(
    waiter: number,
    scope: number,
    key: Uint8Array,
    note: (detail: Uint8Array) => void = () => undefined,
  ): boolean {
    const { state, appliedIndex, callbacks, sink } = this.#replica;
    const found = this.#found;
    const print = this.fingerprint;
    this.#underWay.trim(Number.MAX_SAFE_INTEGER, appliedIndex);
    if (this.#underWay.find(scope, key, found)) {
      const { partition, firstOffset, count, timestampMs: entryIndex } = found;
      const isSame = found.fingerprintLow === print.low && found.fingerprintHigh === print.high;
      note(found.detail.slice());
      callbacks.add(
        entryIndex,
        () => {
          if (isSame) sink.produced(waiter, firstOffset, count, partition, 0, -1, 1);
          else sink.refused(waiter, refuse("idempotency_key_reused"));
        },
        (refusal) => sink.refused(waiter, refusal),
      );
      return true;
    }
    if (!state.keys.find(scope, key, found)) return false;
    // Expired at this entry's time: applying this very request pushes it out.
    if (found.timestampMs + state.idempotencyTtlMs <= this.#replica.entryTime()) return false;
    if (found.fingerprintLow !== print.low || found.fingerprintHigh !== print.high) {
      this.refuseLater(waiter, refuse("idempotency_key_reused"));
    } else {
      // It is committed: that stays true whoever leads.
      const { partition, firstOffset, count } = found;
      note(found.detail.slice());
      queueMicrotask(() => sink.produced(waiter, firstOffset, count, partition, 0, -1, 1));
    }
    return true;
  }

  /** Puts the key, which `isKnown` has just not found, into the open entry with what it stands for. */
  remember(scope: number, key: Uint8Array, done: Done): void {
    const { batcher, openIndex } = this.#replica;
    const outcome: Remembered = this.#outcome;
    outcome.topicId = scope;
    outcome.partition = done.partition;
    outcome.count = done.count;
    outcome.firstOffset = done.firstOffset;
    outcome.detail = done.detail;
    outcome.timestampMs = batcher.timestampMs;
    outcome.fingerprintLow = this.fingerprint.low;
    outcome.fingerprintHigh = this.fingerprint.high;
    batcher.addCommand((writer) => putRemembered(writer, outcome, key));
    outcome.timestampMs = openIndex;
    this.#underWay.add(key, outcome);
  }

  /** What is under way is nobody's any more: this node no longer leads. */
  drop(): void {
    this.#underWay.trim(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  }

  /** Refuses by present state: once what it was computed from is committed, and this node is known to lead still. */
  refuseLater(waiter: number, refusal: Refusal): void {
    const { sink } = this.#replica;
    this.#replica.confirm(
      () => sink.refused(waiter, refusal),
      (reason) => sink.refused(waiter, reason),
    );
  }
}
