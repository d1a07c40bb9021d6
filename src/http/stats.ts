// What HTTP counts, in plain numbers: requests by route and status, and how long each took.

import { doublingBounds, Histogram } from "../lib/histogram.ts";

const STATUS_MAX = 600;

/** Seconds, from 50 microseconds to 26 seconds. */
const LATENCY_BOUNDS = doublingBounds(0.000_05, 20);

/** Counts of one route. */
export class RouteStats {
  readonly route: string;
  readonly method: string;
  readonly latency = new Histogram(LATENCY_BOUNDS);
  /** Requests by status. */
  readonly byStatus = new Float64Array(STATUS_MAX);

  constructor(method: string, route: string) {
    this.method = method;
    this.route = route;
  }

  /** Counts one request. @param startedNs When it came in, as `Bun.nanoseconds()`. */
  count(status: number, startedNs: number): void {
    this.byStatus[status] = (this.byStatus[status] as number) + 1;
    this.latency.record((Bun.nanoseconds() - startedNs) / 1e9);
  }
}

/** What went in and out of one topic since the start. Bytes are those of values. */
export class TopicTraffic {
  recordsIn = 0;
  bytesIn = 0;
  recordsOut = 0;
  bytesOut = 0;
}

/** Counts of the whole room; metrics read it on scrape. */
export class HttpStats {
  readonly #routes = new Map<string, RouteStats>();
  readonly #traffic = new Map<number, TopicTraffic>();
  /** Streams that are open. */
  tailReaders = 0;
  /** Queries and joins that run. */
  streams = 0;
  /** Long polls that wait. */
  longPolls = 0;

  /** The counts of a route; made at its first mention. */
  route(method: string, path: string): RouteStats {
    const key = `${method} ${path}`;
    const stats = this.#routes.get(key) ?? new RouteStats(method, path);
    this.#routes.set(key, stats);
    return stats;
  }

  /** Every route's counts. */
  get routes(): Iterable<RouteStats> {
    return this.#routes.values();
  }

  /** The counts of a topic; made at its first mention. */
  traffic(topicId: number): TopicTraffic {
    const known = this.#traffic.get(topicId);
    if (known !== undefined) return known;
    const traffic = new TopicTraffic();
    this.#traffic.set(topicId, traffic);
    return traffic;
  }

  /** Lets go of a topic that was deleted. */
  forget(topicId: number): void {
    this.#traffic.delete(topicId);
  }
}
