// The load generator: drives an HTTP server as fast as it answers, or at a fixed rate, and says how fast and how late.
// It never judges a reply beyond its status, and knows nothing of the server but its addresses.
// Keeps: latency counts from when a request was due, so a stalled server cannot hide by being asked less.
// Called by `bench/` and `ayder bench`; `proof` takes its connections, and nothing of what it measures.

export { connect, Outbox, type SocketUser } from "./connection.ts";
export { encodeHttp1 } from "./http1-connection.ts";
export { Http1Reply } from "./http1-reply.ts";
export { LatencyHistogram, type LatencySummary } from "./latency-histogram.ts";
export { type CpuTime, cpuBetween, readProcessCpu, readProcessesCpu } from "./process-cpu.ts";
export {
  type CpuFigures,
  type LoadOptions,
  type LoadProgress,
  type LoadResult,
  runLoad,
} from "./run-load.ts";
export {
  batchWork,
  consumeWork,
  produceWork,
  type ReplyTimes,
  type RequestShape,
  tailWork,
  type Work,
  type WorkTarget,
} from "./work.ts";
