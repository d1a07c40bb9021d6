// A windowed equi-join of two sides whose records come one by one, in the order of their append times. Everything is
// collected first, late records are left out on the way, and the pairs are made when both sides are over.

import { writeJson } from "../lib/json.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { equals, type Fields, numberOf, type Value } from "./compare.ts";
import { limitExceeded, type StreamLimits } from "./limits.ts";
import { compilePath, compilePaths, invalid, type Read } from "./path.ts";
import { compileProjection, type Project } from "./project.ts";
import { TIME_MS_MAX, timeOf } from "./time.ts";

/** Kinds of joins. */
export const JOIN_TYPES = ["inner", "left", "right", "full"] as const;

/** Keys of one join. */
export const JOIN_KEYS_MAX = 16;

/** A join as a request says it, without its sources. */
export interface JoinSpec {
  readonly left_keys: readonly string[];
  readonly right_keys: readonly string[];
  readonly type: (typeof JOIN_TYPES)[number];
  readonly size_ms: number;
  readonly allowed_lateness_ms: number;
  readonly left_field?: string | undefined;
  readonly right_field?: string | undefined;
  readonly dedupe: "none" | "once" | "one_to_one";
  readonly left_fields: readonly string[];
  readonly right_fields: readonly string[];
  readonly max_rows: number;
  readonly missing_as: "null" | "empty";
}

/** One side of a join. */
export type SideName = "left" | "right";

interface SidePlan {
  readonly keys: readonly Read[];
  readonly time: Read | undefined;
  readonly project: Project;
  /** Whether records without a partner are shown. */
  readonly isOuter: boolean;
}

/** A compiled join. */
export interface JoinPlan {
  readonly left: SidePlan;
  readonly right: SidePlan;
  readonly spec: JoinSpec;
}

/** Compiles a join. */
export function compileJoin(spec: JoinSpec): Result<JoinPlan, Refusal> {
  const { left_keys: leftKeys, right_keys: rightKeys } = spec;
  if (leftKeys.length === 0 || rightKeys.length === 0) return fail(refuse("missing_join_keys"));
  if (leftKeys.length !== rightKeys.length)
    return fail(
      invalid("on.right_keys", `must name as many fields as on.left_keys: ${leftKeys.length}`),
    );
  if (leftKeys.length > JOIN_KEYS_MAX)
    return fail(invalid("on.left_keys", `must have at most ${JOIN_KEYS_MAX} fields`));
  if (!(spec.size_ms >= 0 && spec.size_ms <= TIME_MS_MAX))
    return fail(invalid("window.size_ms", `must be from 0 to ${TIME_MS_MAX}`));
  const { type } = spec;
  const left = compileSide(spec, "left", type === "left" || type === "full");
  if (!left.ok) return left;
  const right = compileSide(spec, "right", type === "right" || type === "full");
  return right.ok ? succeed({ left: left.value, right: right.value, spec }) : right;
}

function compileSide(spec: JoinSpec, side: SideName, isOuter: boolean): Result<SidePlan, Refusal> {
  const keys = compilePaths(spec[`${side}_keys`], `on.${side}_keys`);
  if (!keys.ok) return keys;
  const field = spec[`${side}_field`];
  const time = field === undefined ? undefined : compilePath(field, `window.${side}_field`);
  if (time?.ok === false) return time;
  const project = compileProjection(spec[`${side}_fields`], `emit.${side}_fields`);
  if (!project.ok) return project;
  return succeed({ keys: keys.value, time: time?.value, project: project.value, isOuter });
}

/** A record that takes part. */
interface Member {
  readonly record: Fields;
  readonly keys: readonly Value[];
  readonly timeMs: number;
  readonly offset: number;
  isMatched: boolean;
  /** The next member of the same side whose keys have the same mark. */
  next: Member | undefined;
}

/** One row. */
export interface JoinRow {
  readonly [field: string]: Value;
  readonly key: string;
  readonly left_ts_ms: number | null;
  readonly right_ts_ms: number | null;
  readonly left: Fields | null;
  readonly right: Fields | null;
}

/** Bytes of a member beside those of its record, roughly, and how many times its bytes a decoded record takes. */
const MEMBER_BYTES = 500;
const DECODED_FACTOR = 4;

class Side {
  readonly plan: SidePlan;
  readonly members: Member[] = [];
  newestMs = Number.NEGATIVE_INFINITY;
  /** Records without all of the keys. */
  withoutKey = 0;
  withoutTime = 0;
  late = 0;

  constructor(plan: SidePlan) {
    this.plan = plan;
  }
}

/** A join under way. */
export class JoinRun {
  readonly #plan: JoinPlan;
  readonly #limits: StreamLimits;
  readonly left: Side;
  readonly right: Side;
  #rowsMax: number;
  #bytes = 0;
  #pairs = 0;
  rows = 0;
  /** Rows beyond `max_rows`. */
  rowsLeftOut = 0;
  outerLeft = 0;
  outerRight = 0;

  constructor(plan: JoinPlan, limits: StreamLimits) {
    this.#plan = plan;
    this.#limits = limits;
    this.left = new Side(plan.left);
    this.right = new Side(plan.right);
    this.#rowsMax = plan.spec.max_rows;
  }

  /** Takes no more rows: the reply is large enough. */
  shut(): void {
    this.#rowsMax = Math.min(this.#rowsMax, this.rows);
  }

  /** The smaller of the two newest times, less the allowed lateness; undefined until both sides have one. */
  get watermarkMs(): number | undefined {
    const newest = Math.min(this.left.newestMs, this.right.newestMs);
    if (newest === Number.NEGATIVE_INFINITY) return undefined;
    return newest - this.#plan.spec.allowed_lateness_ms;
  }

  /** Takes a record of one side. @param bytes Of the record as it is stored. */
  take(
    name: SideName,
    record: Fields,
    appendMs: number,
    offset: number,
    bytes: number,
  ): Refusal | undefined {
    const side = this[name];
    const { time, keys: reads } = side.plan;
    const timeMs = time === undefined ? appendMs : timeOf(time(record));
    if (timeMs === undefined) {
      side.withoutTime += 1;
      return undefined;
    }
    if (timeMs > side.newestMs) side.newestMs = timeMs;
    const watermark = this.watermarkMs;
    if (watermark !== undefined && timeMs < watermark - this.#plan.spec.size_ms) {
      side.late += 1;
      return undefined;
    }
    const keys: Value[] = [];
    for (const read of reads) {
      const key = read(record);
      // Null is no key, as in SQL: else every record without a value would meet every other.
      if (key === undefined || key === null) {
        side.withoutKey += 1;
        return undefined;
      }
      keys.push(key);
    }
    side.members.push({ record, keys, timeMs, offset, isMatched: false, next: undefined });
    this.#bytes += MEMBER_BYTES + DECODED_FACTOR * bytes;
    const { stateBytesMax } = this.#limits;
    return this.#bytes > stateBytesMax ? limitExceeded("state_bytes", stateBytesMax) : undefined;
  }

  /**
   * Makes the rows: for each left record its pairs in the order of the right, or itself alone where that is asked; then the
   * right ones that are alone. Yields now and then without a row, so that the caller can give way.
   */
  *pairs(): Generator<JoinRow | undefined, Refusal | undefined> {
    const { spec } = this.#plan;
    const marks = new Map<string, Member>();
    // Backwards, so that each chain runs forwards.
    for (let i = this.right.members.length - 1; i >= 0; i--) {
      const member = this.right.members[i] as Member;
      const mark = markOf(member.keys);
      member.next = marks.get(mark);
      marks.set(mark, member);
      if (i % STEPS_PER_YIELD === 0) yield undefined;
    }
    let steps = 0;
    for (const left of this.left.members) {
      if (++steps % STEPS_PER_YIELD === 0) yield undefined;
      for (let right = marks.get(markOf(left.keys)); right !== undefined; right = right.next) {
        this.#pairs += 1;
        if (this.#pairs > this.#limits.pairsMax)
          return limitExceeded("pairs", this.#limits.pairsMax);
        if (++steps % STEPS_PER_YIELD === 0) yield undefined;
        if (!this.#doMatch(left, right)) continue;
        left.isMatched = true;
        right.isMatched = true;
        if (this.#hasRoom()) yield this.#row(left, right);
        if (spec.dedupe === "one_to_one") break;
      }
      if (left.isMatched || !this.left.plan.isOuter) continue;
      this.outerLeft += 1;
      if (this.#hasRoom()) yield this.#row(left, undefined);
    }
    if (!this.right.plan.isOuter) return undefined;
    for (const right of this.right.members) {
      if (++steps % STEPS_PER_YIELD === 0) yield undefined;
      if (right.isMatched) continue;
      this.outerRight += 1;
      if (this.#hasRoom()) yield this.#row(undefined, right);
    }
    return undefined;
  }

  #hasRoom(): boolean {
    if (this.rows < this.#rowsMax) {
      this.rows += 1;
      return true;
    }
    this.rowsLeftOut += 1;
    return false;
  }

  #doMatch(left: Member, right: Member): boolean {
    const { size_ms: sizeMs, dedupe } = this.#plan.spec;
    if (Math.abs(left.timeMs - right.timeMs) > sizeMs) return false;
    if (dedupe === "once" && left.offset > right.offset) return false;
    if (dedupe === "one_to_one" && right.isMatched) return false;
    return left.keys.every((key, i) => equals(key, right.keys[i] as Value));
  }

  #row(left: Member | undefined, right: Member | undefined): JoinRow {
    const none = this.#plan.spec.missing_as === "empty" ? {} : null;
    const keys = left?.keys ?? right?.keys ?? [];
    return {
      key: keys.map((key) => (typeof key === "string" ? key : writeJson(key))).join("|"),
      left_ts_ms: left?.timeMs ?? null,
      right_ts_ms: right?.timeMs ?? null,
      left: left === undefined ? none : this.left.plan.project(left.record),
      right: right === undefined ? none : this.right.plan.project(right.record),
    };
  }
}

/** Pairs looked at between two chances to give way: some ten microseconds. */
const STEPS_PER_YIELD = 256;

/**
 * A text that is the same for keys that may be equal: a number has that of every text that spells it. Two texts that spell
 * one number in two ways share it as well and are told apart by `equals`.
 */
function markOf(keys: readonly Value[]): string {
  if (keys.length === 1) return markOfOne(keys[0] as Value);
  let mark = "";
  for (const key of keys) {
    const one = markOfOne(key);
    mark += `${one.length}:${one}`;
  }
  return mark;
}

function markOfOne(key: Value): string {
  const number = numberOf(key);
  if (number !== undefined) {
    // Doubles beyond 2^53 are integers, and may equal a bigint.
    return typeof number === "number" && Number.isInteger(number) && !Number.isSafeInteger(number)
      ? `n${BigInt(number)}`
      : `n${number}`;
  }
  if (typeof key === "string") return `s${key}`;
  // Nested numbers compare by value: what has the same kind and size shares a mark.
  return typeof key === "object" ? "o" : String(key);
}
