// Every reason for which a request can be refused: a closed list, shared by the rooms that decide and the one that answers.

/** The codes a client can see in `error`. `http/errors.ts` gives each a status, a message and a docs heading. */
export const ERROR_CODES = [
  "invalid_json",
  "missing_fields",
  "missing_topic",
  "missing_source",
  "missing_join_keys",
  "invalid_parameter",
  "invalid_schema",
  "no_valid_messages",
  "unauthorized",
  "forbidden",
  "not_found",
  "topic_not_found",
  "partition_not_found",
  "route_not_found",
  "method_not_allowed",
  "cas_mismatch",
  "topic_exists",
  "node_exists",
  "offset_mismatch",
  "change_in_progress",
  "redirect_to_leader",
  "offset_out_of_range",
  "payload_too_large",
  "idempotency_key_reused",
  "limit_exceeded",
  "undecodable_record",
  "rate_limited",
  "not_leader",
  "no_quorum",
  "not_ready",
  "overloaded",
  "timeout",
  "disk_full",
  "internal_error",
] as const;

/** One code of the closed list. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Why a request was refused: a code, a sentence when the table's own is not enough, and extra fields in wire spelling. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message?: string;
  readonly fields?: Readonly<
    Record<string, string | number | boolean | null | Readonly<Record<string, number>>>
  >;
}

/** Makes a refusal; the message names the thing, its value and the limit with its unit. */
export const refuse = (code: ErrorCode, message?: string, fields?: Refusal["fields"]): Refusal => ({
  code,
  ...(message !== undefined && { message }),
  ...(fields !== undefined && { fields }),
});
