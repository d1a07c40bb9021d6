// `ayder inspect <dir>`: what lies in a data directory, read only, also from a directory that a node refuses to start on.

import { NodeFiles } from "../io/mod.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import {
  type ArchiveReport,
  type DirectoryReport,
  FileError,
  inspectLog,
  isOfNode,
  type SegmentReport,
  type TopicReport,
} from "../log/mod.ts";
import { reportFailure } from "./failure.ts";
import type { Given } from "./parse.ts";
import { type Cell, tableOf, type Voice } from "./terminal.ts";
import { inSnakeCase } from "./wire.ts";

const SEGMENT_HEAD = [
  "segment",
  "first index",
  "last index",
  "entries",
  "records",
  "bytes",
  "synced",
  "checksums",
  "state",
];
const ARCHIVE_HEAD = [
  "archive",
  "first index",
  "last index",
  "chunks",
  "records",
  "bytes",
  "checksums",
];
const TOPIC_HEAD = ["topic", "id", "mode", "partitions", "records", "ever written"];
/** A node that is running writes while it is looked at: what is damaged, or gone, in each of these looks is so. */
const LOOKS_MAX = 4;
const LOOK_PAUSE_MS = 150;

/**
 * Looks at a directory. Returns the exit status: 3 when something before the end is damaged.
 * Throws `FatalError` or `FileError` when it is no directory of a node, or something in it cannot be read.
 */
export async function inspect(
  { values, words: [directory = ""] }: Given<"inspect">,
  voice: Voice,
): Promise<number> {
  const { print, style } = voice;
  const files = new NodeFiles(directory);
  if (!isOfNode(files))
    throw new FatalError(
      "data_unusable",
      `Cannot inspect ${directory}: there is nothing of a node in it`,
    );
  const report = await lookAt(files);
  if (values.json && report.isDamaged) {
    const failure = new FatalError("log_corrupt", report.problems.join("; "));
    return reportFailure(failure, true, voice, inSnakeCase(report));
  }
  if (values.json) {
    print(JSON.stringify(inSnakeCase({ ok: true, ...report })));
  } else {
    print(`node ${report.nodeId ?? "unknown"}, cluster ${report.clusterId ?? "unknown"}`);
    for (const problem of report.problems) print(style.red(`! ${problem}`));
    for (const line of tableOf(SEGMENT_HEAD, report.segments.map(segmentRow), style)) print(line);
    if (report.archives.length > 0)
      for (const line of tableOf(ARCHIVE_HEAD, report.archives.map(archiveRow), style)) print(line);
    if (report.topics.length > 0)
      for (const line of tableOf(TOPIC_HEAD, report.topics.map(topicRow), style)) print(line);
    print(`the log begins after index ${report.compactedIndex}`);
    print(`full files hold ${report.liveBytes} live bytes and ${report.deadBytes} dead ones`);
  }
  return report.isDamaged ? EXIT_CODES.log_corrupt : EXIT_CODES.ok;
}

async function lookAt(files: NodeFiles): Promise<DirectoryReport> {
  for (let look = 1; ; look++) {
    try {
      const report = inspectLog(files);
      if (!report.isDamaged || look === LOOKS_MAX) return report;
    } catch (error) {
      // A file that was in the list a moment ago.
      const isGone = error instanceof FileError && error.kind === "not_found";
      if (!isGone || look === LOOKS_MAX) throw error;
    }
    await Bun.sleep(LOOK_PAUSE_MS);
  }
}

const archiveRow = (archive: ArchiveReport): readonly Cell[] => [
  archive.name,
  archive.firstIndex,
  archive.lastIndex,
  archive.chunks,
  archive.records,
  archive.validBytes,
  archive.fault ?? "good",
];

const segmentRow = (segment: SegmentReport): readonly Cell[] => [
  segment.name,
  segment.firstIndex,
  segment.lastIndex,
  segment.entries,
  segment.records,
  segment.validBytes,
  segment.syncedIndex,
  segment.fault === undefined ? "good" : `${segment.fault} at ${segment.validBytes}`,
  segment.state,
];

const topicRow = (topic: TopicReport): readonly Cell[] => [
  topic.name,
  topic.topicId,
  topic.mode,
  topic.partitions,
  topic.records,
  topic.written,
];
