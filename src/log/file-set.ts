// A node's state as files, for one that lacks more of the log than is worth sending entry by entry: what is offered, and how
// a complete new set is built beside the own one and takes its place in one step.

import { assert } from "../lib/assert.ts";
import { crc32 } from "../lib/checksum.ts";
import type { FileError, Files } from "./disk.ts";
import { FILE_KINDS, type FileKind, fileName, parseFileName } from "./format.ts";
import type { DiskJob, JobResult } from "./jobs.ts";
import { replaceFile } from "./jobs.ts";
import { chainBefore } from "./live-segment.ts";
import {
  type ArchiveFile,
  encodeChecked,
  MANIFEST_FILE,
  type Manifest,
  type SealedSegment,
} from "./metadata.ts";
import { CHAIN_START, type ChainEnd } from "./segment-scan.ts";

/** A sealed segment that another node may have. Its bytes are the same wherever it lies. */
export interface OfferedSegment extends SealedSegment {
  readonly salt: number;
}

/** Everything up to an index. */
export interface OfferedFiles {
  readonly index: number;
  readonly term: number;
  /** In log order, without a gap above the compaction point. */
  readonly segments: readonly OfferedSegment[];
  /** In log order. */
  readonly archives: readonly ArchiveFile[];
  /** The compaction point; the base goes at least as far. */
  readonly compacted: ChainEnd | null;
  readonly base: {
    readonly sequence: number;
    readonly lastIndex: number;
    readonly bytes: number;
  } | null;
}

/** One file of an offer, by its place in it: the segments in order, then the archives, then the base. */
export interface OfferedFile {
  readonly name: string;
  readonly kind: FileKind;
  readonly bytes: number;
}

/** The files of an offer, as the offering node calls them. */
export const filesOf = (offer: OfferedFiles): readonly OfferedFile[] => [
  ...offer.segments.map(({ sequence, validBytes }) => ({
    name: fileName(sequence, "log"),
    kind: "log" as const,
    bytes: validBytes,
  })),
  ...offer.archives.map(({ sequence, validBytes }) => ({
    name: fileName(sequence, "archive"),
    kind: "archive" as const,
    bytes: validBytes,
  })),
  ...(offer.base === null
    ? []
    : [
        {
          name: fileName(offer.base.sequence, "base"),
          kind: "base" as const,
          bytes: offer.base.bytes,
        },
      ]),
];

/** What building a set needs of the log that goes on beside it. */
export interface FileSetHost {
  readonly manifest: Manifest;
  /** Sequence numbers that nothing else will have. */
  allocate(count: number): readonly number[];
  run(
    job: DiskJob,
    done: (error: FileError | undefined, result: JobResult | undefined) => void,
  ): void;
  /** Notes in the manifest that these files are not complete: a start removes them. */
  noteIncoming(sequences: readonly number[], then: () => void): void;
}

/** A new set of files in the making. */
export class IncomingFiles {
  readonly offer: OfferedFiles;
  readonly files: readonly OfferedFile[];
  readonly #host: FileSetHost;
  readonly #clusterId: string;
  readonly #sequences: readonly number[];
  readonly #created = new Set<number>();

  /** @param begun The names are noted: pieces may be written. */
  constructor(offer: OfferedFiles, host: FileSetHost, clusterId: string, begun: () => void) {
    this.offer = offer;
    this.files = filesOf(offer);
    this.#host = host;
    this.#clusterId = clusterId;
    this.#sequences = host.allocate(this.files.length);
    host.noteIncoming(this.#sequences, begun);
  }

  #nameOf(file: number): string {
    const sequence = this.#sequences[file];
    const offered = this.files[file];
    assert(sequence !== undefined && offered !== undefined, `File ${file} is of the offer`);
    return fileName(sequence, offered.kind);
  }

  /** Writes a piece. Not durable before `verify`. */
  write(
    file: number,
    position: number,
    bytes: Uint8Array,
    done: (error: FileError | undefined) => void,
  ): void {
    const isNew = !this.#created.has(file);
    this.#created.add(file);
    this.#host.run({ kind: "write_piece", name: this.#nameOf(file), position, bytes, isNew }, done);
  }

  /** Syncs and looks at everything; makes index and delta of each segment. `done` with an error: the set is of no use. */
  verify(done: (error: FileError | undefined) => void): void {
    const next = (file: number, chain: ChainEnd): void => {
      const { segments, archives } = this.offer;
      const segment = segments[file];
      const archive = archives[file - segments.length];
      const sequence = this.#sequences[file];
      if (sequence === undefined) {
        done(undefined);
        return;
      }
      const end = segment === undefined ? chain : endOf(segment);
      const clusterId = this.#clusterId;
      const job: DiskJob =
        archive !== undefined
          ? { kind: "derive_archive", sequence, clusterId, validBytes: archive.validBytes }
          : segment === undefined
            ? { kind: "verify_base", name: this.#nameOf(file) }
            : {
                kind: "derive_segment",
                sequence,
                salt: segment.salt,
                clusterId,
                validBytes: segment.validBytes,
                chain: this.#before(segment, chain),
                lastIndex: segment.lastIndex,
              };
      this.#host.run({ kind: "sync_file", name: this.#nameOf(file) }, (error) => {
        if (error !== undefined) done(error);
        else
          this.#host.run(job, (failed) => {
            if (failed === undefined) next(file + 1, end);
            else done(failed);
          });
      });
    };
    next(0, CHAIN_START);
  }

  /** What the entries of a segment follow: behind the compaction point there is no gap, whatever is left below it. */
  #before(segment: OfferedSegment, previous: ChainEnd): ChainEnd {
    const { compacted } = this.offer;
    return chainBefore(segment, segment.firstIndex - 1 === compacted?.index ? compacted : previous);
  }

  /** The set is not wanted any more. Pieces that are being written go as well. */
  discard(): void {
    const names = this.#sequences.flatMap((sequence) =>
      FILE_KINDS.map((kind) => fileName(sequence, kind)),
    );
    this.#host.run({ kind: "remove_files", names }, () => undefined);
  }

  /**
   * Puts the set in the place of the old one, by the manifest alone: what the node has promised stays as it is, and a start
   * takes what is in files to be committed. Blocks; the log must not be under way.
   */
  install(files: Files): void {
    const { manifest } = this.#host;
    const { segments, archives, compacted, base } = this.offer;
    const sequenceOf = (file: number): number => this.#sequences[file] ?? 0;
    const [nextSequence = 0] = this.#host.allocate(1);
    // What the old files hold is in the new ones: nothing that anybody was promised goes with them.
    const kept = new Set(this.#sequences);
    const old = files.list().filter((name) => !kept.has(parseFileName(name)?.sequence ?? -1));
    const incoming = old.flatMap((name) => parseFileName(name)?.sequence ?? []);
    replaceFile(
      files,
      MANIFEST_FILE,
      encodeChecked({
        ...manifest,
        nextSequence,
        openFrom: nextSequence,
        incoming: [...new Set(incoming)],
        compacted,
        segments: segments.map(({ salt: _salt, ...segment }, file) => ({
          ...segment,
          sequence: sequenceOf(file),
          isDerived: true,
        })),
        archives: archives.map((archive, i) => ({
          ...archive,
          sequence: sequenceOf(segments.length + i),
        })),
        base:
          base === null
            ? null
            : { ...base, sequence: sequenceOf(segments.length + archives.length) },
      }),
    );
    for (const name of old) if (parseFileName(name) !== undefined) files.remove(name);
    files.syncDirectory();
  }
}

const endOf = (segment: SealedSegment): ChainEnd => ({
  index: segment.lastIndex,
  term: segment.lastTerm,
  checksum: segment.lastChecksum,
  timestampMs: segment.lastTimestampMs,
});

/** Checksum that travels with a piece. */
export const pieceChecksum = (bytes: Uint8Array): number => crc32(bytes);
