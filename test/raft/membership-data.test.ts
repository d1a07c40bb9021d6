// Changes of configuration against the published tables of another implementation, every directive of them.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  type Configuration,
  type ConfigurationChange,
  changeSimply,
  enterJoint,
  leaveJoint,
  membersOf,
} from "../../src/raft/mod.ts";
import { type Directive, parseDataFile } from "./data-file.ts";
import { describeConfiguration, parseChanges } from "./describe.ts";
import { NOBODY } from "./driver.ts";

const FOLDER = join(import.meta.dir, "../../../shared/data/etcd-raft/confchange/testdata");
const isAbsent = !existsSync(FOLDER);
const files = isAbsent ? ["(the data is not here)"] : readdirSync(FOLDER).sort();

/** The same refusals in the words of the tables. */
const REFUSALS: Record<string, string> = {
  "A joint configuration cannot be changed, only left":
    "can't apply simple config change in joint config",
  "More than one voter changes, which takes a joint configuration":
    "more than one voter changed without entering joint config",
  "The configuration is joint already": "config is already joint",
  "A configuration without voters cannot be joint": "can't make a zero-voter config joint",
  "The configuration is not joint": "can't leave a non-joint config",
  "No voter would be left": "removed all voters",
};

describe("membership tables", () => {
  test.skipIf(isAbsent).each(files)("%s", async (file) => {
    const directives = parseDataFile(await Bun.file(join(FOLDER, file)).text());
    expect(directives.length).toBeGreaterThan(0);
    const table = new Table();
    for (const directive of directives)
      expect(`${directive.line}: ${table.answer(directive)}`).toBe(
        `${directive.line}: ${directive.expected}`,
      );
  });
});

/** A configuration and, per member, the next index that it began with: the number of the directive that brought it. */
class Table {
  #configuration: Configuration = NOBODY;
  #nextIndexes = new Map<string, number>();
  #count = 0;

  answer(directive: Directive): string {
    const lastIndex = this.#count;
    this.#count += 1;
    const changed = this.#change(directive, parseChanges(directive.input.join(" ")));
    if (!changed.ok) return REFUSALS[changed.error] ?? changed.error;
    this.#configuration = changed.value;
    const before = this.#nextIndexes;
    this.#nextIndexes = new Map(
      membersOf(changed.value).map((nodeId) => [
        nodeId,
        before.get(nodeId) ?? Math.max(lastIndex, 1),
      ]),
    );
    return this.#describe();
  }

  #change(directive: Directive, changes: readonly ConfigurationChange[]) {
    switch (directive.name) {
      case "simple":
        return changeSimply(this.#configuration, changes);
      case "enter-joint":
        return enterJoint(
          this.#configuration,
          changes,
          directive.values.get("autoleave")?.[0] === "true",
        );
      case "leave-joint":
        return leaveJoint(this.#configuration);
      default:
        throw new Error(`Unknown directive ${directive.name}`);
    }
  }

  #describe(): string {
    const lines = [...this.#nextIndexes]
      .sort(([left], [right]) => Number(left) - Number(right))
      .map(([nodeId, nextIndex]) => {
        const learner = this.#configuration.learners.includes(nodeId) ? " learner" : "";
        return `${nodeId}: StateProbe match=0 next=${nextIndex}${learner}`;
      });
    return [describeConfiguration(this.#configuration), ...lines].join("\n");
  }
}
