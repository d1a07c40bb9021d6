// `ayder backup <url> <file>`: takes a backup of a running node. What comes is verified as it is written, into a file of
// another name that gets its own only when everything is there.

import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { EXIT_CODES } from "../lib/fatal.ts";
import { type BackupHead, BackupParser, FileError, partBytes } from "../log/mod.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

/** Nobody but the owner reads what others have stored. */
const FILE_MODE = 0o600;
/** Milliseconds between two lines of progress on a terminal. */
const PROGRESS_MS = 200;

/** Takes one backup. Returns the exit status. */
export async function backup(given: Given<"backup">, voice: Voice): Promise<number> {
  const { token, json } = given.values;
  const [url = "", file = ""] = given.words;
  const partial = `${file}.partial`;
  try {
    const head = await download(new URL("/admin/backup", url), token, partial, voice);
    renameSync(partial, file);
    voice.print(summaryOf(head, json));
    return EXIT_CODES.ok;
  } catch (error) {
    voice.progress("");
    remove(partial);
    voice.print(error instanceof Error ? error.message : String(error));
    const isDamaged = error instanceof FileError && error.kind === "damaged";
    return isDamaged ? EXIT_CODES.backup_damaged : EXIT_CODES.unexpected;
  }
}

async function download(url: URL, token: string, path: string, voice: Voice): Promise<BackupHead> {
  const reply = await fetch(url, {
    headers: { authorization: `Bearer ${token}` },
  });
  if (!reply.ok || reply.body === null) {
    const { error, message } = (await reply.json().catch(() => ({}))) as Record<string, unknown>;
    throw new Error(
      `Cannot take a backup from ${url.origin}: ${reply.status} ${error ?? ""} ${message ?? ""}`,
    );
  }
  let head: BackupHead | undefined;
  const parser = new BackupParser({
    head: (read) => {
      head = read;
    },
    piece: () => undefined,
  });
  const descriptor = openSync(path, "w", FILE_MODE);
  try {
    let shownMs = 0;
    for await (const bytes of reply.body) {
      parser.feed(bytes);
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
      const now = performance.now();
      if (head === undefined || now - shownMs < PROGRESS_MS) continue;
      shownMs = now;
      voice.progress(`${megabytes(parser.position)} of ${megabytes(partBytes(head))}`);
    }
    voice.progress("");
    parser.end();
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  if (head === undefined) throw new Error("A backup without a head is no backup");
  return head;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not made.
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/** What a backup is, in one line. */
function summaryOf(head: BackupHead, asJson: boolean): string {
  const { applied, nodeId, stateHash } = head;
  const bytes = partBytes(head);
  return asJson
    ? JSON.stringify({
        ok: true,
        applied_index: applied.index,
        backup_bytes: bytes,
        node_id: nodeId,
        state_hash: stateHash,
      })
    : `Backup of ${nodeId} at index ${applied.index}: ${bytes} bytes, state hash ${stateHash ?? "not taken"}`;
}
