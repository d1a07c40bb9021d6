// The load generator: drives an HTTP server as fast as it answers, or at a fixed rate, and says how fast and how late.
// It never judges a reply beyond its status, and knows nothing of the server but its addresses.
// Keeps: latency counts from when a request was due, so a stalled server cannot hide by being asked less.
// Called by `cli` (`ayder bench`), `proof` and `bench/`.

export { LatencyHistogram, type LatencySummary } from "./latency-histogram.ts";
export { type CpuTime, cpuBetween, readProcessCpu } from "./process-cpu.ts";
export { type CpuFigures, type LoadOptions, type LoadResult, runLoad } from "./run-load.ts";
export {
  batchWork,
  consumeWork,
  produceWork,
  tailWork,
  type Work,
  type WorkTarget,
} from "./work.ts";
