// Makes a data directory of a backup: for a new cluster of one, under a new name, in which this node has promised nothing yet.
// What names the cluster is written anew; indexes and deltas are made again, which looks at every byte. `meta.json` comes
// last: a directory that was not finished does not start.

import { assert } from "../lib/assert.ts";
import { viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { aloneAs } from "../model/cluster.ts";
import type { BackupHead, BackupVisitor } from "./backup-format.ts";
import { deriveSegment } from "./derive.ts";
import { FileError, type Files } from "./disk.ts";
import { type FileSetHost, IncomingFiles } from "./file-set.ts";
import { fileName, parseFileName, SEGMENT_DATA_START } from "./format.ts";
import { readManifest, writeIdentity } from "./identity.ts";
import { type DiskJob, type JobResult, replaceFile, runJob } from "./jobs.ts";
import { chainOf } from "./live-segment.ts";
import { EMPTY_MANIFEST, encodeChecked, MANIFEST_FILE, type SealedSegment } from "./metadata.ts";
import { CHAIN_START, type ChainEnd, scanSegment } from "./segment-scan.ts";

/** Where headers name the cluster, and their checksum of everything before it. */
const CLUSTER_PLACES: Readonly<Record<string, { readonly id: number; readonly checksum: number }>> =
  {
    log: { id: 32, checksum: 52 },
    archive: { id: 32, checksum: 52 },
    base: { id: 24, checksum: 92 },
  };

/** What a restored directory is to be. */
export interface RestoreOptions {
  readonly nodeId: string;
  /** 32 random hexadecimal digits. */
  readonly randomId: () => string;
}

/** A directory in the making. Its calls come from a `BackupParser`; every one of them may throw `FileError`. */
export class Restore implements BackupVisitor {
  readonly #files: Files;
  readonly #options: RestoreOptions;
  readonly #clusterId: string;
  #head: BackupHead | undefined;
  #incoming: IncomingFiles | undefined;
  #nextSequence = 1;
  /** The complete files are there and in the manifest. */
  #isInstalled = false;
  readonly #openSequences: number[] = [];
  readonly #jobs: {
    readonly job: DiskJob;
    readonly done: (error: FileError | undefined, result: JobResult | undefined) => void;
  }[] = [];

  /** @param files An empty directory. */
  constructor(files: Files, options: RestoreOptions) {
    this.#files = files;
    this.#options = options;
    this.#clusterId = options.randomId();
  }

  head(head: BackupHead): void {
    this.#head = head;
    this.#incoming = new IncomingFiles(head.offer, this.#host, this.#clusterId, () => undefined);
  }

  piece(part: number, position: number, bytes: Uint8Array): void {
    const incoming = this.#incoming;
    assert(incoming !== undefined, "A head comes before its parts");
    const offered = incoming.files[part];
    const own = position === 0 ? this.#named(offered?.name ?? fileName(1, "log"), bytes) : bytes;
    if (offered !== undefined) {
      incoming.write(part, position, own, raise);
      this.#work();
      return;
    }
    this.#install();
    if (position === 0) this.#openSequences.push(this.#allocate());
    const name = fileName(this.#openSequences.at(-1) ?? 0, "log");
    if (position === 0) this.#files.create(name);
    this.#files.write(name, position, own);
  }

  /** Everything has come, and nothing is wrong with it. Returns what the directory stands for. */
  finish(): BackupHead {
    const head = this.#head;
    assert(head !== undefined, "A backup has a head");
    this.#install();
    const { segments } = readManifest(this.#files);
    const all: SealedSegment[] = [...segments];
    const { compacted } = head.offer;
    for (const [i, part] of head.open.entries()) {
      const sequence = this.#openSequences[i];
      assert(sequence !== undefined, "Every part came");
      const end = endOf(all.at(-1), compacted);
      all.push(this.#seal(sequence, part.salt, part.bytes, end, head.applied));
    }
    const { index, term, checksum } = endOf(all.at(-1), compacted);
    const { applied } = head;
    if (index !== applied.index || term !== applied.term || checksum !== applied.checksum)
      throw damaged(
        `it ends at index ${index} of term ${term}, not at ${applied.index} of ${applied.term}`,
      );
    const manifest = {
      ...readManifest(this.#files),
      nextSequence: this.#nextSequence,
      openFrom: this.#nextSequence,
      segments: all,
    };
    replaceFile(this.#files, MANIFEST_FILE, encodeChecked(manifest));
    const { nodeId, randomId } = this.#options;
    const incarnation = randomId();
    writeIdentity(this.#files, {
      nodeId,
      clusterId: this.#clusterId,
      incarnation,
      hardState: {
        term,
        vote: "",
        commitIndex: index,
        // It takes the place of every membership in the log: those are of another cluster.
        configurationIndex: index,
        membership: { ...aloneAs(nodeId, incarnation), epoch: head.epoch + 1 },
      },
    });
    return head;
  }

  /** A segment ends at the last entry that was applied, and is given its index and delta. */
  #seal(
    sequence: number,
    salt: number,
    bytes: number,
    chain: ChainEnd,
    applied: ChainEnd,
  ): SealedSegment {
    const name = fileName(sequence, "log");
    const terms: [number, number][] = [];
    let end = chain;
    let validBytes = SEGMENT_DATA_START;
    const scan = { salt, from: SEGMENT_DATA_START, end: bytes, chain };
    scanSegment(this.#files, name, scan, (_bytes, _view, _at, header, position) => {
      if (header.index > applied.index) return;
      if (terms.at(-1)?.[1] !== header.term) terms.push([header.index, header.term]);
      end = chainOf(header);
      validBytes = position + header.bytes;
    });
    if (terms.length === 0) throw damaged(`${name} holds none of its entries`);
    this.#files.truncate(name, validBytes);
    this.#files.sync(name);
    deriveSegment(this.#files, {
      kind: "derive_segment",
      sequence,
      salt,
      clusterId: this.#clusterId,
      validBytes,
      chain,
      lastIndex: end.index,
    });
    return {
      sequence,
      firstIndex: chain.index + 1,
      lastIndex: end.index,
      lastTerm: end.term,
      lastChecksum: end.checksum,
      lastTimestampMs: end.timestampMs,
      previousChecksum: chain.checksum,
      terms,
      validBytes,
      isDerived: true,
    };
  }

  /** The complete files have come: they are looked at, and become the log. */
  #install(): void {
    if (this.#isInstalled) return;
    const incoming = this.#incoming;
    assert(incoming !== undefined, "A backup has a head");
    this.#isInstalled = true;
    incoming.verify(raise);
    this.#work();
    incoming.install(this.#files);
  }

  /** The first piece of a file, with the new cluster's name in its header. */
  #named(name: string, bytes: Uint8Array): Uint8Array {
    const place = CLUSTER_PLACES[parseFileName(name)?.kind ?? ""];
    if (place === undefined) return bytes;
    if (bytes.length < place.checksum + 4) throw damaged(`${name} is shorter than its header`);
    const own = bytes.slice();
    const view = viewOf(own);
    if (view.getUint32(place.checksum, true) !== crc32(own.subarray(0, place.checksum)))
      throw damaged(`the header of ${name} has a checksum that does not hold`);
    own.set(Uint8Array.fromHex(this.#clusterId), place.id);
    view.setUint32(place.checksum, crc32(own.subarray(0, place.checksum)), true);
    return own;
  }

  #allocate(): number {
    this.#nextSequence += 1;
    return this.#nextSequence - 1;
  }

  get #host(): FileSetHost {
    return {
      manifest: EMPTY_MANIFEST,
      allocate: (count) => Array.from({ length: count }, () => this.#allocate()),
      run: (job, done) => {
        this.#jobs.push({ job, done });
      },
      // What is not finished has no name of its own, and is never started.
      noteIncoming: (_sequences, then) => then(),
    };
  }

  /** Runs what was asked for, and what that asks for. */
  #work(): void {
    for (let next = this.#jobs.shift(); next !== undefined; next = this.#jobs.shift())
      next.done(undefined, runJob(this.#files, next.job));
  }
}

const raise = (error: FileError | undefined): void => {
  if (error !== undefined) throw error;
};

const damaged = (what: string): FileError =>
  new FileError("damaged", `Cannot use the backup: ${what}`);

/** Where the log ends that has this newest segment; what lies below the compaction point is no log any more. */
const endOf = (segment: SealedSegment | undefined, compacted: ChainEnd | null): ChainEnd =>
  segment === undefined || segment.lastIndex <= (compacted?.index ?? 0)
    ? (compacted ?? CHAIN_START)
    : {
        index: segment.lastIndex,
        term: segment.lastTerm,
        checksum: segment.lastChecksum,
        timestampMs: segment.lastTimestampMs,
      };
