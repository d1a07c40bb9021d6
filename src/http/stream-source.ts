// Opens what a query or one side of a join reads: topic, partitions, first offsets, decoder.

import { limits } from "../config/mod.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Decoder, Decoders } from "../streams/mod.ts";
import { findPartition } from "./lookup.ts";
import type { TopicView } from "./ports.ts";
import { PartitionFeed, RecordFeed } from "./record-feed.ts";
import type { HttpRooms } from "./rooms.ts";
import type { Call } from "./route.ts";
import { invalidParameter } from "./schemas/check.ts";
import type { SourceRequest } from "./schemas/streams.ts";

/** What is read. */
export interface StreamSource {
  readonly request: SourceRequest;
  readonly topic: TopicView;
  readonly feed: RecordFeed;
  readonly decoder: Decoder;
  /** Whether it began at the first readable record of every partition. */
  readonly isFromStart: boolean;
  /** Of the first record that did not decode. */
  firstSkipped:
    | { readonly offset: number; readonly partition: number; readonly reason: string }
    | undefined;
  skipped: number;
}

/** Opens a source. @param name Of its parameter, for messages. */
export function openSource(
  rooms: HttpRooms,
  call: Call,
  decoders: Decoders,
  request: SourceRequest,
  name: string,
): Result<StreamSource, Refusal> {
  const { topic: topicName, partition = 0, decode } = request;
  const decoder = decoders.get(decode ?? { type: "json" }, `${name}.decode`);
  if (!decoder.ok) return decoder;
  const found = findPartition(rooms, call.grant, topicName, partition === "*" ? 0 : partition);
  if (!found.ok) return found;
  const topic = found.value;
  const partitions =
    partition === "*" ? Array.from({ length: topic.partitions }, (_, i) => i) : [partition];
  if (Array.isArray(request.offset) && request.offset.length !== partitions.length)
    return fail(
      invalidParameter(
        `${name}.offset`,
        request.offset,
        `must have as many offsets as there are partitions: ${partitions.length}`,
      ),
    );
  let isFromStart = true;
  const parts = partitions.map((number, i) => {
    const { startOffset } = rooms.broker.partition(topic.id, number);
    const from = firstOffset(rooms, topic, number, request, i, startOffset);
    isFromStart &&= from <= startOffset;
    return new PartitionFeed(rooms, topic, number, from);
  });
  const recordsMax =
    request.limit === "all"
      ? limits.STREAM_ALL_RECORDS_MAX
      : (request.limit ?? limits.STREAM_RECORDS_DEFAULT);
  return succeed({
    request,
    topic,
    feed: new RecordFeed(parts, recordsMax),
    decoder: decoder.value,
    isFromStart,
    firstSkipped: undefined,
    skipped: 0,
  });
}

function firstOffset(
  rooms: HttpRooms,
  topic: TopicView,
  partition: number,
  { offset, group }: SourceRequest,
  index: number,
  startOffset: number,
): number {
  const asked = Array.isArray(offset) ? offset[index] : offset;
  if (asked !== undefined) return Math.max(asked, startOffset);
  const committed =
    group === undefined ? undefined : rooms.broker.committedOffset(topic.id, partition, group);
  return committed === undefined ? startOffset : Math.max(committed + 1, startOffset);
}

/** Counts a record that does not decode. @returns the refusal, where the request wants to know at once. */
export function skip(
  source: StreamSource,
  offset: number,
  partition: number,
  cause: string,
): Refusal | undefined {
  const reason = cause.slice(0, REASON_CHARS_MAX);
  if (source.request.decode?.on_error === "fail") {
    return refuse(
      "undecodable_record",
      `Record ${offset} of partition ${partition} of ${source.topic.name} does not decode: ${reason}`,
      { offset, partition },
    );
  }
  source.firstSkipped ??= { offset, partition, reason };
  source.skipped += 1;
  return undefined;
}

const REASON_CHARS_MAX = 200;

/** Where to go on: an offset, or one per partition when all of them were read. */
export const nextOffset = ({ request, feed }: StreamSource): number | readonly number[] => {
  const positions = feed.parts.map(({ position }) => position);
  return request.partition === "*" ? positions : (positions[0] ?? 0);
};

/** How much of its partitions a source has shown: all that there was, or a page of it. */
export const coverage = ({ isFromStart, feed }: StreamSource): "all" | "page" =>
  isFromStart && feed.isAtEnd ? "all" : "page";
