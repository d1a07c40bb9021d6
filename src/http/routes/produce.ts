// Routes that append records. The hot path of the node: it reads one header, one URL and one body,
// and makes no object per request beyond the promise of the reply.

import { NO_ROCKET_KEY, noSuchPartition, noSuchTopic } from "../../broker/mod.ts";
import { limits } from "../../config/mod.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import type { ProduceRequest } from "../../model/produce.ts";
import { encodeHeaders } from "../../model/record.ts";
import type { Grant } from "../auth.ts";
import { noTopic } from "../lookup.ts";
import { splitLines } from "../ndjson.ts";
import { ProduceQuery, readProduceQuery } from "../produce-query.ts";
import { batchReply, singleReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { failed, type Params, type Route, type RouteDoc, topicRefusal } from "../route.ts";
import { ProduceBatchReply, ProduceReply } from "../schemas/replies.ts";
import { ProduceQuerySchema, TopicPath } from "../schemas/requests.ts";
import { type WriteCall, type WriteHandler, writeRoute } from "../write-route.ts";

/** The headers that every CloudEvent has. */
const CLOUD_EVENT = Object.entries({
  "ce-id":
    "With it the record is a CloudEvent in binary mode: all headers that start with `ce-` are kept with it and come back on consume.",
  "ce-source": "Of a CloudEvent: where it happened.",
  "ce-specversion": "Of a CloudEvent: the version of the specification.",
  "ce-type": "Of a CloudEvent: what happened.",
}).map(([name, description]) => ({ name, description, schema: { type: "string" } }));

const SINGLE: RouteDoc = {
  method: "POST",
  path: "/broker/topics/:topic/produce",
  id: "produce",
  summary: "Append one record",
  description:
    "The body is the record's value, any bytes, kept exactly. The content type does not matter.",
  tag: "records",
  access: "write",
  params: TopicPath,
  query: ProduceQuerySchema,
  headers: CLOUD_EVENT,
  body: "bytes",
  reply: ProduceReply,
};

const BATCH: RouteDoc = {
  method: "POST",
  path: "/broker/topics/:topic/produce-ndjson",
  id: "produceNdjson",
  summary: "Append one record per line",
  description:
    "One atomic append to one partition. `\\r` before `\\n` is trimmed, empty lines are skipped, a line that is a JSON string is unwrapped, every other line is kept byte for byte.",
  tag: "records",
  access: "write",
  params: TopicPath,
  query: ProduceQuerySchema,
  headers: CLOUD_EVENT,
  body: "bytes",
  reply: ProduceBatchReply,
};

/** The two produce routes. */
export const produceRoutes = (rooms: HttpRooms): readonly Route[] => [
  produceRoute(rooms, SINGLE, false),
  produceRoute(rooms, BATCH, true),
];

const produceRoute = (rooms: HttpRooms, doc: RouteDoc, isBatch: boolean): Route =>
  writeRoute(rooms, doc, new Producer(rooms, isBatch));

const NO_BYTES = new Uint8Array(0);

/** What one of the two routes does with a body. */
class Producer implements WriteHandler {
  readonly bodyBytesMax: number;
  readonly bodyName: string;
  readonly #rooms: HttpRooms;
  readonly #isBatch: boolean;
  // Read and used within one turn, so one of each is enough.
  readonly #query = new ProduceQuery();
  readonly #request: ProduceRequest = {
    topicId: 0,
    partition: -1,
    key: undefined,
    idempotencyKey: undefined,
    expectedOffset: -1,
    ack: "configured",
    headers: undefined,
    body: NO_BYTES,
    ranges: undefined,
    count: 1,
  };

  constructor(rooms: HttpRooms, isBatch: boolean) {
    this.#rooms = rooms;
    this.#isBatch = isBatch;
    this.bodyBytesMax = isBatch ? rooms.config.bodyBytesMax : rooms.config.recordBytesMax;
    this.bodyName = isBatch ? "Request body" : "Record";
  }

  refusalOf(grant: Grant | undefined, { topic = "" }: Params): Refusal | undefined {
    return topicRefusal(grant, topic);
  }

  take(slot: number, { request, params, body, again }: WriteCall): Refusal | "later" | undefined {
    const { broker, config, waiters } = this.#rooms;
    const { topic: topicName = "" } = params;
    const query = this.#query;
    const checked = readProduceQuery(request.url, query);
    if (!checked.ok) return checked.error;
    const timeoutMs = query.timeoutMs < 0 ? config.writeTimeoutMs : query.timeoutMs;
    const topic = broker.topic(topicName);
    if (topic === undefined) {
      const refusal = noTopic(topicName);
      if (!config.createsTopics || refusal.code !== "topic_not_found") return refusal;
      const other = this.#refusalOfNew(topicName, body);
      if (other !== undefined) return other;
      this.#createTopic(slot, topicName, again, timeoutMs);
      return "later";
    }
    if (query.partition >= topic.partitions) return noSuchPartition(topic, query.partition);

    const produce = this.#request;
    produce.topicId = topic.id;
    produce.partition = query.partition;
    produce.key = query.key;
    produce.idempotencyKey = query.idempotencyKey;
    produce.expectedOffset = query.expectedOffset;
    produce.ack = query.ack;
    produce.headers = cloudEventHeaders(request.headers);
    produce.body = body;
    produce.ranges = undefined;
    produce.count = 1;
    if (this.#isBatch) {
      const lines = splitLines(body, config.recordBytesMax);
      if (!lines.ok) return lines.error;
      produce.ranges = lines.value.ranges;
      produce.count = lines.value.count;
    }
    waiters.mark(slot, this.#isBatch ? batchReply : singleReply, query.hasTiming);
    waiters.extend(slot, timeoutMs);
    const waiter = waiters.taken(slot, this.#rooms.stats.traffic(topic.id));
    return broker.produce(waiter, produce);
  }

  /** Why a topic that is made now would not take the produce: then it is not made. */
  #refusalOfNew(name: string, body: Uint8Array): Refusal | undefined {
    const { recordBytesMax, rocket } = this.#rooms.config;
    const { partition, expectedOffset, idempotencyKey } = this.#query;
    const partitions = limits.TOPIC_PARTITIONS_DEFAULT;
    if (partition >= partitions) return noSuchPartition({ name, partitions }, partition);
    if (expectedOffset > 0) return noSuchTopic(name);
    if (rocket.defaultMode === "rocket" && idempotencyKey !== undefined) return NO_ROCKET_KEY;
    if (!this.#isBatch) return undefined;
    // In a copy: lines are unwrapped where they are, and are to be cut again when the topic is there.
    const lines = splitLines(body.slice(), recordBytesMax);
    return lines.ok ? undefined : lines.error;
  }

  #createTopic(slot: number, name: string, again: () => void, timeoutMs: number): void {
    const { broker, deadlines, waiters } = this.#rooms;
    const shape = {
      name,
      partitions: limits.TOPIC_PARTITIONS_DEFAULT,
      mode: this.#rooms.config.rocket.defaultMode,
      ttlMs: undefined,
      maxBytes: undefined,
    };
    waiters.suspend(slot);
    deadlines.bound(broker.createTopic(shape), timeoutMs).then(
      (created) => {
        if (broker.topic(name) !== undefined) again();
        else if (created.ok) waiters.refuse(slot, noTopic(name));
        else if (created.error.code === "timeout") waiters.refuse(slot, topicTooSlow(name));
        else waiters.refuse(slot, created.error);
      },
      (error: unknown) => waiters.refuse(slot, failed(this.#rooms, SINGLE.path, error)),
    );
  }
}

/** The record is not there: only whether its topic is, is not known. */
const topicTooSlow = (name: string): Refusal =>
  refuse("timeout", `Topic ${name} was not made in time, and the record was not stored`, {
    outcome: "not_written",
  });

/** The `ce-*` headers of a CloudEvent in binary mode; undefined when it is none. */
function cloudEventHeaders(headers: Headers): Uint8Array | undefined {
  if (headers.get("ce-id") === null) return undefined;
  const pairs = [...headers].filter(([name]) => name.startsWith("ce-"));
  return encodeHeaders(pairs);
}
