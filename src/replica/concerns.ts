// How widely a write must be synced before it is answered: waits per write concern, woken as nodes get on.
//
//   leader: own sync · majority: committed and applied here · wide: applied, and durable on so many voters

import type { Membership } from "../model/cluster.ts";
import type { Refusal } from "../model/errors.ts";
import type { Ack, ProduceSink } from "../model/produce.ts";
import { ProduceWaiters } from "./waiters.ts";

/** How many voters must have synced a write: a number of them, or a name. */
export type WriteConcern = number | "majority" | "all";

/** Committed writes that wait for more nodes. */
const UNCONFIRMED_MAX = 100_000;

/** Of `ProduceSink.produced`. */
const SYNCED = { no: 0, yes: 1, later: 2 } as const;

/** Writes that more voters must sync than a majority: first until they are applied, then until so many have. */
class WideWaiters {
  readonly unapplied = new ProduceWaiters();
  readonly unconfirmed = new ProduceWaiters();
  readonly #voters: number | "all";

  constructor(voters: number | "all") {
    this.#voters = voters;
  }

  /** How far enough of these voters have got. */
  reached(voters: readonly string[], matchOf: (nodeId: string) => number): number {
    if (voters.length === 0) return Number.POSITIVE_INFINITY;
    const wanted = this.#voters === "all" ? voters.length : Math.min(this.#voters, voters.length);
    return voters.map(matchOf).sort((left, right) => right - left)[wanted - 1] ?? 0;
  }
}

/** Waiting produces by concern. */
export class Concerns {
  readonly #leader = new ProduceWaiters();
  readonly #majority = new ProduceWaiters();
  readonly #all = new WideWaiters("all");
  /** Of the configured number. */
  readonly #some: WideWaiters;
  readonly #configured: WriteConcern;

  constructor(configured: WriteConcern) {
    this.#configured = configured;
    this.#some = new WideWaiters(typeof configured === "number" ? configured : "all");
  }

  /** Produces that wait. */
  get size(): number {
    return [
      this.#leader,
      this.#majority,
      ...this.#wides().flatMap((wide) => [wide.unapplied, wide.unconfirmed]),
    ].reduce((sum, ring) => sum + ring.size, 0);
  }

  #wides(): readonly WideWaiters[] {
    return [this.#all, this.#some];
  }

  /** Adds one; entry indexes never go back. @param voters Of the present configuration. */
  add(
    ack: Ack,
    voters: number,
    entryIndex: number,
    waiter: number,
    firstOffset: number,
    count: number,
    partition: number,
    duplicate: number,
  ): void {
    this.#ring(ack, voters).add(entryIndex, waiter, firstOffset, count, partition, duplicate);
  }

  #ring(ack: Ack, voters: number): ProduceWaiters {
    const concern = ack === "configured" ? this.#configured : ack;
    // One voter is its own majority, and whatever is asked of it is that.
    if (concern === "majority" || voters === 1) return this.#majority;
    if (concern === "leader" || concern === 1) return this.#leader;
    if (concern === "all") return this.#all.unapplied;
    return concern <= Math.floor(voters / 2) + 1 ? this.#majority : this.#some.unapplied;
  }

  /** The own log is durable up to `syncedIndex`. */
  synced(syncedIndex: number, commitIndex: number, sink: ProduceSink): void {
    if (this.#leader.size === 0) return;
    this.#leader.wake(Math.min(syncedIndex, commitIndex), SYNCED.yes, sink);
    this.#leader.wake(syncedIndex, SYNCED.no, sink);
  }

  /** Everything up to `appliedIndex` is committed and applied. */
  applied(appliedIndex: number, sink: ProduceSink): void {
    this.#majority.wake(appliedIndex, SYNCED.yes, sink);
    for (const { unapplied, unconfirmed } of [this.#all, this.#some])
      if (unapplied.size > 0) unapplied.wake(appliedIndex, SYNCED.later, sink, unconfirmed);
  }

  /** Followers got on. @param matchOf How far a voter's log is durable. */
  widened(membership: Membership, matchOf: (nodeId: string) => number, sink: ProduceSink): void {
    for (const wide of [this.#all, this.#some]) {
      if (wide.unconfirmed.size === 0) continue;
      // A node that is away for long must not make the list grow: the outcome of the oldest is known, and told.
      while (wide.unconfirmed.size > UNCONFIRMED_MAX)
        wide.unconfirmed.wake(wide.unconfirmed.nextIndex, SYNCED.no, sink);
      const { voters, outgoing } = membership;
      const index = Math.min(wide.reached(voters, matchOf), wide.reached(outgoing, matchOf));
      wide.unconfirmed.wake(index, SYNCED.yes, sink);
    }
  }

  /** This node leads no more: what is not committed is answered as `refusalOf` says, the rest with what is known. */
  lost(refusalOf: (entryIndex: number) => Refusal, sink: ProduceSink): void {
    this.#leader.refuse(refusalOf, sink);
    this.#majority.refuse(refusalOf, sink);
    for (const wide of this.#wides()) {
      wide.unapplied.refuse(refusalOf, sink);
      wide.unconfirmed.wake(Number.MAX_SAFE_INTEGER, SYNCED.no, sink);
    }
  }
}
