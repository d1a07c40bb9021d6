// What a seed decides before anything happens: which faults exist at all, how large things are, how often what is done.
// A world without crashes finds other bugs than one that has little else (swarm testing).

import type { Prng } from "../../src/lib/prng.ts";
import type { LogLimits } from "../../src/log/mod.ts";

/** Which faults a world knows. */
export interface FaultPlan {
  /** The power fails between two acts of the disk. */
  readonly power: boolean;
  /** The power fails inside a file primitive: in the middle of a job, or of a recovery. */
  readonly primitive: boolean;
  /** The process dies and the machine lives on. */
  readonly kill: boolean;
  /** The node is stopped in good order and started again. */
  readonly stop: boolean;
  readonly stall: boolean;
  readonly full: boolean;
  /** The wall clock jumps by up to a year. */
  readonly clock: boolean;
  /** A sync fails, and with it the machine. */
  readonly sync: boolean;
  /** A synced sector rots, once; the run ends with it. */
  readonly rot: boolean;
}

/** Everything that a seed chooses. */
export interface Plan {
  readonly steps: number;
  readonly limits: LogLimits;
  /** Asked for by the lives in turn. */
  /** Sizes of segments, by turns of lives. */
  readonly segmentSizes: readonly number[];
  readonly settings: readonly {
    readonly idempotencyTtlMs: number;
    readonly idempotencyKeysMax: number;
  }[];
  readonly reads: "microtask" | "step";
  readonly faults: FaultPlan;
  /** Steps between two faults, in the mean. */
  readonly faultSteps: number;
  /** Relative frequency of what a step does. */
  readonly weights: { readonly disk: number; readonly client: number; readonly time: number };
  readonly elapsedMsMax: number;
  readonly inFlightMax: number;
  readonly valueBytesMax: number;
  readonly partitionsMax: number;
  /** Share of produces with an idempotency key. */
  readonly keyedShare: number;
  /** Share of acts that are not produces. */
  readonly controlShare: number;
  readonly hasRetention: boolean;
  /** Space is asked back every second, as by hand. */
  readonly isHurried: boolean;
  /** Floors rise all the time. */
  readonly isWasteful: boolean;
}

/** Nothing is older than this, even after a jump of the clock. */
export const TTL_MS_HUGE = 8e15;
export const KEYS_MAX_HUGE = 1_000_000;

const KIB = 1024;

/** Draws the plan of a world. */
export function drawPlan(prng: Prng): Plan {
  const pick = <T>(choices: readonly T[]): T => choices[prng.below(choices.length)] as T;
  const reclaim = prng.fork("reclaim");
  const start = prng.fork("start");
  const segmentBytes = pick([64, 64, 128, 256]) * KIB;
  const ttl = pick([TTL_MS_HUGE, TTL_MS_HUGE, 2000]);
  const keysMax = pick([KEYS_MAX_HUGE, KEYS_MAX_HUGE, 12]);
  const settings = [{ idempotencyTtlMs: ttl, idempotencyKeysMax: keysMax }];
  if (prng.chance(0.2)) {
    settings.push({
      idempotencyTtlMs: pick([TTL_MS_HUGE, 2000]),
      idempotencyKeysMax: pick([KEYS_MAX_HUGE, 12]),
    });
  }
  const plan: Plan = {
    steps: pick([300, 600, 1200, 2000]),
    limits: {
      segmentBytes,
      reserveBytes: 2 * segmentBytes,
      slabBytes: pick([16, 32, 48]) * KIB,
      tailBytes: pick([16, 64, 256]) * KIB,
      mergeBytesMin: pick([512, 2048, 1 << 20]),
      // With the least, a start's first write fits nowhere but in the next segment.
      startSegmentBytes: [segmentBytes, 4200, 5 * KIB][start.below(3)] as number,
      segmentsKept: [0, 0, 1, 3][reclaim.below(4)] as number,
      reclaimBytesPerSecond: [64 * KIB, 1 << 22, 1 << 30][reclaim.below(3)] as number,
    },
    segmentSizes: start.chance(0.3) ? [segmentBytes, 2 * segmentBytes] : [segmentBytes],
    settings,
    reads: pick(["microtask", "step", "step"]),
    faults: {
      power: prng.chance(0.7),
      primitive: prng.chance(0.6),
      kill: prng.chance(0.5),
      stop: prng.chance(0.4),
      stall: prng.chance(0.3),
      full: prng.chance(0.25),
      clock: prng.chance(0.4),
      sync: prng.chance(0.15),
      rot: prng.chance(0.12),
    },
    faultSteps: pick([40, 100, 200, 400]),
    weights: { disk: pick([10, 30, 60]), client: pick([10, 30, 60]), time: pick([5, 10, 30]) },
    elapsedMsMax: pick([3, 20, 60]),
    inFlightMax: pick([1, 4, 20, 60]),
    valueBytesMax: pick([64, 500, 4000, 24_000]),
    partitionsMax: pick([1, 2, 4]),
    keyedShare: pick([0, 0.3, 0.7]),
    controlShare: pick([0.05, 0.2, 0.5]),
    hasRetention: prng.chance(0.3),
    isHurried: reclaim.chance(0.3),
    isWasteful: reclaim.chance(0.35),
  };
  if (!plan.isWasteful) return plan;
  // Much is written and much of it deleted, so that space comes back all the time.
  return {
    ...plan,
    steps: [1200, 2000, 3000][reclaim.below(3)] as number,
    limits: { ...plan.limits, segmentBytes: 64 * KIB, reserveBytes: 128 * KIB },
    segmentSizes: [64 * KIB],
    weights: { disk: 60, client: 60, time: 40 },
    elapsedMsMax: 60,
    inFlightMax: Math.max(4, plan.inFlightMax),
    valueBytesMax: [1000, 4000, 24_000][reclaim.below(3)] as number,
    controlShare: 0.2,
  };
}
