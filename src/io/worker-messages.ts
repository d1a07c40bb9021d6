// What is said between a disk and its worker. Plain data: it crosses by structured clone.

import type { DiskJob, FileErrorKind, JobResult } from "../log/mod.ts";

/** What a worker is told. It does one thing at a time, in the order told. */
export type ToWorker =
  /** Comes first: the data directory, and whether others go before it where processors are short. */
  | { readonly kind: "start"; readonly directory: string; readonly yields: boolean }
  /** Shared memory that later appends name by its number. */
  | { readonly kind: "slab"; readonly slab: number; readonly bytes: Uint8Array }
  | {
      readonly kind: "append";
      readonly token: number;
      readonly name: string;
      readonly descriptor: number;
      readonly slab: number;
      readonly start: number;
      readonly end: number;
      readonly position: number;
    }
  | { readonly kind: "job"; readonly token: number; readonly job: DiskJob };

/** What a worker answers, once for each append and job, in the order told. */
export interface FromWorker {
  readonly token: number;
  readonly failure?: { readonly kind: FileErrorKind; readonly message: string };
  readonly result?: JobResult;
}
