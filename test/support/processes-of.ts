// Who works in a directory, as the kernel knows it: for tests that nothing is left behind.

import { readdirSync, readFileSync } from "node:fs";

/** Processes whose command line names something in a directory. */
export function processesOf(directory: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => wordsOf(pid).some((word) => word.startsWith(`${directory}/`)))
    .map(Number);
}

function wordsOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // It has ended meanwhile.
  }
}
