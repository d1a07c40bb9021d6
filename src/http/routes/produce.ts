// Routes that append records. The hot path of the node: it reads one header, one URL and one body,
// and makes no object per request beyond the promise of the reply.

import { limits } from "../../config/mod.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import type { ProduceRequest } from "../../model/produce.ts";
import { encodeHeaders } from "../../model/record.ts";
import { declaredLength, readPieces, tooLarge } from "../admission.ts";
import { noPartition, noTopic } from "../lookup.ts";
import { splitLines } from "../ndjson.ts";
import { ProduceQuery, readProduceQuery } from "../produce-query.ts";
import type { HttpRooms } from "../rooms.ts";
import {
  confirmedRefusal,
  failed,
  type Params,
  type Route,
  type RouteDoc,
  refusalOf,
  revealsState,
  topicRefusal,
} from "../route.ts";
import { ProduceBatchReply, ProduceReply } from "../schemas/replies.ts";
import { ProduceQuerySchema, TopicPath } from "../schemas/requests.ts";
import type { RouteStats } from "../stats.ts";
import { WAITER_BATCH, WAITER_TIMING } from "../waiters.ts";

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
  body: "bytes",
  reply: ProduceBatchReply,
};

/** The two produce routes. */
export const produceRoutes = (rooms: HttpRooms): readonly Route[] => [
  produceRoute(rooms, SINGLE, false),
  produceRoute(rooms, BATCH, true),
];

function produceRoute(rooms: HttpRooms, doc: RouteDoc, isBatch: boolean): Route {
  const producer = new Producer(rooms, rooms.stats.route(doc.method, doc.path), isBatch);
  return { ...doc, serve: (request, params) => producer.serve(request, params) };
}

const NO_BYTES = new Uint8Array(0);

/** Serves one of the two routes. */
class Producer {
  readonly #rooms: HttpRooms;
  readonly #stats: RouteStats;
  readonly #isBatch: boolean;
  readonly #bodyBytesMax: number;
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

  constructor(rooms: HttpRooms, stats: RouteStats, isBatch: boolean) {
    this.#rooms = rooms;
    this.#stats = stats;
    this.#isBatch = isBatch;
    this.#bodyBytesMax = isBatch ? rooms.config.bodyBytesMax : rooms.config.recordBytesMax;
  }

  serve(request: Request, params: Params): Response | Promise<Response> {
    const { admission, authority, broker, waiters } = this.#rooms;
    const startedNs = Bun.nanoseconds();
    const headers = request.headers;
    const { topic = "" } = params;
    const grant = authority.grant(headers.get("authorization"));
    const refusal = refusalOf(grant, "write") ?? topicRefusal(grant, topic) ?? broker.writeGate();
    if (refusal !== undefined) return this.#refuse(refusal, request, startedNs);

    const declared = declaredLength(headers.get("content-length"));
    if (declared > this.#bodyBytesMax) {
      const what = this.#isBatch ? "Request body" : "Record";
      return this.#refuse(tooLarge(what, declared, this.#bodyBytesMax), request, startedNs);
    }
    if (!waiters.hasRoom) {
      return this.#refuse(
        refuse("overloaded", `More than ${limits.WAITERS_MAX} writes wait`),
        request,
        startedNs,
      );
    }
    const reserved = Math.max(declared, 0);
    if (!admission.reserve(reserved)) {
      return this.#refuse(admission.overloaded(), request, startedNs);
    }
    const slot = waiters.open(request, this.#stats, startedNs, reserved, limits.BODY_DEADLINE_MS);
    const reply = waiters.reply(slot);
    const gone = (error: unknown): void => this.#gone(slot, error);
    if (declared < 0) this.#readUndeclared(slot, request, topic);
    else request.bytes().then((body) => this.#take(slot, request, topic, body), gone);
    return reply;
  }

  #refuse(refusal: Refusal, request: Request, startedNs: number): Response {
    const reply = this.#rooms.errors.reply(refusal, request);
    this.#stats.count(reply.status, startedNs);
    return reply;
  }

  #readUndeclared(slot: number, request: Request, topic: string): void {
    const { admission, waiters } = this.#rooms;
    readPieces(request, admission, this.#bodyBytesMax).then(
      (held) => {
        if (!held.ok) {
          waiters.refuse(slot, held.error);
          return;
        }
        waiters.hold(slot, held.value.reserved);
        this.#take(slot, request, topic, held.value.bytes);
      },
      (error: unknown) => this.#gone(slot, error),
    );
  }

  /** The client went away in the middle of its body: nobody is there to be told. */
  #gone(slot: number, error: unknown): void {
    this.#rooms.logger.debug("body_not_received", { error: String(error) });
    this.#rooms.waiters.refuse(slot, refuse("invalid_parameter", "Request body ended early"));
  }

  /** The body is here: the rest happens in this turn. */
  #take(slot: number, request: Request, topicName: string, body: Uint8Array): void {
    const { waiters } = this.#rooms;
    try {
      const refusal = this.#produce(slot, request, topicName, body);
      if (refusal === "later") return;
      if (refusal === undefined) waiters.copied(slot);
      else if (revealsState(refusal)) this.#refuseConfirmed(slot, refusal);
      else waiters.refuse(slot, refusal);
    } catch (error) {
      waiters.refuse(slot, failed(this.#rooms, this.#stats.route, error));
    }
  }

  #refuseConfirmed(slot: number, refusal: Refusal): void {
    const { waiters } = this.#rooms;
    waiters.suspend(slot);
    confirmedRefusal(this.#rooms, refusal).then(
      (confirmed) => waiters.refuse(slot, confirmed),
      (error: unknown) => waiters.refuse(slot, failed(this.#rooms, this.#stats.route, error)),
    );
  }

  #produce(
    slot: number,
    request: Request,
    topicName: string,
    body: Uint8Array,
  ): Refusal | "later" | undefined {
    const { broker, config, waiters } = this.#rooms;
    // It took longer than it may: it has been answered, and nothing of it is to be stored.
    if (!waiters.isWaiting(slot)) return refuse("timeout");
    // Leadership may have moved while the body came: what is looked up on a node that lags may be there already.
    const gate = broker.writeGate();
    if (gate !== undefined) return gate;
    const query = this.#query;
    const checked = readProduceQuery(request.url, query);
    if (!checked.ok) return checked.error;
    const timeoutMs = query.timeoutMs < 0 ? config.writeTimeoutMs : query.timeoutMs;
    const topic = broker.topic(topicName);
    if (topic === undefined) {
      const refusal = noTopic(topicName);
      if (!config.createsTopics || refusal.code !== "topic_not_found") return refusal;
      this.#createTopic(slot, request, topicName, body, timeoutMs);
      return "later";
    }
    if (query.partition >= topic.partitions) return noPartition(topic, query.partition);

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
    waiters.mark(slot, (this.#isBatch ? WAITER_BATCH : 0) | (query.hasTiming ? WAITER_TIMING : 0));
    waiters.extend(slot, timeoutMs);
    const waiter = waiters.taken(slot, this.#rooms.stats.traffic(topic.id));
    return broker.produce(waiter, produce);
  }

  #createTopic(
    slot: number,
    request: Request,
    name: string,
    body: Uint8Array,
    timeoutMs: number,
  ): void {
    const { broker, deadlines, waiters } = this.#rooms;
    const shape = {
      name,
      partitions: limits.TOPIC_PARTITIONS_DEFAULT,
      mode: "sealed",
      ttlMs: 0,
      maxBytes: 0,
    } as const;
    waiters.suspend(slot);
    deadlines.bound(broker.createTopic(shape), timeoutMs).then(
      (created) => {
        if (broker.topic(name) !== undefined) this.#take(slot, request, name, body);
        else if (created.ok) waiters.refuse(slot, noTopic(name));
        else if (created.error.code === "timeout") waiters.refuse(slot, topicTooSlow(name));
        else waiters.refuse(slot, created.error);
      },
      (error: unknown) => waiters.refuse(slot, failed(this.#rooms, this.#stats.route, error)),
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
