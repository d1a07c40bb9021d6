// Processor time of a process, read from outside. Generator and server share the cores of a bench machine, so
// requests a second say little about a server; its own processor time per request says what it costs.

import { readFileSync } from "node:fs";

// `USER_HZ`: what the kernel reports to programs is in hundredths of a second on every architecture we build for.
const MICROSECONDS_PER_TICK = 10_000;

/** Processor time in microseconds. */
export interface CpuTime {
  readonly user: number;
  readonly system: number;
}

/**
 * Reads what process `pid` has used so far, all of its threads together, dead ones included. Steps of 10 ms: compare
 * moments that lie seconds apart.
 * @returns undefined where there is no such process or no `/proc`.
 */
export function readProcessCpu(pid: number): CpuTime | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined; // The process is gone, or this is not Linux: there is no figure, and that is the answer.
  }
  return parseProcessStat(line);
}

/** Takes the two times out of a line of `/proc/<pid>/stat` (proc(5), fields 14 and 15). */
export function parseProcessStat(line: string): CpuTime | undefined {
  // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const user = Number(fields[11]);
  const system = Number(fields[12]);
  if (!Number.isFinite(user) || !Number.isFinite(system)) return undefined;
  return { user: user * MICROSECONDS_PER_TICK, system: system * MICROSECONDS_PER_TICK };
}

/** The same of several processes together; one that is gone counts nothing. */
export function readProcessesCpu(pids: readonly number[]): CpuTime {
  const sum = { user: 0, system: 0 };
  for (const pid of pids) {
    const { user, system } = readProcessCpu(pid) ?? { user: 0, system: 0 };
    sum.user += user;
    sum.system += system;
  }
  return sum;
}

/** What was used between two readings. */
export const cpuBetween = (earlier: CpuTime, later: CpuTime): CpuTime => ({
  user: later.user - earlier.user,
  system: later.system - earlier.system,
});
