// When the world goes wrong, and how: power, process, disk, clock. One stream of numbers decides, apart from all others.

import { FatalError } from "../../src/lib/fatal.ts";
import type { Prng } from "../../src/lib/prng.ts";
import { FRAME_BYTES, fileName } from "../../src/log/format.ts";
import { SimCrash } from "../support/sim-disk.ts";
import type { Node } from "./node.ts";
import type { FaultPlan } from "./plan.ts";
import { claim } from "./shadow.ts";
import type { World } from "./world.ts";

const YEAR_MS = 365 * 24 * 3600 * 1000;

/** All faults of a world. */
export class Faults {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #kinds: string[];
  /** Bytes taken away from the disk, to be given back. */
  #takenBytes = 0;
  #fullUntilStep = 0;
  #stalledUntilStep = 0;
  hasFailedSync = false;
  hasRot = false;
  #isRotWanted = false;

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
    this.#kinds = Object.entries(world.plan.faults).flatMap(([kind, exists]) =>
      exists ? [kind] : [],
    );
  }

  /** Does something bad, now and then, and ends what has lasted long enough. */
  maybe(): void {
    const { step } = this.#world.trace;
    if (step >= this.#stalledUntilStep) this.#world.disk.isStalled = false;
    if (step >= this.#fullUntilStep) this.#giveBack();
    if (this.#isRotWanted) this.#rot();
    if (this.#kinds.length === 0 || !this.#prng.chance(1 / this.#world.plan.faultSteps)) return;
    const kind = this.#kinds[this.#prng.below(this.#kinds.length)];
    this.#world.trace.event("fault", kind);
    switch (kind as keyof FaultPlan) {
      case "power":
        this.#world.powerFails("anywhere");
        return;
      case "primitive":
        this.#world.disk.crashAfterPrimitives(1 + this.#prng.below(40));
        return;
      case "kill":
        this.#world.processDies("anywhere");
        // The machine may follow soon after, in the middle of the next start.
        if (this.#prng.chance(0.5)) this.#world.disk.crashAfterPrimitives(1 + this.#prng.below(15));
        return;
      case "stop":
        this.#world.stops();
        return;
      case "stall":
        this.#stalledUntilStep = step + 1 + this.#prng.below(150);
        this.#world.disk.isStalled = true;
        return;
      case "full":
        this.#takeAway();
        return;
      case "clock":
        this.#world.wallSkewMs += (this.#prng.below(2001) - 1000) * (YEAR_MS / 1000);
        return;
      case "sync":
        this.hasFailedSync = true;
        this.#world.disk.failNextSync();
        return;
      case "rot":
        this.#isRotWanted = true;
        return;
    }
  }

  /** Whether a node may stop for this reason here. */
  explains(error: FatalError): boolean {
    return isDamage(error) ? this.hasRot : this.hasFailedSync && error.reason === "sync_failed";
  }

  /** The disk is another one now, with no failure waiting in it. */
  onReopened(): void {
    this.hasFailedSync = false;
    this.#stalledUntilStep = 0;
  }

  /** Ends everything that is wrong. */
  heal(): void {
    this.#world.disk.isStalled = false;
    this.#world.disk.crashAfterPrimitives(Number.POSITIVE_INFINITY);
    this.#giveBack();
    if (this.hasFailedSync) this.#world.powerFails("to heal");
  }

  #takeAway(): void {
    const { disk, plan, trace } = this.#world;
    if (this.#takenBytes > 0) return;
    const left = this.#prng.below(3 * plan.limits.segmentBytes);
    this.#takenBytes = Math.max(0, disk.files.freeBytesLimit - left);
    disk.files.freeBytesLimit -= this.#takenBytes;
    this.#fullUntilStep = trace.step + 20 + this.#prng.below(300);
    this.#world.mayBeFull = true;
  }

  #giveBack(): void {
    if (this.#takenBytes === 0) return;
    this.#world.trace.event("room");
    this.#world.disk.files.freeBytesLimit += this.#takenBytes;
    this.#takenBytes = 0;
  }

  /**
   * Rots one synced sector of what the node depends on. Only where another sector says that it was durable: the last
   * write and its frame in one sector cannot be told from a torn tail.
   */
  #rot(): void {
    const { node, disk } = this.#world;
    if (this.hasRot || node?.isSettled !== true) return;
    const names = disk.files
      .list()
      .filter((name) => /\.(log|archive|delta|base|index)$/.test(name));
    const name = names.sort()[this.#prng.below(names.length)] ?? "";
    const end = name.endsWith(".log") ? this.#coveredEnd(node, name) : disk.files.size(name);
    if (end === undefined || end < 1) return;
    const position = this.#prng.below(end);
    if (!disk.files.file(name).isSynced(position)) return;
    this.#world.trace.event("rot", `${name} at ${position}`);
    disk.corruptSyncedSector(name, position);
    this.hasRot = true;
    this.#isRotWanted = false;
  }

  /** How much of a segment is known to be durable by what lies in other sectors. */
  #coveredEnd(node: Node, name: string): number | undefined {
    const { log } = node.replica;
    const segment = log.segments.all().find(({ sequence }) => fileName(sequence, "log") === name);
    if (segment === undefined) return undefined;
    if (segment !== log.segments.active)
      return log.syncedIndex > segment.chain.index ? segment.position : undefined;
    const { sectorBytes } = node.disk.files;
    const isCovered = log.isIdle && !log.needsIdleFrame;
    return isCovered
      ? Math.floor((segment.position - FRAME_BYTES) / sectorBytes) * sectorBytes
      : undefined;
  }

  /** A node that found damage must not start again. */
  refuseForGood(): void {
    const world = this.#world;
    const mayLackNote = world.mayBeFull || this.hasFailedSync;
    world.isOver = true;
    world.processDies("damage was found");
    try {
      world.start();
    } catch (error) {
      if (error instanceof SimCrash) return;
      const isRefusal = error instanceof FatalError && isDamage(error);
      claim(isRefusal, `A start on a damaged log ended with ${error}`);
      return;
    }
    // On a disk that is full or failing there is nowhere to note it; the next read finds it again.
    claim(mayLackNote, "A node that found damage starts again as if nothing had happened");
  }
}

/** Whether a node stopped because of what it read. */
export const isDamage = (error: FatalError): boolean =>
  error.reason === "log_corrupt" || error.reason === "data_unusable";
