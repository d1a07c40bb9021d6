// A client of a topic that is in memory only, on a cluster: whatever happens to its records, no offset is given twice.

import { recordValues } from "./node-oracle.ts";

const TOPIC = "rocket";
const PARTITIONS = 2;
const PAUSE_MS = 20;

/** Sends a request to whoever leads; undefined: nobody knows what became of it. */
type Send = (
  method: string,
  path: string,
  body: string,
) => Promise<
  | {
      readonly status: number;
      readonly fields: { readonly first_offset?: number; readonly offset?: number };
    }
  | undefined
>;

/** Writes to the topic while others do other things. */
export class ClusterRocket {
  /** Offsets that were given twice, in words. */
  readonly faults: string[] = [];
  given = 0;
  readonly #seen = Array.from({ length: PARTITIONS }, () => new Set<number>());
  #requests = 0;

  /** What makes the topic. */
  readonly shape = { name: TOPIC, partitions: PARTITIONS, mode: "rocket" } as const;

  async run(send: Send, isStopping: () => boolean): Promise<void> {
    while (!isStopping()) {
      const request = this.#requests++;
      const partition = request % PARTITIONS;
      const count = 1 + (request % 7);
      const path = `/broker/topics/${TOPIC}/produce-ndjson?partition=${partition}`;
      const reply = await send("POST", path, recordValues(`m${request}`, count, 60).join("\n"));
      const first = reply?.status === 200 ? reply.fields.first_offset : undefined;
      for (let place = 0; first !== undefined && place < count; place++) {
        const seen = this.#seen[partition];
        const offset = first + place;
        if (seen?.has(offset) === true)
          this.faults.push(`rocket: offset ${offset} of ${partition} was given twice`);
        seen?.add(offset);
        this.given += 1;
      }
      await Bun.sleep(PAUSE_MS);
    }
  }
}
