// Joins the records of two topics by keys and time, within one request.

import { limits } from "../../config/mod.ts";
import { writeJson } from "../../lib/json.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import { compileJoin, type Decoders, type Fields, JoinRun, type Value } from "../../streams/mod.ts";
import type { PartitionFeed } from "../record-feed.ts";
import type { HttpRooms } from "../rooms.ts";
import type { Call, Outcome, RouteDoc } from "../route.ts";
import { JoinBody, JoinReply, type JoinRequest, StreamQuery } from "../schemas/streams.ts";
import { answerJson, answerLines, type StreamOutput, wantsLines } from "../stream-output.ts";
import { coverage, nextOffset, openSource, type StreamSource, skip } from "../stream-source.ts";
import type { Turns } from "../stream-turns.ts";
import { STREAM_LIMITS, tooManyRows } from "./query.ts";

/** What the document says of it. */
export const JOIN_DOC: RouteDoc = {
  method: "POST",
  path: "/broker/join",
  id: "join",
  summary: "Join records of two topics",
  description:
    "Pairs records whose keys are equal and whose times differ by at most `window.size_ms`, whatever their formats. Pairs across pages are not found. With `Accept: application/x-ndjson` every row is a line of its own, and the last line has the rest.",
  tag: "streams",
  access: "read",
  isLocal: true,
  mayRedirect: true,
  query: StreamQuery,
  body: JoinBody,
  reply: JoinReply,
  otherForms: ["application/x-ndjson"],
};

const SIDES = ["left", "right"] as const;
type SideName = (typeof SIDES)[number];
type Sources = Readonly<Record<SideName, StreamSource>>;

/** Serves a join. */
export function serveJoin(
  rooms: HttpRooms,
  call: Call,
  decoders: Decoders,
  body: JoinRequest,
  turns: Turns,
): Outcome | Promise<Outcome> {
  const isLines = wantsLines(call.request);
  const spec = specOf(body);
  if (!spec.ok) return spec;
  if (!isLines && spec.value.max_rows > limits.STREAM_ROWS_MAX)
    return fail(tooManyRows("emit.max_rows", spec.value.max_rows));
  const plan = compileJoin(spec.value);
  if (!plan.ok) return plan;
  const left = openSource(rooms, call, decoders, body.left, "left");
  if (!left.ok) return left;
  const right = openSource(rooms, call, decoders, body.right, "right");
  if (!right.ok) return right;
  const sources = { left: left.value, right: right.value };
  const work = async (output: StreamOutput): Promise<Result<string, Refusal>> => {
    const join = new JoinRun(plan.value, STREAM_LIMITS);
    const refusal =
      (await collect(sources, join, turns)) ?? (await writePairs(join, output, turns));
    if (refusal !== undefined) return fail(refusal);
    return succeed(tailOf(sources, join, spec.value.dedupe === "once"));
  };
  return isLines ? answerLines(rooms, turns, work) : answerJson(work, false);
}

type Spec = Parameters<typeof compileJoin>[0];

function specOf(body: JoinRequest): Result<Spec, Refusal> {
  const { on, window, emit } = body;
  const keys = (one: string | undefined, several: readonly string[] | undefined) =>
    several ?? (one === undefined ? [] : [one]);
  const leftKeys = keys(on.left_key, on.left_keys);
  const rightKeys = keys(on.right_key, on.right_keys);
  if (leftKeys.length === 0 || rightKeys.length === 0) return fail(refuse("missing_join_keys"));
  return succeed({
    left_keys: leftKeys,
    right_keys: rightKeys,
    type: body.join?.type ?? "inner",
    size_ms: window.size_ms,
    allowed_lateness_ms: window.allowed_lateness_ms ?? 0,
    left_field: window.left_field,
    right_field: window.right_field,
    dedupe: body.dedupe?.mode ?? (body.dedupe_once === true ? "once" : "none"),
    left_fields: emit?.left_fields ?? [],
    right_fields: emit?.right_fields ?? [],
    max_rows: emit?.max_rows ?? limits.JOIN_ROWS_DEFAULT,
    missing_as: emit?.missing_as ?? "null",
  });
}

/** Reads both sides in the order of their append times, the left one first where these are equal. */
async function collect(
  sources: Sources,
  join: JoinRun,
  turns: Turns,
): Promise<Refusal | undefined> {
  for (;;) {
    const heads: Partial<Record<SideName, PartitionFeed>> = {};
    for (const side of SIDES) {
      const stepped = sources[side].feed.next();
      const part = stepped instanceof Promise ? await stepped : stepped;
      if (part !== undefined) heads[side] = part;
      const { refusal } = sources[side].feed;
      if (refusal !== undefined) return refusal;
    }
    const { left, right } = heads;
    const isLeft =
      left !== undefined && (right === undefined || left.timestampMs <= right.timestampMs);
    const part = isLeft ? left : right;
    if (part === undefined) return undefined;
    const refusal = takeOne(sources, join, isLeft ? "left" : "right", part);
    if (refusal !== undefined) return refusal;
    if (turns.isOver || turns.isGone) {
      const end = await turns.giveWay();
      if (end !== undefined) return end;
    }
  }
}

function takeOne(
  sources: Sources,
  join: JoinRun,
  side: SideName,
  part: PartitionFeed,
): Refusal | undefined {
  const source = sources[side];
  const { cursor, offset, timestampMs, partition } = part;
  const bytes = cursor.valueEnd - cursor.valueStart;
  let refusal: Refusal | undefined;
  const reason = source.decoder.decode(
    cursor.bytes.subarray(cursor.valueStart, cursor.valueEnd),
    (record: Fields) => {
      refusal ??= join.take(side, record, timestampMs, offset, bytes);
    },
  );
  if (reason !== undefined) refusal = skip(source, offset, partition, reason);
  source.feed.consume(part);
  return refusal;
}

async function writePairs(
  join: JoinRun,
  output: StreamOutput,
  turns: Turns,
): Promise<Refusal | undefined> {
  const pairs = join.pairs();
  for (;;) {
    const { done, value } = pairs.next();
    if (done === true) return value;
    if (value !== undefined) output.row(writeJson(value));
    if (output.isFull) join.shut();
    const flushed = output.flush();
    if (flushed instanceof Promise) await flushed;
    if (turns.isOver || turns.isGone) {
      const end = await turns.giveWay();
      if (end !== undefined) return end;
    }
  }
}

/** What stands behind the rows. */
function tailOf({ left, right }: Sources, join: JoinRun, isOnce: boolean): string {
  const next: Value = { left: nextOffset(left), right: nextOffset(right) };
  const side = (source: StreamSource, { late, withoutKey, withoutTime }: JoinRun["left"]) => ({
    scanned: source.feed.consumed,
    late,
    no_key: withoutKey,
    without_time: withoutTime,
    skipped: source.skipped,
    ...(source.firstSkipped !== undefined && { first_skipped: source.firstSkipped }),
  });
  const stats: Value = {
    left_scanned: left.feed.consumed,
    right_scanned: right.feed.consumed,
    rows: join.rows,
    watermark_ms: join.watermarkMs ?? null,
    outer_left: join.outerLeft,
    outer_right: join.outerRight,
    dedupe_once: isOnce,
    late: join.left.late + join.right.late,
    skipped: left.skipped + right.skipped,
    no_key: join.left.withoutKey + join.right.withoutKey,
    without_time: join.left.withoutTime + join.right.withoutTime,
    rows_left_out: join.rowsLeftOut,
    covers: coverage(left) === "all" && coverage(right) === "all" ? "all" : "page",
    left: side(left, join.left),
    right: side(right, join.right),
  };
  return `"next_offsets":${writeJson(next)},"stats":${writeJson(stats)}`;
}
