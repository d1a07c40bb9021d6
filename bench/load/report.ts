// What a result is kept with, and how it is printed: a number without its machine and commit says nothing.

import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import type { LatencySummary, LoadResult } from "../../src/load/mod.ts";

const RESULTS = join(import.meta.dir, "../results");

/** Where and with what a result came about. */
export interface Circumstances {
  readonly time: string;
  readonly machine: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  /** File system and device of the scratch directory. */
  readonly disk: string;
  readonly bun: string;
  readonly commit: string;
  readonly command: string;
  /** Mean number of runnable processes before the run: above 0, somebody else was at work. */
  readonly loadBefore: number;
}

/** Looks around. @param directory Where the servers keep their data. */
export async function circumstances(directory: string): Promise<Circumstances> {
  const said = async (...command: string[]): Promise<string> => {
    const child = Bun.spawnSync(command, {
      cwd: import.meta.dir,
      stdout: "pipe",
      stderr: "ignore",
    });
    return child.stdout.toString().trim();
  };
  const changes = await said("git", "status", "--porcelain", "--untracked-files=no");
  const commit = await said("git", "rev-parse", "--short", "HEAD");
  const mount = (await said("df", "-T", directory)).split("\n").at(-1)?.split(/\s+/) ?? [];
  const load = await Bun.file("/proc/loadavg")
    .text()
    .catch(() => "0");
  return {
    time: new Date().toISOString(),
    machine: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    disk: `${mount[1]} on ${mount[0]}`,
    bun: Bun.version,
    commit: changes === "" ? commit : `${commit} with changes`,
    command: ["bun", ...process.argv.slice(1)]
      .join(" ")
      .replaceAll(`${join(import.meta.dir, "../..")}/`, ""),
    loadBefore: Number(load.split(" ")[0]),
  };
}

/** Writes `bench/results/<name>.json`. @returns its path. */
export async function keepResult(name: string, result: unknown): Promise<string> {
  const path = join(RESULTS, `${name}.json`);
  await Bun.write(path, `${JSON.stringify(result, null, 2)}\n`);
  return path;
}

/** Prints rows in columns, the first left-aligned, the rest right-aligned. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [header, ...rows];
  const widths = header.map((_, i) => Math.max(...all.map((row) => (row[i] ?? "").length)));
  for (const row of all) {
    console.log(
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  "),
    );
  }
}

/** The middle value; 0 of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]!
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** A latency for reading, in milliseconds. */
export const milliseconds = (value: number): string => value.toFixed(value < 10 ? 2 : 1);

/** Prints one run for people. */
export function printLoad(result: LoadResult): void {
  const rate = (value: number): string => value.toLocaleString("en-US");
  console.log(
    `${result.work}: ${rate(result.repliesPerSecond)} replies/s, ${rate(result.recordsPerSecond)} records/s`,
  );
  console.log(
    `  in ${result.seconds} s: statuses ${JSON.stringify(result.statuses)}, errors ${result.errors}`,
  );
  if (result.firstError !== undefined) console.log(`  first error: ${result.firstError}`);
  if (result.unanswered > 0)
    console.log(`  unanswered: ${rate(result.unanswered)}: the rate was not reached`);
  printTable(
    ["latency ms", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max"],
    [
      ["from intended send", ...latencyCells(result.latency)],
      ...(result.service === undefined
        ? []
        : [["from actual send", ...latencyCells(result.service)]]),
    ],
  );
  for (const [name, cpu] of [
    ["server", result.server],
    ["client", result.client],
  ] as const) {
    if (cpu === undefined) continue;
    const parts = `${cpu.userMicroseconds} user + ${cpu.systemMicroseconds} system`;
    console.log(`${name} CPU: ${cpu.microseconds} us a reply (${parts}), ${cpu.cores} cores`);
  }
}

const latencyCells = (latency: LatencySummary): string[] =>
  [
    latency.mean,
    latency.p50,
    latency.p90,
    latency.p99,
    latency.p99_9,
    latency.p99_99,
    latency.p99_999,
    latency.max,
  ].map(milliseconds);
