// Round after round something is done to a cluster of processes while clients write and read: nodes are killed, stopped, wiped,
// cut off. Space is given back all the while, and backups are taken. Afterwards it must come back by itself, with nothing
// acknowledged lost, doubled or moved, commits that never went back, reads that were as new as they promised, and the same
// state everywhere. `ROUNDS=100` is the long run; `NODES=5`, `TLS=1`.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { Prng } from "../../src/lib/prng.ts";
import { ClusterLoad } from "../support/cluster-load.ts";
import {
  type Cluster,
  type ClusterNode,
  canCut,
  startCluster,
} from "../support/cluster-process.ts";
import { metrics } from "../support/node-client.ts";
import { runCommand, SMALL_SEGMENTS } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { ROUNDS: ROUNDS_TEXT = "8", SEED = "1", NODES: NODES_TEXT = "3" } = process.env;
const { STOP_MS: STOP_MS_TEXT = "5000" } = process.env;
const ROUNDS = Number(ROUNDS_TEXT);
const NODES = Number(NODES_TEXT);
/** How long a node stands still, or cuts last. */
const STOP_MS = Number(STOP_MS_TEXT);
const CUT_MS = Math.min(STOP_MS, 2000);
const ROUND_MS_MAX = 90_000;
/** Every so many rounds everything is read again on every node, not only what is new on one. */
const WHOLE_ROUNDS = 10;
const WRITES = 60;
/** Every so many rounds a node is backed up while clients write. */
const BACKUP_ROUNDS = 4;

/** What can be done to a cluster; each ends with everything as it was, as far as hands are concerned. */
interface Fault {
  readonly name: string;
  readonly isPossible: boolean;
  readonly strike: (round: Round) => Promise<void>;
}

/** What a fault is given. */
interface Round {
  readonly cluster: Cluster;
  readonly load: ClusterLoad;
  readonly leader: ClusterNode;
  readonly follower: ClusterNode;
  readonly random: Prng;
  /** A leader died at this moment. */
  readonly died: (atMs: number) => void;
}

/** Holds until so long has passed; the load goes on. */
const pass = (milliseconds: number): Promise<void> => Bun.sleep(milliseconds);

const FAULTS: readonly Fault[] = [
  {
    name: "SIGKILL leader",
    isPossible: true,
    strike: async ({ load, leader, died }) => {
      died(performance.now());
      await leader.kill("SIGKILL");
      await load.more(WRITES);
      leader.start();
    },
  },
  {
    name: "SIGKILL leader and another",
    isPossible: NODES >= 5,
    strike: async ({ load, leader, follower, died }) => {
      died(performance.now());
      await Promise.all([leader.kill("SIGKILL"), follower.kill("SIGKILL")]);
      await load.more(WRITES);
      leader.start();
      follower.start();
    },
  },
  {
    name: "SIGKILL follower",
    isPossible: true,
    strike: async ({ load, follower }) => {
      await follower.kill("SIGKILL");
      await load.more(WRITES);
      follower.start();
    },
  },
  {
    name: "SIGKILL all",
    isPossible: true,
    strike: async ({ cluster }) => {
      await Promise.all(cluster.nodes.map((node) => node.kill("SIGKILL")));
      for (const node of cluster.nodes) node.start();
    },
  },
  {
    name: "SIGSTOP of a node",
    isPossible: true,
    strike: async ({ leader, follower, random }) => {
      const node = random.chance(0.5) ? leader : follower;
      node.pause();
      await pass(STOP_MS);
      node.resume();
    },
  },
  {
    name: "one way cut",
    isPossible: canCut,
    strike: async ({ cluster, leader, follower, random }) => {
      const node = random.chance(0.6) ? leader : follower;
      cluster.isolate(node, random.chance(0.5) ? "sends" : "receives");
      await pass(CUT_MS);
      cluster.heal();
    },
  },
  {
    name: "one way cut between two",
    isPossible: canCut,
    strike: async ({ cluster, leader, follower, random }) => {
      if (random.chance(0.5)) cluster.cut(leader, follower);
      else cluster.cut(follower, leader);
      await pass(CUT_MS);
      cluster.heal();
    },
  },
  {
    name: "two way cut",
    isPossible: canCut,
    strike: async ({ cluster, leader, follower, random }) => {
      cluster.isolate(random.chance(0.6) ? leader : follower, "both");
      await pass(CUT_MS);
      cluster.heal();
    },
  },
  {
    name: "wiped follower",
    isPossible: true,
    strike: async ({ load, follower }) => {
      await follower.kill("SIGKILL");
      await load.more(WRITES);
      follower.wipe();
      follower.start();
    },
  },
];

/** Files that each node has given back since it started. */
const reclaimed = (cluster: Cluster): Promise<readonly (number | undefined)[]> =>
  Promise.all(
    cluster.running.map(
      async ({ url }) => (await metrics(url, ["ayder_reclaimed_files_total"]))[0],
    ),
  );

/** Every node is ready, votes, and belongs to the same cluster: nobody has touched anything. */
async function healthy(cluster: Cluster): Promise<void> {
  await cluster.ready(cluster.nodes);
  await cluster.until("every node votes", async () => {
    const leader = await cluster.leader();
    const members = await cluster.members(leader);
    return members.length === NODES && members.every((member) => member.is_voter);
  });
}

const milliseconds = (times: readonly number[]): string => {
  const sorted = [...times].sort((left, right) => left - right);
  const [middle, worst] = [sorted[sorted.length >> 1], sorted.at(-1)];
  return times.length === 0 ? "none" : `${middle?.toFixed(0)} median, ${worst?.toFixed(0)} worst`;
};

/** Backs a node up under load, restores that elsewhere, which verifies everything, and says what it was worth. */
async function backUp(node: ClusterNode): Promise<"verified" | "not finished"> {
  const { path, clean } = temporaryDirectory();
  try {
    const file = join(path, "backup");
    const taken = await runCommand(["backup", node.url, file, "--token", "dev", "--json"]);
    // A node may be stopped or lose its connection in the middle of it; whatever says that it is whole must be.
    if (taken.code !== 0) return "not finished";
    const restored = await runCommand(["restore", file, join(path, "restored"), "--json"]);
    expect({ ...restored, of: node.id }).toMatchObject({ code: 0 });
    return "verified";
  } finally {
    clean();
  }
}

/** Draws every fault before any comes twice. */
class Bag {
  readonly #random: Prng;
  #left: Fault[] = [];

  constructor(random: Prng) {
    this.#random = random;
  }

  draw(): Fault {
    if (this.#left.length === 0) this.#left = FAULTS.filter(({ isPossible }) => isPossible);
    return this.#left.splice(this.#random.below(this.#left.length), 1)[0] as Fault;
  }
}

test(
  `${NODES} nodes come back by themselves from ${ROUNDS} rounds of kills, stops, cuts and lost disks, with every promise kept`,
  async () => {
    const random = new Prng(Number(SEED));
    const bag = new Bag(new Prng(Number(SEED) + 1));
    await using cluster = await startCluster({
      nodes: NODES,
      network: canCut ? "namespaces" : "loopback",
      // A little data is many segments, and a node that lacks one is filled with files. The watch, which is read once a round,
      // begins in those that are kept.
      env: { ...SMALL_SEGMENTS, RF_HA_CATCH_UP_BYTES: "1048576", RF_SEGMENTS_KEPT: "20" },
    });
    await using load = new ClusterLoad(cluster, {
      topic: "rounds",
      partitions: 3,
      clients: 12,
      random,
      flowBytes: 1 << 20,
    });
    await load.createTopic();
    const failoverMs: number[] = [];
    const healthMs: number[] = [];
    const backups = new Map<string, number>();
    const begun = performance.now();

    for (let round = 0; round < ROUNDS; round++) {
      const fault = bag.draw();
      const roundMs = performance.now();
      load.start();
      await load.more(WRITES);
      const leader = await cluster.leader();
      const others = cluster.nodes.filter((node) => node !== leader);
      const follower = others[random.below(others.length)] as ClusterNode;
      let diedMs = Number.NaN;
      const died = (atMs: number): void => {
        diedMs = atMs;
      };

      await fault.strike({ cluster, load, leader, follower, random, died });
      const healedMs = performance.now();
      await healthy(cluster);
      const tookMs = performance.now() - healedMs;
      healthMs.push(tookMs);
      if (round % BACKUP_ROUNDS === 1) {
        const source = cluster.nodes[random.below(NODES)] as ClusterNode;
        const worth = await backUp(source);
        backups.set(worth, (backups.get(worth) ?? 0) + 1);
      }
      await load.more(WRITES);
      await load.stop();
      const faults = await load.check(round % WHOLE_ROUNDS === WHOLE_ROUNDS - 1);

      if (faults.length > 0) console.error(cluster.report());
      expect(faults.slice(0, 10), `round ${round}, ${fault.name}, seed ${SEED}`).toEqual([]);
      if (!Number.isNaN(diedMs)) failoverMs.push(load.firstAfter(diedMs));
      console.log(
        `round ${round}: ${fault.name}: healthy after ${tookMs.toFixed(0)} ms, ` +
          `${load.accepted()} writes, ${(performance.now() - roundMs).toFixed(0)} ms`,
      );
    }

    console.log(
      `${ROUNDS} rounds in ${((performance.now() - begun) / 1000).toFixed(0)} s, seed ${SEED}: ` +
        `${load.oracle.acknowledged} acknowledged of ${load.oracle.seen} records, ${load.reads} reads, ` +
        `keys ${JSON.stringify(load.keys.counts)}, ${load.rocket.given} records in memory only, ` +
        `backups ${JSON.stringify(Object.fromEntries(backups))}, files given back ${JSON.stringify(await reclaimed(cluster))}, ` +
        `${load.unanswered} attempts unanswered, ${load.duplicates} repeats were there already; ` +
        `ms from a leader's death to the next write: ${milliseconds(failoverMs)}; ` +
        `ms to full health: ${milliseconds(healthMs)}; ${JSON.stringify([...load.refusals])}`,
    );
  },
  ROUND_MS_MAX * (ROUNDS + 1),
);
