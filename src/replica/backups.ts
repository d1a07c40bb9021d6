// Backups of one node, from a leader or a follower: each is pinned to what is applied at its beginning, and read by whoever
// wants it, a piece at a time. A few at once, since each holds files open.

import { fail, type Result, succeed } from "../lib/result.ts";
import { BackupSource, FileError, FORMAT_VERSION, partBytes } from "../log/mod.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Replica } from "./replica.ts";
import { hashState } from "./state-hash.ts";

/** Backups at the same time. */
const BACKUPS_MAX = 2;
/** Bytes of a piece of memory that is read into. */
const MEMORY_BYTES = 256 << 10;
/** A state of at most so many items and bytes of values is hashed in passing: more would hold the serving thread too long. */
const HASHED_ITEMS_MAX = 4000;
const HASHED_BYTES_MAX = 1 << 20;

/** A backup as it is read. */
export interface BackupStream {
  readonly appliedIndex: number;
  /** The next bytes; undefined behind the end. One call at a time. Rejects when the disk does. */
  next(): Promise<Uint8Array | undefined>;
  /** Ends it, wherever it is. */
  close(): void;
}

/** Makes backups, and counts them. */
export class Backups {
  readonly #replica: Replica;
  readonly #memory: Uint8Array[] = [];
  running = 0;
  finished = 0;
  failed = 0;
  bytes = 0;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** Begins a backup of everything that is applied now. */
  open(): Result<BackupStream, Refusal> {
    const replica = this.#replica;
    if (this.running >= BACKUPS_MAX)
      return fail(refuse("overloaded", `More than ${BACKUPS_MAX} backups are under way`));
    const memory = this.#memory.pop() ?? replica.disk.allocate(MEMORY_BYTES);
    const applied = replica.appliedChain;
    const { nodeId, clusterId } = replica.self;
    const { epoch } = replica.membership;
    const createdMs = Math.floor(replica.clock.wallMs());
    const stateHash = this.#isSmall() ? hashState(replica.state, replica.kv) : null;
    const moment = {
      format: FORMAT_VERSION,
      createdMs,
      nodeId,
      clusterId,
      epoch,
      applied,
      stateHash,
    };
    try {
      const head = { ...moment, ...replica.log.filesUpTo(applied.index) };
      const source = new BackupSource(replica.disk, head, memory);
      replica.logger.info("backup_begins", { index: applied.index, bytes: partBytes(head) });
      return succeed(this.#stream(source, memory));
    } catch (error) {
      this.#memory.push(memory);
      if (!(error instanceof FileError)) throw error;
      replica.logger.warn("backup_failed", { message: error.message });
      return fail(refuse("overloaded", `Cannot open the files of a backup: ${error.message}`));
    }
  }

  #isSmall(): boolean {
    const { state, kv } = this.#replica;
    const { keys, groups, partitionCount } = state;
    const kvItems = kv.liveCount + kv.tombstoneCount + kv.namespaceCount;
    const items = keys.size + groups.size + partitionCount + kvItems;
    return items <= HASHED_ITEMS_MAX && kv.liveBytes <= HASHED_BYTES_MAX;
  }

  #stream(source: BackupSource, memory: Uint8Array): BackupStream {
    this.running += 1;
    let isOver = false;
    const close = (): void => {
      if (isOver) return;
      isOver = true;
      this.running -= 1;
      if (source.isFinished) this.finished += 1;
      else this.failed += 1;
      const { index } = source.head.applied;
      const event = source.isFinished ? "backup_finished" : "backup_ended_early";
      this.#replica.logger.info(event, { index });
      source.close(() => this.#memory.push(memory));
    };
    return {
      appliedIndex: source.head.applied.index,
      next: () =>
        source.next().then(
          (bytes) => {
            this.bytes += bytes?.length ?? 0;
            if (bytes === undefined) close();
            return bytes;
          },
          (error: unknown) => {
            close();
            throw error;
          },
        ),
      close,
    };
  }
}
