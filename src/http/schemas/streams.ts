// What queries and joins may say, and what they answer, in the spelling of the wire.

import * as v from "valibot";
import { limits } from "../../config/mod.ts";
import {
  CONDITIONS_MAX,
  FIELDS_MAX,
  GROUP_FIELDS_MAX,
  JOIN_KEYS_MAX,
  JOIN_TYPES,
  MEASURES,
  MEASURES_MAX,
  OPERATORS,
} from "../../streams/mod.ts";
import { integer, integerInBody, nameInBody, word } from "./parameters.ts";

const SAFE_MAX = Number.MAX_SAFE_INTEGER;
/** What a number shows as a time: the range of a JavaScript date. */
const TIME_MS_MAX = 8_640_000_000_000_000;

const text = (description: string) =>
  v.pipe(v.string("must be a text"), v.description(description));
const texts = (itemsMax: number, description: string) => {
  const message = `must be a list of at most ${itemsMax} texts`;
  return v.pipe(
    v.array(v.string(message), message),
    v.maxLength(itemsMax, message),
    v.description(description),
  );
};
const oneOf = <const Word extends string>(words: readonly Word[], description: string) =>
  v.pipe(v.picklist(words, `must be one of ${words.join(", ")}`), v.description(description));

/** Query of both routes. */
export const StreamQuery = v.object({
  consistency: word(
    ["local", "linearizable"],
    "`linearizable` confirms with a majority first, on any node. Default `local`.",
  ),
  timeout_ms: integer(
    1,
    limits.STREAM_TIME_MS_MAX,
    "Milliseconds that the request may take. Default 30000.",
  ),
});

const DecodeBody = v.object({
  type: oneOf(["json", "avro", "proto", "protobuf"], "Format of the records."),
  encoding: v.optional(
    oneOf(
      ["binary", "json", "single_object", "ocf"],
      "Of Avro any, of Protobuf `binary` or `json`. Default `binary`.",
    ),
  ),
  schema_text: v.optional(text("The reader's schema: Avro JSON, or the text of a `.proto` file.")),
  schema: v.optional(
    v.pipe(v.unknown(), v.description("An Avro schema as JSON instead of as text.")),
  ),
  writer_schema_text: v.optional(
    text("The Avro schema that records were written with. Left out: the same."),
  ),
  writer_schema: v.optional(v.pipe(v.unknown(), v.description("The same as JSON."))),
  apply_defaults: v.optional(
    v.pipe(
      v.boolean("must be true or false"),
      v.description("Of Avro's JSON encoding: missing fields take the default of the schema."),
    ),
  ),
  message: v.optional(
    text("The Protobuf message. Left out: the only one that the schema has at its top."),
  ),
  field_aliases: v.optional(
    v.pipe(
      v.record(v.string(), texts(FIELDS_MAX, "Other names.")),
      v.description("Of Protobuf's JSON: other names of a field, by its own."),
    ),
  ),
  on_error: v.optional(
    oneOf(["skip", "fail"], "What a record does that does not decode. Default `skip`."),
  ),
});

const OFFSET_RULE = "must be an offset, or a list of one per partition";

const SourceBody = v.object({
  topic: nameInBody("Name of the topic."),
  group: v.optional(nameInBody("Name of a group, whose commit says where to begin.")),
  partition: v.optional(
    v.union(
      [
        v.pipe(v.literal("*"), v.description("All of them, merged by time.")),
        integerInBody(0, SAFE_MAX, "Number of the partition, from 0."),
      ],
      "must be a partition, or *",
    ),
  ),
  offset: v.optional(
    v.union(
      [
        integerInBody(
          -SAFE_MAX,
          SAFE_MAX,
          "First offset. 0 or negative: the first readable one. Left out: after the group's commit.",
        ),
        v.array(integerInBody(-SAFE_MAX, SAFE_MAX, "One per partition.")),
      ],
      OFFSET_RULE,
    ),
  ),
  limit: v.optional(
    v.union(
      [
        v.pipe(v.literal("all"), v.description("All there are, up to 10000000.")),
        integerInBody(1, limits.STREAM_RECORDS_MAX, "Most records to scan. Default 200."),
      ],
      `must be a whole number from 1 to ${limits.STREAM_RECORDS_MAX}, or all`,
    ),
  ),
  decode: v.optional(DecodeBody),
});

/** A source as a request says it. */
export type SourceRequest = v.InferOutput<typeof SourceBody>;

const Test = v.object({
  field: text("Name of a field, or a dotted path into objects."),
  op: oneOf(OPERATORS, "Operator."),
  value: v.optional(v.pipe(v.unknown(), v.description("What it is compared with."))),
});

const WindowBody = v.object({
  type: oneOf(["tumbling", "hopping", "session"], "Kind of window."),
  size_ms: v.optional(integerInBody(1, TIME_MS_MAX, "Of tumbling and hopping windows.")),
  hop_ms: v.optional(integerInBody(1, TIME_MS_MAX, "Between two starts of hopping windows.")),
  gap_ms: v.optional(integerInBody(1, TIME_MS_MAX, "Greatest gap inside a session.")),
  field: v.optional(
    text("Where a record has its time: milliseconds or ISO 8601. Left out: its append time."),
  ),
  allowed_lateness_ms: v.optional(
    integerInBody(
      0,
      TIME_MS_MAX,
      "How long after its window was over a record still counts. Left out: nothing is late.",
    ),
  ),
});

/** Body of a query. */
export const QueryBody = v.object({
  source: SourceBody,
  filter: v.optional(
    v.pipe(
      v.array(
        v.union(
          [
            Test,
            v.object({
              any: v.pipe(v.array(Test), v.description("One of these must hold.")),
            }),
          ],
          "must be {field, op, value} or {any: [...]}",
        ),
      ),
      v.maxLength(CONDITIONS_MAX, `must have at most ${CONDITIONS_MAX} conditions`),
      v.description("Conditions, all of which must hold."),
    ),
  ),
  window: v.optional(WindowBody),
  aggregate: v.optional(
    v.object({
      group_by: v.optional(texts(GROUP_FIELDS_MAX, "Fields. Left out: one group of all.")),
      measures: v.optional(
        v.pipe(
          v.array(
            v.object({
              op: oneOf(MEASURES, "What to measure."),
              field: v.optional(text("Of what; needed by all but `count`.")),
              as: v.optional(text("Its name in the reply.")),
            }),
          ),
          v.maxLength(MEASURES_MAX, `must have at most ${MEASURES_MAX} items`),
          v.description("Left out: `count`."),
        ),
      ),
    }),
  ),
  transform: v.optional(
    v.object({
      left_fields: v.optional(texts(FIELDS_MAX, "Fields of a row. Empty: the whole record.")),
      emit_rows: v.optional(
        integerInBody(
          0,
          limits.STREAM_LINES_MAX,
          "Most rows in the reply, 5000 of them in JSON. Default 0: none.",
        ),
      ),
    }),
  ),
});

/** A query as a request says it. */
export type QueryRequest = v.InferOutput<typeof QueryBody>;

/** Body of a join. */
export const JoinBody = v.object({
  left: SourceBody,
  right: SourceBody,
  on: v.object({
    left_key: v.optional(text("The left side's key field.")),
    right_key: v.optional(text("The right side's key field.")),
    left_keys: v.optional(texts(JOIN_KEYS_MAX, "Several of them.")),
    right_keys: v.optional(texts(JOIN_KEYS_MAX, "Several of them, in the same order.")),
  }),
  join: v.optional(
    v.object({ type: v.optional(oneOf(JOIN_TYPES, "Which sides show unmatched records.")) }),
  ),
  window: v.object({
    size_ms: integerInBody(1, TIME_MS_MAX, "How far the times of a pair may differ."),
    allowed_lateness_ms: v.optional(
      integerInBody(0, TIME_MS_MAX, "How far the watermark stays behind. Default 0."),
    ),
    left_field: v.optional(text("Where left records have their time. Left out: append time.")),
    right_field: v.optional(text("Where right records have their time. Left out: append time.")),
  }),
  dedupe_once: v.optional(
    v.pipe(
      v.boolean("must be true or false"),
      v.description("Only pairs whose left record has no greater offset than the right one."),
    ),
  ),
  dedupe: v.optional(
    v.object({
      mode: oneOf(
        ["none", "once", "one_to_one"],
        "`once` as `dedupe_once`; `one_to_one` uses each record in one pair at most.",
      ),
    }),
  ),
  emit: v.optional(
    v.object({
      left_fields: v.optional(texts(FIELDS_MAX, "Fields of `left`. Empty: the whole record.")),
      right_fields: v.optional(texts(FIELDS_MAX, "Fields of `right`. Empty: the whole record.")),
      max_rows: v.optional(
        integerInBody(
          1,
          limits.STREAM_LINES_MAX,
          "Most rows in the reply, 5000 of them in JSON. Default 200.",
        ),
      ),
      missing_as: v.optional(
        oneOf(["null", "empty"], "What stands for a side that is not there. Default `null`."),
      ),
    }),
  ),
});

/** A join as a request says it. */
export type JoinRequest = v.InferOutput<typeof JoinBody>;

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const row = v.record(v.string(), v.unknown());
const next = v.union([count, v.array(count)]);
const covers = v.pipe(
  v.picklist(["all", "page"]),
  v.description(
    "`all`: everything readable was scanned. `page`: aggregates and pairs see this page only.",
  ),
);
const skippedEntries = {
  skipped: v.pipe(count, v.description("Records that do not decode, or are no objects.")),
  first_skipped: v.optional(
    v.strictObject({ offset: count, partition: count, reason: v.string() }),
  ),
};

/** Of a query. */
export const QueryReply = v.strictObject({
  ok: v.literal(true),
  rows: v.array(row),
  aggregates: v.array(row),
  source: v.strictObject({
    topic: v.string(),
    group: v.optional(v.string()),
    partition: v.union([count, v.literal("*")]),
    next_offset: v.pipe(next, v.description("The `offset` to ask next.")),
    consumed: count,
  }),
  stats: v.strictObject({
    scanned: count,
    matched: count,
    ...skippedEntries,
    rows: count,
    rows_left_out: v.pipe(count, v.description("Rows beyond `emit_rows`, beside aggregates.")),
    groups: count,
    late: v.pipe(count, v.description("Records that came after their window was over.")),
    without_time: v.pipe(count, v.description("Records without a time, which no window has.")),
    not_measured: v.pipe(count, v.description("Values that were no numbers.")),
    covers,
  }),
});

const sideStats = {
  scanned: count,
  late: count,
  no_key: count,
  without_time: count,
  ...skippedEntries,
};

/** Of a join. */
export const JoinReply = v.strictObject({
  ok: v.literal(true),
  rows: v.array(row),
  next_offsets: v.strictObject({ left: next, right: next }),
  stats: v.strictObject({
    left_scanned: count,
    right_scanned: count,
    rows: count,
    watermark_ms: v.nullable(v.number()),
    outer_left: count,
    outer_right: count,
    dedupe_once: v.boolean(),
    late: count,
    skipped: count,
    no_key: count,
    without_time: count,
    rows_left_out: count,
    covers,
    left: v.strictObject(sideStats),
    right: v.strictObject(sideStats),
  }),
});
