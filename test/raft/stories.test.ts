// The stories of another implementation, played on ours: what its logs, its progress and its messages were, ours are, line by
// line. What is left out, and why, stands in `README.md`.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Directive, parseDataFile } from "./data-file.ts";
import { Story } from "./story.ts";

const FOLDER = join(import.meta.dir, "../../../shared/data/etcd-raft/testdata");
const isAbsent = !existsSync(FOLDER);
const files = isAbsent ? ["(the data is not here)"] : readdirSync(FOLDER).sort();

/** Diagnostics of the other implementation. */
const DIAGNOSTICS = /^ *(INFO|DEBUG|WARN|ERROR) /;

describe("stories", () => {
  test.skipIf(isAbsent).each(files)("%s", async (file) => {
    const directives = parseDataFile(await Bun.file(join(FOLDER, file)).text());
    expect(directives.length).toBeGreaterThan(2);
    const story = new Story();
    // Where a disk works for itself, the two implementations talk to it in different words.
    const isAsync = file.startsWith("async_");
    const [ours, theirs] = [new DiskTalk(), new DiskTalk()];
    let isSilent = false;
    for (const directive of directives) {
      const actual = story.play(directive);
      if (directive.name === "log-level") isSilent = directive.words[0] === "none";
      const isHidden = isSilent || directive.values.get("log-level")?.[0] === "none";
      if (isHidden) continue;
      const expected = expectationOf(directive);
      const [left, right] = isAsync
        ? [ours.leaveOut(actual), theirs.leaveOut(expected)]
        : [actual, expected];
      expect(`${place(directive)}\n${left}`).toBe(`${place(directive)}\n${right}`);
    }
  });
});

const place = ({ line, name, words }: Directive): string => `${line}: ${name} ${words.join(" ")}`;

function expectationOf({ expected }: Directive): string {
  const lines = expected.split("\n").filter((line) => !DIAGNOSTICS.test(line));
  return lines.join("\n") === "ok" ? "" : lines.join("\n");
}

/** Leaves out what concerns a node and its own disk, and answers that repeat what was answered before. */
class DiskTalk {
  readonly #answered = new Map<string, number>();

  leaveOut(text: string): string {
    let lines = text
      .replace(/^ *> \d processing (append|apply) thread\n?(?: .*\n?)*/gm, "")
      .replace(/^Processing:\n(?:.*\n?)*/gm, "")
      .replace(/^( *)\S*->A\w+Thread .*\[\n(?:\1 .*\n)*\1\]\n?/gm, "")
      .replace(/^ *(?:\S*->A\w+Thread|A\w+Thread->| *(\d)->\1 ).*\n?/gm, "")
      .split("\n")
      .filter((line) => line !== "" && !this.#isRepeated(line));
    const isTitle = (line: string | undefined): boolean =>
      line === undefined || /^> |^ *Messages:$/.test(line);
    // A title with nothing left under it.
    lines = lines.filter((line, i) => !isTitle(line) || !isTitle(lines[i + 1]));
    return lines.join("\n");
  }

  #isRepeated(line: string): boolean {
    const [, way, index] = /^ *(\d->\d MsgAppResp Term:\d+) Log:0\/(\d+)$/.exec(line) ?? [];
    if (way === undefined) return false;
    const before = this.#answered.get(way) ?? 0;
    this.#answered.set(way, Math.max(before, Number(index)));
    return Number(index) <= before;
  }
}
