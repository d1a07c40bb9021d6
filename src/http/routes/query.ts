// Filters, groups, measures and projects the records of a topic, within one request.

import { limits } from "../../config/mod.ts";
import { writeJson } from "../../lib/json.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import type { Refusal } from "../../model/errors.ts";
import {
  compileQuery,
  type Decoders,
  type Fields,
  QueryRun,
  type Value,
} from "../../streams/mod.ts";
import type { HttpRooms } from "../rooms.ts";
import type { Call, Outcome, RouteDoc } from "../route.ts";
import { invalidParameter } from "../schemas/check.ts";
import { QueryBody, QueryReply, type QueryRequest, StreamQuery } from "../schemas/streams.ts";
import { answerJson, answerLines, type StreamOutput, wantsLines } from "../stream-output.ts";
import { coverage, nextOffset, openSource, type StreamSource, skip } from "../stream-source.ts";
import type { Turns } from "../stream-turns.ts";

/** What the document says of it. */
export const QUERY_DOC: RouteDoc = {
  method: "POST",
  path: "/broker/query",
  id: "query",
  summary: "Query records",
  description:
    "Decodes records of one partition, or of all merged by time, filters them, and answers rows and aggregates of groups and windows. Reads the committed prefix of the node that is asked. With `Accept: application/x-ndjson` every row and aggregate is a line of its own, and the last line has the rest.",
  tag: "streams",
  access: "read",
  isLocal: true,
  mayRedirect: true,
  query: StreamQuery,
  body: QueryBody,
  reply: QueryReply,
  otherForms: ["application/x-ndjson"],
};

/** Bounds of every query and join. */
export const STREAM_LIMITS = {
  groupsMax: limits.STREAM_GROUPS_MAX,
  stateBytesMax: limits.STREAM_STATE_BYTES_MAX,
  pairsMax: limits.STREAM_PAIRS_MAX,
};

/** The refusal of more rows than a JSON reply may have. */
export const tooManyRows = (parameter: string, rows: number): Refusal =>
  invalidParameter(
    parameter,
    rows,
    `must be at most ${limits.STREAM_ROWS_MAX}, or the request must accept application/x-ndjson`,
  );

/** Serves a query. */
export function serveQuery(
  rooms: HttpRooms,
  call: Call,
  decoders: Decoders,
  body: QueryRequest,
  turns: Turns,
): Outcome | Promise<Outcome> {
  const isLines = wantsLines(call.request);
  const rowsMax = body.transform?.emit_rows ?? 0;
  if (!isLines && rowsMax > limits.STREAM_ROWS_MAX)
    return fail(tooManyRows("transform.emit_rows", rowsMax));
  // Values come from JSON, whatever the schema says of them.
  const plan = compileQuery(body as Parameters<typeof compileQuery>[0]);
  if (!plan.ok) return plan;
  const source = openSource(rooms, call, decoders, body.source, "source");
  if (!source.ok) return source;
  const work = async (output: StreamOutput): Promise<Result<string, Refusal>> => {
    const query = new QueryRun(plan.value, STREAM_LIMITS, (row) => output.row(writeJson(row)));
    const refusal =
      (await scan(source.value, query, output, turns)) ??
      (await writeAggregates(query, output, turns));
    return refusal === undefined ? succeed(tailOf(source.value, query)) : fail(refusal);
  };
  return isLines ? answerLines(rooms, turns, work) : answerJson(work, true);
}

async function scan(
  source: StreamSource,
  query: QueryRun,
  output: StreamOutput,
  turns: Turns,
): Promise<Refusal | undefined> {
  const { feed, decoder } = source;
  let refusal: Refusal | undefined;
  let appendMs = 0;
  const take = (record: Fields): void => {
    refusal ??= query.take(record, appendMs);
  };
  while (!query.isFull) {
    const stepped = feed.next();
    const part = stepped instanceof Promise ? await stepped : stepped;
    if (part === undefined) return feed.refusal;
    const { cursor, offset, partition } = part;
    appendMs = part.timestampMs;
    const reason = decoder.decode(cursor.bytes.subarray(cursor.valueStart, cursor.valueEnd), take);
    if (reason !== undefined) refusal = skip(source, offset, partition, reason);
    if (refusal !== undefined) return refusal;
    feed.consume(part);
    if (output.isFull) query.shut();
    const flushed = output.flush();
    if (flushed instanceof Promise) await flushed;
    if (turns.isOver || turns.isGone) {
      const end = await turns.giveWay();
      if (end !== undefined) return end;
    }
  }
  return undefined;
}

async function writeAggregates(
  query: QueryRun,
  output: StreamOutput,
  turns: Turns,
): Promise<Refusal | undefined> {
  for (const row of query.aggregates()) {
    if (row !== undefined) output.aggregate(writeJson(row));
    const flushed = output.flush();
    const refusal = flushed instanceof Promise ? await flushed : flushed;
    if (refusal !== undefined) return refusal;
    if (turns.isOver || turns.isGone) {
      const end = await turns.giveWay();
      if (end !== undefined) return end;
    }
  }
  return undefined;
}

/** What stands behind rows and aggregates. */
function tailOf(source: StreamSource, query: QueryRun): string {
  const { request, feed } = source;
  const { groups, late, withoutTime, notMeasured } = query.counts;
  const shown: Value = {
    topic: request.topic,
    ...(request.group !== undefined && { group: request.group }),
    partition: request.partition ?? 0,
    next_offset: nextOffset(source),
    consumed: feed.consumed,
  };
  const stats: Value = {
    scanned: feed.consumed,
    matched: query.matched,
    skipped: source.skipped,
    ...(source.firstSkipped !== undefined && { first_skipped: source.firstSkipped }),
    rows: query.rows,
    rows_left_out: query.rowsLeftOut,
    groups,
    late,
    without_time: withoutTime,
    not_measured: notMeasured,
    covers: coverage(source),
  };
  return `"source":${writeJson(shown)},"stats":${writeJson(stats)}`;
}
