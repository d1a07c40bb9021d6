// A file held open by its descriptor: what both real disks give out as `DiskFile`.

import { closeSync, openSync } from "node:fs";
import { assert } from "../lib/assert.ts";
import type { DiskFile } from "../log/mod.ts";
import { attempt } from "./file-errors.ts";
import { pathOf } from "./files.ts";

/** An open descriptor with the name it was opened by. */
export class OpenFile implements DiskFile {
  /** How many this thread has open. */
  static count = 0;
  readonly name: string;
  readonly #descriptor: number;
  #isOpen = true;

  /** Opens an existing file for reading and writing. Throws `FileError`. */
  constructor(directory: string, name: string) {
    this.name = name;
    this.#descriptor = attempt(`open ${name}`, () => openSync(pathOf(directory, name), "r+"));
    OpenFile.count += 1;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    OpenFile.count -= 1;
    attempt(`close ${this.name}`, () => closeSync(this.#descriptor));
  }

  /** The descriptor of a handle that one of these disks gave out and that is still open. */
  static descriptorOf(file: DiskFile): number {
    assert(file instanceof OpenFile, `The file ${file.name} belongs to another disk`);
    // A closed number may be some other file by now.
    assert(file.#isOpen, `The file ${file.name} is closed`);
    return file.#descriptor;
  }
}
