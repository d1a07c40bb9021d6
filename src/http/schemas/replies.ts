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

/** Of a write that goes to the leader. */
export const RedirectReply = v.looseObject({
  ok: v.literal(false),
  error: v.literal("redirect_to_leader"),
  message: v.string(),
  docs: v.string(),
  leader_url: v.pipe(v.string(), v.description("Base of the leader's HTTP address.")),
  retry_after: v.pipe(count, v.description("Seconds.")),
  redirect: v.strictObject({
    status: v.picklist([307, 308]),
    location: v.pipe(v.string(), v.description("The same path and query on the leader.")),
  }),
});

const fate = {
  batch_id: v.optional(count),
  sealed: v.boolean(),
  durable: v.optional(v.boolean()),
  mode: v.optional(v.picklist(["sealed", "rocket"])),
  synced: v.pipe(
    v.nullable(v.boolean()),
    v.description(
      "`true`: committed and synced on as many nodes as was asked. `false`: the leader alone has it, or it is committed and not on all nodes yet. `null`: a duplicate, or in memory only.",
    ),
  ),
  duplicate: v.optional(v.boolean()),
  queue_us: v.optional(count),
  recv_parse_us: v.optional(count),
  server_us: v.optional(count),
  produce_us: v.optional(count),
  sync_wait_us: v.optional(count),
};

/** Of produce. */
export const ProduceReply = v.strictObject({ ok: yes, offset: count, partition: count, ...fate });

const keyFate = {
  sealed: v.boolean(),
  durable: v.boolean(),
  mode: v.literal("sealed"),
  synced: fate.synced,
  batch_id: v.optional(count),
  duplicate: v.optional(v.boolean()),
  queue_us: v.optional(count),
  recv_parse_us: v.optional(count),
  server_us: v.optional(count),
  produce_us: v.optional(count),
  sync_wait_us: v.optional(count),
};

/** Of putting a key. */
export const PutKeyReply = v.strictObject({ ok: yes, cas: count, ...keyFate });

/** Of deleting a key. */
export const DeleteKeyReply = v.strictObject({
  ...v.partial(v.object(keyFate)).entries,
  ok: yes,
  deleted: v.pipe(v.boolean(), v.description("`false`: it had no value, and nothing was done.")),
});

/** Of reading a key. */
export const GetKeyReply = v.strictObject({
  value: v.pipe(v.string(), v.description("Base64.")),
  cas: count,
});

/** Of what is known of a key. */
export const KeyMetaReply = v.strictObject({
  cas: count,
  ttl_ms: v.pipe(count, v.description("Milliseconds that it has left; 0: it does not end.")),
});

/** Of a transaction. */
export const TransactionReply = v.strictObject({
  ok: yes,
  batch_id: count,
  produced: v.array(v.strictObject({ topic: v.string(), partition: count, offset: count })),
  kv: v.array(
    v.strictObject({
      key: v.string(),
      cas: v.pipe(count, v.description("0: there was nothing to delete.")),
      deleted: v.optional(v.boolean()),
    }),
  ),
  synced: fate.synced,
  duplicate: v.boolean(),
  queue_us: v.optional(count),
  recv_parse_us: v.optional(count),
  server_us: v.optional(count),
  produce_us: v.optional(count),
  sync_wait_us: v.optional(count),
});

/** Of listing keys. */
export const ListKeysReply = v.strictObject({
  ok: yes,
  keys: v.array(
    v.strictObject({
      key: v.string(),
      cas: count,
      ttl_ms: count,
      value: v.optional(v.pipe(v.string(), v.description("Base64."))),
    }),
  ),
  count,
  next_after: v.pipe(
    v.nullable(v.string()),
    v.description("`after` of the next page; `null`: this is the last."),
  ),
});

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

/** Of the state hash. */
export const StateHashReply = v.strictObject({
  ok: yes,
  applied_index: count,
  hash: v.pipe(v.string(), v.regex(/^[0-9a-f]{16,}$/)),
});

/** Of the membership. */
export const MembershipReply = v.strictObject({
  ok: yes,
  membership: v.strictObject({
    epoch: v.pipe(count, v.description("Grows with every change.")),
    joint_active: v.pipe(
      v.boolean(),
      v.description("A change is half done: the majorities before and after it must both agree."),
    ),
    node_count: count,
    nodes: v.array(
      v.strictObject({
        node_id: v.string(),
        advertise_addr: v.pipe(v.string(), v.description("Where its peers reach it.")),
        http_addr: v.pipe(v.string(), v.description("Base of its HTTP address.")),
        priority: v.pipe(count, v.description("The higher, the sooner it leads.")),
        is_voter: v.boolean(),
        is_learner: v.boolean(),
      }),
    ),
  }),
});

const changed = { ok: yes, index: count, node_id: v.string() };

/** Of adding and promoting a node. */
export const AddedReply = v.strictObject({ ...changed, role: v.picklist(["learner", "voter"]) });

/** Of removing a node. */
export const RemovedReply = v.strictObject({ ...changed, removed: yes });

/** Of a transfer. */
export const NodeReply = v.strictObject({ ok: yes, node_id: v.string() });

/** Of compaction. */
export const CompactReply = v.strictObject({ result: v.literal("compaction_started"), async: yes });
