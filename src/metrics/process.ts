// Figures of the process itself: processor time, memory, collections, and how late the event loop is.
// prom-client's own set has names that promtool refuses and figures that Bun does not have.

import { heapStats } from "bun:jsc";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Metric } from "prom-client";
import { counter, gauge, gauges } from "./series.ts";

/** Milliseconds between two looks at the event loop: 20 a second, which an idle processor does not feel. */
const LOOP_LOOK_MS = 50;

/**
 * Milliseconds for which one look at the heap serves: it walks every object, 4 to 8 ms in which nothing else happens, and who
 * scrapes may need no token.
 */
const HEAP_LOOK_MS = 5000;

/** Looks at the heap, and not more often than that. */
function heapFigures(): () => ReturnType<typeof heapStats> {
  let figures = heapStats();
  let lookedMs = performance.now();
  return () => {
    const nowMs = performance.now();
    if (nowMs - lookedMs >= HEAP_LOOK_MS) {
      figures = heapStats();
      lookedMs = nowMs;
    }
    return figures;
  };
}

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
  const heap = heapFigures();
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
    gauge("ayder_heap_used_bytes", "Memory that objects occupy.", () => heap().heapSize),
    gauge("ayder_heap_capacity_bytes", "Memory held for objects.", () => heap().heapCapacity),
    gauge(
      "ayder_heap_external_bytes",
      "Memory that objects hold outside the heap, such as buffers.",
      () => heap().extraMemorySize,
    ),
    gauge("ayder_heap_objects", "Objects on the heap.", () => heap().objectCount),
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
