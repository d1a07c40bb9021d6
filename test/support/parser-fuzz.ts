// Feeds parsers what they should not be fed: seeds that are valid, spoiled, cut, spliced, with lengths that lie. A parser gives
// a result or refuses by name; anything else is a fault, and so is memory or time that the input does not account for.

import { Prng } from "../../src/lib/prng.ts";
import { oneOf, spoilBytes } from "./fuzz-values.ts";

/** Something that reads bytes of others. */
export interface ParserTarget {
  readonly name: string;
  /** Valid inputs. */
  readonly seeds: readonly Uint8Array[];
  /** How often it is drawn, beside others; 1 when left out. Slow ones get less. */
  readonly weight?: number;
  /**
   * Reads an input. Throws on anything but a result or a named error, and when damage was taken for good.
   * @returns whether it was taken.
   */
  readonly run: (input: Uint8Array, random: Prng) => boolean;
}

/** What a run came to. */
export interface ParserOutcome {
  readonly faults: readonly string[];
  readonly cases: ReadonlyMap<string, { readonly cases: number; readonly taken: number }>;
  readonly slowestMs: number;
  readonly slowest: string;
  readonly growthMebibytes: number;
}

/** One input may take so long on a machine that does other things too: a hang, or a square, takes longer. */
const CASE_MS_MAX = 10_000;
const FAULTS_MAX = 20;

/** Runs `cases` cases over all targets. The same seed gives the same inputs. */
export function runParserFuzz(
  targets: readonly ParserTarget[],
  options: {
    readonly seed: number;
    readonly cases: number;
    readonly progress?: (done: number) => void;
  },
): ParserOutcome {
  const random = new Prng(options.seed);
  const drawn = targets.flatMap((target) =>
    Array.from({ length: target.weight ?? 1 }, () => target),
  );
  const cases = new Map(targets.map(({ name }) => [name, { cases: 0, taken: 0 }]));
  const faults: string[] = [];
  let [slowestMs, slowest] = [0, ""];
  for (const { name, seeds, run } of targets)
    for (const seed of seeds)
      if (!run(seed, random)) faults.push(`${name}: a seed was refused: ${shown(seed)}`);
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  let peak = before;
  for (let i = 0; i < options.cases && faults.length < FAULTS_MAX; i++) {
    const target = oneOf(random, drawn);
    const input = spoiled(random, target.seeds);
    const started = performance.now();
    const tally = cases.get(target.name) ?? { cases: 0, taken: 0 };
    tally.cases += 1;
    try {
      if (target.run(input, random)) tally.taken += 1;
    } catch (error) {
      faults.push(
        `${target.name}, case ${i}: ${String(error)} on ${shown(input)}\n${stackOf(error)}`,
      );
    }
    const tookMs = performance.now() - started;
    if (tookMs > slowestMs) [slowestMs, slowest] = [tookMs, `${target.name}: ${shown(input)}`];
    if (tookMs > CASE_MS_MAX)
      faults.push(`${target.name}, case ${i}: ${tookMs} ms on ${shown(input)}`);
    if (i % 1000 === 999) peak = Math.max(peak, process.memoryUsage.rss());
    if (i % 50_000 === 49_999) options.progress?.(i + 1);
  }
  const growthMebibytes = (peak - before) / 1_048_576;
  return { faults, cases, slowestMs, slowest, growthMebibytes };
}

const shown = (bytes: Uint8Array): string =>
  `${bytes.length} bytes ${Buffer.from(bytes.subarray(0, 200)).toString("base64")} ${JSON.stringify(
    Buffer.from(bytes.subarray(0, 200)).toString("latin1"),
  )}`;

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? "").split("\n").slice(1, 6).join("\n") : "";

/** Values that lengths, counts and positions are set to. */
const EDGES = [
  0, 1, 2, 127, 128, 255, 256, 0x7f_ff_ff_ff, 0x80_00_00_00, 0xff_ff_ff_ff, 4096, 65_535,
];

function spoiled(random: Prng, seeds: readonly Uint8Array[]): Uint8Array {
  const seed = oneOf(random, seeds);
  switch (random.below(10)) {
    case 0:
      return seed.slice(0, random.below(seed.length + 1));
    case 1: {
      const other = oneOf(random, seeds);
      const at = random.below(seed.length + 1);
      return joined(seed.subarray(0, at), other.subarray(random.below(other.length + 1)));
    }
    case 2:
      return joined(seed, seed.subarray(0, random.below(seed.length + 1)));
    case 3:
    case 4:
      return withNumber(random, seed);
    case 5: {
      const bytes = new Uint8Array(random.below(300));
      for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
      return bytes;
    }
    default:
      return spoilBytes(random, seed);
  }
}

function withNumber(random: Prng, seed: Uint8Array): Uint8Array {
  if (seed.length < 4) return spoilBytes(random, seed);
  const bytes = seed.slice();
  const at = random.below(seed.length - 3);
  const value = random.chance(0.5) ? oneOf(random, EDGES) : random.u32();
  new DataView(bytes.buffer).setUint32(
    random.chance(0.7) ? at & ~3 : at,
    value,
    random.chance(0.8),
  );
  return bytes;
}

const joined = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  new Uint8Array(Buffer.concat([left, right]));
