// The disks: adapters of the log's `Disk` port on a real data directory, and the lock on that directory. Beside them what
// else a node needs of the kernel: its listening socket.
// Never decides what is written where, never retries, never keeps bytes of its own: the log does the thinking.
// Keeps: a completion without an error means that the bytes are on the medium; memory handed over is not looked at
// after its completion. Called by `main.ts` and `cli/`, which lock the directory first, and open one disk on it.

export { type OpenedDisk, openDisk, probeDisk } from "./detect.ts";
export { attempt } from "./file-errors.ts";
export { NodeFiles } from "./files.ts";
export { Listener } from "./listener.ts";
export { lockDirectory } from "./lock.ts";
