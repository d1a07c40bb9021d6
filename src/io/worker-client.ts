// The serving thread's end of one disk worker: hands over work, takes the answers, notices when the worker is dead.

import { assert } from "../lib/assert.ts";
import { type DiskCompletion, FileError } from "../log/mod.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

/** One worker thread and what it still owes. */
export class WorkerClient {
  readonly #worker: Worker;
  readonly #onDone: (completion: DiskCompletion) => void;
  /** Tokens of work that is not answered yet, oldest first. */
  #owed: number[] = [];
  #death: FileError | undefined;
  readonly #isGone: Promise<void>;
  #whenIdle: (() => void) | undefined;

  /**
   * @param use Jobs yield to the thread that serves; nothing goes before appends.
   * @param onDone Gets every outcome, in the order of the work, never from inside a method of this class.
   */
  constructor(
    directory: string,
    use: "appends" | "jobs",
    onDone: (completion: DiskCompletion) => void,
  ) {
    this.#onDone = onDone;
    // A plain string would work from source and fail in the compiled binary.
    this.#worker = new Worker(new URL("./disk-worker.ts", import.meta.url).href);
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#answered(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#died(event.message);
    };
    this.#isGone = new Promise((resolve) => {
      this.#worker.addEventListener("close", () => {
        this.#died("it ended");
        resolve();
      });
    });
    this.tell({ kind: "start", directory, yields: use === "jobs" });
  }

  /** Work that is not answered yet. */
  get owed(): number {
    return this.#owed.length;
  }

  /** Says something that has no answer. */
  tell(message: Extract<ToWorker, { kind: "start" | "slab" }>): void {
    this.#worker.postMessage(message);
  }

  /** Hands over work. A dead worker's work fails, as if it had been tried. */
  hand(message: Extract<ToWorker, { kind: "append" | "job" }>): void {
    const { token } = message;
    this.#owed.push(token);
    if (this.#death === undefined) this.#worker.postMessage(message);
    else setImmediate(() => this.#failAll());
  }

  /** Waits for all answers, then ends the thread. */
  async close(): Promise<void> {
    if (this.#owed.length > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    this.#worker.terminate();
    await this.#isGone;
  }

  #answered({ token, failure, result }: FromWorker): void {
    const expected = this.#owed.shift();
    assert(expected === token, `The worker answered ${token}: expected ${expected}`);
    const error = failure && new FileError(failure.kind, failure.message);
    this.#done(result === undefined ? { token, error } : { token, error, result });
  }

  #died(why: string): void {
    this.#death ??= new FileError("io", `Cannot use the disk worker: ${why}`);
    this.#failAll();
  }

  #failAll(): void {
    const tokens = this.#owed;
    this.#owed = [];
    for (const token of tokens) this.#done({ token, error: this.#death });
  }

  #done(completion: DiskCompletion): void {
    this.#onDone(completion);
    if (this.#owed.length === 0) this.#whenIdle?.();
  }
}
