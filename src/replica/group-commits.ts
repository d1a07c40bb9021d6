// Where groups stand by everything that is in the leader's log, and the way into it for commits.

import type { BrokerState } from "../broker/mod.ts";
import { decodeLatin1 } from "../lib/bytes.ts";
import { COMMAND_HEADER_BYTES, putGroupCommitted } from "../model/command-codec.ts";
import { Pending } from "./pending.ts";
import type { Replica } from "./replica.ts";

const GROUP_COMMITTED_BYTES = 16;

/** Commits of groups. */
export class GroupCommits {
  readonly #replica: Replica;
  readonly #pending = new Pending<number>();

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** Bytes of a commit in an entry. */
  static bytesOf(group: Uint8Array): number {
    return COMMAND_HEADER_BYTES + GROUP_COMMITTED_BYTES + group.length;
  }

  /** How many there would be, at most, once everything in the log is applied. */
  get count(): number {
    return this.#state.groups.size + this.#pending.size;
  }

  get #state(): BrokerState {
    return this.#replica.state;
  }

  /** The group's committed offset once everything in the log is applied; -1 when it has none. */
  committed(topicId: number, partition: number, group: Uint8Array): number {
    this.#pending.trim(this.#replica.appliedIndex);
    const applied = this.#state.groups.get(topicId, partition, group);
    return Math.max(applied, this.#pending.get(nameOf(topicId, partition, group)) ?? -1);
  }

  /** Puts a commit into the open entry, which has room for it. */
  add(topicId: number, partition: number, group: Uint8Array, offset: number): void {
    const { batcher, openIndex } = this.#replica;
    const furthest = Math.max(offset, this.committed(topicId, partition, group));
    batcher.addCommand((writer) => putGroupCommitted(writer, topicId, partition, offset, group));
    this.#pending.set(nameOf(topicId, partition, group), furthest, openIndex);
  }

  /** What is under way is nobody's any more: this node no longer leads. */
  drop(): void {
    this.#pending.clear();
  }
}

const nameOf = (topicId: number, partition: number, group: Uint8Array): string =>
  `${topicId} ${partition} ${decodeLatin1(group)}`;
