// A query over records that come one by one: filter, then aggregates and rows. Knows nothing of where records come from.

import { type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import {
  type AggregateRow,
  type AggregateSpec,
  Aggregates,
  type Aggregation,
  compileAggregation,
} from "./aggregate.ts";
import type { Fields } from "./compare.ts";
import type { StreamLimits } from "./limits.ts";
import { type Condition, compileFilter, type Predicate } from "./predicate.ts";
import { compileProjection, type Project } from "./project.ts";
import type { WindowSpec } from "./window.ts";

/** A query as a request says it, without its source. */
export interface QuerySpec {
  readonly filter?: readonly Condition[] | undefined;
  readonly window?: WindowSpec | undefined;
  readonly aggregate?: AggregateSpec | undefined;
  readonly transform?:
    | {
        readonly left_fields?: readonly string[] | undefined;
        readonly emit_rows?: number | undefined;
      }
    | undefined;
}

/** A compiled query. */
export interface QueryPlan {
  readonly wants: Predicate;
  readonly project: Project;
  readonly rowsMax: number;
  /** Undefined when nothing is aggregated. */
  readonly aggregation: Aggregation | undefined;
}

/** Compiles a query. */
export function compileQuery(spec: QuerySpec): Result<QueryPlan, Refusal> {
  const wants = compileFilter(spec.filter ?? []);
  if (!wants.ok) return wants;
  const { left_fields: fields = [], emit_rows: rowsMax = 0 } = spec.transform ?? {};
  const project = compileProjection(fields, "transform.left_fields");
  if (!project.ok) return project;
  const plan = { wants: wants.value, project: project.value, rowsMax };
  if (spec.aggregate === undefined && spec.window === undefined)
    return succeed({ ...plan, aggregation: undefined });
  const aggregation = compileAggregation(spec.aggregate ?? {}, spec.window);
  return aggregation.ok ? succeed({ ...plan, aggregation: aggregation.value }) : aggregation;
}

/** A query under way. */
export class QueryRun {
  readonly #plan: QueryPlan;
  #rowsMax: number;
  readonly #emit: (row: Fields) => void;
  readonly #aggregates: Aggregates | undefined;
  /** Records that passed the filter. */
  matched = 0;
  rows = 0;
  /** Rows beyond `emit_rows`, of a query that goes on for its aggregates. */
  rowsLeftOut = 0;

  /** @param emit Takes each row as it is found. */
  constructor(plan: QueryPlan, limits: StreamLimits, emit: (row: Fields) => void) {
    this.#plan = plan;
    this.#emit = emit;
    this.#rowsMax = plan.rowsMax;
    this.#aggregates =
      plan.aggregation === undefined ? undefined : new Aggregates(plan.aggregation, limits);
  }

  /**
   * Whether it wants no more records: its rows are full and nothing else is asked. A page that ends here goes on behind the
   * record of its last row, so that pages of any size show the same rows.
   */
  get isFull(): boolean {
    return this.#aggregates === undefined && this.#plan.rowsMax > 0 && this.rows >= this.#rowsMax;
  }

  /** Takes no more rows: the reply is large enough. */
  shut(): void {
    this.#rowsMax = Math.min(this.#rowsMax, this.rows);
  }

  /** Takes a record. @returns which limit it would exceed, if any. */
  take(record: Fields, appendMs: number): Refusal | undefined {
    if (!this.#plan.wants(record)) return undefined;
    this.matched += 1;
    const { rowsMax, project } = this.#plan;
    if (rowsMax > 0) {
      // Objects of one record stay together: the last one may bring some rows more.
      if (this.rows < this.#rowsMax || this.#aggregates === undefined) {
        this.rows += 1;
        this.#emit(project(record));
      } else {
        this.rowsLeftOut += 1;
      }
    }
    return this.#aggregates?.take(record, appendMs);
  }

  /** The groups, when records are over. */
  aggregates(): Iterable<AggregateRow | undefined> {
    return this.#aggregates?.rows() ?? [];
  }

  /** Counts for `stats`. */
  get counts(): {
    readonly groups: number;
    readonly late: number;
    readonly withoutTime: number;
    readonly notMeasured: number;
  } {
    const { size: groups = 0, late = 0, withoutTime = 0, notMeasured = 0 } = this.#aggregates ?? {};
    return { groups, late, withoutTime, notMeasured };
  }
}
