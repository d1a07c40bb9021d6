// The route of transactions.

import type * as v from "valibot";
import { limits } from "../../config/mod.ts";
import { encodeText } from "../../lib/bytes.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import type {
  Expectation,
  Transaction,
  TransactionKey,
  TransactionOutcome,
  TransactionRecord,
} from "../../model/transaction.ts";
import { TRANSACTION_PARTS_MAX } from "../../model/transaction.ts";
import type { Grant } from "../auth.ts";
import { isKey } from "../key-path.ts";
import { type ReplyMaker, transactionReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { namespaceRefusal, type Route, type RouteDoc, topicRefusal } from "../route.ts";
import { checkJson, checkQuery, invalidParameter } from "../schemas/check.ts";
import { isName, NAME_RULE } from "../schemas/parameters.ts";
import { TransactionReply } from "../schemas/replies.ts";
import { TransactionBody, TransactionQuery } from "../schemas/requests.ts";
import { type WriteCall, type WriteHandler, writeRoute } from "../write-route.ts";

const DOC: RouteDoc = {
  method: "POST",
  path: "/broker/txn",
  id: "transact",
  summary: "Do several things at once, or none of them",
  description:
    "All of `expect` is checked against the state before; then `produce`, `commit` and `kv` happen in one entry of the log, visible together. A refusal says in `failed` which part it was.",
  tag: "records",
  access: "write",
  query: TransactionQuery,
  body: TransactionBody,
  reply: TransactionReply,
};

/** The transaction route. */
export const transactionRoutes = (rooms: HttpRooms): readonly Route[] => [
  writeRoute(rooms, DOC, new Transactor(rooms)),
];

/** What the route does with a body. */
class Transactor implements WriteHandler {
  readonly bodyBytesMax: number;
  readonly bodyName = "Request body";
  readonly #rooms: HttpRooms;

  constructor(rooms: HttpRooms) {
    this.#rooms = rooms;
    this.bodyBytesMax = rooms.config.bodyBytesMax;
  }

  /** What it names is in its body. */
  refusalOf(): undefined {
    return undefined;
  }

  take(slot: number, { request, body, grant }: WriteCall): Refusal | undefined {
    const { broker, config, stats, waiters } = this.#rooms;
    const query = checkQuery(TransactionQuery, request.url);
    if (!query.ok) return query.error;
    const read = checkJson(TransactionBody, body);
    if (!read.ok) return read.error;
    const made = transactionOf(read.value, query.value.ack ?? "configured");
    if (!made.ok) return made.error;
    const transaction = made.value;
    const refusal = refusalOf(grant, transaction) ?? this.#tooLarge(transaction);
    if (refusal !== undefined) return refusal;
    const { timing = false, timeout_ms: timeoutMs = config.writeTimeoutMs } = query.value;
    let outcome: TransactionOutcome = { raftIndex: 0, produced: [], cas: [] };
    const maker: ReplyMaker = (_first, _count, _partition, _index, synced, duplicate, timed) => {
      if (duplicate !== 1) {
        for (const { topic, value } of transaction.produce) {
          const traffic = stats.traffic(broker.topic(topic)?.id ?? 0);
          traffic.recordsIn += 1;
          traffic.bytesIn += value.length;
        }
      }
      return transactionReply(transaction, outcome, synced, duplicate === 1, timed);
    };
    waiters.mark(slot, maker, timing);
    waiters.extend(slot, timeoutMs);
    return broker.transact(waiters.taken(slot, undefined), transaction, (came) => {
      outcome = came;
    });
  }

  #tooLarge({ produce, kv }: Transaction): Refusal | undefined {
    const bytesMax = this.#rooms.config.recordBytesMax;
    for (const [part, values] of [
      ["produce", produce],
      ["kv", kv],
    ] as const) {
      const at = values.findIndex(({ value }) => (value?.length ?? 0) > bytesMax);
      if (at < 0) continue;
      const gotBytes = values[at]?.value?.length ?? 0;
      return refuse("payload_too_large", `Value has ${gotBytes} bytes: the limit is ${bytesMax}`, {
        failed: { [part]: at },
        max_bytes: bytesMax,
        got_bytes: gotBytes,
      });
    }
    return undefined;
  }
}

const failedPart = (refusal: Refusal, part: string, at: number): Result<never, Refusal> =>
  fail({ ...refusal, fields: { ...refusal.fields, failed: { [part]: at } } });

/** Makes a transaction of a body whose shape is known to be right. */
function transactionOf(
  body: v.InferOutput<typeof TransactionBody>,
  ack: Transaction["ack"],
): Result<Transaction, Refusal> {
  const { expect = [], produce = [], commit = [], kv = [], idempotency_key: name } = body;
  const parts = expect.length + produce.length + commit.length + kv.length;
  if (parts > TRANSACTION_PARTS_MAX) {
    return fail(
      refuse(
        "payload_too_large",
        `A transaction has ${parts} parts: the limit is ${TRANSACTION_PARTS_MAX}`,
        { max_parts: TRANSACTION_PARTS_MAX, got_parts: parts },
      ),
    );
  }
  if (produce.length + commit.length + kv.length === 0) {
    return fail(refuse("missing_fields", "A transaction has at least one of produce, commit, kv"));
  }
  const expectations: Expectation[] = [];
  for (const [at, one] of expect.entries()) {
    if ("kv" in one) {
      const place = splitKey(one.kv);
      if (place === undefined) return failedPart(badKey(one.kv), "expect", at);
      expectations.push({ kind: "key", ...place, cas: one.cas });
    } else {
      const { topic, group, partition, committed_offset: committed } = one;
      const committedOffset = committed ?? -1;
      expectations.push({ kind: "group", topic, group, partition, committedOffset });
    }
  }
  const records: TransactionRecord[] = [];
  for (const [
    at,
    { topic, partition = -1, key, key_b64: keyBase64, ...content },
  ] of produce.entries()) {
    const value = contentOf(content.value, content.value_b64);
    const bytes = key === undefined ? fromBase64(keyBase64) : encodeText(key);
    if (value === undefined || bytes === null) return failedPart(BAD_VALUE, "produce", at);
    if (key !== undefined && keyBase64 !== undefined) return failedPart(BAD_VALUE, "produce", at);
    if ((bytes?.length ?? 0) > limits.KEY_BYTES_MAX) return failedPart(LONG_KEY, "produce", at);
    records.push({ topic, partition, key: bytes, value });
  }
  const keys: TransactionKey[] = [];
  const seen = new Set<string>();
  for (const [at, one] of kv.entries()) {
    const place = splitKey(one.key);
    if (place === undefined) return failedPart(badKey(one.key), "kv", at);
    if (seen.has(one.key))
      return failedPart(invalidParameter("key", one.key, "must be there once"), "kv", at);
    seen.add(one.key);
    const value = one.op === "put" ? contentOf(one.value, one.value_b64) : undefined;
    if (one.op === "put" && value === undefined) return failedPart(BAD_VALUE, "kv", at);
    keys.push({ ...place, value, ttlMs: one.op === "put" ? (one.ttl_ms ?? 0) : 0 });
  }
  const idempotencyKey = name === undefined ? undefined : encodeText(name);
  return succeed({ idempotencyKey, expect: expectations, produce: records, commit, kv: keys, ack });
}

const BAD_VALUE = refuse(
  "invalid_parameter",
  "A value is given once, as text in value or as base64 in value_b64, and a key likewise",
);

const LONG_KEY = refuse(
  "invalid_parameter",
  `A record key has up to ${limits.KEY_BYTES_MAX} bytes`,
);

/** Bytes of a text or of base64; undefined when neither or both are there, or it is no base64. */
function contentOf(text: string | undefined, base64: string | undefined): Uint8Array | undefined {
  if ((text === undefined) === (base64 === undefined)) return undefined;
  return text === undefined ? (fromBase64(base64) ?? undefined) : encodeText(text);
}

/** Null when it is no base64. */
function fromBase64(text: string | undefined): Uint8Array | undefined | null {
  if (text === undefined) return undefined;
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return null;
  }
}

const KEY_RULE = "must be namespace/key";

const badKey = (text: string): Refusal => invalidParameter("key", text, KEY_RULE);

/** `namespace/key`; undefined when it is none. */
function splitKey(
  text: string,
): { readonly namespace: string; readonly key: Uint8Array } | undefined {
  const slash = text.indexOf("/");
  const namespace = text.slice(0, Math.max(slash, 0));
  const key = encodeText(text.slice(slash + 1));
  return isName(namespace) && isKey(key) ? { namespace, key } : undefined;
}

/** Why the token does not cover what a transaction names; undefined when it does. */
function refusalOf(grant: Grant | undefined, transaction: Transaction): Refusal | undefined {
  const { expect, produce, commit, kv } = transaction;
  const topics = [...produce, ...commit].map(({ topic }) => topic);
  const namespaces = kv.map(({ namespace }) => namespace);
  for (const one of expect) {
    if (one.kind === "key") namespaces.push(one.namespace);
    else topics.push(one.topic);
  }
  for (const topic of topics) {
    if (!isName(topic)) return invalidParameter("topic", topic, NAME_RULE);
    const refusal = topicRefusal(grant, topic);
    if (refusal !== undefined) return refusal;
  }
  for (const namespace of namespaces) {
    const refusal = namespaceRefusal(grant, namespace);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}
