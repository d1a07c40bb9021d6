// Queries and joins over records: decode, filter, window, group, measure, project. Decides what comes out of records that
// are handed in one by one, and knows nothing of where they come from: no clock, no chance, no I/O, no waiting.
// Never: a wrong number. What does not decode, has no time or is no number is counted.
// Keeps: what it holds between records is bounded by the limits that it is given. Called by `http`.

export { GROUP_FIELDS_MAX } from "./aggregate.ts";
export type { Fields, Value } from "./compare.ts";
export type { Inflate } from "./decode/avro-file.ts";
export type { Decoder } from "./decode/decoder.ts";
export type { Decoders } from "./decode/make.ts";
export { compileJoin, JOIN_KEYS_MAX, JOIN_TYPES, JoinRun } from "./join.ts";
export { limitExceeded, type StreamLimits } from "./limits.ts";
export { MEASURES, MEASURES_MAX } from "./measures.ts";
export { CONDITIONS_MAX, OPERATORS } from "./predicate.ts";
export { FIELDS_MAX } from "./project.ts";
export { compileQuery, QueryRun } from "./query.ts";

/** What makes decoders, loaded when it is first asked for: Protobuf's description of itself takes a tenth of a start. */
export const loadDecoders = (): Promise<typeof import("./decode/make.ts")> =>
  import("./decode/make.ts");
