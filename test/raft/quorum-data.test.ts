// The arithmetic of majorities against the published tables of another implementation, every directive of them.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Configuration } from "../../src/raft/mod.ts";
import { quorumIndex, voteOutcome } from "../../src/raft/quorum.ts";
import { type Directive, parseDataFile } from "./data-file.ts";
import { NOBODY } from "./driver.ts";

const FOLDER = join(import.meta.dir, "../../../shared/data/etcd-raft/quorum/testdata");
const isAbsent = !existsSync(FOLDER);
const files = isAbsent ? ["(the data is not here)"] : readdirSync(FOLDER).sort();

describe("quorum tables", () => {
  test.skipIf(isAbsent).each(files)("%s", async (file) => {
    const directives = parseDataFile(await Bun.file(join(FOLDER, file)).text());
    expect(directives.length).toBeGreaterThan(5);
    for (const directive of directives)
      expect(`${directive.line}: ${answer(directive)}`).toBe(
        `${directive.line}: ${directive.expected}`,
      );
  });
});

function answer(directive: Directive): string {
  const { name, values } = directive;
  const voters = values.get("cfg") ?? [];
  const outgoing = (values.get("cfgj") ?? []).filter((nodeId) => nodeId !== "zero");
  const configuration: Configuration = { ...NOBODY, voters, outgoing };
  const mirrored: Configuration = { ...NOBODY, voters: outgoing, outgoing: voters };
  const nodeIds = [...new Set([...voters, ...outgoing])];
  if (name === "vote") {
    const words = values.get("votes") ?? [];
    const votes = new Map(nodeIds.map((nodeId, i) => [nodeId, words[i]] as const));
    const voteOf = (nodeId: string): boolean | undefined =>
      ({ y: true, n: false })[votes.get(nodeId) ?? "_"];
    const outcome = voteOutcome(configuration, voteOf);
    expect(voteOutcome(mirrored, voteOf)).toBe(outcome);
    return `Vote${outcome[0]?.toUpperCase()}${outcome.slice(1)}`;
  }
  const words = values.get("idx") ?? [];
  const indexes = new Map(nodeIds.map((nodeId, i) => [nodeId, words[i] ?? "_"] as const));
  const matchOf = (nodeId: string): number => Number(indexes.get(nodeId)?.replace("_", "0"));
  const index = quorumIndex(configuration, matchOf);
  expect(quorumIndex(mirrored, matchOf)).toBe(index);
  const result = index === Number.POSITIVE_INFINITY ? "∞" : String(index);
  return `${draw(indexes)}${result}`;
}

/** The picture that the tables have: a bar per voter, as long as there are voters with a lower index. */
function draw(indexes: ReadonlyMap<string, string>): string {
  if (indexes.size === 0) return "<empty majority quorum>";
  const rows = [...indexes].map(([nodeId, word]) => ({
    nodeId: Number(nodeId),
    isKnown: word !== "_",
    index: Number(word.replace("_", "0")),
  }));
  rows.sort((left, right) => left.nodeId - right.nodeId);
  const width = rows.length;
  const lines = rows.map(({ nodeId, isKnown, index }) => {
    const bar = rows.filter((other) => other.index < index).length;
    const mark = isKnown ? `${"x".repeat(bar)}>`.padEnd(width + 1) : "?".padEnd(width + 1);
    return `${mark} ${String(index).padStart(5)}    (id=${nodeId})\n`;
  });
  return `${" ".repeat(width)}    idx\n${lines.join("")}`;
}
