// `ayder restore <file> <data-dir>`: makes a data directory of a backup, for a new cluster of one. Nothing of the backup is
// believed before its checksum held, and a directory that is not finished never starts.

import { closeSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { NODE_ID, NODE_ID_RANGE } from "../config/mod.ts";
import { attempt, NodeFiles } from "../io/mod.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { BackupParser, FileError, Restore } from "../log/mod.ts";
import { asBackupFailure } from "./backup.ts";
import { usageOf } from "./help.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

const MAKE_DIRECTORY = { recursive: true, mode: 0o700 } as const;
const READ_BYTES = 1 << 20;
const PROGRESS_PASSES = 64;

/** Opens a data directory as a node would, and tells what it holds. */
export type StateOf = (
  directory: string,
  nodeId: string,
) => Promise<{ readonly appliedIndex: number; readonly hash: string }>;

/** Restores one backup. Returns the exit status; throws why there is no directory. */
export async function restore(
  given: Given<"restore">,
  stateOf: StateOf,
  voice: Voice,
): Promise<number> {
  const { "node-id": nodeId, json } = given.values;
  const [file = "", path = ""] = given.words;
  if (!NODE_ID.test(nodeId))
    throw new FatalError(
      "invalid_arguments",
      `--node-id ${nodeId}: it is ${NODE_ID_RANGE}\n${usageOf("restore")}`,
    );
  const directory = resolve(path);
  const descriptor = attempt(`read ${file}`, () => openSync(file, "r"));
  try {
    attempt(`make ${directory}`, () => mkdirSync(directory, MAKE_DIRECTORY));
    if (attempt(`list ${directory}`, () => readdirSync(directory)).length > 0)
      throw new FatalError("data_unusable", `Cannot restore into ${directory}: it is not empty`);
    const made = await make({ file, descriptor, directory, nodeId, stateOf, voice });
    voice.print(
      json
        ? JSON.stringify({
            ok: true,
            applied_index: made.appliedIndex,
            state_hash: made.hash,
            node_id: nodeId,
          })
        : `Restored ${directory} for ${nodeId}: index ${made.appliedIndex}, state hash ${made.hash}`,
    );
    return EXIT_CODES.ok;
  } finally {
    closeSync(descriptor);
  }
}

/** What is made of what, by whom. */
interface Making {
  readonly file: string;
  readonly descriptor: number;
  /** Empty. */
  readonly directory: string;
  readonly nodeId: string;
  readonly stateOf: StateOf;
  readonly voice: Voice;
}

/** Fills the directory, or leaves it empty. Returns the state that a node found in it. */
async function make(making: Making): Promise<Awaited<ReturnType<StateOf>>> {
  const { directory, nodeId, stateOf } = making;
  try {
    const expected = build(making);
    const state = await stateOf(directory, nodeId);
    const { appliedIndex, hash } = state;
    if (appliedIndex !== expected.index || (expected.hash !== null && hash !== expected.hash))
      throw new FileError(
        "damaged",
        `Cannot use the backup: its state at index ${expected.index} has the hash ${expected.hash}, what was made of it ${hash} at ${appliedIndex}`,
      );
    return state;
  } catch (error) {
    for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    throw asBackupFailure(error);
  }
}

/** Reads the file and makes the directory. Returns what its state must be. */
function build({ file, descriptor, directory, nodeId, voice }: Making): {
  readonly index: number;
  readonly hash: string | null;
} {
  const randomId = (): string => crypto.getRandomValues(new Uint8Array(16)).toHex();
  const restored = new Restore(new NodeFiles(directory), { nodeId, randomId });
  const parser = new BackupParser(restored);
  const memory = new Uint8Array(READ_BYTES);
  for (let passes = 1; ; passes++) {
    const count = attempt(`read ${file}`, () =>
      readSync(descriptor, memory, 0, memory.length, null),
    );
    if (count === 0) break;
    parser.feed(memory.subarray(0, count));
    if (passes % PROGRESS_PASSES === 0)
      voice.progress(`${(parser.position / 1e6).toFixed(0)} MB read`);
  }
  parser.end();
  voice.progress("");
  const { applied, stateHash } = restored.finish();
  return { index: applied.index, hash: stateHash };
}
