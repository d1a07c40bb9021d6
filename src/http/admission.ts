// Bounds the bytes of request bodies that the node holds at once, and reads bodies within that bound.
// A declared length is reserved before the body is read; an undeclared one is counted as it comes in.

import { limits } from "../config/mod.ts";
import { assert } from "../lib/assert.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Alarms } from "./alarms.ts";

const EMPTY = new Uint8Array(0);

/** Counts the bytes in flight. */
export class Admission {
  readonly bytesMax: number;
  bytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Takes room for `bytes`; false when there is none. */
  reserve(bytes: number): boolean {
    if (this.bytes + bytes > this.bytesMax) return false;
    this.bytes += bytes;
    return true;
  }

  /** Gives room back. */
  release(bytes: number): void {
    this.bytes -= bytes;
    assert(this.bytes >= 0, `Bytes in flight are never below 0, not ${this.bytes}`);
  }

  /** The refusal when there is no room. */
  overloaded(): Refusal {
    return refuse(
      "overloaded",
      `Requests in flight hold ${this.bytes} bytes: the limit is ${this.bytesMax}`,
      {
        retry_after: 1,
      },
    );
  }
}

/** The refusal of a body, or a line of it, that is too large. */
export const tooLarge = (what: string, gotBytes: number, bytesMax: number): Refusal =>
  refuse("payload_too_large", `${what} has ${gotBytes} bytes: the limit is ${bytesMax}`, {
    max_bytes: bytesMax,
    got_bytes: gotBytes,
  });

/** The refusal of a body that did not arrive. Nothing of it was stored, so its outcome is known. */
export const bodyTooSlow = (): Refusal =>
  refuse("timeout", `Request body did not arrive within ${limits.BODY_DEADLINE_MS} ms`, {
    outcome: "not_written",
  });

/** The refusal of a body whose client went away in the middle of it. */
export const bodyCutOff = (): Refusal => refuse("invalid_parameter", "Request body ended early");

/** A declared length of a body; -1 when it is not declared. The server has refused what is no number. */
export function declaredLength(header: string | null): number {
  const length = header === null ? -1 : Number(header);
  return length >= 0 ? length : -1;
}

/** A body that was read, with the room it holds; the reader gives the room back. */
export interface HeldBody {
  readonly bytes: Uint8Array;
  readonly reserved: number;
}

/** Reads a body of undeclared length piece by piece, each piece counted before the next is asked for. */
export async function readPieces(
  request: Request,
  admission: Admission,
  bytesMax: number,
): Promise<Result<HeldBody, Refusal>> {
  if (request.body === null) return succeed({ bytes: EMPTY, reserved: 0 });
  const pieces: Uint8Array[] = [];
  let reserved = 0;
  const reader = request.body.getReader();
  const stop = (refusal: Refusal): Result<HeldBody, Refusal> => {
    admission.release(reserved);
    // What the client still sends is thrown away by the server; nothing more is held here.
    reader.cancel().catch(() => undefined);
    return fail(refusal);
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (reserved + value.length > bytesMax) {
        return stop(tooLarge("Request body", reserved + value.length, bytesMax));
      }
      if (!admission.reserve(value.length)) return stop(admission.overloaded());
      reserved += value.length;
      pieces.push(value);
    }
  } catch (error) {
    admission.release(reserved);
    throw error;
  }
  return succeed({ bytes: joined(pieces, reserved), reserved });
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined) return only;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Reads the whole body of a request that is not on the hot path, within its deadline. */
export async function readBody(
  request: Request,
  admission: Admission,
  alarms: Alarms,
  bytesMax: number,
): Promise<Result<HeldBody, Refusal>> {
  const declared = declaredLength(request.headers.get("content-length"));
  if (declared > bytesMax) return fail(tooLarge("Request body", declared, bytesMax));
  if (declared >= 0 && !admission.reserve(declared)) return fail(admission.overloaded());
  const reading: Promise<Result<HeldBody, Refusal>> =
    declared < 0
      ? readPieces(request, admission, bytesMax)
      : request.bytes().then((bytes) => succeed({ bytes, reserved: declared }));
  const late = Promise.withResolvers<Result<HeldBody, Refusal>>();
  const cancel = alarms.after(limits.BODY_DEADLINE_MS, () => late.resolve(fail(bodyTooSlow())));
  let isLate = false;
  try {
    const outcome = await Promise.race([reading, late.promise]);
    isLate = !outcome.ok && outcome.error.code === "timeout";
    return outcome;
  } catch {
    // The client went away: nobody is there to be told. Pieces have given back their room themselves.
    if (declared > 0) admission.release(declared);
    return fail(bodyCutOff());
  } finally {
    cancel();
    // The body may still come: its room is given back when it does, or when the connection ends.
    if (isLate) releaseLater(reading, admission, declared);
  }
}

function releaseLater(
  reading: Promise<Result<HeldBody, Refusal>>,
  admission: Admission,
  declared: number,
): void {
  reading.then(
    (outcome) => {
      if (outcome.ok) admission.release(outcome.value.reserved);
    },
    () => {
      if (declared > 0) admission.release(declared);
    },
  );
}
