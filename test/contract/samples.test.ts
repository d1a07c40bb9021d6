// Runs every sample of the documents: each `sh` block as it stands, against a node, in order, and compares what it prints
// with the `json` block behind it. A sample that nobody runs is a sample that is wrong.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { program, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const DOCUMENTS = [
  "README.md",
  "docs/start.md",
  "docs/reference/http.md",
  "docs/reference/command-line.md",
  "docs/concepts/streams.md",
  "docs/operating/backup.md",
  "docs/operating/deploy.md",
  "docs/operating/prove.md",
];
/** Fields whose values depend on the moment; they must be there. */
const VOLATILE = new Set([
  "timestamp_ms",
  "batch_id",
  "last_synced_batch_id",
  "message",
  "docs",
  "topic_id",
  "sealed_bytes_after",
  "applied_index",
  "hash",
  "ttl_ms",
  "advertise_addr",
  "http_addr",
  "backup_bytes",
  "state_hash",
]);

interface Sample {
  readonly script: string;
  /** Replies that are documented behind it, one per line. */
  readonly replies: readonly unknown[];
}

/** The `sh` blocks of a document, each with the `json` block that follows it directly. */
function samplesOf(text: string): Sample[] {
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, kind, body]) => ({
    kind,
    body: body ?? "",
  }));
  return blocks.flatMap(({ kind, body }, i) => {
    if (kind !== "sh") return [];
    const next = blocks[i + 1];
    const lines = next?.kind === "json" ? next.body.trim().split("\n") : [];
    return [{ script: body, replies: lines.map((line) => JSON.parse(line)) }];
  });
}

/** The same value with what depends on the moment replaced by its kind. */
function steady(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(steady);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      VOLATILE.has(key) ? typeof item : steady(item),
    ]),
  );
}

describe("documents", () => {
  for (const document of DOCUMENTS) {
    test(`every sample of ${document} runs and prints what stands behind it`, async () => {
      const samples = samplesOf(await Bun.file(document).text());
      expect(samples.length).toBeGreaterThan(1);
      const directory = temporaryDirectory();
      await using node = await startNode({ dataDir: join(directory.path, "data") });
      // One shell for the whole document, so that a variable set in one block is there in the next.
      const parts = samples.map(({ script }) => `${script}\nprintf '\\n#end\\n'`);
      const words = program.map((word) => `'${word}'`).join(" ");
      const script = [`ayder() { ${words} "$@"; }`, ...parts]
        .join("\n")
        .replaceAll("localhost:1109", new URL(node.url).host)
        .replaceAll("curl ", "curl -sS -w '\\n' ");
      const shell = Bun.spawn(["bash", "-c", script], {
        stdout: "pipe",
        stderr: "pipe",
        cwd: directory.path,
      });
      const [printed, complaints] = await Promise.all([shell.stdout.text(), shell.stderr.text()]);
      expect(complaints).toBe("");

      const outputs = printed.split("\n#end\n");
      for (const [i, { script: shown, replies }] of samples.entries()) {
        if (replies.length === 0) continue;
        const got = (outputs[i] ?? "")
          .trim()
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line));
        expect({ shown, replies: got.map(steady) }).toEqual({
          shown,
          replies: replies.map(steady),
        });
      }
      directory.clean();
    }, 60_000);
  }
});
