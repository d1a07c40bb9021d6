// What every reply under fuzzing has to be, whatever was asked: an answer in a documented form, and to this request.

import { ERRORS } from "../../src/http/errors.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/model/errors.ts";
import { type FuzzRequest, MARKER } from "./fuzz-requests.ts";
import type { WireReply } from "./fuzz-wire.ts";

/** Statuses of the server itself, for what never reaches a handler: without a body, and the connection ends. */
const BARE = new Set([400, 413, 414, 417, 431, 501, 505]);
/** 5xx that a busy, healthy node of its own may answer. */
const MAY_FAIL: ReadonlySet<string> = new Set([
  "overloaded",
  "not_ready",
  "no_quorum",
  "timeout",
  "disk_full",
]);
/** Errors that show what others have stored. */
const SHOWS_STORED: ReadonlySet<string> = new Set(["undecodable_record"]);

/** Counts replies by status, and keeps what was wrong. */
export class FuzzOracle {
  readonly faults: string[] = [];
  readonly statuses = new Map<string, number>();
  replies = 0;

  /** Something is wrong. Only the first of many are kept. */
  fault(text: string): void {
    if (this.faults.length < 50) this.faults.push(text.slice(0, 2000));
  }

  /**
   * Judges one reply.
   * @param request What it answers; undefined when nobody can tell, as after bytes that were spoiled.
   */
  judge(reply: WireReply, request: FuzzRequest | undefined, context: string): void {
    this.replies += 1;
    const { status, body, headers } = reply;
    const told = (what: string): void =>
      this.fault(`${context}: ${what}: ${status} ${body.slice(0, 300)} to ${text(request)}`);
    if (status < 400) {
      this.#count(String(status));
      return;
    }
    if (body === "" && (BARE.has(status) || request?.method === "HEAD")) {
      this.#count(`${status} bare`);
      return;
    }
    if (headers.get("content-type") !== "application/json") {
      told("an error that is no JSON");
      return;
    }
    let fields: Readonly<Record<string, unknown>>;
    try {
      fields = JSON.parse(body) as Readonly<Record<string, unknown>>;
    } catch {
      told("an error that does not parse");
      return;
    }
    // `/ready` has a form of its own.
    if (fields["ready"] === false) return;
    const { ok, error, message, docs } = fields;
    this.#count(`${status} ${String(error)}`);
    if (ok !== false || typeof message !== "string" || message === "" || typeof docs !== "string")
      told("not the form of errors");
    if (!ERROR_CODES.includes(error as ErrorCode)) {
      told("an unknown code");
      return;
    }
    if (ERRORS[error as ErrorCode].status !== status) told("a status that is not the code's");
    if (status >= 500 && !MAY_FAIL.has(String(error))) told("a failure of the node");
    if (request === undefined || SHOWS_STORED.has(String(error))) return;
    const shown: readonly string[] = body.match(MARKER) ?? [];
    if (shown.some((marker) => marker !== request.marker)) told("another request's marker");
    if (request.echoes.includes(String(error)) && !shown.includes(request.marker))
      told("an error without the request's marker");
  }

  #count(key: string): void {
    this.statuses.set(key, (this.statuses.get(key) ?? 0) + 1);
  }
}

const text = (request: FuzzRequest | undefined): string =>
  request === undefined ? "spoiled bytes" : Buffer.from(request.bytes).toString("latin1", 0, 600);
