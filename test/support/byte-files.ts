// A data directory in memory, for reading what was damaged on purpose: cheap to copy, and as strict about sizes as a disk.

import { FileError, type Files } from "../../src/log/disk.ts";

/** Files by name. */
export class ByteFiles implements Files {
  readonly #files: Map<string, Uint8Array>;

  constructor(files: Iterable<readonly [string, Uint8Array]> = []) {
    this.#files = new Map(files);
  }

  /** What is there of another directory. */
  static copyOf(files: Files): ByteFiles {
    return new ByteFiles(
      files.list().map((name) => {
        const bytes = new Uint8Array(files.size(name) ?? 0);
        files.read(name, 0, bytes);
        return [name, bytes];
      }),
    );
  }

  /** The same directory with one file changed; nothing is shared that anybody writes to. */
  withFile(name: string, bytes: Uint8Array): ByteFiles {
    return new ByteFiles([...this.#files, [name, bytes]]);
  }

  /** The bytes of a file. */
  bytesOf(name: string): Uint8Array {
    const bytes = this.#files.get(name);
    if (bytes === undefined) throw new FileError("not_found", `Cannot find ${name}`);
    return bytes;
  }

  list(): string[] {
    return [...this.#files.keys()];
  }

  size(name: string): number | undefined {
    return this.#files.get(name)?.length;
  }

  read(name: string, position: number, into: Uint8Array): number {
    const piece = this.bytesOf(name).subarray(position, position + into.length);
    into.set(piece);
    return piece.length;
  }

  map(name: string): Uint8Array | undefined {
    return this.#files.get(name);
  }

  create(name: string): void {
    if (this.#files.has(name)) throw new FileError("exists", `Cannot create ${name}`);
    this.#files.set(name, new Uint8Array(0));
  }

  write(name: string, position: number, bytes: Uint8Array): void {
    const old = this.bytesOf(name);
    const grown = new Uint8Array(Math.max(old.length, position + bytes.length));
    grown.set(old);
    grown.set(bytes, position);
    this.#files.set(name, grown);
  }

  truncate(name: string, bytes: number): void {
    this.#files.set(name, this.bytesOf(name).slice(0, bytes));
  }

  sync(name: string): void {
    this.bytesOf(name);
  }

  rename(from: string, to: string): void {
    this.#files.set(to, this.bytesOf(from));
    this.#files.delete(from);
  }

  remove(name: string): void {
    this.#files.delete(name);
  }

  quarantine(name: string): void {
    this.#files.delete(name);
  }

  syncDirectory(): void {
    // Nothing here is ever lost.
  }

  freeBytes(): number {
    return 2 ** 40;
  }
}
