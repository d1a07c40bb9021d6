// What a seed decides about a cluster before anything happens: how many nodes, which faults exist at all, how slow and how
// large things are. A world without partitions finds other bugs than one that has little else (swarm testing).

import type { Prng } from "../../../src/lib/prng.ts";
import type { LogLimits } from "../../../src/log/mod.ts";
import type { ClusterOptions } from "../../../src/replica/replica.ts";

/** Which faults a world of several nodes knows. */
export interface ClusterFaultPlan {
  /** The power of one node fails, or of all of them at once. */
  readonly power: boolean;
  /** The power fails inside a file primitive: in the middle of a job, of a recovery, of the forming. */
  readonly primitive: boolean;
  readonly kill: boolean;
  /** A node gets no turn for a while, as after SIGSTOP. */
  readonly pause: boolean;
  /** A disk completes nothing for a while, or everything late. */
  readonly slowDisk: boolean;
  readonly full: boolean;
  /** A sync fails, and with it the node. */
  readonly sync: boolean;
  /** Nodes are separated: both ways, one way, in groups, one by one. */
  readonly partition: boolean;
  /** Connections break. */
  readonly breaks: boolean;
  /** Connections stand still for a while. */
  readonly clogs: boolean;
  /** Wall clocks jump. */
  readonly clock: boolean;
  /** Synced sectors rot, on fewer nodes than would lose something. */
  readonly rot: boolean;
  /** A disk is lost whole. */
  readonly wipe: boolean;
  /** Nodes are added, promoted, removed; leadership is moved. */
  readonly members: boolean;
}

/** Everything that a seed chooses. */
export interface ClusterPlan {
  /** Voters at the beginning. */
  readonly voters: number;
  /** Nodes that belong nowhere at the beginning. */
  readonly spares: number;
  /** Fewest voters that removals leave. */
  readonly votersMin: number;
  /** Whether the voters are told of the cluster, or find each other. */
  readonly isFormed: boolean;
  readonly durationMs: number;
  readonly eventsMax: number;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly writeConcern: ClusterOptions["writeConcern"];
  readonly catchUpBytes: number;
  readonly limits: LogLimits;
  /** Asked for by the nodes in turn. */
  readonly settings: readonly {
    readonly idempotencyTtlMs: number;
    readonly idempotencyKeysMax: number;
  }[];
  readonly reads: "microtask" | "step";
  readonly priorities: "equal" | "ranked";
  readonly latencyMsMax: number;
  /** Milliseconds that one act of a disk takes at most, when nothing is wrong. */
  readonly diskMsMax: number;
  /** How much faster or slower than the world's a node's clock runs at most, in parts of a thousand. */
  readonly driftPerMille: number;
  readonly skewMsMax: number;
  readonly faults: ClusterFaultPlan;
  /** Milliseconds between two faults, in the mean. */
  readonly faultMs: number;
  readonly clients: number;
  /** Milliseconds that a client waits between two acts, at most. */
  readonly thinkMsMax: number;
  readonly timeoutMs: number;
  readonly valueBytesMax: number;
  readonly topics: number;
  readonly partitionsMax: number;
  /** Share of produces with an idempotency key. */
  readonly keyedShare: number;
  readonly readShare: number;
  /** Share of acts that are neither produces nor reads. */
  readonly controlShare: number;
  readonly hasRetention: boolean;
  /** Space is asked back every second, as by hand. */
  readonly isHurried: boolean;
  /** Floors rise all the time. */
  readonly isWasteful: boolean;
  /** Share of acts that are of keys and transactions. */
  readonly keyShare: number;
}

const TTL_MS_HUGE = 8e15;
const KEYS_MAX_HUGE = 1_000_000;
const KIB = 1024;

/** Draws the plan of a world. */
export function drawClusterPlan(prng: Prng): ClusterPlan {
  const reclaim = prng.fork("reclaim");
  const start = prng.fork("start");
  const pick = <T>(choices: readonly T[]): T => choices[prng.below(choices.length)] as T;
  const segmentBytes = pick([16, 16, 32, 64]) * KIB;
  const tickMs = pick([20, 50, 50]);
  const heartbeatTicks = pick([1, 1, 2]);
  const hasMembers = prng.chance(0.35);
  const latencyMsMax = pick([1, 5, 20, 60]);
  const diskMsMax = pick([0.5, 3, 12, 40]);
  // An answer takes two ways and a sync; a leader that could not hear one in time would lead nobody.
  const electionTicksMin = Math.ceil((3 * (2.5 * latencyMsMax + 2 * diskMsMax)) / tickMs);
  const settings = [{ idempotencyTtlMs: TTL_MS_HUGE, idempotencyKeysMax: KEYS_MAX_HUGE }];
  if (prng.chance(0.15))
    settings.push({ idempotencyTtlMs: TTL_MS_HUGE, idempotencyKeysMax: KEYS_MAX_HUGE + 1 });
  if (prng.chance(0.15))
    settings.push({ idempotencyTtlMs: pick([TTL_MS_HUGE, 800]), idempotencyKeysMax: 12 });
  return {
    voters: pick([3, 3, 3, 3, 5, 5, 7]),
    spares: hasMembers ? 1 + prng.below(2) : 0,
    votersMin: pick([3, 2, 2, 1]),
    isFormed: prng.chance(0.25),
    durationMs: pick([4000, 8000, 16_000]),
    eventsMax: pick([2000, 4000, 6000]),
    tickMs,
    electionTicks: Math.max(heartbeatTicks * pick([4, 6, 10]), electionTicksMin),
    heartbeatTicks,
    writeConcern: pick(["majority", "majority", "majority", "majority", 1, 2, "all"]),
    catchUpBytes: pick([1, 1, 2 * segmentBytes, 1 << 30, 1 << 30]),
    limits: {
      segmentBytes,
      reserveBytes: 2 * segmentBytes,
      slabBytes: Math.min(pick([4, 8, 16]) * KIB, segmentBytes / 2),
      tailBytes: pick([8, 32, 256]) * KIB,
      mergeBytesMin: pick([256, 1024, 1 << 20]),
      // With the least, a start's first write fits nowhere but in the next segment.
      startSegmentBytes: [segmentBytes, 4200, 5 * KIB][start.below(3)] as number,
      segmentsKept: [0, 1, 1, 4][reclaim.below(4)] as number,
      reclaimBytesPerSecond: [1 << 18, 1 << 22, 1 << 30][reclaim.below(3)] as number,
    },
    settings,
    reads: pick(["microtask", "step", "step"]),
    priorities: pick(["equal", "equal", "ranked"]),
    latencyMsMax,
    diskMsMax,
    driftPerMille: pick([0, 20, 200]),
    skewMsMax: pick([0, 500, 3_600_000]),
    faults: {
      power: prng.chance(0.6),
      primitive: prng.chance(0.5),
      kill: prng.chance(0.5),
      pause: prng.chance(0.4),
      slowDisk: prng.chance(0.35),
      full: prng.chance(0.15),
      sync: prng.chance(0.15),
      partition: prng.chance(0.6),
      breaks: prng.chance(0.4),
      clogs: prng.chance(0.3),
      clock: prng.chance(0.25),
      rot: prng.chance(0.2),
      wipe: prng.chance(0.25),
      members: hasMembers,
    },
    faultMs: pick([150, 400, 1000, 2500]),
    clients: pick([2, 4, 8, 20]),
    thinkMsMax: pick([5, 30, 120]),
    timeoutMs: pick([300, 1500, 5000]),
    valueBytesMax: pick([64, 400, 2500]),
    topics: pick([1, 2, 3]),
    partitionsMax: pick([1, 2, 3]),
    keyedShare: pick([0, 0.4, 0.8]),
    readShare: pick([0.1, 0.3, 0.5]),
    controlShare: pick([0.03, 0.1, 0.25]),
    hasRetention: prng.chance(0.25),
    isHurried: reclaim.chance(0.4),
    isWasteful: reclaim.chance(0.5),
    keyShare: pick([0, 0.2, 0.5]),
  };
}
