// Small file systems of their own, for disks that are full or read-only. Root may mount; without it there is none.

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { temporaryDirectory } from "./real-disk.ts";

/** No test lets a disk wait for longer. */
const STALL_MS_MAX = 20_000;

/** A kind of file system. */
export type FileSystem = "tmpfs" | "ext4";

/** A file system that is mounted. */
export interface Mount extends Disposable {
  readonly path: string;
  /** Makes it read-only. */
  readonly lock: () => void;
  /** Lets every write and sync wait; `false` lets them go on. */
  readonly stall: (isStalled: boolean) => void;
}

const run = (...command: string[]): boolean => Bun.spawnSync(command).exitCode === 0;

/** Mounts an empty file system of so many MiB; undefined where that is not allowed. */
export function mount(kind: FileSystem, mebibytes: number): Mount | undefined {
  const { path: root, clean } = temporaryDirectory();
  const path = join(root, "mount");
  mkdirSync(path);
  const image = join(root, "image");
  const isMounted =
    kind === "tmpfs"
      ? run("mount", "-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", path)
      : run("fallocate", "-l", `${mebibytes}M`, image) &&
        run("mkfs.ext4", "-q", "-m", "0", image) &&
        run("mount", "-o", "loop", image, path);
  if (!isMounted) {
    clean();
    return undefined;
  }
  let thaw: Timer | undefined;
  return {
    path,
    lock: () => {
      if (!run("mount", "-o", "remount,ro", path)) throw new Error(`Cannot remount ${path}`);
    },
    stall: (isStalled) => {
      clearTimeout(thaw);
      if (!run("fsfreeze", isStalled ? "--freeze" : "--unfreeze", path))
        throw new Error(`Cannot freeze ${path}`);
      // A process that waits for a frozen disk cannot even be killed: a test that fails must not leave one behind.
      if (isStalled) thaw = setTimeout(() => run("fsfreeze", "--unfreeze", path), STALL_MS_MAX);
    },
    [Symbol.dispose]: () => {
      clearTimeout(thaw);
      // A process that has just been killed may hold it for a moment; a lazy unmount waits for nobody.
      if (!run("umount", path)) run("umount", "-l", path);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** Whether such file systems can be mounted here. */
export function canMount(kind: FileSystem): boolean {
  if (process.getuid?.() !== 0) return false;
  using probe = mount(kind, 32);
  return probe !== undefined;
}
