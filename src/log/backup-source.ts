// Reads a backup out of the files of a log that goes on: all of them are opened at the beginning, so that what is merged,
// moved or unlinked meanwhile stays readable, and read one piece at a time by whoever wants the next.

import { BACKUP_PIECE_BYTES, type BackupHead, BackupWriter, partsOf } from "./backup-format.ts";
import { type Disk, type DiskFile, FileError } from "./disk.ts";
import type { OfferedFile } from "./file-set.ts";

/** One backup under way. */
export class BackupSource {
  readonly head: BackupHead;
  readonly #disk: Disk;
  readonly #parts: readonly OfferedFile[];
  readonly #files: DiskFile[] = [];
  readonly #writer = new BackupWriter();
  readonly #memory: Uint8Array;
  #part = -1;
  #position = 0;
  #isReading = false;
  #isClosed = false;
  #onClosed: () => void = () => undefined;
  /** Whether the end mark was given away. */
  isFinished = false;

  /** Opens every file. Throws `FileError`, and holds none of them then. */
  constructor(disk: Disk, head: BackupHead, memory: Uint8Array) {
    this.#disk = disk;
    this.head = head;
    this.#parts = partsOf(head);
    this.#memory = memory;
    try {
      for (const { name } of this.#parts) this.#files.push(disk.open(name));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The next bytes of the stream; undefined behind its end. One call at a time. Rejects with `FileError`. */
  next(): Promise<Uint8Array | undefined> {
    if (this.#isClosed || this.isFinished) return Promise.resolve(undefined);
    if (this.#part < 0) {
      this.#part = 0;
      return Promise.resolve(this.#writer.head(this.head));
    }
    const part = this.#part;
    const offered = this.#parts[part];
    const file = this.#files[part];
    if (offered === undefined || file === undefined) {
      this.isFinished = true;
      return Promise.resolve(this.#writer.end());
    }
    const position = this.#position;
    const length = Math.min(BACKUP_PIECE_BYTES, offered.bytes - position);
    this.#isReading = true;
    return this.#disk.read(file, position, this.#memory, length).then(
      (count) => {
        this.#readEnded();
        if (count < length)
          throw new FileError("io", `Cannot read ${offered.name}: it ends at ${position + count}`);
        this.#position += count;
        if (this.#position === offered.bytes) {
          this.#part += 1;
          this.#position = 0;
        }
        return this.#writer.piece(part, position, this.#memory.subarray(0, count));
      },
      (error: unknown) => {
        this.#readEnded();
        throw error;
      },
    );
  }

  #readEnded(): void {
    this.#isReading = false;
    if (this.#isClosed) this.#closeFiles();
  }

  /** Lets go of the files, and then of the memory, once nothing is being read. */
  close(closed: () => void = () => undefined): void {
    this.#isClosed = true;
    this.#onClosed = closed;
    if (!this.#isReading) this.#closeFiles();
  }

  #closeFiles(): void {
    for (const file of this.#files.splice(0)) file.close();
    this.#onClosed();
    this.#onClosed = () => undefined;
  }
}
