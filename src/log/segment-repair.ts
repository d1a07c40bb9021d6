// A sealed segment made anew: the same entries, from a peer, in another file. The damaged one is looked at no more once the
// manifest names the new one.

import { viewOf } from "../lib/bytes.ts";
import type { FileError } from "./disk.ts";
import type { FileSetHost } from "./file-set.ts";
import { encodeSegmentHeader, FRAME_BYTES, fileName, putFrame } from "./format.ts";
import { freshSegment, type LiveSegment } from "./live-segment.ts";
import type { ChainEnd } from "./segment-scan.ts";

/** Called when a step is done, or with why it cannot be. */
type Done = (error: FileError | undefined) => void;

/** One segment in the making. Steps are taken one after the other. */
export class SegmentRepair {
  /** What is damaged. */
  readonly damaged: LiveSegment;
  /** What takes its place. */
  readonly fresh: LiveSegment;
  readonly #host: FileSetHost;
  readonly #clusterId: string;
  readonly #header: Uint8Array;

  constructor(damaged: LiveSegment, host: FileSetHost, clusterId: string, salt: number) {
    this.damaged = damaged;
    damaged.isRepairing = true;
    this.#host = host;
    this.#clusterId = clusterId;
    const [sequence = 0] = host.allocate(1);
    const header = { sequence, salt, fileBytes: damaged.fileBytes, clusterId };
    this.#header = encodeSegmentHeader(header);
    this.fresh = freshSegment(header, damaged.previous);
  }

  get #name(): string {
    return fileName(this.fresh.sequence, "log");
  }

  /** Makes the file. */
  begin(done: Done): void {
    this.#host.noteIncoming([this.fresh.sequence], () => {
      const piece = { name: this.#name, position: 0, bytes: this.#header, isNew: true };
      this.#host.run({ kind: "write_piece", ...piece }, done);
    });
  }

  /** Appends entries that follow those before them, whole; `end` is the last of them. */
  add(entries: Uint8Array, entryCount: number, end: ChainEnd, done: Done): void {
    const { fresh } = this;
    const bytes = new Uint8Array(FRAME_BYTES + entries.length);
    bytes.set(entries, FRAME_BYTES);
    const { position, chain, salt } = fresh;
    putFrame(
      bytes,
      viewOf(bytes),
      0,
      {
        position,
        entryBytes: entries.length,
        entryCount,
        syncedIndex: chain.index,
        firstIndex: chain.index + 1,
        previousChecksum: chain.checksum,
        commitIndex: chain.index,
      },
      salt,
    );
    fresh.position += bytes.length;
    fresh.chain = end;
    this.#host.run({ kind: "write_piece", name: this.#name, position, bytes, isNew: false }, done);
  }

  /** It comes to nothing. */
  discard(): void {
    this.damaged.isRepairing = false;
    const { sequence } = this.fresh;
    const names = (["log", "index", "delta"] as const).map((kind) => fileName(sequence, kind));
    this.#host.run({ kind: "remove_files", names }, () => undefined);
  }

  /** Whether it holds every entry of the damaged one, by the chain of checksums. */
  get isComplete(): boolean {
    const { index, checksum } = this.damaged.chain;
    return this.fresh.chain.index === index && this.fresh.chain.checksum === checksum;
  }

  /** Syncs it, looks at all of it, and makes its index. */
  verify(done: Done): void {
    const { sequence, salt, position, previous, chain } = this.fresh;
    this.#host.run({ kind: "sync_file", name: this.#name }, (error) => {
      if (error !== undefined) {
        done(error);
        return;
      }
      const job = {
        kind: "derive_segment",
        sequence,
        salt,
        clusterId: this.#clusterId,
        validBytes: position,
        chain: previous,
        lastIndex: chain.index,
      } as const;
      this.#host.run(job, done);
    });
  }
}
