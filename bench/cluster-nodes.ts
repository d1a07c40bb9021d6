// Clusters to be measured: the binary on loopback, its data where servers under measurement have theirs.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Cluster, type ClusterNode, startCluster } from "../test/support/cluster-process.ts";
import { createTopic, scratchDirectory } from "./load/servers.ts";

/** Where the work goes. */
export const TARGET = { topic: "bench", partition: 0, token: "dev" };

/** Nodes of a measured cluster. */
export const NODES = 3;

/** A cluster with the topic, and who leads it. */
export interface MeasuredCluster extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly leader: ClusterNode;
}

/** Starts so many nodes, waits for a leader, makes the topic. One node has nobody to replicate to. */
export async function startMeasured(options: {
  readonly nodes: number;
  /** Left out: `TLS=1` in the environment says so. */
  readonly isTls?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<MeasuredCluster> {
  const { nodes, isTls = process.env["TLS"] === "1", env = {} } = options;
  await using stack = new AsyncDisposableStack();
  const directory = scratchDirectory("cluster");
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const cluster = stack.use(
    await startCluster({
      nodes,
      isTls,
      env: { RF_LOG_LEVEL: "warn", ...env },
      dataDirOf: (node) => join(directory, `node${node + 1}`),
    }),
  );
  const leader = await cluster.leader();
  await createTopic(leader.url, TARGET);
  const owned = stack.move();
  return { cluster, leader, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
