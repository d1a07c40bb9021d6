// Turns the numbers that other rooms keep into Prometheus text. It counts nothing itself and holds no history.
// Keeps: a scrape costs what is shown, and the number of series is bounded. Called by `main`.

export { createHaMetrics } from "./cluster.ts";
export type { ClusterNumbers, MetricsSources } from "./ports.ts";
export { createMetrics } from "./registry.ts";
