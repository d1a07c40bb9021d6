// The thread that may block: runs jobs for every disk, and appends for the disk without a ring.
// A worker entry: it is started by `worker-client.ts` and imported by nobody.

import { fdatasyncSync } from "node:fs";
import { setPriority } from "node:os";
import { assertNever } from "../lib/assert.ts";
import { FileError, type JobResult, runJob } from "../log/mod.ts";
import { asFileError, attempt } from "./file-errors.ts";
import { NodeFiles, writeFully } from "./files.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

declare const self: Worker;

/** A third of the weight of a thread that serves, where both want the same processor. */
const NICENESS = 5;

const slabs = new Map<number, Uint8Array>();
let files: NodeFiles | undefined;

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  switch (data.kind) {
    case "start":
      files = new NodeFiles(data.directory);
      if (data.yields) yieldToOthers();
      return;
    case "slab":
      slabs.set(data.slab, data.bytes);
      return;
    case "append":
      answer(data.token, `append to ${data.name}`, () => append(data));
      return;
    case "job":
      answer(data.token, `run the job ${data.job.kind}`, () => job(data));
      return;
    default:
      assertNever(data);
  }
};

/** On Linux the process 0 is this thread alone. A machine that does not allow it runs all threads alike. */
function yieldToOthers(): void {
  try {
    setPriority(0, NICENESS);
  } catch {}
}

function append(order: Extract<ToWorker, { kind: "append" }>): undefined {
  const { name, descriptor, start, end, position } = order;
  const bytes = slabs.get(order.slab);
  if (bytes === undefined) throw new FileError("io", `Cannot append to ${name}: unknown slab`);
  attempt(`write ${end - start} bytes at ${position} of ${name}`, () =>
    writeFully(descriptor, bytes, start, end, position),
  );
  attempt(`sync ${name}`, () => fdatasyncSync(descriptor));
}

function job(order: Extract<ToWorker, { kind: "job" }>): JobResult {
  if (files === undefined) throw new FileError("io", "Cannot run a job before the start");
  return runJob(files, order.job);
}

/** Answers whatever happens: an act without an answer would be waited for without end. */
function answer(token: number, act: string, run: () => JobResult | undefined): void {
  const reply = (message: FromWorker): void => self.postMessage(message);
  try {
    const result = run();
    reply(result === undefined ? { token } : { token, result });
  } catch (error) {
    const { kind, message } = asFileError(error, act);
    reply({ token, failure: { kind, message } });
  }
}
