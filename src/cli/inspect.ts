// `ayder inspect <dir>`: what lies in a data directory, read only, also from a directory that a node refuses to start on.

import { NodeFiles } from "../io/mod.ts";
import { type ArchiveReport, inspectLog, type SegmentReport } from "../log/mod.ts";

/** A node that is running writes while it is looked at: what is damaged in each of these looks is damaged. */
const LOOKS_MAX = 4;
const LOOK_PAUSE_MS = 150;

/** Looks at a directory. Returns the exit status: 3 when something before the end is damaged. */
export async function inspect(
  directory: string,
  asJson: boolean,
  print: (line: string) => void,
): Promise<number> {
  const files = new NodeFiles(directory);
  let report = inspectLog(files);
  for (let look = 1; report.isDamaged && look < LOOKS_MAX; look++) {
    await Bun.sleep(LOOK_PAUSE_MS);
    report = inspectLog(files);
  }
  if (asJson) {
    print(JSON.stringify(report));
  } else {
    print(`node ${report.nodeId ?? "unknown"}, cluster ${report.clusterId ?? "unknown"}`);
    for (const problem of report.problems) print(`! ${problem}`);
    print(
      "segment          first index  last index   entries     records     bytes        synced       state",
    );
    for (const segment of report.segments) print(row(segment));
    if (report.archives.length > 0)
      print("archive          first index  last index   chunks      records     bytes");
    for (const archive of report.archives) print(archiveRow(archive));
    print(`the log begins after index ${report.compactedIndex}`);
    print(`full files hold ${report.liveBytes} live bytes and ${report.deadBytes} dead ones`);
  }
  return report.isDamaged ? 3 : 0;
}

function archiveRow(archive: ArchiveReport): string {
  const columns: readonly [string | number, number][] = [
    [archive.name, 16],
    [archive.firstIndex, 12],
    [archive.lastIndex, 12],
    [archive.chunks, 11],
    [archive.records, 11],
    [archive.validBytes, 12],
  ];
  const cells = columns.map(([value, width]) => String(value).padEnd(width)).join(" ");
  return archive.fault === undefined ? cells : `${cells} ${archive.fault}`;
}

function row(segment: SegmentReport): string {
  const columns: readonly [string | number, number][] = [
    [segment.name, 16],
    [segment.firstIndex, 12],
    [segment.lastIndex, 12],
    [segment.entries, 11],
    [segment.records, 11],
    [segment.validBytes, 12],
    [segment.syncedIndex, 12],
  ];
  const state =
    segment.fault === undefined
      ? segment.state
      : `${segment.state}: ${segment.fault} at ${segment.validBytes}`;
  return `${columns.map(([value, width]) => String(value).padEnd(width)).join(" ")} ${state}`;
}
