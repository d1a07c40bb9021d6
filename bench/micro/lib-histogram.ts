// What it costs to record one latency: in the buckets of the metrics, and in the fine ones of the load generator.

import { doublingBounds, Histogram } from "../../src/lib/histogram.ts";
import { LatencyHistogram } from "../../src/load/mod.ts";
import { type MicroResult, type MicroSize, nanosecondsPerCall } from "./micro.ts";

const CALLS = { tiny: 1000, real: 5_000_000 } as const;

/** Records the same spread of latencies in both. */
export async function run(options: { readonly size: MicroSize }): Promise<MicroResult> {
  const calls = CALLS[options.size];
  const coarse = new Histogram(doublingBounds(1, 20));
  const fine = new LatencyHistogram();
  // Multiplying by an odd number walks through all of 0 to 65,535 in no order that a predictor could learn.
  const spread = (i: number): number => Math.imul(i, 40_503) & 0xff_ff;
  const figures = {
    lib_record_ns: nanosecondsPerCall(calls, (i) => coarse.record(spread(i))),
    load_record_ns: nanosecondsPerCall(calls, (i) => fine.record(spread(i))),
    load_summary_us:
      nanosecondsPerCall(options.size === "tiny" ? 1 : 1000, () => fine.summary()) / 1000,
  };
  if (coarse.count !== calls * 5 || fine.count !== calls * 5)
    throw new Error("A histogram lost a latency");
  return { name: "lib-histogram", figures };
}
