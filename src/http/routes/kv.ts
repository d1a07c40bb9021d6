// Routes of keys and values.

import { limits } from "../../config/mod.ts";
import { decodeText } from "../../lib/bytes.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import type { KvWrite } from "../../model/kv.ts";
import type { Grant } from "../auth.ts";
import { keyPlaceOf } from "../key-path.ts";
import { readGate } from "../lookup.ts";
import type { KeyView } from "../ports.ts";
import { jsonReply, keyDeletedReply, keyPutReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import {
  type Call,
  guarded,
  namespaceRefusal,
  type Outcome,
  type Params,
  type Route,
  type RouteDoc,
} from "../route.ts";
import { checkPath, checkQuery, invalidParameter } from "../schemas/check.ts";
import {
  DeleteKeyReply,
  GetKeyReply,
  KeyMetaReply,
  ListKeysReply,
  PutKeyReply,
} from "../schemas/replies.ts";
import {
  DeleteKeyQuery,
  GetKeyQuery,
  KeyPath,
  ListKeysQuery,
  NamespacePath,
  PutKeyQuery,
} from "../schemas/requests.ts";
import { type WriteCall, type WriteHandler, writeRoute } from "../write-route.ts";
import { watchKeys } from "./kv-watch.ts";

const KEY_PATH = "/kv/:namespace/*";

const PUT: RouteDoc = {
  method: "PUT",
  path: KEY_PATH,
  id: "putKey",
  summary: "Put a key",
  description: "The body is the value, any bytes. With `cas` only if the key is as expected.",
  tag: "keys",
  access: "write",
  params: KeyPath,
  query: PutKeyQuery,
  body: "bytes",
  reply: PutKeyReply,
};

const POST: RouteDoc = { ...PUT, method: "POST", id: "postKey" };

const DELETE: RouteDoc = {
  method: "DELETE",
  path: KEY_PATH,
  id: "deleteKey",
  summary: "Delete a key",
  description: "Safe to repeat only with `cas` or `idempotency_key`.",
  tag: "keys",
  access: "write",
  params: KeyPath,
  query: DeleteKeyQuery,
  reply: DeleteKeyReply,
};

const GET: RouteDoc = {
  method: "GET",
  path: KEY_PATH,
  id: "getKey",
  summary: "Read a key",
  description: "The value as base64, with the key's `cas`. Linearizable unless asked otherwise.",
  tag: "keys",
  access: "read",
  params: KeyPath,
  query: GetKeyQuery,
  reply: GetKeyReply,
};

const META: RouteDoc = {
  method: "GET",
  path: "/kv/:namespace/:key/meta",
  id: "getKeyMeta",
  summary: "Show what is known of a key",
  description: "Its `cas` and how long it lives. Keys with `/` have this too.",
  tag: "keys",
  access: "read",
  params: KeyPath,
  query: GetKeyQuery,
  reply: KeyMetaReply,
};

const LIST: RouteDoc = {
  method: "GET",
  path: "/kv/:namespace",
  id: "listKeys",
  summary: "List or watch keys",
  description:
    "Sorted by their bytes, page by page. With `watch=1` changes as Server-Sent Events: `id` is the `batch_id`, and a reconnect with `Last-Event-ID` misses nothing.",
  tag: "keys",
  access: "read",
  params: NamespacePath,
  query: ListKeysQuery,
  headers: [
    {
      name: "Last-Event-ID",
      description: "Of a watch: the last `batch_id` that was received; it goes on after it.",
      schema: { type: "integer", minimum: 0 },
    },
  ],
  reply: ListKeysReply,
  otherForms: ["text/event-stream"],
};

/** The routes. */
export const kvRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, LIST, (call) => list(rooms, call)),
  guarded(rooms, META, (call) => read(rooms, call)),
  guarded(rooms, GET, (call) => read(rooms, call)),
  writeRoute(rooms, POST, new KeyWriter(rooms, true)),
  writeRoute(rooms, PUT, new KeyWriter(rooms, true)),
  writeRoute(rooms, DELETE, new KeyWriter(rooms, false)),
];

const NO_VALUE = new Uint8Array(0);

/** What routes that change a key do with a body. */
class KeyWriter implements WriteHandler {
  readonly bodyBytesMax: number;
  readonly bodyName = "Value";
  readonly #rooms: HttpRooms;
  readonly #isPut: boolean;

  constructor(rooms: HttpRooms, isPut: boolean) {
    this.#rooms = rooms;
    this.#isPut = isPut;
    this.bodyBytesMax = rooms.config.recordBytesMax;
  }

  refusalOf(grant: Grant | undefined, { namespace = "" }: Params): Refusal | undefined {
    return namespaceRefusal(grant, namespace);
  }

  take(slot: number, { request, params, body }: WriteCall): Refusal | undefined {
    const { broker, config, waiters } = this.#rooms;
    const asked = this.#asked(request.url, params, this.#isPut ? body : undefined);
    if (!asked.ok) return asked.error;
    const { write, hasTiming, timeoutMs = config.writeTimeoutMs } = asked.value;
    waiters.mark(slot, this.#isPut ? keyPutReply : keyDeletedReply, hasTiming);
    waiters.extend(slot, timeoutMs);
    return broker.writeKey(waiters.taken(slot, undefined), write);
  }

  #asked(
    url: string,
    params: Params,
    value: Uint8Array | undefined,
  ): Result<
    {
      readonly write: KvWrite;
      readonly hasTiming: boolean;
      readonly timeoutMs: number | undefined;
    },
    Refusal
  > {
    const path = checkPath(NamespacePath, params);
    if (!path.ok) return path;
    const place = keyPlaceOf(url);
    if (!place.ok) return place;
    if (place.value.isMeta)
      return fail(invalidParameter("key", `${decodeText(place.value.key)}/meta`, META_RULE));
    const query = checkQuery(PutKeyQuery, url);
    if (!query.ok) return query;
    const { cas, ttl_ms: ttlMs, idempotency_key: idempotencyKey, ack } = query.value;
    const write = {
      namespace: path.value.namespace,
      key: place.value.key,
      value,
      expectedCas: cas ?? -1,
      ttlMs: value === undefined ? 0 : (ttlMs ?? 0),
      idempotencyKey,
      ack: ack ?? "configured",
    } as const;
    const { timing = false, timeout_ms: timeoutMs } = query.value;
    return succeed({ write, hasTiming: timing, timeoutMs });
  }
}

const META_RULE = "is the address of a key's metadata, which cannot be written";

function read(rooms: HttpRooms, call: Call): Outcome | Promise<Outcome> {
  const path = checkPath(NamespacePath, call.params);
  if (!path.ok) return path;
  const place = keyPlaceOf(call.request.url);
  if (!place.ok) return place;
  const query = checkQuery(GetKeyQuery, call.request.url);
  if (!query.ok) return query;
  const { namespace } = path.value;
  const { key, isMeta } = place.value;
  const answer = (): Outcome | Promise<Outcome> => {
    const found = rooms.broker.readKey(namespace, key);
    if (found instanceof Promise) return found.then((ended) => (ended.ok ? answer() : ended));
    if (found === undefined) return noKey(key);
    return succeed(isMeta ? metaReply(rooms, found) : valueReply(found));
  };
  return confirmed(rooms, query.value, answer);
}

/** Runs `answer` on a state that nobody has seen a newer one of, unless what this node has is enough. */
function confirmed(
  rooms: HttpRooms,
  query: { readonly consistency?: string | undefined; readonly timeout_ms?: number | undefined },
  answer: () => Outcome | Promise<Outcome>,
): Outcome | Promise<Outcome> {
  const refusal = readGate(rooms);
  if (query.consistency === "local") return refusal === undefined ? answer() : fail(refusal);
  const timeoutMs = query.timeout_ms ?? rooms.config.writeTimeoutMs;
  return rooms.broker.readBarrier(timeoutMs).then((reached) => (reached.ok ? answer() : reached));
}

const noKey = (key: Uint8Array): Result<never, Refusal> =>
  fail(refuse("not_found", `Key ${decodeText(key).slice(0, 200)} has no value`));

const base64 = (bytes: Uint8Array): string => bytes.toBase64();

const valueReply = ({ value, cas }: KeyView): Response => jsonReply({ value: base64(value), cas });

const metaReply = (rooms: HttpRooms, { cas, deadlineMs }: KeyView): Response =>
  jsonReply({ cas, ttl_ms: rooms.broker.timeLeft(deadlineMs) });

function list(rooms: HttpRooms, call: Call): Outcome | Promise<Outcome> {
  const path = checkPath(NamespacePath, call.params);
  if (!path.ok) return path;
  const query = checkQuery(ListKeysQuery, call.request.url);
  if (!query.ok) return query;
  const { namespace } = path.value;
  const { watch, from, prefix = NO_VALUE } = query.value;
  if (watch === true) return watchKeys(rooms, call.request, { namespace, prefix, from });
  return confirmed(rooms, query.value, () => page(rooms, namespace, query.value));
}

interface PageQuery {
  readonly prefix?: Uint8Array | undefined;
  readonly after?: Uint8Array | undefined;
  readonly limit?: number | undefined;
  readonly values?: boolean | undefined;
}

function page(rooms: HttpRooms, namespace: string, query: PageQuery): Outcome | Promise<Outcome> {
  const { prefix = NO_VALUE, after, limit = limits.KEY_LIST_DEFAULT, values = false } = query;
  const isAfter = after !== undefined && Buffer.compare(after, prefix) >= 0;
  const keys: { key: string; cas: number; ttl_ms: number; value?: string }[] = [];
  let bytes = 0;
  let isMore = false;
  const take = ({ key, value, cas, deadlineMs }: KeyView): boolean => {
    if (Buffer.compare(key.subarray(0, prefix.length), prefix) !== 0) return false;
    bytes += key.length + (values ? value.length : 0);
    isMore = keys.length === limit || (keys.length > 0 && bytes > limits.CONSUME_BYTES_DEFAULT);
    if (isMore) return false;
    const ttlMs = rooms.broker.timeLeft(deadlineMs);
    const shown = { key: decodeText(key), cas, ttl_ms: ttlMs };
    keys.push(values ? { ...shown, value: base64(value) } : shown);
    return true;
  };
  const first = isAfter ? after : prefix;
  const ended = rooms.broker.listKeys({ namespace, first, isAfter }, take);
  if (ended !== undefined)
    return ended.then((done) => (done.ok ? page(rooms, namespace, query) : done));
  const nextAfter = isMore ? (keys.at(-1)?.key ?? null) : null;
  return succeed(jsonReply({ ok: true, keys, count: keys.length, next_after: nextAfter }));
}
