// `ayder restore <file> <data-dir>`: makes a data directory of a backup, for a new cluster of one. Nothing of the backup is
// believed before its checksum held, and a directory that is not finished never starts.

import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { NODE_ID, NODE_ID_RANGE } from "../config/mod.ts";
import { NodeFiles } from "../io/mod.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { BackupParser, FileError, Restore } from "../log/mod.ts";
import { usageOf } from "./help.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

const DIRECTORY_MODE = 0o700;
const READ_BYTES = 1 << 20;
const PROGRESS_PASSES = 64;

/** Opens a data directory as a node would, and tells what it holds. */
export type StateOf = (
  directory: string,
  nodeId: string,
) => Promise<{ readonly appliedIndex: number; readonly hash: string }>;

/** Restores one backup. Returns the exit status. */
export async function restore(
  given: Given<"restore">,
  stateOf: StateOf,
  voice: Voice,
): Promise<number> {
  const { "node-id": nodeId, json } = given.values;
  const [file = "", path = ""] = given.words;
  if (!NODE_ID.test(nodeId)) {
    voice.complain(`--node-id ${nodeId}: it is ${NODE_ID_RANGE}\n${usageOf("restore")}`);
    return EXIT_CODES.invalid_configuration;
  }
  const directory = resolve(path);
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    voice.print(`Cannot restore into ${directory}: it is not empty`);
    return EXIT_CODES.data_unusable;
  }
  try {
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
    const expected = build(file, directory, nodeId, voice);
    const { appliedIndex, hash } = await stateOf(directory, nodeId);
    const isSame =
      appliedIndex === expected.index && (expected.hash === null || hash === expected.hash);
    if (!isSame)
      throw new FileError(
        "damaged",
        `Cannot use the backup: its state at index ${expected.index} has the hash ${expected.hash}, what was made of it ${hash} at ${appliedIndex}`,
      );
    voice.print(
      json
        ? JSON.stringify({
            ok: true,
            applied_index: appliedIndex,
            state_hash: hash,
            node_id: nodeId,
          })
        : `Restored ${directory} for ${nodeId}: index ${appliedIndex}, state hash ${hash}`,
    );
    return EXIT_CODES.ok;
  } catch (error) {
    voice.progress("");
    // It was empty, and what was made of the backup is of no use.
    if (existsSync(directory))
      for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    voice.print(error instanceof Error ? error.message : String(error));
    return statusOf(error);
  }
}

function statusOf(error: unknown): number {
  if (error instanceof FatalError) return EXIT_CODES[error.reason];
  if (!(error instanceof FileError)) return EXIT_CODES.unexpected;
  if (error.kind === "damaged") return EXIT_CODES.backup_damaged;
  return error.kind === "no_space" ? EXIT_CODES.disk_full : EXIT_CODES.unexpected;
}

/** Reads the file and makes the directory. Returns what its state must be. */
function build(
  file: string,
  directory: string,
  nodeId: string,
  voice: Voice,
): { readonly index: number; readonly hash: string | null } {
  const randomId = (): string => crypto.getRandomValues(new Uint8Array(16)).toHex();
  const restored = new Restore(new NodeFiles(directory), { nodeId, randomId });
  const parser = new BackupParser(restored);
  const descriptor = openSync(file, "r");
  try {
    const memory = new Uint8Array(READ_BYTES);
    for (let passes = 1; ; passes++) {
      const count = readSync(descriptor, memory, 0, memory.length, null);
      if (count === 0) break;
      parser.feed(memory.subarray(0, count));
      if (passes % PROGRESS_PASSES === 0)
        voice.progress(`${(parser.position / 1e6).toFixed(0)} MB read`);
    }
    parser.end();
  } finally {
    closeSync(descriptor);
  }
  voice.progress("");
  const { applied, stateHash } = restored.finish();
  return { index: applied.index, hash: stateHash };
}
