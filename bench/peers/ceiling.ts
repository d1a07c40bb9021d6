// No peer: the HTTP server that Ayder stands on, with a route that reads the body, answers and keeps nothing. What it takes is the
// most that anything behind HTTP can take here.

import { produceWork } from "../../src/load/mod.ts";
import { startNoop } from "../load/servers.ts";
import type { Peer, RunningPeer } from "./peer.ts";
import { httpSlice } from "./slices.ts";

/** The same requests as Ayder's single records, and replies as long. */
export const ceiling: Peer = {
  name: "Nothing kept",
  durability: "none",
  sizes: [1],
  missing: () => undefined,
  start,
};

async function start(): Promise<RunningPeer> {
  const server = await startNoop();
  const work = (valueBytes: number) =>
    produceWork({ topic: "bench", partition: 0, token: "dev" }, valueBytes);
  return {
    version: `Bun ${Bun.version}`,
    command: server.command,
    ways: (["http1", "http2"] as const).map((protocol) => ({
      name: `Nothing kept, HTTP/${protocol === "http1" ? "1.1" : "2"}`,
      takesBatches: false,
      slice: (asked) =>
        httpSlice({ url: server.url, protocol, work: work(asked.valueBytes) }, [server.pid], asked),
    })),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
