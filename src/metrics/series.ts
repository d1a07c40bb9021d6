// One metric that reads its numbers when it is scraped. Nothing is counted twice: not here and where it happens.

import type { Metric } from "prom-client";
import type { Histogram } from "../lib/histogram.ts";

/** Labels of a sample. */
export type Labels = Readonly<Record<string, string | number>>;

/** One number of a metric. */
export interface Sample {
  readonly value: number;
  readonly labels: Labels;
  /** When it differs from the metric's own, as a histogram's parts do. */
  readonly metricName?: string;
}

/** One histogram with its labels. */
export interface LabelledHistogram {
  readonly histogram: Histogram;
  readonly labels: Labels;
}

type Kind = "counter" | "gauge" | "histogram";

/** What the registry asks of a metric. */
interface Series {
  readonly name: string;
  readonly help: string;
  readonly type: Kind;
  get(): Promise<{
    readonly name: string;
    readonly help: string;
    readonly type: Kind;
    readonly aggregator: "sum";
    readonly values: readonly Sample[];
  }>;
  reset(): void;
}

function series(kind: Kind, name: string, help: string, read: () => Iterable<Sample>): Metric {
  const made: Series = {
    name,
    help,
    type: kind,
    get: async () => ({ name, help, type: kind, aggregator: "sum", values: [...read()] }),
    // Numbers belong to those who count; a scrape resets nothing.
    reset: () => undefined,
  };
  // The registry calls `get` and nothing else; its types know only its own classes.
  return made as unknown as Metric;
}

/** A number that goes up and down. */
export const gauge = (name: string, help: string, read: () => number): Metric =>
  series("gauge", name, help, () => [{ value: read(), labels: {} }]);

/** A number that goes up and down, per label. */
export const gauges = (name: string, help: string, read: () => Iterable<Sample>): Metric =>
  series("gauge", name, help, read);

/** A number that only goes up. `name` ends in `_total`. */
export const counter = (name: string, help: string, read: () => number): Metric =>
  series("counter", name, help, () => [{ value: read(), labels: {} }]);

/** A number that only goes up, per label. `name` ends in `_total`. */
export const counters = (name: string, help: string, read: () => Iterable<Sample>): Metric =>
  series("counter", name, help, read);

/**
 * Histograms, one per label.
 * @param scale What to multiply by to get to the base unit: 1e-6 for microseconds.
 */
export const histograms = (
  name: string,
  help: string,
  scale: number,
  read: () => Iterable<LabelledHistogram>,
): Metric =>
  series("histogram", name, help, function* samples() {
    for (const one of read()) yield* bucketsOf(name, scale, one);
  });

function* bucketsOf(name: string, scale: number, one: LabelledHistogram): Iterable<Sample> {
  const { histogram, labels } = one;
  let sum = 0;
  for (let i = 0; i < histogram.bounds.length; i++) {
    sum += histogram.counts[i] ?? 0;
    // Bounds such as 0.00005 * 2^3 are not exact; a label must be the same at every scrape and easy to read.
    const le = Number(((histogram.bounds[i] ?? 0) * scale).toPrecision(6));
    yield { metricName: `${name}_bucket`, value: sum, labels: { ...labels, le } };
  }
  yield { metricName: `${name}_bucket`, value: histogram.count, labels: { ...labels, le: "+Inf" } };
  yield { metricName: `${name}_sum`, value: histogram.sum * scale, labels };
  yield { metricName: `${name}_count`, value: histogram.count, labels };
}
