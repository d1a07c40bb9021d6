// One run of the generator, from connecting to the figures.

import type { Run } from "./connection.ts";
import { Http1Connection } from "./http1-connection.ts";
import { Http2Connection } from "./http2-connection.ts";
import type { LatencySummary } from "./latency-histogram.ts";
import { type Pacer, RatePacer, SaturationPacer } from "./pacer.ts";
import { type CpuTime, cpuBetween, readProcessesCpu } from "./process-cpu.ts";
import { Tally } from "./tally.ts";
import type { Work } from "./work.ts";

const DRAIN_MS_MAX = 2000;
const DRAIN_POLL_MS = 5;
const WATCH_MS = 250;

/** What to do, to whom, how fast and how long. */
export interface LoadOptions {
  /** `http://host:port`, or `https:` for HTTP/1.1. */
  readonly url: string;
  /** Authorities in PEM that are believed in place of the system's. */
  readonly ca?: string;
  readonly work: Work;
  readonly connections: number;
  readonly durationMs: number;
  /** Before anything is counted. */
  readonly warmupMs: number;
  readonly protocol: "http1" | "http2";
  /** Requests in flight on one HTTP/2 connection. */
  readonly streams?: number;
  /** Requests a second by schedule; left out: as many as come back. */
  readonly ratePerSecond?: number;
  /** Fixed rate: keeps a whole core busy to send in time to a few microseconds. Only where cores are to spare. */
  readonly isSpinning?: boolean;
  /** Processes on this machine whose processor time is measured, together. */
  readonly serverPids?: readonly number[];
  /** Is told every `WATCH_MS` how it goes. */
  readonly watch?: (seen: LoadProgress) => void;
}

/** How a run goes: everything since counting began. */
export interface LoadProgress {
  /** Of the time that is measured; 0 while warming up. */
  readonly share: number;
  readonly replies: number;
  readonly records: number;
  readonly errors: number;
  readonly latency: LatencySummary;
}

/** Processor time of one process in the window. */
export interface CpuFigures {
  /** Microseconds per reply. */
  readonly userMicroseconds: number;
  readonly systemMicroseconds: number;
  readonly microseconds: number;
  /** Cores kept busy. */
  readonly cores: number;
}

/** What a run found. Times are in milliseconds unless named otherwise. */
export interface LoadResult {
  readonly work: string;
  readonly seconds: number;
  readonly replies: number;
  readonly repliesPerSecond: number;
  readonly records: number;
  readonly recordsPerSecond: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Seconds between the first and the last byte received. */
  readonly activeSeconds: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly errors: number;
  readonly firstError?: string;
  /** Fixed rate: requests of the schedule that had no reply two seconds after its end. Their latency is in no figure. */
  readonly unanswered: number;
  /** From the intended send time: coordinated omission corrected. */
  readonly latency: LatencySummary;
  /** Fixed rate: from the actual send time. */
  readonly service?: LatencySummary;
  readonly client: CpuFigures;
  readonly server?: CpuFigures;
}

/** Runs the load and resolves to its figures. Rejects when the target cannot be reached at the start. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { protocol, ratePerSecond, serverPids } = options;
  const url = new URL(options.url);
  const tally = new Tally(ratePerSecond !== undefined);
  const pacer: Pacer =
    ratePerSecond === undefined ? new SaturationPacer() : new RatePacer(ratePerSecond);
  const isHttps = url.protocol === "https:";
  const run: Run = {
    hostname: url.hostname,
    port: Number(url.port) || (isHttps ? 443 : 80),
    tls: isHttps && options.ca !== undefined ? { ca: options.ca } : isHttps,
    work: options.work,
    tally,
    pacer,
    isOpen: true,
  };
  const connections = Array.from({ length: options.connections }, () =>
    protocol === "http1"
      ? new Http1Connection(run)
      : new Http2Connection(run, options.streams ?? 1),
  );
  try {
    await Promise.all(connections.map((connection) => connection.open()));
    const startedAt = performance.now();
    const dueUntil = startedAt + options.warmupMs + options.durationMs;
    pacer.start(startedAt, dueUntil);
    if (pacer instanceof RatePacer) keepTicking(pacer, run, options.isSpinning === true);
    await Bun.sleep(options.warmupMs);
    const before = measure(serverPids);
    tally.open(before.at, dueUntil);
    await watched(options, tally, { from: before.at, until: dueUntil });
    const after = measure(serverPids);
    tally.close(after.at);
    const due = ((ratePerSecond ?? 0) * (dueUntil - startedAt)) / 1000;
    const deadline = performance.now() + DRAIN_MS_MAX;
    const unanswered = (): number => Math.max(0, Math.floor(due) - tally.answered - tally.errors);
    while (unanswered() > 0 && performance.now() < deadline) await Bun.sleep(DRAIN_POLL_MS);
    return figures(options, tally, { unanswered: unanswered(), before, after });
  } finally {
    run.isOpen = false;
    for (const connection of connections) connection.close();
  }
}

/** Waits until the end of the window, and tells on the way how it goes. */
async function watched(
  { watch }: LoadOptions,
  tally: Tally,
  { from, until }: { readonly from: number; readonly until: number },
): Promise<void> {
  for (let now = performance.now(); now < until; now = performance.now()) {
    await Bun.sleep(watch === undefined ? until - now : Math.min(WATCH_MS, until - now));
    const { replies, records, errors } = tally;
    const share = Math.min(1, (performance.now() - from) / (until - from));
    watch?.({ share, replies, records, errors, latency: tally.latency.summary() });
  }
}

interface Moment {
  readonly at: number;
  readonly client: CpuTime;
  readonly server: CpuTime | undefined;
}

function measure(serverPids: readonly number[] | undefined): Moment {
  const server = serverPids === undefined ? undefined : readProcessesCpu(serverPids);
  return { at: performance.now(), client: process.cpuUsage(), server };
}

/**
 * Sends what is due, at the steps of Bun's timers (1 ms) and with each reply, or, spinning, at once. A late send counts
 * as latency like any other, so a timer's step can add up to 1 ms to a figure and never hides one. Naps of a tenth of
 * that were tried and dropped: they kept replies waiting, p50 0.24 ms against 0.14 ms by timer and 0.05 ms spinning.
 */
function keepTicking(pacer: RatePacer, run: Run, isSpinning: boolean): void {
  const turn = (): void => {
    if (!run.isOpen) return;
    const waitMs = pacer.tick(performance.now());
    if (waitMs === Number.POSITIVE_INFINITY) return;
    if (isSpinning) setImmediate(turn);
    else setTimeout(turn, Math.max(1, Math.floor(waitMs)));
  };
  turn();
}

function figures(
  options: LoadOptions,
  tally: Tally,
  window: { readonly unanswered: number; readonly before: Moment; readonly after: Moment },
): LoadResult {
  const { before, after } = window;
  const seconds = (after.at - before.at) / 1000;
  const cpu = (earlier: CpuTime, later: CpuTime): CpuFigures => {
    const { user, system } = cpuBetween(earlier, later);
    const replies = Math.max(1, tally.replies);
    return {
      userMicroseconds: round(user / replies),
      systemMicroseconds: round(system / replies),
      microseconds: round((user + system) / replies),
      cores: round((user + system) / 1000 / (after.at - before.at)),
    };
  };
  const { firstError } = tally;
  return {
    work: options.work.name,
    seconds: round(seconds),
    replies: tally.replies,
    repliesPerSecond: Math.round(tally.replies / seconds),
    records: tally.records,
    recordsPerSecond: Math.round(tally.records / seconds),
    bytesSent: tally.bytesSent,
    bytesReceived: tally.bytesReceived,
    activeSeconds: round(tally.activeSeconds),
    statuses: tally.statuses(),
    errors: tally.errors,
    ...(firstError === undefined ? {} : { firstError }),
    unanswered: window.unanswered,
    latency: tally.latency.summary(),
    ...(options.ratePerSecond === undefined ? {} : { service: tally.service.summary() }),
    client: cpu(before.client, after.client),
    ...(before.server === undefined || after.server === undefined
      ? {}
      : { server: cpu(before.server, after.server) }),
  };
}

const round = (value: number): number => Math.round(value * 100) / 100;
