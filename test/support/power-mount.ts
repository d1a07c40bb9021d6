// A machine whose power can be cut: an ext4 file system on a disk in another process, which forgets what was not flushed.
// Needs root, /dev/fuse, loop devices and mkfs.ext4.

import { closeSync, existsSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "./node-process.ts";
import { temporaryDirectory } from "./real-disk.ts";
import type { Cut } from "./volatile-disk.ts";

/** Whether there can be such machines here. */
export const hasPowerCuts =
  process.getuid?.() === 0 &&
  existsSync("/dev/fuse") &&
  existsSync("/dev/loop-control") &&
  Bun.which("mkfs.ext4") !== null;

/** What the disk lost over its life. */
interface Losses {
  readonly flushes: number;
  readonly lostWrites: number;
  readonly lostBytes: number;
}

/** A file system that lives through power cuts. */
export interface PowerMount {
  /** Where nodes keep their data. */
  readonly path: string;
  /** The power fails, now or in place of the next flush: whatever is asked of the disk from there on fails. */
  readonly cut: (when: "now" | "flush", kind: Cut, seed: number) => void;
  /** Every read, write or flush fails from now on. */
  readonly fail: (what: "read" | "write" | "flush") => void;
  /** A flush takes so many milliseconds from now on. */
  readonly slow: (milliseconds: number) => void;
  /** Failures and slowness end; the file system stays as it is. */
  readonly mend: () => void;
  /** The power is back, and the file system is mounted again. Whoever used it must have ended. */
  readonly restore: () => Promise<void>;
  /** Takes everything away. */
  readonly end: () => Promise<Losses>;
}

const run = (...command: string[]): string | undefined => {
  const done = Bun.spawnSync(command, { stderr: "pipe" });
  return done.exitCode === 0 ? undefined : `${command.join(" ")}: ${done.stderr.toString().trim()}`;
};

function demand(...command: string[]): void {
  const fault = run(...command);
  if (fault !== undefined) throw new Error(fault);
}

/** Makes an empty file system of so many MiB on a disk of its own. */
export async function powerMount(mebibytes: number): Promise<PowerMount> {
  const { path: root, clean } = temporaryDirectory();
  const below = join(root, "disk");
  const path = join(root, "mount");
  mkdirSync(below);
  mkdirSync(path);
  const image = join(below, "disk");
  const server = Bun.spawn(
    [
      process.execPath,
      Bun.fileURLToPath(new URL("./fuse-disk.ts", import.meta.url)),
      below,
      String(mebibytes),
    ],
    { stdout: "pipe", stderr: "inherit" },
  );
  const output = new Response(server.stdout).text();
  await waitUntil("the disk is there", () => existsSync(image));
  demand("mkfs.ext4", "-q", "-m", "0", image);
  demand("mount", "-o", "loop", image, path);
  const control = (line: string): void => {
    const file = openSync(join(below, "control"), "w");
    writeSync(file, line);
    closeSync(file);
  };
  const unmount = (): Promise<unknown> =>
    // Its last process may take a moment to be gone.
    waitUntil("the file system is unmounted", () => run("umount", path) === undefined);
  return {
    path,
    cut: (when, kind, seed) => control(`${when} ${seed} ${kind}`),
    fail: (what) => control(`fail ${what}`),
    slow: (milliseconds) => control(`slow ${milliseconds}`),
    mend: () => control("on"),
    restore: async () => {
      await unmount();
      control("on");
      demand("mount", "-o", "loop", image, path);
    },
    end: async () => {
      await unmount();
      await waitUntil("the disk is unmounted", () => run("umount", below) === undefined);
      await server.exited;
      clean();
      return JSON.parse((await output).trim().split("\n").at(-1) ?? "") as Losses;
    },
  };
}
