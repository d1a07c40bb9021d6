// Interleaved rounds: every contender runs for a short slice, in turns, so that what neighbours do to the machine
// falls on all of them alike. Ratios are made within a round and their median is reported.

import type { CpuFigures, LoadResult } from "../../src/load/mod.ts";
import { median, milliseconds } from "./report.ts";

/** What one slice has to tell; a `LoadResult` does. */
export interface Slice {
  readonly repliesPerSecond: number;
  readonly errors: number;
  readonly latency: { readonly p50: number; readonly p99: number };
  readonly client?: CpuFigures;
  readonly server?: CpuFigures;
}

/** Insists that every reply was a good one: a server that refuses is fast, and its figures are worth nothing. */
export function demandGood(result: LoadResult): LoadResult {
  const bad = Object.keys(result.statuses).filter((status) => !status.startsWith("2"));
  if (bad.length === 0 && result.errors === 0 && result.replies > 0) return result;
  const found = { statuses: result.statuses, errors: result.errors, firstError: result.firstError };
  throw new Error(`Cannot compare with a server that refuses: ${JSON.stringify(found)}`);
}

/** Something to be measured. */
export interface Contender<S extends Slice> {
  readonly name: string;
  /** Whom its ratios are made against; left out, the first contender. */
  readonly against?: string;
  readonly slice: () => Promise<S>;
}

/** Medians and best of one contender's slices. */
export interface Standing {
  readonly name: string;
  readonly medianPerSecond: number;
  readonly bestPerSecond: number;
  /** Microseconds of the server's processor time per reply. */
  readonly medianServerCpu: number;
  readonly bestServerCpu: number;
  readonly medianP50: number;
  readonly medianP99: number;
  readonly errors: number;
  /** To whom it is compared with, median over rounds: its rate and, inverted, its processor time; above 1 is better. */
  readonly rateRatio: number;
  readonly cpuRatio: number;
}

/** Runs `rounds` rounds over all contenders. The order turns by one each round, so nobody is always first. */
export async function runRounds<S extends Slice>(
  contenders: readonly Contender<S>[],
  rounds: number,
): Promise<Map<string, S[]>> {
  const slices = new Map<string, S[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(round + turn) % contenders.length]!;
      const slice = await contender.slice();
      slices.get(contender.name)!.push(slice);
      const cpu = slice.server?.microseconds.toFixed(1) ?? "-";
      console.error(`round ${round + 1}: ${contender.name} ${slice.repliesPerSecond}/s, ${cpu} us`);
    }
  }
  return slices;
}

/** Sums the rounds up. */
export function standings<S extends Slice>(
  contenders: readonly Contender<S>[],
  slices: ReadonlyMap<string, readonly S[]>,
): Standing[] {
  const cpu = (slice: Slice | undefined): number => slice?.server?.microseconds ?? 0;
  return contenders.map(({ name, against }) => {
    const own = slices.get(name) ?? [];
    const other = slices.get(against ?? contenders[0]!.name) ?? [];
    return {
      name,
      medianPerSecond: Math.round(median(own.map((slice) => slice.repliesPerSecond))),
      bestPerSecond: Math.max(...own.map((slice) => slice.repliesPerSecond)),
      medianServerCpu: median(own.map(cpu)),
      bestServerCpu: Math.min(...own.map(cpu)),
      medianP50: median(own.map((slice) => slice.latency.p50)),
      medianP99: median(own.map((slice) => slice.latency.p99)),
      errors: own.reduce((sum, slice) => sum + slice.errors, 0),
      rateRatio: median(
        own.map((slice, i) => slice.repliesPerSecond / (other[i]?.repliesPerSecond || 1)),
      ),
      cpuRatio: median(own.map((slice, i) => cpu(other[i]) / (cpu(slice) || 1))),
    };
  });
}

/** The header of `standingRow`. */
export const STANDING_HEADER = [
  "",
  "req/s med",
  "best",
  "cpu us med",
  "best",
  "p50 ms",
  "p99 ms",
  "errors",
  "rate ratio",
  "cpu ratio",
] as const;

/** One standing as cells. */
export const standingRow = (standing: Standing): string[] => [
  standing.name,
  standing.medianPerSecond.toLocaleString("en-US"),
  standing.bestPerSecond.toLocaleString("en-US"),
  standing.medianServerCpu.toFixed(1),
  standing.bestServerCpu.toFixed(1),
  milliseconds(standing.medianP50),
  milliseconds(standing.medianP99),
  String(standing.errors),
  standing.rateRatio.toFixed(2),
  standing.cpuRatio.toFixed(2),
];
