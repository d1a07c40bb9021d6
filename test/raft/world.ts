// A cluster that everything happens to: messages are lost, doubled, delayed and overtaken; disks take their time; nodes crash
// and lose what was not synced; members change; logs are compacted. One seed decides it all. After each act the promises of
// Raft (figure 3) are looked at with the eyes of somebody who sees all nodes at once.

import { Prng } from "../../src/lib/prng.ts";
import type { ConfigurationChange } from "../../src/raft/mod.ts";
import { Driver, emptyDisk, membersAre, type Parcel } from "./driver.ts";

/** What is counted, so that a test sees that anything happened. */
export interface Tally {
  elections: number;
  commits: number;
  crashes: number;
  changes: number;
  snapshots: number;
  reads: number;
}

const NODE_IDS = ["a", "b", "c", "d", "e"];

/** One world from one seed. */
export class World {
  readonly tally: Tally = {
    elections: 0,
    commits: 0,
    crashes: 0,
    changes: 0,
    snapshots: 0,
    reads: 0,
  };
  readonly #chance: Prng;
  readonly #nodes = new Map<string, Driver>();
  #wires: Parcel[] = [];
  readonly #leaders = new Map<number, string>();
  /** What was ever applied anywhere, by index. */
  readonly #applied: string[] = [];
  #committedIndex = 0;
  readonly #looked = new Map<string, { driver: Driver; count: number }>();
  /** What the commit index was when a read was asked for. */
  readonly #readFloors = new Map<number, number>();
  #cutOff = new Set<string>();
  #nextValue = 0;
  readonly #lossChance: number;
  readonly #acts: [number, (node: Driver) => void][];
  readonly #weightSum: number;
  readonly #isLively: boolean;

  constructor(seed: number) {
    const chance = new Prng(seed);
    this.#chance = chance.fork("acts");
    const shape = chance.fork("shape");
    const voters = NODE_IDS.slice(0, shape.chance(0.5) ? 3 : 5);
    this.#lossChance = shape.below(4) * 0.07;
    this.#acts = this.#weigh(shape);
    this.#weightSum = this.#acts.reduce((sum, [weight]) => sum + weight, 0);
    const options = {
      electionTicks: 5,
      heartbeatTicks: 1,
      inflightMessagesMax: 1 + shape.below(4),
      isPreVote: shape.chance(0.8),
      isCheckQuorum: shape.chance(0.8),
    };
    this.#isLively = options.isPreVote && options.isCheckQuorum;
    for (const nodeId of NODE_IDS) {
      const random = shape.below(100) / 100;
      this.#place(new Driver(nodeId, emptyDisk(membersAre(voters)), { ...options, random }));
    }
  }

  #place(node: Driver): void {
    node.onStep = (driver) => this.#lookAtCommitted(driver);
    this.#nodes.set(node.nodeId, node);
  }

  /** Lets `acts` things happen. */
  run(acts: number): void {
    for (let i = 0; i < acts; i += 1) {
      this.#act();
      this.#look();
    }
  }

  /** Heals everything and lets time pass: the cluster must get somewhere, and everyone to the same place. */
  settle(): void {
    this.#cutOff = new Set();
    for (let i = 0; i < 100; i += 1) {
      for (const node of this.#nodes.values()) {
        if (i % 20 === 0) node.giveUpSnapshots();
        node.step({ kind: "tick", random: this.#chance.below(1000) / 1000 });
        node.sync();
        node.pull();
      }
      for (let round = 0; round < 6; round += 1) {
        this.#collect();
        for (const parcel of this.#wires.splice(0)) {
          this.#nodes.get(parcel.message.to)?.receive(parcel);
          this.#look();
        }
        for (const node of this.#nodes.values()) {
          node.sync();
          node.pull();
        }
      }
      if (i === 50) this.#leader()?.propose("last");
    }
    this.#look();
    // Without pre-votes, as only scenarios are, a node that was removed may upset the others for ever.
    if (!this.#isLively) return;
    const leader = this.#leader();
    if (leader === undefined) throw new Error("A healed cluster has no leader");
    const { configuration, commitIndex } = leader.state;
    if (commitIndex !== leader.lastIndex) throw new Error("A healed cluster does not commit");
    for (const nodeId of configuration.voters) {
      const { values } = this.#nodes.get(nodeId) as Driver;
      if (values.length !== leader.values.length)
        throw new Error(`${nodeId} applied ${values.length} of ${leader.values.length}`);
    }
  }

  #leader(): Driver | undefined {
    const leaders = [...this.#nodes.values()].filter(({ state }) => state.role === "leader");
    return leaders.sort((left, right) => right.state.term - left.state.term)[0];
  }

  #act(): void {
    const chance = this.#chance;
    const node = this.#nodes.get(NODE_IDS[chance.below(5)] as string) as Driver;
    let at = chance.below(this.#weightSum);
    for (const [weight, act] of this.#acts) {
      at -= weight;
      if (at >= 0) continue;
      act(node);
      break;
    }
    node.pull(1 + chance.below(4));
    this.#collect();
  }

  /** What may happen, and how often: much of it in some worlds, nothing in others. */
  #weigh(shape: Prng): [number, (node: Driver) => void][] {
    const chance = this.#chance;
    const any = (): string => NODE_IDS[chance.below(5)] as string;
    const some = (weight: number): number => weight * ([0, 1, 1, 3, 8][shape.below(5)] as number);
    return [
      [400, () => this.#deliver()],
      [60 + some(20), () => this.#tick()],
      [150 + some(60), () => this.#sync()],
      [80, (node) => this.#propose(node)],
      [some(30), (node) => this.#read(node)],
      [some(15), (node) => this.#change(node)],
      [some(6), (node) => this.#crash(node)],
      [some(4), (node) => node.compact()],
      [some(6), () => this.#partition()],
      [some(2), (node) => node.step({ kind: "transfer", to: any() })],
      [some(3), (node) => node.step({ kind: "unreachable", nodeId: any() })],
      [1 + some(1), (node) => node.giveUpSnapshots()],
      [some(10), (node) => node.step({ kind: "campaign" })],
    ];
  }

  /** Clocks go on, if not evenly. */
  #tick(): void {
    for (const node of this.#nodes.values()) {
      const random = this.#chance.below(1000) / 1000;
      if (this.#chance.chance(0.4)) node.step({ kind: "tick", random });
    }
  }

  /** Some disks begin to write, others are done. */
  #sync(): void {
    for (const node of this.#nodes.values()) {
      if (this.#chance.chance(0.5)) node.endSync();
      else node.beginSync();
    }
  }

  #collect(): void {
    for (const node of this.#nodes.values()) this.#wires.push(...node.outbox.splice(0));
    // More than this is as good as lost.
    if (this.#wires.length > 200) this.#wires = this.#wires.slice(-200);
  }

  #deliver(): void {
    const chance = this.#chance;
    for (let i = 0; i < 6 && this.#wires.length > 0; i += 1) {
      // Mostly in order, and now and then whatever there is.
      const at = chance.chance(0.8) ? 0 : chance.below(this.#wires.length);
      const parcel = this.#wires[at] as Parcel;
      if (!chance.chance(0.05)) this.#wires.splice(at, 1);
      const { from, to } = parcel.message;
      const isCut = this.#cutOff.has(from) !== this.#cutOff.has(to);
      if (isCut || chance.chance(this.#lossChance)) continue;
      if (parcel.message.kind === "snapshot") this.tally.snapshots += 1;
      this.#nodes.get(to)?.receive(parcel);
    }
  }

  #propose(node: Driver): void {
    const target = this.#chance.chance(0.7) ? (this.#leader() ?? node) : node;
    if (target.propose(`v${this.#nextValue}`)) this.#nextValue += 1;
  }

  #read(node: Driver): void {
    const context = this.#readFloors.size;
    this.#readFloors.set(context, this.#applied.length);
    node.step({ kind: "read", context });
  }

  #change(any: Driver): void {
    const node = any.state.role === "leader" ? any : (this.#leader() ?? any);
    if (node.state.configuration.outgoing.length > 0) return;
    const chance = this.#chance;
    const isJoint = chance.chance(0.5);
    const changes: ConfigurationChange[] = [];
    for (let i = isJoint ? 1 + chance.below(3) : 1; i > 0; i -= 1) {
      const nodeId = NODE_IDS[chance.below(5)] as string;
      const kind = (["addVoter", "addVoter", "addLearner", "remove"] as const)[chance.below(4)];
      changes.push({ kind: kind ?? "addVoter", nodeId });
    }
    if (node.propose("change", { changes, isJoint })) this.tally.changes += 1;
  }

  #crash(node: Driver): void {
    this.tally.crashes += 1;
    const chance = this.#chance;
    this.#place(node.crash(chance.below(4), chance.chance(0.5)));
    // What it had sent is gone with its sockets, as likely as not.
    if (chance.chance(0.5))
      this.#wires = this.#wires.filter(({ message }) => message.from !== node.nodeId);
  }

  #partition(): void {
    const chance = this.#chance;
    this.#cutOff = new Set(NODE_IDS.filter(() => chance.chance(0.35)));
    if (chance.chance(0.4)) this.#cutOff = new Set();
  }

  /** The promises of Raft, as far as they can be seen. Draws no chance. */
  #look(): void {
    for (const node of this.#nodes.values()) {
      this.#lookAtLeader(node);
      this.#lookAtApplied(node);
      this.#lookAtReads(node);
    }
    this.#lookAtLogs();
  }

  /** Election safety: one leader a term. Leader completeness: it has everything that was committed. */
  #lookAtLeader(node: Driver): void {
    const { role, term } = node.state;
    if (role !== "leader") return;
    const known = this.#leaders.get(term);
    if (known === undefined) this.tally.elections += 1;
    if (known !== undefined && known !== node.nodeId)
      throw new Error(`Both ${known} and ${node.nodeId} led term ${term}`);
    this.#leaders.set(term, node.nodeId);
    const isLatest = term === Math.max(...this.#leaders.keys());
    if (isLatest && node.lastIndex < this.#applied.length)
      throw new Error(
        `${node.nodeId} leads term ${term} with a log that ends at ${node.lastIndex}`,
      );
  }

  /** What a leader calls committed is on the disks of a majority, of each half, when it first says so. */
  #lookAtCommitted({ nodeId, state }: Driver): void {
    const { role, commitIndex, configuration } = state;
    if (role !== "leader" || commitIndex <= this.#committedIndex) return;
    this.#committedIndex = commitIndex;
    const term = state.terms.at(commitIndex);
    for (const half of [configuration.voters, configuration.outgoing]) {
      const has = half.filter((voter) => {
        const { baseIndex, entries } = (this.#nodes.get(voter) as Driver).disk.log;
        return baseIndex >= commitIndex || entries[commitIndex - baseIndex - 1]?.term === term;
      });
      if (half.length > 0 && has.length * 2 <= half.length)
        throw new Error(`${nodeId} committed ${commitIndex}, which only ${has.join()} have`);
    }
  }

  /** State machine safety: the same entry at the same index, everywhere and for ever. */
  #lookAtApplied(node: Driver): void {
    const before = this.#looked.get(node.nodeId);
    const from = before?.driver === node && before.count <= node.values.length ? before.count : 0;
    for (let i = from; i < node.values.length; i += 1) {
      const value = node.values[i] as string;
      if (i === this.#applied.length) {
        this.#applied.push(value);
        this.tally.commits += 1;
      }
      if (this.#applied[i] !== value)
        throw new Error(`${node.nodeId} applied ${value}, another had ${this.#applied[i]}`);
    }
    this.#looked.set(node.nodeId, { driver: node, count: node.values.length });
  }

  /** Linearizable reads: whatever was applied anywhere when one was asked for, it waits for. */
  #lookAtReads(node: Driver): void {
    for (const { context, index } of node.readsConfirmed.splice(0)) {
      this.tally.reads += 1;
      const floor = this.#readFloors.get(context) ?? 0;
      if (index < floor) throw new Error(`A read waits for ${index}, applied was ${floor}`);
    }
  }

  /** Log matching: logs with the same term at an index are the same up to there. The last entries are looked at. */
  #lookAtLogs(): void {
    const nodes = [...this.#nodes.values()];
    for (const [i, left] of nodes.entries()) {
      for (const right of nodes.slice(i + 1)) {
        let index = Math.min(left.lastIndex, right.lastIndex);
        const sameAt = (at: number): boolean =>
          left.entryAt(at) !== undefined && left.entryAt(at)?.term === right.entryAt(at)?.term;
        while (index > 0 && !sameAt(index) && index > left.lastIndex - 20) index -= 1;
        for (let depth = 0; depth < 5 && index - depth > 0; depth += 1) {
          const [ours, theirs] = [left.entryAt(index - depth), right.entryAt(index - depth)];
          if (!sameAt(index) || ours === undefined || theirs === undefined) break;
          if (ours.term !== theirs.term || ours.value !== theirs.value)
            throw new Error(
              `${left.nodeId} and ${right.nodeId} differ at ${index - depth}, below ${index}`,
            );
        }
      }
    }
  }
}
