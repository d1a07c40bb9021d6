// Figures of the process itself: processor time, memory, collections, and how late the event loop is.
// prom-client's own set has names that promtool refuses and figures that Bun does not have.

import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Metric } from "prom-client";
import { counter, gauge, gauges } from "./series.ts";

/** Milliseconds between two looks at the event loop: 20 a second, which an idle processor does not feel. */
const LOOP_LOOK_MS = 50;

/** Counts collections: each one takes a forgotten object with it, and that is told. */
function countCollections(): () => number {
  let collections = 0;
  const registry = new FinalizationRegistry(() => {
    collections += 1;
    registry.register({}, undefined);
  });
  registry.register({}, undefined);
  return () => collections;
}

/** The metrics of this process. */
export function processMetrics(): readonly Metric[] {
  const startedSeconds = (Date.now() - process.uptime() * 1000) / 1000;
  const collections = countCollections();
  const loop = monitorEventLoopDelay({ resolution: LOOP_LOOK_MS });
  loop.enable();
  return [
    counter("process_cpu_seconds_total", "Processor time used, in seconds.", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    }),
    gauge(
      "process_start_time_seconds",
      "When the process started, in seconds since the epoch.",
      () => startedSeconds,
    ),
    gauge("process_resident_memory_bytes", "Memory the process occupies.", () =>
      process.memoryUsage.rss(),
    ),
    // What the engine knows by itself. Its `heapStats` knows more and walks every object for it, while nothing else happens.
    gauge(
      "ayder_heap_used_bytes",
      "Memory that objects occupied after the last collection, with what they hold outside the heap.",
      () => process.memoryUsage().heapUsed,
    ),
    gauge(
      "ayder_heap_capacity_bytes",
      "Memory held for objects themselves.",
      () => process.memoryUsage().heapTotal,
    ),
    gauge(
      "ayder_heap_external_bytes",
      "Memory that objects hold outside the heap, such as buffers.",
      () => process.memoryUsage().external,
    ),
    counter(
      "ayder_gc_observed_total",
      "Garbage collections that were seen to take something.",
      collections,
    ),
    gauges(
      "ayder_event_loop_delay_seconds",
      "How late the event loop was since the last scrape.",
      () => {
        const samples = [
          { labels: { stat: "p50" }, value: loop.percentile(50) / 1e9 },
          { labels: { stat: "p99" }, value: loop.percentile(99) / 1e9 },
          { labels: { stat: "max" }, value: loop.max / 1e9 },
        ].map(({ labels, value }) => ({ labels, value: Number.isFinite(value) ? value : 0 }));
        loop.reset();
        return samples;
      },
    ),
  ];
}
