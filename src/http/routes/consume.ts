// Reads records for a group: a page of a partition, at once or after a long poll.

import type { InferOutput } from "valibot";
import { limits } from "../../config/mod.ts";
import { assert } from "../../lib/assert.ts";
import { fail, succeed } from "../../lib/result.ts";
import { refuse } from "../../model/errors.ts";
import { RecordCursor } from "../../model/record.ts";
import { findPartition, recordsGate } from "../lookup.ts";
import type { RecordBatch, TopicView } from "../ports.ts";
import { borrowWriter, type RecordWriter, returnWriter } from "../record-writer.ts";
import { JSON_HEADERS } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { type Call, guarded, type Outcome, type Route, type RouteDoc } from "../route.ts";
import { checkPath, checkQuery } from "../schemas/check.ts";
import { ConsumeReply } from "../schemas/replies.ts";
import { ConsumePath, ConsumeQuery } from "../schemas/requests.ts";
import { offsetRemoved, waitForRecords } from "../waiting.ts";

const DOC: RouteDoc = {
  method: "GET",
  path: "/broker/consume/:topic/:group/:partition",
  id: "consume",
  summary: "Read records",
  description:
    "Reads from the committed prefix of the node that is asked, whoever leads. `next_offset` is the `offset` to ask next. Records of a rocket topic lie with the leader alone: other nodes redirect to it.",
  tag: "records",
  access: "read",
  params: ConsumePath,
  query: ConsumeQuery,
  reply: ConsumeReply,
  mayRedirect: true,
};

/** The consume route. */
export const consumeRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, DOC, (call) => consume(rooms, call)),
];

/** One reply in the making. */
interface Page {
  readonly topic: TopicView;
  readonly partition: number;
  readonly recordsMax: number;
  readonly bytesMax: number;
  readonly writer: RecordWriter;
  readonly committedOffset: number | undefined;
  nextOffset: number;
  /** End of the readable range when it was last looked at. */
  endOffset: number;
  count: number;
  bytes: number;
  isFull: boolean;
}

type Path = InferOutput<typeof ConsumePath>;
type Query = InferOutput<typeof ConsumeQuery>;

function consume(rooms: HttpRooms, call: Call): Outcome | Promise<Outcome> {
  const path = checkPath(ConsumePath, call.params);
  if (!path.ok) return path;
  const query = checkQuery(ConsumeQuery, call.request.url);
  if (!query.ok) return query;
  const read = (): Outcome | Promise<Outcome> => {
    const topic = findPartition(rooms, call.grant, path.value.topic, path.value.partition);
    return topic.ok ? start(rooms, call.request, topic.value, path.value, query.value) : topic;
  };
  if (query.value.consistency !== "linearizable") return read();
  // Before anything is looked up: a topic that exists elsewhere may not be here yet.
  const timeoutMs = query.value.timeout_ms ?? rooms.config.writeTimeoutMs;
  return rooms.broker
    .readBarrier(timeoutMs)
    .then((confirmed) => (confirmed.ok ? read() : confirmed));
}

function start(
  rooms: HttpRooms,
  request: Request,
  topic: TopicView,
  path: Path,
  query: Query,
): Outcome | Promise<Outcome> {
  const range = rooms.broker.partition(topic.id, path.partition);
  const committed = rooms.broker.committedOffset(topic.id, path.partition, path.group);
  const wanted = wantedOffset(query, committed);
  if (query.strict === true && wanted >= 0 && wanted < range.startOffset) {
    return fail(offsetRemoved(wanted, range.startOffset));
  }
  // Strict or not, nothing before the first readable record can be read.
  const from = Math.max(wanted, range.startOffset);
  const isFromStart = query.offset !== undefined && query.offset <= 0;
  const waitMs = query.wait_ms ?? 0;
  if (waitMs === 0 || from < range.nextOffset)
    return fill(rooms, open(topic, path, query, from, committed));

  return waitForRecords(rooms, request, topic, path.partition, from, waitMs).then((waited) => {
    if (!waited.ok) return waited;
    const again = rooms.broker.topic(topic.name);
    if (again?.id !== topic.id)
      return fail(refuse("topic_not_found", `Topic ${topic.name} was deleted`));
    const elsewhere = recordsGate(rooms, again);
    if (elsewhere !== undefined) return fail(elsewhere);
    const now = rooms.broker.partition(topic.id, path.partition);
    const first = isFromStart ? now.startOffset : Math.max(from, now.startOffset);
    const committedNow = rooms.broker.committedOffset(topic.id, path.partition, path.group);
    return fill(rooms, open(again, path, query, first, committedNow));
  });
}

/** The first offset that is asked for; negative: the first readable one. */
function wantedOffset(query: Query, committed: number | undefined): number {
  if (query.offset === undefined) return committed === undefined ? -1 : committed + 1;
  // 0 means the first readable one, unless the reader wants to know whether it is really 0.
  return query.offset === 0 && query.strict !== true ? -1 : query.offset;
}

function open(
  topic: TopicView,
  path: Path,
  query: Query,
  from: number,
  committedOffset: number | undefined,
): Page {
  const writer = borrowWriter().reset(path.partition, query.encoding ?? "text");
  writer.text('{"messages":[');
  return {
    topic,
    partition: path.partition,
    recordsMax: query.limit ?? limits.CONSUME_RECORDS_DEFAULT,
    bytesMax: query.max_bytes ?? limits.CONSUME_BYTES_DEFAULT,
    writer,
    committedOffset,
    nextOffset: from,
    endOffset: 0,
    count: 0,
    bytes: 0,
    isFull: false,
  };
}

/** Reads until the page is full or the partition ends. Without a promise when all of it is in memory. */
function fill(rooms: HttpRooms, page: Page): Outcome | Promise<Outcome> {
  for (;;) {
    const before = page.nextOffset;
    const batch = rooms.broker.read({
      topicId: page.topic.id,
      partition: page.partition,
      offset: page.nextOffset,
      maxRecords: page.recordsMax - page.count,
      maxBytes: page.bytesMax - page.bytes,
    });
    if (batch instanceof Promise) {
      return batch.then((records) => {
        append(page, records);
        return isDone(page, before) ? finish(rooms, page) : fill(rooms, page);
      });
    }
    append(page, batch);
    if (isDone(page, before)) return finish(rooms, page);
  }
}

const isDone = (page: Page, before: number): boolean =>
  page.isFull ||
  page.count === page.recordsMax ||
  page.bytes >= page.bytesMax ||
  page.nextOffset >= page.endOffset ||
  page.nextOffset === before;

const cursor = new RecordCursor();

function append(page: Page, batch: RecordBatch): void {
  page.endOffset = batch.nextOffset;
  // Retention may have moved on since the last look.
  page.nextOffset = Math.max(page.nextOffset, batch.startOffset);
  for (const slice of batch.slices) {
    cursor.reset(slice.bytes, slice.start, slice.end);
    let offset = slice.baseOffset - 1;
    while (cursor.next()) {
      offset += 1;
      if (offset < page.nextOffset) continue;
      const bytes = cursor.valueEnd - cursor.valueStart;
      page.isFull =
        page.count === page.recordsMax || (page.count > 0 && page.bytes + bytes > page.bytesMax);
      if (page.isFull) return;
      if (page.count > 0) page.writer.comma();
      page.writer.record(offset, slice.timestampMs + cursor.timestampDelta, cursor);
      page.count += 1;
      page.bytes += bytes;
      page.nextOffset = offset + 1;
    }
    assert(!cursor.isBroken, `Records at ${slice.baseOffset} of ${page.topic.name} can be read`);
    page.nextOffset = Math.max(page.nextOffset, slice.baseOffset + slice.count);
  }
}

function finish(rooms: HttpRooms, page: Page): Outcome {
  const { writer, count, nextOffset, endOffset } = page;
  const traffic = rooms.stats.traffic(page.topic.id);
  traffic.recordsOut += count;
  traffic.bytesOut += page.bytes;
  writer.text(
    `],"count":${count},"next_offset":${nextOffset},"committed_offset":${page.committedOffset ?? null},"truncated":${nextOffset < endOffset}}`,
  );
  // The reply copies the bytes when it is made, so the buffer can be used again.
  const reply = new Response(writer.view(), JSON_HEADERS);
  returnWriter(writer);
  return succeed(reply);
}
