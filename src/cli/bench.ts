// `ayder bench`: drives a running node, and says how fast it answers and how late. Writes to a topic of its own, which
// keeps little and stays.

import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import {
  batchWork,
  consumeWork,
  type LatencySummary,
  type LoadOptions,
  type LoadProgress,
  type LoadResult,
  produceWork,
  runLoad,
  tailWork,
  type Work,
} from "../load/mod.ts";
import { reportFailure } from "./failure.ts";
import { ask, type Question, readAuthorities, unavailable } from "./node-client.ts";
import type { Given } from "./parse.ts";
import { barOf, tableOf, type Voice } from "./terminal.ts";

const TOPIC = "ayder.bench";
const RETENTION_BYTES = 64 << 20;
/** Records that are written first where reads are measured. */
const FILL_RECORDS = 100_000;
const FILL_BATCH_RECORDS = 1000;
const FILL_TURN_MS = 500;

/** The options, and what the file of `--ca` holds. */
type Settings = Omit<Given<"bench">["values"], "ca"> & Pick<Question, "ca">;

/** Runs one bench. Returns the exit status; throws when there is no figure. */
export async function bench(given: Given<"bench">, voice: Voice): Promise<number> {
  const { ca: caPath, ...options } = given.values;
  const values = { ...options, ca: readAuthorities(caPath) };
  const [url = ""] = given.words;
  await createTopic(url, values);
  if (!values.json)
    voice.print(
      `Topic ${TOPIC}: one partition, its newest ${RETENTION_BYTES >> 20} MiB; it stays when this is over`,
    );
  await fillFor(url, values, voice);
  const result = await drive({
    ...optionsOf(url, values, await firstOffset(url, values)),
    watch: (seen) => voice.progress(progressLine(seen, values)),
  });
  voice.progress("");
  const isGood = isAllGood(result);
  if (!values.json) {
    for (const line of asText(result, values, voice)) voice.print(line);
    return isGood ? EXIT_CODES.ok : EXIT_CODES.check_failed;
  }
  const facts = asJson(url, values, result);
  if (!isGood) {
    const failure = new FatalError("check_failed", "Not every request had a reply of success");
    return reportFailure(failure, true, voice, facts);
  }
  voice.print(JSON.stringify({ ok: true, ...facts }));
  return EXIT_CODES.ok;
}

async function createTopic(url: string, { token, ca }: Settings): Promise<void> {
  await ask(new URL("/broker/topics", url), {
    act: `create the topic ${TOPIC}`,
    token,
    ca,
    body: JSON.stringify({ name: TOPIC, partitions: 1, retention: { max_bytes: RETENTION_BYTES } }),
  });
}

/** Runs a load; a node that is not there is one that is not available. */
const drive = (options: LoadOptions): Promise<LoadResult> =>
  runLoad(options).catch((error: unknown) => {
    throw unavailable(new URL(options.url), "run the load", error);
  });

function optionsOf(url: string, values: Settings, from: number): LoadOptions {
  const { mode, connections, seconds, warmup, rate, ca } = values;
  return {
    url,
    work: workOf(values, from),
    connections,
    durationMs: seconds * 1000,
    // A stream begins once: what it sends while nothing is counted would be missing.
    warmupMs: mode === "tail" ? 0 : warmup * 1000,
    protocol: "http1",
    ...(ca !== undefined && { ca }),
    ...(rate !== undefined && mode !== "tail" && { ratePerSecond: rate }),
  };
}

function workOf({ mode, token, bytes, batch }: Settings, from: number): Work {
  const target = { topic: TOPIC, partition: 0, token };
  if (mode === "batch") return batchWork(target, bytes, batch);
  if (mode === "consume") return consumeWork(target, batch);
  return mode === "tail" ? tailWork(target, "raw", from) : produceWork(target, bytes);
}

/** Far less than the topic keeps, or they would go away while they are read. */
const recordsToRead = ({ bytes }: Settings): number =>
  Math.min(FILL_RECORDS, Math.floor(RETENTION_BYTES / 2 / bytes));

/** Writes something to read where reads are measured. */
async function fillFor(url: string, values: Settings, voice: Voice): Promise<void> {
  if (values.mode !== "consume" && values.mode !== "tail") return;
  const work = batchWork(
    { topic: TOPIC, partition: 0, token: values.token },
    values.bytes,
    FILL_BATCH_RECORDS,
  );
  const wanted = recordsToRead(values);
  for (let written = 0; written < wanted; ) {
    const { records, statuses, firstError } = await drive({
      url,
      work,
      connections: 2,
      durationMs: FILL_TURN_MS,
      warmupMs: 0,
      protocol: "http1",
      ...(values.ca !== undefined && { ca: values.ca }),
    });
    if (records === 0)
      throw unavailable(
        new URL(url),
        `fill the topic ${TOPIC}`,
        firstError ?? JSON.stringify(statuses),
      );
    written += records;
    voice.progress(`${barOf(written / wanted)} ${written} records to read`);
  }
  voice.progress("");
}

/** A stream begins with what was just written: older records may go away under it. */
async function firstOffset(url: string, values: Settings): Promise<number> {
  const { mode, token, ca } = values;
  if (mode !== "tail") return 0;
  const reply = await ask(new URL(`/broker/topics/${TOPIC}`, url), {
    act: `read the topic ${TOPIC}`,
    token,
    ca,
  });
  const topic = (await reply.json()) as {
    readonly partition_details?: readonly { readonly next_offset: number }[];
  };
  return Math.max(0, (topic.partition_details?.[0]?.next_offset ?? 0) - recordsToRead(values));
}

/** The bar is as wide as the time is long. */
function progressLine(seen: LoadProgress, { seconds }: Settings): string {
  const { share, replies, records, errors, latency } = seen;
  const elapsed = Math.max(0.001, share * seconds);
  const perSecond = Math.round((replies > 0 ? replies : records) / elapsed);
  const unit = replies > 0 ? "replies/s" : "records/s";
  const late =
    replies > 0 ? `  p50 ${latency.p50} ms  p99 ${latency.p99} ms  max ${latency.max} ms` : "";
  const failed = errors > 0 ? `  ${errors} errors` : "";
  return `${barOf(share)} ${elapsed.toFixed(1)}/${seconds} s  ${perSecond} ${unit}${late}${failed}`;
}

const isSuccess = ([status]: [string, number]): boolean => status.startsWith("2");

/** A stream has no reply before its end, and is judged by what it sent. */
const isAllGood = ({ records, errors, unanswered, statuses }: LoadResult): boolean =>
  records > 0 && errors === 0 && unanswered === 0 && Object.entries(statuses).every(isSuccess);

/** A stream that ran dry is as long as it ran. */
const recordsPerSecond = (result: LoadResult, { mode }: Settings): number =>
  mode === "tail"
    ? Math.round(result.records / Math.max(result.activeSeconds, 0.001))
    : result.recordsPerSecond;

function asJson(url: string, values: Settings, result: LoadResult) {
  const { mode, connections, rate, bytes, batch } = values;
  return {
    url,
    topic: TOPIC,
    mode,
    connections,
    rate: rate ?? null,
    bytes,
    batch: mode === "produce" ? 1 : batch,
    seconds: result.seconds,
    replies: result.replies,
    replies_per_second: result.repliesPerSecond,
    records: result.records,
    records_per_second: recordsPerSecond(result, values),
    bytes_sent: result.bytesSent,
    bytes_received: result.bytesReceived,
    statuses: result.statuses,
    errors: result.errors,
    ...(result.firstError !== undefined && { first_error: result.firstError }),
    unanswered: result.unanswered,
    latency_ms: mode === "tail" ? null : result.latency,
    ...(result.service !== undefined && { service_ms: result.service }),
  };
}

const QUANTILES = ["p50", "p90", "p99", "p99_9", "p99_99", "max"] as const;

function asText(result: LoadResult, values: Settings, { style }: Voice): readonly string[] {
  const { mode, rate } = values;
  const lines = [
    `${style.bold(`${recordsPerSecond(result, values)} records/s`)}, ${result.repliesPerSecond} replies/s in ${result.seconds} s`,
  ];
  if (mode !== "tail") {
    const kinds: [string, LatencySummary][] = [["latency, ms", result.latency]];
    if (result.service !== undefined) kinds.push(["service, ms", result.service]);
    lines.push(
      ...tableOf(
        ["", ...QUANTILES.map((name) => name.replace("_", "."))],
        kinds.map(([name, of]) => [name, ...QUANTILES.map((quantile) => of[quantile])]),
        style,
      ),
    );
  }
  if (rate !== undefined && mode !== "tail")
    lines.push(
      "Latency counts from when a request was due, service from when it was sent.",
      `${result.unanswered} requests were due and had no reply two seconds after the end`,
    );
  const others = Object.entries(result.statuses).filter((entry) => !isSuccess(entry));
  for (const [status, count] of others) lines.push(style.red(`${count} replies were ${status}`));
  if (result.errors > 0)
    lines.push(style.red(`${result.errors} requests had no reply: ${result.firstError ?? ""}`));
  return lines;
}
