// The small files at start: reads who the node is, what it has promised and which files live, or refuses by name.
// Missing or damaged metadata is never a reason to touch data.

import { assert } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";
import { aloneAs, type Membership } from "../model/cluster.ts";
import type { Files } from "./disk.ts";
import { FORMAT_VERSION, fileName, parseFileName } from "./format.ts";
import { replaceFile } from "./jobs.ts";
import {
  decodeChecked,
  EMPTY_MANIFEST,
  encodeChecked,
  encodeStateSlot,
  type HardState,
  MANIFEST_FILE,
  type Manifest,
  META_FILE,
  type Meta,
  readState,
  readWhole,
  SET_ASIDE_FILE,
  STATE_FILE,
  STATE_SLOT_BYTES,
  stateSlotPosition,
} from "./metadata.ts";
/** The log is damaged below what was durable. */
export const corrupt = (message: string): FatalError =>
  new FatalError("log_corrupt", `${message}. Nothing was changed; look at it with: ayder inspect`);

/** The directory cannot be used as it is. */
export const unusable = (message: string): FatalError => new FatalError("data_unusable", message);

/** What has to be known to make a directory into a node's. */
interface IdentityOptions {
  readonly nodeId: string;
  /** 32 random hexadecimal digits. */
  readonly randomId: () => string;
  /** An empty directory becomes a cluster of one; otherwise it waits until it is told which cluster it belongs to. */
  readonly startsAlone: boolean;
}

/** Who this node is and what it has promised. */
export interface Identity {
  readonly meta: Meta;
  readonly hardState: HardState;
  readonly stateCounter: number;
}

/** The membership of a node that belongs to no cluster. */
const NOBODY: Membership = {
  epoch: 0,
  voters: [],
  outgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
  members: [],
};

/** Reads who this node is; an empty directory is made into one. Throws `FatalError`, `FileError`. */
export function openIdentity(files: Files, options: IdentityOptions): Identity {
  const metaBytes = readWhole(files, META_FILE);
  if (metaBytes === undefined) return createIdentity(files, options);
  const meta = decodeChecked(metaBytes) as Meta | undefined;
  if (meta === undefined) throw unusable(`Cannot read ${META_FILE}: its checksum does not hold`);
  if (meta.format !== FORMAT_VERSION) {
    throw new FatalError(
      "data_format",
      `Cannot open a data directory of format ${meta.format}: this program reads format ${FORMAT_VERSION}`,
    );
  }
  if (meta.nodeId !== options.nodeId) {
    throw new FatalError(
      "data_foreign",
      `Cannot open a data directory of node ${meta.nodeId} as node ${options.nodeId}`,
    );
  }
  const stateBytes = readWhole(files, STATE_FILE);
  const slot = stateBytes && readState(stateBytes);
  // A node whose promises are unreadable must not go on as if it had made none.
  if (slot === undefined)
    throw unusable(`Cannot read ${STATE_FILE}: it is missing, or both of its slots are damaged`);
  return { meta, hardState: slot.state, stateCounter: slot.counter };
}

/** An empty directory: state and manifest first, `meta.json` last, so that it says that the rest is there. */
function createIdentity(files: Files, options: IdentityOptions): Identity {
  const found = files.list().filter((name) => parseFileName(name) !== undefined);
  if (found.length > 0) {
    // Missing metadata is never a reason to touch data.
    throw unusable(
      `Cannot start: ${META_FILE} is missing, yet there is data, such as ${found.sort()[0]}`,
    );
  }
  const { nodeId, startsAlone, randomId } = options;
  const incarnation = randomId();
  const membership = startsAlone ? aloneAs(nodeId, incarnation) : NOBODY;
  const hardState = { term: 0, vote: "", commitIndex: 0, configurationIndex: 0, membership };
  writeState(files, 1, hardState);
  replaceFile(files, MANIFEST_FILE, encodeChecked(EMPTY_MANIFEST));
  const clusterId = startsAlone ? randomId() : "";
  const meta: Meta = { format: FORMAT_VERSION, nodeId, clusterId, incarnation };
  replaceFile(files, META_FILE, encodeChecked(meta));
  return { meta, hardState, stateCounter: 1 };
}

/** Makes a directory, whose log is complete, into that of a node: what it has promised first, its name last. */
export function writeIdentity(
  files: Files,
  node: Omit<Meta, "format"> & { readonly hardState: HardState },
): void {
  const { nodeId, clusterId, incarnation, hardState } = node;
  writeState(files, 1, hardState);
  const meta: Meta = { format: FORMAT_VERSION, nodeId, clusterId, incarnation };
  replaceFile(files, META_FILE, encodeChecked(meta));
}

/** A `state` file with one slot in it, in the place of what was there. */
function writeState(files: Files, counter: number, hardState: HardState): void {
  const slots = new Uint8Array(2 * STATE_SLOT_BYTES);
  slots.set(encodeStateSlot(counter, hardState), stateSlotPosition(counter));
  replaceFile(files, STATE_FILE, slots);
}

/** Makes a node without a cluster a member of one: its members first, then the name, which says that they are there. */
export function joinCluster(
  files: Files,
  identity: Identity,
  clusterId: string,
  membership: Membership,
): Identity {
  assert(identity.meta.clusterId === "", "A node joins one cluster in its life");
  const hardState = { ...identity.hardState, membership };
  const stateCounter = identity.stateCounter + 1;
  // Whole, not slot by slot: the slot that was read may lie in memory only, after a sync that failed, and this one would
  // go over the other.
  writeState(files, stateCounter, hardState);
  const meta = { ...identity.meta, clusterId };
  replaceFile(files, META_FILE, encodeChecked(meta));
  files.remove(SET_ASIDE_FILE);
  return { meta, hardState, stateCounter };
}

/** Whether this node had data and was not filled since: it is not as empty as it looks, and may found nothing. */
export const hasSetAside = (files: Files): boolean => files.size(SET_ASIDE_FILE) !== undefined;

/** Moves everything that a node has into `quarantine/`, so that its peers can fill it again. Nothing is deleted. */
export function setAside(files: Files): void {
  replaceFile(files, SET_ASIDE_FILE, encodeChecked({}));
  // The name goes last: until then the next start finds the rest unusable, and sets it aside as well.
  const names = files
    .list()
    .filter(
      (name) => parseFileName(name) !== undefined || name === STATE_FILE || name === MANIFEST_FILE,
    );
  for (const name of names.sort()) files.quarantine(name);
  if (files.size(META_FILE) !== undefined) files.quarantine(META_FILE);
}

/** Which files live. Refuses a manifest that notes damage. */
export function readManifest(files: Files): Manifest {
  const bytes = readWhole(files, MANIFEST_FILE);
  const manifest = bytes && (decodeChecked(bytes) as Manifest | undefined);
  if (manifest === undefined)
    throw unusable(`Cannot read ${MANIFEST_FILE}: it is missing, or its checksum does not hold`);
  if (manifest.damage !== null) throw corrupt(`Cannot start on a damaged log: ${manifest.damage}`);
  return manifest;
}

/**
 * Removes what cut-off jobs left and what the manifest has replaced: nothing that cannot be derived again. An archive that
 * it does not know is set aside.
 */
export function removeLeftovers(files: Files, manifest: Manifest): void {
  const known = new Set([META_FILE, MANIFEST_FILE, STATE_FILE]);
  for (const { sequence } of manifest.archives) {
    known.add(fileName(sequence, "archive"));
    known.add(fileName(sequence, "index"));
  }
  if (manifest.base !== null) known.add(fileName(manifest.base.sequence, "base"));
  for (const segment of manifest.segments) {
    known.add(fileName(segment.sequence, "log"));
    if (segment.isDerived) known.add(fileName(segment.sequence, "index"));
    if (segment.isDerived && segment.lastIndex > (manifest.base?.lastIndex ?? 0))
      known.add(fileName(segment.sequence, "delta"));
  }
  const leftovers = files.list().filter((name) => {
    const kind = parseFileName(name)?.kind;
    return (
      name.endsWith(".tmp") ||
      ((kind === "index" || kind === "delta" || kind === "base") && !known.has(name))
    );
  });
  for (const name of files.list())
    if (parseFileName(name)?.kind === "archive" && !known.has(name)) files.quarantine(name);
  for (const name of leftovers) files.remove(name);
  if (leftovers.length > 0) files.syncDirectory();
}
