// What requests may say: the parameters and bodies of every route, in the spelling of the wire.

import * as v from "valibot";
import { limits } from "../../config/mod.ts";
import { KV_KEY_BYTES_MAX, KV_TTL_MS_MAX } from "../../model/kv.ts";
import {
  baseUrlInBody,
  bytes,
  flag,
  hostPortInBody,
  integer,
  integerInBody,
  isName,
  keyInPath,
  nameInBody,
  nameInPath,
  nameInQuery,
  partitionInPath,
  word,
} from "./parameters.ts";

const SAFE_MAX = Number.MAX_SAFE_INTEGER;

/** A topic in the path. */
export const TopicPath = v.object({ topic: nameInPath("Name of the topic.", "orders") });

/** A topic and a partition in the path. */
export const PartitionPath = v.object({
  topic: nameInPath("Name of the topic.", "orders"),
  partition: partitionInPath(),
});

/** A topic, a group and a partition in the path. */
export const ConsumePath = v.object({
  topic: nameInPath("Name of the topic.", "orders"),
  group: nameInPath("Name of the consumer group.", "g1"),
  partition: partitionInPath(),
});

/** A namespace in the path. */
export const NamespacePath = v.object({
  namespace: nameInPath("Name of the namespace.", "jobs"),
});

/** A namespace and a key in the path. */
export const KeyPath = v.object({
  namespace: nameInPath("Name of the namespace.", "jobs"),
  key: keyInPath("The key: 1 to 1024 bytes of UTF-8, percent-encoded. It may contain `/`.", "17"),
});

/** Query of putting a key. */
export const PutKeyQuery = v.object({
  cas: integer(0, SAFE_MAX, "Put only if the key has this `cas`; 0: only if it has no value."),
  ttl_ms: integer(
    0,
    KV_TTL_MS_MAX,
    "Milliseconds until the key ends. 0 or left out: it does not, whatever it had before.",
  ),
  idempotency_key: bytes(
    1,
    limits.IDEMPOTENCY_KEY_BYTES_MAX,
    "A repeated request with the same key answers as the first did. URL-encoded, up to 256 bytes, scoped to the namespace.",
  ),
  timeout_ms: integer(
    1,
    limits.WRITE_TIMEOUT_MS_MAX,
    "Milliseconds to wait for the confirmation. Afterwards the reply is `timeout`, and the change may still happen.",
  ),
  timing: flag("`1` adds where the time went, in microseconds."),
  ack: word(
    ["leader", "majority", "all"],
    "Which nodes must have synced the change before the reply. Left out: as the node is configured.",
  ),
});

const { ttl_ms: _, ...deleteEntries } = PutKeyQuery.entries;

/** Query of deleting a key. */
export const DeleteKeyQuery = v.object({
  ...deleteEntries,
  cas: integer(0, SAFE_MAX, "Delete only if the key has this `cas`."),
});

const consistency = {
  consistency: word(
    ["linearizable", "local"],
    "`linearizable`, the default, confirms with a majority first, on any node. `local` answers with what this node has applied.",
  ),
  timeout_ms: integer(
    1,
    limits.WRITE_TIMEOUT_MS_MAX,
    "Milliseconds that a `linearizable` read waits for the majority.",
  ),
};

/** Query of reading a key. */
export const GetKeyQuery = v.object(consistency);

/** Query of listing and watching keys. */
export const ListKeysQuery = v.object({
  prefix: bytes(0, KV_KEY_BYTES_MAX, "Only keys that begin like this."),
  after: bytes(0, KV_KEY_BYTES_MAX, "Only keys behind this one: `next_after` of the page before."),
  limit: integer(1, limits.KEY_LIST_MAX, "Most keys in the reply. Default 100."),
  values: flag("`1` adds the values, up to 4 MiB of them."),
  watch: flag("`1` streams changes as Server-Sent Events instead."),
  from: integer(
    0,
    SAFE_MAX,
    "Of a watch: the first `batch_id`. Left out: changes from now on. `Last-Event-ID` wins over it.",
  ),
  ...consistency,
});

/** Query of both produce routes. The lean parser of `produce-query.ts` is held to it by a property test. */
export const ProduceQuerySchema = v.object({
  partition: integer(
    0,
    SAFE_MAX,
    "Target partition. Left out: by key when there is a key, else spread evenly.",
  ),
  key: bytes(0, limits.KEY_BYTES_MAX, "Record key, URL-encoded, up to 1024 bytes."),
  idempotency_key: bytes(
    1,
    limits.IDEMPOTENCY_KEY_BYTES_MAX,
    "A repeated request with the same key answers with the first offset. URL-encoded, up to 256 bytes, scoped to the topic.",
  ),
  timeout_ms: integer(
    1,
    limits.WRITE_TIMEOUT_MS_MAX,
    "Milliseconds to wait for the confirmation. Afterwards the reply is `timeout`, and the write may still be stored.",
  ),
  timing: flag("`1` adds where the time went, in microseconds."),
  expected_offset: integer(0, SAFE_MAX, "Append only if the record would get this offset."),
  ack: word(
    ["leader", "majority", "all"],
    "Which nodes must have synced the write before the reply. Left out: as the node is configured. `synced` in the reply says what was reached.",
  ),
});

/** Query of consume. */
export const ConsumeQuery = v.object({
  offset: integer(
    -SAFE_MAX,
    SAFE_MAX,
    "First offset. 0 or negative: the first readable one. Left out: the one after the group's commit.",
  ),
  limit: integer(1, limits.CONSUME_RECORDS_MAX, "Most records in the reply. Default 100."),
  encoding: word(["b64"], "`b64`: values and keys as base64. Left out: as text."),
  wait_ms: integer(0, limits.WAIT_MS_MAX, "Long poll: milliseconds to wait for a first record."),
  max_bytes: integer(
    1,
    limits.CONSUME_BYTES_MAX,
    "Most bytes of values in the reply; the first record always comes. Default 4 MiB.",
  ),
  consistency: word(
    ["local", "linearizable"],
    "`linearizable` confirms with a majority first, on any node. Default `local`.",
  ),
  timeout_ms: integer(
    1,
    limits.WRITE_TIMEOUT_MS_MAX,
    "Milliseconds that a `linearizable` read waits for the majority.",
  ),
  strict: flag(
    "`1` refuses an `offset` that retention removed, instead of starting at the first readable one.",
  ),
});

/** Query of tail. */
export const TailQuery = v.object({
  offset: integer(
    -SAFE_MAX,
    SAFE_MAX,
    "First offset. Negative: the first readable one. Left out: only what is appended from now on. `Last-Event-ID` wins over it.",
  ),
  encoding: word(
    ["b64", "raw"],
    "`b64`: values and keys as base64. `raw`: bare values, one per line, with `Accept: application/x-ndjson` only.",
  ),
});

/** Query of the topic list. */
export const TopicListQuery = v.object({
  limit: integer(1, limits.TOPIC_LIST_MAX, "Most topics in the reply. Default 1000."),
  after: nameInQuery("Start after this name."),
});

const RetentionRules = v.object({
  ttl_ms: v.optional(
    integerInBody(0, SAFE_MAX, "Milliseconds that a record is kept; 0: no such rule."),
  ),
  max_bytes: v.optional(
    integerInBody(0, SAFE_MAX, "Stored bytes kept per partition; 0: no such rule."),
  ),
});

/** Body of topic creation. */
export const CreateTopicBody = v.object({
  name: nameInBody("Name of the topic."),
  partitions: v.optional(
    integerInBody(1, limits.TOPIC_PARTITIONS_MAX, "How many partitions. Default 8."),
  ),
  mode: v.optional(
    v.pipe(
      v.picklist(["sealed", "rocket"], "must be one of sealed, rocket"),
      v.description("`sealed` is durable. `rocket` is not available in this version."),
    ),
  ),
  retention: v.optional(RetentionRules),
});

/** Body of a group commit. */
export const CommitBody = v.object({
  topic: nameInBody("Name of the topic."),
  group: nameInBody("Name of the consumer group."),
  partition: integerInBody(0, SAFE_MAX, "Number of the partition, from 0."),
  offset: integerInBody(0, SAFE_MAX, "Offset of the last record that was processed."),
});

/** Body of delete-before. */
export const DeleteBeforeBody = v.object({
  topic: nameInBody("Name of the topic."),
  partition: integerInBody(0, SAFE_MAX, "Number of the partition, from 0."),
  before_offset: integerInBody(0, SAFE_MAX, "The first offset that stays."),
});

/** Body of retention. */
export const RetentionBody = v.object({
  topic: v.pipe(
    v.string("must be a name or *"),
    v.check((name) => name === "*" || isName(name), "must be a name or *"),
    v.description("Name of the topic, or `*` for all, present and future."),
  ),
  partition: v.optional(integerInBody(0, SAFE_MAX, "One partition only. Left out: all of them.")),
  ...RetentionRules.entries,
});

/** Body of one retention pass over everything. */
export const CollectBody = v.object({
  max_age_ms: v.optional(
    integerInBody(0, SAFE_MAX, "Remove records older than this; 0: no such limit."),
  ),
  max_bytes: v.optional(
    integerInBody(0, SAFE_MAX, "Keep this many bytes per partition; 0: no such limit."),
  ),
});

/** Body of every change that names one node. */
export const NodeBody = v.object({ node_id: nameInBody("Id of the node.") });

/** Body of adding a node. */
export const AddNodeBody = v.object({
  node_id: nameInBody("Id of the node."),
  advertise_addr: hostPortInBody("Where its peers reach it: `host:port`, IPv6 in brackets."),
  http_addr: v.optional(
    baseUrlInBody(
      "Base of its HTTP address, as `http://host:port`. Left out: the port after the one of `advertise_addr`, until the node says it itself.",
    ),
  ),
  priority: v.optional(
    integerInBody(0, limits.NODE_PRIORITY_MAX, "The higher, the sooner it leads. Default 100."),
  ),
});

const base64InBody = (description: string) =>
  v.pipe(v.string("must be base64"), v.description(description));
const textInBody = (description: string) =>
  v.pipe(v.string("must be a text"), v.description(description));
const shortTextInBody = (bytesMin: number, bytesMax: number, description: string) => {
  const message = `must have ${bytesMin} to ${bytesMax} bytes`;
  const fits = (text: string): boolean => {
    const length = Buffer.byteLength(text);
    return length >= bytesMin && length <= bytesMax;
  };
  return v.pipe(v.string(message), v.check(fits, message), v.description(description));
};
const keyNameInBody = () => textInBody("`namespace/key`.");
const value = {
  value: v.optional(textInBody("The value as text.")),
  value_b64: v.optional(base64InBody("The value as base64.")),
};

/** Query of a transaction. */
export const TransactionQuery = v.object({
  timeout_ms: PutKeyQuery.entries.timeout_ms,
  timing: PutKeyQuery.entries.timing,
  ack: PutKeyQuery.entries.ack,
});

/** Body of a transaction. */
export const TransactionBody = v.object({
  idempotency_key: v.optional(
    shortTextInBody(
      1,
      limits.IDEMPOTENCY_KEY_BYTES_MAX,
      "A repeated transaction with the same key answers as the first did.",
    ),
  ),
  expect: v.optional(
    v.array(
      v.union(
        [
          v.object({
            kv: keyNameInBody(),
            cas: integerInBody(0, SAFE_MAX, "0: the key has no value."),
          }),
          v.object({
            topic: nameInBody("Name of the topic."),
            group: nameInBody("Name of the consumer group."),
            partition: integerInBody(0, SAFE_MAX, "Number of the partition, from 0."),
            committed_offset: v.nullable(
              integerInBody(0, SAFE_MAX, "The group's; `null`: it has none."),
            ),
          }),
        ],
        "must be {kv, cas} or {topic, group, partition, committed_offset}",
      ),
    ),
  ),
  produce: v.optional(
    v.array(
      v.object({
        topic: nameInBody("Name of the topic."),
        partition: v.optional(
          integerInBody(0, SAFE_MAX, "Left out: by key when there is a key, else spread evenly."),
        ),
        key: v.optional(shortTextInBody(0, limits.KEY_BYTES_MAX, "The record's key as text.")),
        key_b64: v.optional(base64InBody("The record's key as base64.")),
        ...value,
      }),
    ),
  ),
  commit: v.optional(v.array(CommitBody)),
  kv: v.optional(
    v.array(
      v.union(
        [
          v.object({
            op: v.literal("put"),
            key: keyNameInBody(),
            ...value,
            ttl_ms: v.optional(
              integerInBody(0, KV_TTL_MS_MAX, "Milliseconds until the key ends; 0: it does not."),
            ),
          }),
          v.object({ op: v.literal("delete"), key: keyNameInBody() }),
        ],
        "must be {op: put, key, value or value_b64} or {op: delete, key}",
      ),
    ),
  ),
});
