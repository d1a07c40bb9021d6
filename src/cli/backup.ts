// `ayder backup <url> <file>`: takes a backup of a running node. What comes is verified as it is written, into a file of
// another name that gets its own only when everything is there.

import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { attempt } from "../io/mod.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { type BackupHead, BackupParser, FileError, partBytes } from "../log/mod.ts";
import { ask, type Question, readAuthorities, unavailable } from "./node-client.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

/** Nobody but the owner reads what others have stored. */
const FILE_MODE = 0o600;
const ACT = "take a backup";
/** Milliseconds between two lines of progress on a terminal. */
const PROGRESS_MS = 200;

/** Takes one backup. Returns the exit status; throws why there is none. */
export async function backup(given: Given<"backup">, voice: Voice): Promise<number> {
  const { token, json } = given.values;
  const ca = readAuthorities(given.values.ca);
  const [url = "", file = ""] = given.words;
  const partial = `${file}.partial`;
  // Before the node is asked, so that it does no work for a file that cannot be.
  const descriptor = attempt(`write ${partial}`, () => openSync(partial, "w", FILE_MODE));
  try {
    const head = await download(
      new URL("/admin/backup", url),
      { act: ACT, token, ca },
      voice,
      (bytes) =>
        attempt(`write ${partial}`, () => {
          for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
        }),
    );
    attempt(`write ${file}`, () => {
      fsyncSync(descriptor);
      renameSync(partial, file);
    });
    voice.print(summaryOf(head, json));
    return EXIT_CODES.ok;
  } catch (error) {
    rmSync(partial, { force: true });
    throw asBackupFailure(error);
  } finally {
    closeSync(descriptor);
  }
}

/** What is damaged here is the backup, and no file of a node. */
export const asBackupFailure = (error: unknown): unknown =>
  error instanceof FileError && error.kind === "damaged"
    ? new FatalError("backup_damaged", error.message, { cause: error })
    : error;

async function download(
  url: URL,
  question: Question,
  voice: Voice,
  write: (bytes: Uint8Array) => void,
): Promise<BackupHead> {
  const reply = await ask(url, question);
  let head: BackupHead | undefined;
  const parser = new BackupParser({
    head: (read) => {
      head = read;
    },
    piece: () => undefined,
  });
  let shownMs = 0;
  for await (const bytes of piecesOf(reply, url)) {
    parser.feed(bytes);
    write(bytes);
    const now = performance.now();
    if (head === undefined || now - shownMs < PROGRESS_MS) continue;
    shownMs = now;
    voice.progress(`${megabytes(parser.position)} of ${megabytes(partBytes(head))}`);
  }
  voice.progress("");
  parser.end();
  if (head === undefined) throw new FileError("damaged", "A backup without a head is no backup");
  return head;
}

/** The body of a reply; what breaks off is the node's doing. */
async function* piecesOf(reply: Response, url: URL): AsyncGenerator<Uint8Array> {
  try {
    yield* reply.body ?? [];
  } catch (error) {
    throw unavailable(url, ACT, error);
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
