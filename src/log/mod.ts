// The append-only file: segments, entries, their checksums and indexes, recovery, and the port to the disk. Never decides
// what a command means, and never acknowledges: it says what is durable. Keeps: no byte of a segment is written twice; one
// write is in flight; what was synced is found again or the node stops. Driven by `replica/`; the disks live in `io/`.
// Format: docs/format.md. Why this shape: DESIGN.md.

export { encodeKept } from "./archive.ts";
export type { ArchiveRepair } from "./archive-repair.ts";
export { type BackupHead, BackupParser, partBytes } from "./backup-format.ts";
export { BackupSource } from "./backup-source.ts";
export {
  type Disk,
  type DiskCompletion,
  type DiskFile,
  FileError,
  type FileErrorKind,
  type Files,
} from "./disk.ts";
export type { EntrySpan } from "./entry-reader.ts";
export { filesOf, type IncomingFiles, type OfferedFiles, pieceChecksum } from "./file-set.ts";
export {
  ENTRY_HEADER_BYTES,
  ENTRY_KIND,
  type EntryHeader,
  entryBytes,
  FORMAT_VERSION,
  FRAME_BYTES,
  newEntryHeader,
  readEntryHeader,
  sealEntry,
  verifyEntry,
} from "./format.ts";
export { hasSetAside, type Identity, joinCluster, openIdentity, setAside } from "./identity.ts";
export {
  type ArchiveReport,
  type DirectoryReport,
  inspectLog,
  isOfNode,
  type SegmentReport,
} from "./inspect.ts";
export type { TopicReport } from "./inspect-topics.ts";
export { type DiskJob, type JobResult, runJob } from "./jobs.ts";
export { chainOf, type LiveSegment } from "./live-segment.ts";
export type { HardState } from "./metadata.ts";
export { partitionKey } from "./offset-index.ts";
export { type RecoveredLog, type RecoveryOptions, recover } from "./recovery.ts";
export { Restore } from "./restore.ts";
export { type SealedWrite, SegmentLog } from "./segment-log.ts";
export type { StoredSlice } from "./segment-reader.ts";
export type { SegmentRepair } from "./segment-repair.ts";
export { type ChainEnd, verifyChunks } from "./segment-scan.ts";
export type { Slab, TailBuffer } from "./tail-buffer.ts";
export type { LogLimits } from "./upkeep.ts";
