// Groups by windows: what an aggregation keeps while records go by, bounded in groups and in bytes.
// Keeps: a group is what has the same typed values in the fields of `group_by`; what is missing counts as null.

import { writeJson } from "../lib/json.ts";
import { type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import { type Fields, identityOf, type Value } from "./compare.ts";
import { limitExceeded, type StreamLimits } from "./limits.ts";
import {
  type Accumulator,
  compileMeasures,
  type Measure,
  type MeasureSpec,
  takeAll,
} from "./measures.ts";
import { compilePaths, type Read, setField } from "./path.ts";
import { timeOf } from "./time.ts";
import { compileWindow, endOf, firstStart, type Window, type WindowSpec } from "./window.ts";

/** Fields to group by. */
export const GROUP_FIELDS_MAX = 32;

/** An aggregation as a request says it. */
export interface AggregateSpec {
  readonly group_by?: readonly string[] | undefined;
  readonly measures?: readonly MeasureSpec[] | undefined;
}

/** A compiled aggregation. */
export interface Aggregation {
  readonly names: readonly string[];
  readonly reads: readonly Read[];
  readonly measures: readonly Measure[];
  readonly window: Window | undefined;
}

/** Compiles an aggregation over a window, or over everything. */
export function compileAggregation(
  spec: AggregateSpec,
  windowSpec: WindowSpec | undefined,
): Result<Aggregation, Refusal> {
  const names = spec.group_by ?? [];
  const reads = compilePaths(names, "aggregate.group_by");
  if (!reads.ok) return reads;
  const measures = compileMeasures(spec.measures ?? []);
  if (!measures.ok) return measures;
  const window = windowSpec === undefined ? undefined : compileWindow(windowSpec);
  if (window?.ok === false) return window;
  return succeed({
    names,
    reads: reads.value,
    measures: measures.value,
    window: window?.value,
  });
}

/** What one group has in one window. `firstMs` and `lastMs` are the window's start and, in a session, its last time. */
interface Cell {
  firstMs: number;
  lastMs: number;
  accumulators: Accumulator[];
}

interface Group {
  readonly values: readonly Value[];
  /** By start of the window; one at 0 without windows. Unused in a session. */
  readonly cells: Map<number, Cell>;
  /** Of a session: in the order of time, never within a gap of each other. */
  readonly sessions: Cell[];
}

/** Bytes that a group, a cell and an accumulator take, roughly: measured at 100,000 of each. */
const GROUP_BYTES = 400;
const CELL_BYTES = 200;
const ACCUMULATOR_BYTES = 100;

/** Cells collected between two chances to give way: some ten microseconds. */
const STEPS_PER_YIELD = 256;

/** One row of the result. */
export type AggregateRow = Record<string, Value>;

/** An aggregation under way. */
export class Aggregates {
  readonly #plan: Aggregation;
  readonly #limits: StreamLimits;
  readonly #groups = new Map<string, Group>();
  readonly #cellBytes: number;
  #cells = 0;
  #bytes = 0;
  #newestMs = Number.NEGATIVE_INFINITY;
  /** Records that came after their last window was over. */
  late = 0;
  /** Records without a time. */
  withoutTime = 0;
  /** Values that were no numbers where numbers are needed, nor texts where these would do. */
  notMeasured = 0;

  constructor(plan: Aggregation, limits: StreamLimits) {
    this.#plan = plan;
    this.#limits = limits;
    this.#cellBytes = CELL_BYTES + plan.measures.length * ACCUMULATOR_BYTES;
    // Everything is one group also when there is nothing.
    if (plan.window === undefined && plan.names.length === 0) this.#cell(this.#group({}), 0);
  }

  /** How many groups there are, counted per window. */
  get size(): number {
    return this.#cells;
  }

  /** Takes a record. */
  take(record: Fields, appendMs: number): Refusal | undefined {
    const { window } = this.#plan;
    if (window === undefined) {
      this.#add(this.#cell(this.#group(record), 0), record);
      return this.#refusal();
    }
    const timeMs = window.read === undefined ? appendMs : timeOf(window.read(record));
    if (timeMs === undefined) {
      this.withoutTime += 1;
      return undefined;
    }
    if (this.#isLate(window, timeMs)) {
      this.late += 1;
      return undefined;
    }
    if (window.kind === "session") {
      this.#add(this.#session(this.#group(record), window, timeMs), record);
      return this.#refusal();
    }
    let start = firstStart(window, timeMs);
    // A hop may be longer than the window: then a time may lie in none.
    if (start > timeMs) return undefined;
    const group = this.#group(record);
    for (; start <= timeMs; start += window.hopMs) this.#add(this.#cell(group, start), record);
    return this.#refusal();
  }

  /**
   * The rows: in the order of windows, and within one in the order in which groups appeared. Yields now and then without a
   * row, so that the caller can give way.
   */
  *rows(): Generator<AggregateRow | undefined> {
    const { window } = this.#plan;
    const byStart = new Map<number, { readonly group: Group; readonly cell: Cell }[]>();
    let steps = 0;
    for (const group of this.#groups.values()) {
      const cells = window?.kind === "session" ? group.sessions : group.cells.values();
      for (const cell of cells) {
        const same = byStart.get(cell.firstMs);
        if (same === undefined) byStart.set(cell.firstMs, [{ group, cell }]);
        else same.push({ group, cell });
        if (++steps % STEPS_PER_YIELD === 0) yield undefined;
      }
    }
    for (const start of Float64Array.from(byStart.keys()).sort())
      for (const { group, cell } of byStart.get(start) ?? []) yield this.#row(group, cell);
  }

  #row({ values }: Group, cell: Cell): AggregateRow {
    const { names, measures, window } = this.#plan;
    const group: Record<string, Value> = {};
    const shown: string[] = [];
    for (const [i, name] of names.entries()) {
      const value = values[i] ?? null;
      setField(group, name, value);
      shown.push(`${name}=${typeof value === "string" ? value : writeJson(value)}`);
    }
    const row: AggregateRow = { key: shown.join("|"), group };
    if (window !== undefined) {
      setField(row, "window_start_ms", cell.firstMs);
      setField(
        row,
        "window_end_ms",
        (window.kind === "session" ? cell.lastMs : cell.firstMs) + window.sizeMs,
      );
    }
    for (const [i, { name }] of measures.entries())
      setField(row, name, cell.accumulators[i]?.result() ?? null);
    return row;
  }

  #isLate(window: Window, timeMs: number): boolean {
    if (timeMs > this.#newestMs) this.#newestMs = timeMs;
    const { latenessMs } = window;
    return latenessMs !== undefined && endOf(window, timeMs) <= this.#newestMs - latenessMs;
  }

  #group(record: Fields): Group {
    const { reads } = this.#plan;
    const first = reads[0]?.(record);
    const identity =
      reads.length === 1
        ? identityOf(first ?? null)
        : reads.map((read) => identityOf(read(record) ?? null)).join("");
    const known = this.#groups.get(identity);
    if (known !== undefined) return known;
    const values = reads.map((read) => read(record) ?? null);
    const group: Group = { values, cells: new Map(), sessions: [] };
    this.#groups.set(identity, group);
    this.#bytes += GROUP_BYTES + 4 * identity.length;
    return group;
  }

  #cell(group: Group, start: number): Cell {
    const known = group.cells.get(start);
    if (known !== undefined) return known;
    const cell = this.#newCell(start);
    group.cells.set(start, cell);
    return cell;
  }

  #newCell(firstMs: number): Cell {
    this.#cells += 1;
    this.#bytes += this.#cellBytes;
    return {
      firstMs,
      lastMs: firstMs,
      accumulators: this.#plan.measures.map(({ make }) => make()),
    };
  }

  /** The session that a time belongs to: made, or widened and joined with the neighbours that it now touches. */
  #session({ sessions }: Group, { sizeMs: gapMs }: Window, timeMs: number): Cell {
    let low = 0;
    for (let high = sessions.length; low < high; ) {
      const middle = (low + high) >> 1;
      if ((sessions[middle] as Cell).lastMs + gapMs < timeMs) low = middle + 1;
      else high = middle;
    }
    const found = sessions[low];
    if (found === undefined || found.firstMs > timeMs + gapMs) {
      const made = this.#newCell(timeMs);
      sessions.splice(low, 0, made);
      return made;
    }
    found.firstMs = Math.min(found.firstMs, timeMs);
    found.lastMs = Math.max(found.lastMs, timeMs);
    const next = sessions[low + 1];
    if (next !== undefined && next.firstMs <= found.lastMs + gapMs) {
      found.lastMs = Math.max(found.lastMs, next.lastMs);
      for (const [i, accumulator] of found.accumulators.entries()) {
        const other = next.accumulators[i];
        if (other !== undefined) accumulator.merge(other);
      }
      sessions.splice(low + 1, 1);
      this.#cells -= 1;
      this.#bytes -= this.#cellBytes;
    }
    return found;
  }

  #add({ accumulators }: Cell, record: Fields): void {
    let before = 0;
    for (const { held } of accumulators) before += held;
    this.notMeasured += takeAll(this.#plan.measures, accumulators, record);
    let after = 0;
    for (const { held } of accumulators) after += held;
    this.#bytes += 2 * (after - before);
  }

  #refusal(): Refusal | undefined {
    const { groupsMax, stateBytesMax } = this.#limits;
    if (this.#cells > groupsMax) return limitExceeded("groups", groupsMax);
    if (this.#bytes > stateBytesMax) return limitExceeded("state_bytes", stateBytesMax);
    return undefined;
  }
}
