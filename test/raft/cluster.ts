// A few drivers and the wires between them, for tests that tell a story: everything arrives, unless somebody is cut off.

import type { Configuration, RaftMessage } from "../../src/raft/mod.ts";
import { Driver, emptyDisk, membersAre, type Parcel } from "./driver.ts";

type Options = ConstructorParameters<typeof Driver>[2];

/** Some nodes in one room. */
export class Cluster {
  readonly nodes = new Map<string, Driver>();
  readonly cutOff = new Set<string>();
  /** Every message that was delivered, in order. */
  readonly delivered: RaftMessage[] = [];

  constructor(
    configuration: Configuration = membersAre(["a", "b", "c"]),
    options: Options = {},
    nodeIds: readonly string[] = [...configuration.voters, ...configuration.learners],
  ) {
    for (const nodeId of nodeIds)
      this.nodes.set(nodeId, new Driver(nodeId, emptyDisk(configuration), options));
  }

  /** A node of which the test knows that it is there. */
  node(nodeId: string): Driver {
    return this.nodes.get(nodeId) as Driver;
  }

  /** Delivers and syncs until nothing moves. */
  settle(): void {
    for (let i = 0; i < 1000; i += 1) {
      for (const node of this.nodes.values()) {
        if (node.hasUnsynced) node.sync();
        node.pull();
      }
      if (!this.deliver()) return;
    }
    throw new Error("The cluster does not come to rest");
  }

  /** Delivers what is on the wires; false when that was nothing. */
  deliver(): boolean {
    const parcels: Parcel[] = [];
    for (const node of this.nodes.values()) parcels.push(...node.outbox.splice(0));
    for (const parcel of parcels) {
      const { from, to } = parcel.message;
      if (this.cutOff.has(from) || this.cutOff.has(to)) continue;
      this.delivered.push(parcel.message);
      this.nodes.get(to)?.receive(parcel);
    }
    return parcels.length > 0;
  }

  /** Lets time pass, on all nodes or on one. */
  tick(ticks: number, nodeId?: string): void {
    for (let i = 0; i < ticks; i += 1) {
      for (const [id, node] of this.nodes) {
        if (nodeId === undefined || nodeId === id) node.step({ kind: "tick", random: 0 });
      }
      this.settle();
    }
  }

  /** Has a node elected. */
  elect(nodeId: string): Driver {
    const node = this.node(nodeId);
    node.step({ kind: "campaign" });
    this.settle();
    return node;
  }
}
