// The one table of errors: every code with its status, its sentence and the place in the docs that explains it.
// Nothing else in the room makes a reply that says `"ok": false`.

import type { ErrorCode, Refusal } from "../model/errors.ts";
import { targetOf } from "./target.ts";

/** What the table knows of a code. */
export interface ErrorFacts {
  readonly status: number;
  /** Said when the refusal has no sentence of its own. */
  readonly message: string;
  /** Page and heading under the docs base. */
  readonly docs: string;
}

const facts = (status: number, message: string, docs?: string) => ({ status, message, docs });

const TABLE: Readonly<
  Record<ErrorCode, { status: number; message: string; docs: string | undefined }>
> = {
  invalid_json: facts(400, "Request body must be a JSON object"),
  missing_fields: facts(400, "Required fields are missing"),
  // The published example points here, so this one does not point at the list of errors.
  missing_topic: facts(400, "Topic name is required", "api/produce"),
  missing_source: facts(400, "Source is required"),
  missing_join_keys: facts(400, "Join keys are required"),
  invalid_parameter: facts(400, "A parameter is invalid"),
  invalid_schema: facts(400, "Schema is invalid"),
  no_valid_messages: facts(400, "Request body has no message: every line is empty"),
  unauthorized: facts(401, "Authorization header must carry a known bearer token"),
  forbidden: facts(403, "Token does not allow this"),
  not_found: facts(404, "Nothing is stored under this name"),
  topic_not_found: facts(404, "Topic does not exist"),
  partition_not_found: facts(404, "Partition does not exist"),
  route_not_found: facts(404, "No route has this path"),
  method_not_allowed: facts(405, "Route does not take this method"),
  cas_mismatch: facts(409, "Current value is not the expected one"),
  topic_exists: facts(409, "Topic exists with other settings"),
  node_exists: facts(409, "Node or address belongs to the cluster already"),
  offset_mismatch: facts(409, "Record would not get the expected offset"),
  change_in_progress: facts(409, "Another change is in progress"),
  redirect_to_leader: facts(307, "Writes go to the leader"),
  offset_out_of_range: facts(410, "Offset was removed by retention"),
  payload_too_large: facts(413, "Request is too large"),
  idempotency_key_reused: facts(422, "Idempotency key was used for another request"),
  limit_exceeded: facts(422, "Request needs more than it may take"),
  undecodable_record: facts(422, "A record does not decode"),
  rate_limited: facts(429, "Token is over its rate limit"),
  not_leader: facts(503, "No leader is known"),
  no_quorum: facts(503, "Leader cannot reach a majority"),
  not_ready: facts(503, "Node is not ready"),
  overloaded: facts(503, "Node has too much work in flight"),
  timeout: facts(504, "Confirmation did not come in time"),
  disk_full: facts(507, "Disk is full: the node serves reads only"),
  internal_error: facts(500, "Node failed to handle the request"),
};

/** Every code's facts. Frozen. */
export const ERRORS: Readonly<Record<ErrorCode, ErrorFacts>> = Object.freeze(
  Object.fromEntries(
    Object.entries(TABLE).map(([code, { docs, ...rest }]) => [
      code,
      Object.freeze({ ...rest, docs: docs ?? `reference/errors#${code}` }),
    ]),
  ) as Record<ErrorCode, ErrorFacts>,
);

/** Turns refusals into replies. */
export class ErrorReplies {
  readonly #docsUrl: string;
  readonly #redirectStatus: number;

  /**
   * @param docsUrl Base of the `docs` address, without a slash at its end.
   * @param redirectStatus Of redirects to the leader: 307 or 308.
   */
  constructor(docsUrl: string, redirectStatus: 307 | 308 = 307) {
    this.#docsUrl = docsUrl;
    this.#redirectStatus = redirectStatus;
  }

  /**
   * The reply to a refused request. Extra fields of the refusal come after the four that every error has.
   * @param request What was asked: a redirect leads to the same place on the leader.
   */
  reply(refusal: Refusal, request?: Request, headers?: Readonly<Record<string, string>>): Response {
    const { status, message, docs } = ERRORS[refusal.code];
    const body = {
      ok: false,
      error: refusal.code,
      message: refusal.message ?? message,
      docs: `${this.#docsUrl}/${docs}`,
      ...refusal.fields,
    };
    if (refusal.code === "redirect_to_leader") {
      const { leader_url: leaderUrl } = refusal.fields ?? {};
      // Without an address the client would be sent back to where it is, for ever.
      if (typeof leaderUrl !== "string" || leaderUrl === "") return this.reply(LEADER_UNKNOWN);
      return this.#redirect(
        body,
        `${leaderUrl}${request === undefined ? "/" : targetOf(request.url)}`,
      );
    }
    return new Response(JSON.stringify(body), {
      status,
      headers: { "content-type": "application/json", ...headersOf(status, refusal), ...headers },
    });
  }

  #redirect(body: object, location: string): Response {
    const status = this.#redirectStatus;
    const told = { ...body, retry_after: RETRY_AFTER_S, redirect: { status, location } };
    return new Response(JSON.stringify(told), {
      status,
      headers: {
        "content-type": "application/json",
        "retry-after": String(RETRY_AFTER_S),
        location,
      },
    });
  }
}

const LEADER_UNKNOWN: Refusal = {
  code: "not_leader",
  message: "The address of the leader is not known yet",
};

/** Seconds after which it makes sense to come back, where nothing better is known. */
const RETRY_AFTER_S = 1;

function headersOf(status: number, { fields }: Refusal): Record<string, string> {
  if (status === 401) return { "www-authenticate": "Bearer" };
  if (status !== 503 && status !== 429) return {};
  const { retry_after: retryAfter = RETRY_AFTER_S } = fields ?? {};
  return { "retry-after": String(retryAfter) };
}
