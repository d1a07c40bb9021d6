// Says into which windows a time falls. Tumbling and hopping windows are aligned to the epoch and take their start, not
// their end; a session goes on as long as no gap between two times is greater than `gap_ms`.

import { fail, type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import { compilePath, invalid, type Read } from "./path.ts";
import { TIME_MS_MAX } from "./time.ts";

/** A window as a request says it. */
export interface WindowSpec {
  readonly type: "tumbling" | "hopping" | "session";
  readonly size_ms?: number | undefined;
  readonly hop_ms?: number | undefined;
  readonly gap_ms?: number | undefined;
  readonly field?: string | undefined;
  readonly allowed_lateness_ms?: number | undefined;
}

/** A compiled window. Lateness undefined: nothing is late. */
export interface Window {
  readonly kind: "aligned" | "session";
  readonly sizeMs: number;
  /** Of aligned windows: `sizeMs` when they do not overlap. */
  readonly hopMs: number;
  readonly read: Read | undefined;
  readonly latenessMs: number | undefined;
}

/** Windows that one record may fall into: each keeps a group of its own. */
export const WINDOWS_PER_RECORD_MAX = 1000;

const isLength = (ms: number | undefined): ms is number =>
  ms !== undefined && Number.isSafeInteger(ms) && ms >= 1 && ms <= TIME_MS_MAX;
const LENGTH_RULE = `must be a whole number of milliseconds from 1 to ${TIME_MS_MAX}`;

/** Compiles a window. */
export function compileWindow(spec: WindowSpec): Result<Window, Refusal> {
  const read = spec.field === undefined ? undefined : compilePath(spec.field, "window.field");
  if (read?.ok === false) return read;
  const { allowed_lateness_ms: latenessMs } = spec;
  const shared = { read: read?.value, latenessMs };
  if (spec.type === "session") {
    if (!isLength(spec.gap_ms)) return fail(invalid("window.gap_ms", LENGTH_RULE));
    return succeed({ kind: "session", sizeMs: spec.gap_ms, hopMs: spec.gap_ms, ...shared });
  }
  if (!isLength(spec.size_ms)) return fail(invalid("window.size_ms", LENGTH_RULE));
  if (spec.type === "tumbling")
    return succeed({ kind: "aligned", sizeMs: spec.size_ms, hopMs: spec.size_ms, ...shared });
  if (!isLength(spec.hop_ms)) return fail(invalid("window.hop_ms", LENGTH_RULE));
  if (spec.size_ms / spec.hop_ms > WINDOWS_PER_RECORD_MAX)
    return fail(
      invalid("window.hop_ms", `must put a record into at most ${WINDOWS_PER_RECORD_MAX} windows`),
    );
  return succeed({ kind: "aligned", sizeMs: spec.size_ms, hopMs: spec.hop_ms, ...shared });
}

/** The first start of the aligned windows that hold a time; the next ones follow every `hopMs`, up to the time itself. */
export function firstStart({ sizeMs, hopMs }: Window, timeMs: number): number {
  return (Math.floor((timeMs - sizeMs) / hopMs) + 1) * hopMs;
}

/** When the last window that holds a time is over. */
export function endOf(window: Window, timeMs: number): number {
  if (window.kind === "session") return timeMs + window.sizeMs;
  return Math.floor(timeMs / window.hopMs) * window.hopMs + window.sizeMs;
}
