// Work on files that must not hold the serving thread: plain data in, plain data out, run by whoever owns the disk.
// Every job is safe to be cut off after any file primitive and run again after a restart.

import { assertNever } from "../lib/assert.ts";
import { scanArchive } from "./archive.ts";
import {
  type ArchivePlan,
  type DeriveArchiveJob,
  deriveArchive,
  type PlanArchiveJob,
  planArchive,
  type WriteArchiveJob,
  writeArchive,
} from "./archive-jobs.ts";
import {
  type DeriveJob,
  deriveSegment,
  type MergeJob,
  mergeBase,
  verifyBase,
  verifySegment,
} from "./derive.ts";
import type { Files } from "./disk.ts";

/** One piece of work. Plain data: it crosses to another thread by structured clone. */
export type DiskJob =
  /** Makes a segment of zeros with its header, synced, under its final name. */
  | {
      readonly kind: "prepare_segment";
      readonly name: string;
      readonly bytes: number;
      readonly header: Uint8Array;
    }
  /** Replaces a small file whole: temporary, sync, rename, sync of the directory. */
  | { readonly kind: "replace_file"; readonly name: string; readonly bytes: Uint8Array }
  /** Writes one slot of a slotted file in place and syncs it. */
  | {
      readonly kind: "write_slot";
      readonly name: string;
      readonly position: number;
      readonly bytes: Uint8Array;
    }
  /** Writes a piece of a file that nothing refers to yet. Not synced. */
  | {
      readonly kind: "write_piece";
      readonly name: string;
      readonly position: number;
      readonly bytes: Uint8Array;
      /** Its first piece: the file is made. */
      readonly isNew: boolean;
    }
  | { readonly kind: "sync_file"; readonly name: string }
  /** Reads a whole sealed segment and fails when it is damaged. */
  | (Omit<DeriveJob, "kind"> & { readonly kind: "verify_segment" })
  /** Reads a whole archive and fails when it is damaged. */
  | (Omit<DeriveArchiveJob, "kind"> & { readonly kind: "verify_archive" })
  /** Reads a whole base and fails when it is damaged. */
  | { readonly kind: "verify_base"; readonly name: string }
  /** Unlinks files that the manifest no longer knows. */
  | { readonly kind: "remove_files"; readonly names: readonly string[] }
  /** Asks how much room is left. */
  | { readonly kind: "free_bytes" }
  | DeriveJob
  | MergeJob
  | PlanArchiveJob
  | WriteArchiveJob
  | DeriveArchiveJob;

/** What a job gives back. */
export interface JobResult {
  readonly freeBytes?: number;
  /** Of `merge_base`. */
  readonly base?: { readonly bytes: number; readonly lastIndex: number };
  /** Of `plan_archive`. */
  readonly plan?: ArchivePlan;
}

/** Zeros are written and synced in pieces, so that a sync of the log between them waits for one piece at most. */
const ZERO_PIECE_BYTES = 1 << 20;

/** Runs one job to its end. Throws `FileError`. */
export function runJob(files: Files, job: DiskJob): JobResult {
  switch (job.kind) {
    case "prepare_segment": {
      files.create(job.name);
      const zeros = new Uint8Array(ZERO_PIECE_BYTES);
      for (let at = 0; at < job.bytes; at += zeros.length) {
        files.write(job.name, at, zeros.subarray(0, Math.min(zeros.length, job.bytes - at)));
        files.sync(job.name);
      }
      files.write(job.name, 0, job.header);
      files.sync(job.name);
      files.syncDirectory();
      return { freeBytes: files.freeBytes() };
    }
    case "replace_file": {
      replaceFile(files, job.name, job.bytes);
      return {};
    }
    case "write_slot": {
      files.write(job.name, job.position, job.bytes);
      files.sync(job.name);
      return {};
    }
    case "write_piece": {
      if (job.isNew) {
        files.remove(job.name);
        files.create(job.name);
      }
      files.write(job.name, job.position, job.bytes);
      return {};
    }
    case "sync_file": {
      files.sync(job.name);
      files.syncDirectory();
      return {};
    }
    case "verify_segment": {
      verifySegment(files, job);
      return {};
    }
    case "verify_archive": {
      scanArchive(files, job, () => undefined);
      return {};
    }
    case "verify_base": {
      verifyBase(files, job.name);
      return {};
    }
    case "remove_files": {
      for (const name of job.names) files.remove(name);
      files.syncDirectory();
      return {};
    }
    case "free_bytes":
      return { freeBytes: files.freeBytes() };
    case "derive_segment":
      deriveSegment(files, job);
      return {};
    case "merge_base":
      return { base: mergeBase(files, job) };
    case "plan_archive":
      return { plan: planArchive(files, job) };
    case "write_archive":
      writeArchive(files, job);
      return {};
    case "derive_archive":
      deriveArchive(files, job);
      return {};
    default:
      return assertNever(job);
  }
}

/** Switches a file's content in one step: after a crash it is the old one or the new one, whole. */
export function replaceFile(files: Files, name: string, bytes: Uint8Array): void {
  const temporary = `${name}.tmp`;
  files.remove(temporary);
  files.create(temporary);
  files.write(temporary, 0, bytes);
  files.sync(temporary);
  files.rename(temporary, name);
  files.syncDirectory();
}
