// A histogram in plain numbers: recording is a short search and two additions, reading happens on scrape.

/** Counts observations per bucket; the bounds are upper and inclusive, as Prometheus has them. */
export class Histogram {
  readonly bounds: Float64Array;
  /** One more than `bounds`: the last counts what lies above them all. Not cumulative. */
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  /** @param bounds Upper bounds, ascending, in the unit of what is recorded. */
  constructor(bounds: readonly number[]) {
    this.bounds = Float64Array.from(bounds);
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Records one observation. Allocates nothing. */
  record(value: number): void {
    let low = 0;
    let high = this.bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.bounds[middle] as number) < value) low = middle + 1;
      else high = middle;
    }
    this.counts[low] = (this.counts[low] as number) + 1;
    this.sum += value;
    this.count += 1;
  }
}

/** Doubling bounds from `first`, `count` of them: enough for latencies and sizes alike. */
export const doublingBounds = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * 2 ** i);
