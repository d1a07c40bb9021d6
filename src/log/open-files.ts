// Files of the log that are open for reading. One that was reclaimed is closed when the last read of it ends: until then it
// can be read on, whatever has become of its name.

import type { Disk, DiskFile } from "./disk.ts";
import { type LiveSegment, nameOf } from "./live-segment.ts";

/** One file, for as long as somebody reads it. */
export interface OpenFile {
  readonly file: DiskFile;
  reads: number;
  isGone: boolean;
}

/** Open files by sequence number. */
export class OpenFiles {
  readonly #disk: Disk;
  readonly #files = new Map<number, OpenFile>();

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Opens what holds the records of a segment or archive; `release` it. */
  acquire(segment: LiveSegment): OpenFile {
    let open = this.#files.get(segment.sequence);
    if (open === undefined) {
      // 20,000 descriptors are 1.2 TiB of segments.
      open = { file: this.#disk.open(nameOf(segment)), reads: 0, isGone: false };
      this.#files.set(segment.sequence, open);
    }
    open.reads += 1;
    return open;
  }

  /** The read has ended. */
  release(open: OpenFile): void {
    open.reads -= 1;
    if (open.isGone && open.reads === 0) open.file.close();
  }

  /** The log has no use for a file any more. */
  drop(sequence: number): void {
    const open = this.#files.get(sequence);
    if (open === undefined) return;
    this.#files.delete(sequence);
    open.isGone = true;
    if (open.reads === 0) open.file.close();
  }

  /** Closes every file; no read may be under way. */
  close(): void {
    for (const { file } of this.#files.values()) file.close();
    this.#files.clear();
  }
}
