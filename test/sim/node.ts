// One life of the node under test: the production `Replica` and `NodeBroker` over a simulated disk and clock.

import { silentLogger } from "../../src/lib/logger.ts";
import type { Prng } from "../../src/lib/prng.ts";
import { openIdentity } from "../../src/log/mod.ts";
import type { Refusal } from "../../src/model/errors.ts";
import { ALONE, type Clock, NodeBroker, noPeers, Replica } from "../../src/replica/mod.ts";
import type { SimDisk } from "../support/sim-disk.ts";
import type { Produced } from "./outcomes.ts";
import type { Plan } from "./plan.ts";

/** What a life is born with. */
export interface NodeOptions {
  readonly life: number;
  readonly plan: Plan;
  readonly disk: SimDisk;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly onProduced: (life: number, waiter: number, outcome: Produced) => void;
  readonly onRefused: (life: number, waiter: number, refusal: Refusal) => void;
}

/** A node from its start to its end. */
export class Node {
  readonly life: number;
  readonly disk: SimDisk;
  readonly replica: Replica;
  readonly broker: NodeBroker;
  readonly settings: Plan["settings"][number];
  isTurnRequested = false;
  /** Whether what it recovered was looked at and taken over. */
  isSettled = false;
  /** Since when some act has been under way: no entry that is open was opened before. */
  busySinceMs = 0;
  /** Acts whose answer is outstanding. */
  inFlight = 0;

  /** Recovers. Throws what the replica and the disk throw. */
  constructor(options: NodeOptions) {
    const { life, plan, disk, prng, onProduced, onRefused } = options;
    this.life = life;
    this.disk = disk;
    this.settings = plan.settings[life % plan.settings.length] as Plan["settings"][number];
    const segmentBytes = plan.segmentSizes[life % plan.segmentSizes.length] as number;
    const randomId = (): string =>
      Array.from({ length: 4 }, () => prng.u32().toString(16).padStart(8, "0")).join("");
    this.replica = new Replica({
      identity: openIdentity(disk.files, { nodeId: "node1", randomId, startsAlone: true }),
      disk,
      transport: noPeers(),
      cluster: ALONE,
      random: () => 0.5,
      clock: options.clock,
      sink: {
        submittedMs: 0,
        produced: (waiter, firstOffset, count, partition, raftIndex, synced, duplicate) =>
          onProduced(life, waiter, {
            firstOffset,
            count,
            partition,
            raftIndex,
            synced,
            duplicate,
          }),
        refused: (waiter, refusal) => onRefused(life, waiter, refusal),
      },
      requestTurn: () => {
        this.isTurnRequested = true;
      },
      logger: silentLogger,
      limits: { ...plan.limits, segmentBytes, reserveBytes: 2 * segmentBytes },
      settings: this.settings,
      randomId,
      randomSalt: () => prng.u32(),
    });
    this.broker = new NodeBroker(this.replica, {
      topicsMax: 100,
      partitionsMax: 1000,
      groupsMax: 1000,
      waitingMax: 1000,
      keysMax: 10_000,
      bytesMax: 1 << 26,
      namespacesMax: 100,
    });
  }

  /** Takes the turn that was asked for. */
  turn(): void {
    this.isTurnRequested = false;
    this.replica.turn();
  }
}
