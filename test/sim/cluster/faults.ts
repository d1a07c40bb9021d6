// When a cluster goes wrong, and how: power, processes, disks, clocks, the network. One stream of numbers decides, apart from
// all others. What takes away synced data strikes fewer nodes than would lose something.

import type { Prng } from "../../../src/lib/prng.ts";
import { FRAME_BYTES, fileName } from "../../../src/log/format.ts";
import type { ClusterNode } from "./node.ts";
import type { ClusterFaultPlan } from "./plan.ts";
import type { ClusterWorld } from "./world.ts";

const YEAR_MS = 365 * 24 * 3600 * 1000;
const PAUSE_MS_MAX = 3000;
const PARTITION_MS_MAX = 4000;
const SLOW_MS_MAX = 4000;
const FULL_MS_MAX = 5000;
/** Kinds that never strike by themselves: the network does them, or the operator. */
const ELSEWHERE: readonly string[] = ["breaks", "clogs", "members"];

/** All faults of a world. */
export class ClusterFaults {
  nextMs: number;
  readonly #world: ClusterWorld;
  readonly #prng: Prng;
  readonly #kinds: (keyof ClusterFaultPlan)[];
  /** What ends by itself, and when. */
  readonly #ends: { readonly atMs: number; readonly end: () => void }[] = [];
  #strikeMs: number;

  constructor(world: ClusterWorld, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
    this.#kinds = (Object.keys(world.plan.faults) as (keyof ClusterFaultPlan)[]).filter(
      (kind) => world.plan.faults[kind] && !ELSEWHERE.includes(kind),
    );
    this.#strikeMs = this.#drawStrike();
    this.nextMs = this.#strikeMs;
  }

  #drawStrike(): number {
    if (this.#kinds.length === 0) return Number.POSITIVE_INFINITY;
    return this.#world.now + 1 + this.#prng.below(2 * this.#world.plan.faultMs);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#prng.below(choices.length)] as T;
  }

  /** Ends what has lasted long enough, or does something bad. */
  strike(): void {
    const { now } = this.#world;
    const due = this.#ends.findIndex(({ atMs }) => atMs <= now);
    if (due >= 0) this.#ends.splice(due, 1)[0]?.end();
    else if (this.#strikeMs <= now) {
      this.#strikeMs = this.#drawStrike();
      const kind = this.#pick(this.#kinds);
      const any = this.#pick(this.#world.nodes);
      // What happens to a leader upsets more.
      const leader = this.#prng.chance(0.3) ? this.#leader() : undefined;
      this.#do(kind, leader ?? any);
    }
    this.nextMs = this.#ends.reduce((next, { atMs }) => Math.min(next, atMs), this.#strikeMs);
  }

  #leader(): ClusterNode | undefined {
    return this.#world.nodes.find(({ replica }) => replica?.isLeading === true);
  }

  #for(elapsedMsMax: number, end: () => void): void {
    this.#ends.push({ atMs: this.#world.now + 1 + this.#prng.below(elapsedMsMax), end });
  }

  #do(kind: keyof ClusterFaultPlan, node: ClusterNode): void {
    const world = this.#world;
    world.trace.about(node, "fault", kind);
    switch (kind) {
      case "power":
        if (this.#prng.chance(0.15)) {
          for (const one of world.nodes) if (one.isUp) world.powerFails(one, "everywhere");
        } else if (node.isUp) world.powerFails(node, "anywhere");
        return;
      case "primitive":
        if (node.isUp) node.disk.crashAfterPrimitives(1 + this.#prng.below(40));
        return;
      case "kill":
        if (node.isUp) world.processDies(node, "anywhere");
        // The machine may follow soon after, in the middle of the next start.
        if (this.#prng.chance(0.3)) node.disk.crashAfterPrimitives(1 + this.#prng.below(15));
        return;
      case "pause":
        if (node.isUp && !node.isPaused) node.pause(world.now + 1 + this.#prng.below(PAUSE_MS_MAX));
        return;
      case "slowDisk":
        if (this.#prng.chance(0.5)) {
          node.diskStalledUntilMs = world.now + this.#prng.below(SLOW_MS_MAX);
          return;
        }
        node.diskFactor = this.#pick([5, 30, 200]);
        this.#for(SLOW_MS_MAX, () => {
          node.diskFactor = 1;
        });
        return;
      case "partition":
        this.#separate(node);
        return;
      case "full":
        this.#takeAway(node);
        return;
      case "sync":
        if (!node.isUp) return;
        node.hasFailedSync = true;
        node.disk.failNextSync();
        return;
      case "rot":
        if (this.#mayLose(node)) this.#rot(node);
        return;
      case "wipe":
        if (!this.#mayLose(node)) return;
        world.wipe(node);
        return;
      case "clock":
        node.wallSkewMs += Math.floor(
          (this.#prng.below(2001) - 1000) * this.#pick([1, 60, YEAR_MS / 1000]),
        );
        return;
      default:
        return;
    }
  }

  #takeAway(node: ClusterNode): void {
    if (node.takenBytes > 0) return;
    const left = this.#prng.below(3 * this.#world.plan.limits.segmentBytes);
    const { files } = node.disk;
    node.takenBytes = Math.max(0, files.freeBytesLimit - left);
    files.freeBytesLimit -= node.takenBytes;
    node.mayBeFull = true;
    this.#for(FULL_MS_MAX, () => {
      // The disk may be another one by now.
      if (node.disk.files !== files) return;
      files.freeBytesLimit += node.takenBytes;
      node.takenBytes = 0;
    });
  }

  /**
   * Whether a node may lose what it had: of any majority of the voters, one is left that has it. None does while members
   * are being changed, since then nobody can say who the voters are.
   */
  #mayLose(node: ClusterNode): boolean {
    const { nodes, members } = this.#world;
    if (node.isLossy || !members.isCalm) return false;
    const { membership } = this.#world.ledger;
    // Who has been filled again may be a voter already, though nobody has said so.
    if (membership?.members.some(({ isReturning }) => isReturning) === true) return false;
    const voters = this.#world.voters();
    if (!voters.includes(node.id)) return true;
    // Who does not know yet who the voters are may need more of the old ones than there will be.
    const epoch = membership?.epoch ?? 1;
    const isKnown = (one: ClusterNode): boolean => one.isLossy || one.epoch === epoch;
    if (!nodes.filter(({ id }) => voters.includes(id)).every(isKnown)) return false;
    const lossy = nodes.filter(({ id, isLossy }) => isLossy && voters.includes(id)).length;
    return lossy + 1 <= Math.floor((voters.length - 1) / 2);
  }

  /**
   * Rots one synced sector of what a node depends on. Only where another sector says that it was durable: the last write
   * and its frame in one sector cannot be told from a torn tail.
   */
  #rot(node: ClusterNode): void {
    const { replica, disk } = node;
    const { files } = disk;
    if (replica === undefined) return;
    const names = files
      .list()
      .filter((name) => /\.(log|archive|delta|base|index)$|^manifest$|^meta/.test(name));
    const name = this.#pick(names.sort());
    const end = name.endsWith(".log") ? coveredEnd(node, name) : files.size(name);
    if (end === undefined || end < 1) return;
    const position = this.#prng.below(end);
    if (!files.file(name).isSynced(position)) return;
    this.#world.trace.about(node, "rot", `${name} at ${position}`);
    disk.corruptSyncedSector(name, position);
    node.hasRot = true;
    node.isLossy = true;
  }

  /** Cuts directions of the network, for a while. */
  #separate(node: ClusterNode): void {
    const { nodes, network, trace } = this.#world;
    const shape = this.#pick([
      "alone",
      "alone",
      "deaf",
      "mute",
      "groups",
      "pair",
      "leader",
    ] as const);
    const target = shape === "leader" ? (this.#leader() ?? node) : node;
    const side = new Map(nodes.map((one) => [one, this.#prng.chance(0.5)]));
    const other = this.#pick(nodes);
    const cuts: (readonly [string, string])[] = [];
    for (const from of nodes) {
      for (const to of nodes) {
        if (from === to) continue;
        const isCut = {
          alone: from === target || to === target,
          leader: from === target || to === target,
          deaf: to === target,
          mute: from === target,
          groups: side.get(from) !== side.get(to),
          pair: from === target && to === other,
        }[shape];
        if (isCut) cuts.push([from.id, to.id]);
      }
    }
    trace.event("cut", `${shape} ${target.id}: ${cuts.map((cut) => cut.join(">")).join(" ")}`);
    for (const [from, to] of cuts) network.block(from, to);
    this.#for(PARTITION_MS_MAX, () => {
      trace.event("mended", `${shape} ${target.id}`);
      for (const [from, to] of cuts) network.unblock(from, to);
    });
  }

  /** Voters that are enough to go on with; none when it cannot be said at this moment who is. */
  majority(): readonly ClusterNode[] {
    const { ledger, members, nodes } = this.#world;
    const voters = nodes.filter(({ id }) => this.#world.voters().includes(id));
    const epoch = ledger.membership?.epoch ?? 1;
    const sound = voters.filter((node) => !node.isLossy && node.epoch === epoch);
    const wanted = Math.floor(voters.length / 2) + 1;
    // Who lost what it had is about to become a voter again, and there would be one more to be heard.
    const isGrowing = ledger.membership?.members.some(({ isReturning }) => isReturning) === true;
    if (!members.isCalm || isGrowing || ledger.lastIndex === 0 || sound.length < wanted) return [];
    while (sound.length > wanted) sound.splice(this.#prng.below(sound.length), 1);
    return sound;
  }

  /** Ends everything that is wrong. @param majority These alone hear each other, where any are named. */
  heal(majority: readonly ClusterNode[]): void {
    const { nodes, network, now } = this.#world;
    for (const { end } of this.#ends.splice(0)) end();
    const isApart = (from: ClusterNode, to: ClusterNode): boolean =>
      majority.length > 0 && majority.includes(from) !== majority.includes(to);
    for (const from of nodes) {
      for (const to of nodes) {
        if (isApart(from, to)) network.block(from.id, to.id);
        else network.unblock(from.id, to.id);
      }
    }
    for (const node of nodes) {
      if (node.hasFailedSync) this.#world.processDies(node, "to heal");
      node.diskStalledUntilMs = 0;
      node.diskFactor = 1;
      node.disk.crashAfterPrimitives(Number.POSITIVE_INFINITY);
      if (node.isPaused) node.resumeMs = now;
      node.startMs = Math.min(node.startMs, now + 10);
    }
  }
}

/** How much of a segment is known to be durable by what lies in other sectors. */
function coveredEnd({ replica, disk }: ClusterNode, name: string): number | undefined {
  if (replica === undefined) return undefined;
  const { log, raft } = replica;
  const segment = log.segments.all().find(({ sequence }) => fileName(sequence, "log") === name);
  if (segment === undefined) return undefined;
  if (segment !== log.segments.active)
    return log.syncedIndex > segment.chain.index ? segment.position : undefined;
  const { sectorBytes } = disk.files;
  const isCovered = log.isIdle && !log.needsIdleFrame(raft.commitIndex);
  return isCovered
    ? Math.floor((segment.position - FRAME_BYTES) / sectorBytes) * sectorBytes
    : undefined;
}
