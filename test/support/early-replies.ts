// A node with a defect, to be proved: its disk says that a write is done before the write has been handed to the kernel.
// Run in the place of `src/main.ts`. The product has no switch for it.

import { UringDisk } from "../../src/io/uring-disk.ts";
import { WorkerDisk } from "../../src/io/worker-disk.ts";
import type { Disk, DiskCompletion, DiskFile } from "../../src/log/mod.ts";

/** Milliseconds from the acknowledgement to the write. */
const LATE_MS = 20;

/** Replaces the append of a disk. Reads wait for what is under way, so that this is the only defect. */
function plant(prototype: Disk): void {
  const early = new WeakMap<Disk, DiskCompletion[]>();
  const written = new WeakMap<Disk, Promise<void>>();
  const { poll, read } = prototype;
  prototype.read = async function (this: Disk, ...place: Parameters<Disk["read"]>) {
    await written.get(this);
    return await read.apply(this, place);
  };
  prototype.poll = function (this: Disk): DiskCompletion[] {
    const done = early.get(this) ?? [];
    early.delete(this);
    return [...done, ...poll.call(this)];
  };
  prototype.append = function (
    this: Disk,
    file: DiskFile,
    slab: Uint8Array,
    start: number,
    end: number,
    position: number,
    token: number,
  ): void {
    const bytes = slab.slice(start, end);
    const write = (): void => this.files.write(file.name, position, bytes);
    written.set(this, Bun.sleep(LATE_MS).then(write));
    early.set(this, [...(early.get(this) ?? []), { token, error: undefined }]);
    setImmediate(() => this.onWake());
  };
}

plant(UringDisk.prototype);
plant(WorkerDisk.prototype);
await import("../../src/main.ts");
