// What replies say, in the spelling of the wire: for the OpenAPI document, and for the tests that check real replies.

import * as v from "valibot";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const yes = v.literal(true);

/** Every error. More fields may follow. */
export const ErrorReply = v.looseObject({
  ok: v.literal(false),
  error: v.pipe(v.string(), v.description("A code of the list of errors.")),
  message: v.string(),
  docs: v.pipe(v.string(), v.description("Where the code is explained.")),
});

const fate = {
  batch_id: v.optional(count),
  sealed: v.boolean(),
  durable: v.optional(v.boolean()),
  mode: v.optional(v.picklist(["sealed", "rocket"])),
  synced: v.nullable(v.boolean()),
  duplicate: v.optional(v.boolean()),
  queue_us: v.optional(count),
  recv_parse_us: v.optional(count),
  server_us: v.optional(count),
  produce_us: v.optional(count),
  sync_wait_us: v.optional(count),
};

/** Of produce. */
export const ProduceReply = v.strictObject({ ok: yes, offset: count, partition: count, ...fate });

/** Of produce-ndjson. */
export const ProduceBatchReply = v.strictObject({
  ok: yes,
  first_offset: count,
  count,
  partition: count,
  ...fate,
});

/** One record. */
export const RecordReply = v.strictObject({
  offset: count,
  partition: count,
  timestamp_ms: count,
  value: v.optional(v.string()),
  value_b64: v.optional(v.string()),
  key: v.optional(v.string()),
  key_b64: v.optional(v.string()),
  headers: v.optional(v.record(v.string(), v.string())),
});

/** Of consume. */
export const ConsumeReply = v.strictObject({
  messages: v.array(RecordReply),
  count,
  next_offset: count,
  committed_offset: v.nullable(count),
  truncated: v.boolean(),
});

/** Of topic creation. */
export const CreateTopicReply = v.strictObject({ ok: yes, topic: v.string(), partitions: count });

const topicEntries = {
  topic: v.string(),
  topic_id: count,
  mode: v.picklist(["sealed", "rocket"]),
  partitions: count,
  retention: v.strictObject({ ttl_ms: count, max_bytes: count }),
  partition_details: v.array(
    v.strictObject({ partition: count, start_offset: count, next_offset: count, bytes: count }),
  ),
  groups: v.array(
    v.strictObject({ group: v.string(), partition: count, committed_offset: count, lag: count }),
  ),
};

/** Of one topic. */
export const TopicReply = v.strictObject({ ok: yes, ...topicEntries });

/** Of the topic list. */
export const TopicListReply = v.strictObject({
  ok: yes,
  topics: v.array(v.strictObject(topicEntries)),
  truncated: v.boolean(),
});

/** Of topic deletion. */
export const DeleteTopicReply = v.strictObject({ ok: yes, deleted: yes, deleted_count: count });

/** Of a group commit. */
export const OkReply = v.strictObject({ ok: yes });

/** Of delete-before. */
export const DeleteBeforeReply = v.strictObject({
  ok: yes,
  deleted_count: count,
  freed_bytes: count,
});

/** Of retention. */
export const RetentionReply = v.strictObject({
  ok: yes,
  ttl_applied: v.boolean(),
  size_applied: v.boolean(),
  sealed_bytes_after: count,
});

/** Of readiness. */
export const ReadyReply = v.strictObject({ ready: v.boolean(), reason: v.optional(v.string()) });

/** Of the sync status. */
export const SealedStatusReply = v.strictObject({ ok: yes, last_synced_batch_id: count });

/** Of a retention pass. */
export const CollectReply = v.strictObject({ ok: yes, sealed_bytes_after: count });

/** Of compaction. */
export const CompactReply = v.strictObject({ result: v.literal("compaction_started"), async: yes });
