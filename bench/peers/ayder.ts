// Ayder itself, in the same words as the others.

import { batchWork, produceWork } from "../../src/load/mod.ts";
import { startMeasured, TARGET } from "../cluster-nodes.ts";
import type { Peer, PeerWork, RunningPeer } from "./peer.ts";
import { httpSlice } from "./slices.ts";

/** One record a request, over HTTP/1.1 and HTTP/2; a batch is NDJSON. */
export const ayder: Peer = {
  name: "Ayder",
  durability: "written to the log and synced, on a majority",
  sizes: [1, 3],
  missing: () => undefined,
  start,
};

async function start(nodes: number): Promise<RunningPeer> {
  await using stack = new AsyncDisposableStack();
  const { cluster, leader } = stack.use(await startMeasured({ nodes }));
  const pids = cluster.nodes.map((node) => node.process.pid);
  const version = (await (await fetch(`${leader.url}/health`)).json()) as { version?: string };
  const way = (name: string, protocol: "http1" | "http2"): RunningPeer["ways"][number] => ({
    name,
    takesBatches: protocol === "http1",
    slice: (asked: PeerWork) => {
      const work =
        asked.records === 1
          ? produceWork(TARGET, asked.valueBytes)
          : batchWork(TARGET, asked.valueBytes, asked.records);
      return httpSlice({ url: leader.url, protocol, work }, pids, asked);
    },
  });
  const owned = stack.move();
  return {
    version: `Ayder ${version.version ?? ""}`,
    command: "ayder --port P --data D",
    ways: [way("Ayder, HTTP/1.1", "http1"), way("Ayder, HTTP/2", "http2")],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
