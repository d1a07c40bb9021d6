// What a damaged archive held, and what a damaged segment held whose entries nobody has any more, made anew as an archive of
// records that a peer still has. The damaged file is looked at no more once the manifest names the new one.

import { encodeArchiveHeader, endOfKept } from "./archive.ts";
import { FileError } from "./disk.ts";
import type { FileSetHost } from "./file-set.ts";
import { fileName, SEGMENT_DATA_START } from "./format.ts";
import { type LiveSegment, openArchive } from "./live-segment.ts";
import { IndexFile } from "./offset-index.ts";

/** Called when a step is done, or with why it cannot be. */
type Done = (error: FileError | undefined) => void;

/** Records of one partition that are wanted: `[offset, endOffset)`. */
export interface WantedRecords {
  readonly key: number;
  offset: number;
  readonly endOffset: number;
}

/** One archive in the making. Steps are taken one after the other. */
export class ArchiveRepair {
  /** What is damaged. */
  readonly damaged: LiveSegment;
  readonly sequence: number;
  /** What is still wanted; the first of them is to be asked for. */
  readonly wanted: WantedRecords[] = [];
  readonly #host: FileSetHost;
  readonly #clusterId: string;
  #position = SEGMENT_DATA_START;

  constructor(
    damaged: LiveSegment,
    host: FileSetHost,
    clusterId: string,
    floorOf: (key: number) => number,
  ) {
    this.damaged = damaged;
    damaged.isRepairing = true;
    this.#host = host;
    this.#clusterId = clusterId;
    [this.sequence = 0] = host.allocate(1);
    for (const { key, firstOffset, nextOffset: endOffset } of damaged.index.ranges()) {
      const offset = Math.max(firstOffset, floorOf(key));
      if (offset < endOffset) this.wanted.push({ key, offset, endOffset });
    }
    this.wanted.sort((left, right) => left.key - right.key);
  }

  get #name(): string {
    return fileName(this.sequence, "archive");
  }

  /** Makes the file. */
  begin(done: Done): void {
    this.#host.noteIncoming([this.sequence], () => {
      const bytes = new Uint8Array(SEGMENT_DATA_START);
      const piece = { name: this.#name, position: 0, bytes, isNew: true };
      this.#host.run({ kind: "write_piece", ...piece }, done);
    });
  }

  /**
   * Takes kept chunks of the first wanted partition.
   * @param floor Where the partition begins at the peer: what is below is dead, and gone there.
   * @returns False: they are not what was asked for.
   */
  add(kept: Uint8Array, floor: number, done: Done): boolean {
    const [first] = this.wanted;
    if (first === undefined) return false;
    const offset = Math.max(first.offset, floor);
    const end = endOfKept(kept, first.key, offset);
    if (end === undefined || (end === first.offset && offset === first.offset)) return false;
    first.offset = end;
    if (end >= first.endOffset) this.wanted.shift();
    const position = this.#position;
    this.#position += kept.length;
    const piece = { name: this.#name, position, bytes: kept.slice(), isNew: false };
    this.#host.run({ kind: "write_piece", ...piece }, done);
    return true;
  }

  /** Whether nothing has to be kept: then the damaged file may simply go. */
  get isEmpty(): boolean {
    return this.#position === SEGMENT_DATA_START;
  }

  /** Completes it, syncs it, looks at all of it and makes its index. */
  verify(
    map: (name: string) => Uint8Array | undefined,
    done: (archive: LiveSegment | FileError) => void,
  ): void {
    const { sequence, damaged } = this;
    const clusterId = this.#clusterId;
    const validBytes = this.#position;
    const header = encodeArchiveHeader(sequence, validBytes, clusterId);
    const steps = [
      { kind: "write_piece", name: this.#name, position: 0, bytes: header, isNew: false },
      { kind: "sync_file", name: this.#name },
      { kind: "derive_archive", sequence, clusterId, validBytes },
    ] as const;
    const next = (at: number): void => {
      const step = steps[at];
      if (step !== undefined) {
        this.#host.run(step, (error) => (error === undefined ? next(at + 1) : done(error)));
        return;
      }
      const bytes = map(fileName(sequence, "index"));
      const index = bytes && IndexFile.open(bytes, sequence, clusterId);
      const { firstIndex, chain } = damaged;
      if (index === undefined)
        done(new FileError("damaged", `Cannot read the index of ${this.#name}`));
      else done(openArchive({ sequence, firstIndex, lastIndex: chain.index, validBytes }, index));
    };
    next(0);
  }

  /** It comes to nothing. */
  discard(): void {
    this.damaged.isRepairing = false;
    const names = (["archive", "index"] as const).map((kind) => fileName(this.sequence, kind));
    this.#host.run({ kind: "remove_files", names }, () => undefined);
  }
}
