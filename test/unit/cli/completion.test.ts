// Completion as the shells themselves do it. A shell that is not on this machine is skipped by its name.

import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { completionOf } from "../../../src/cli/completion.ts";
import { flagsOf } from "../../../src/cli/lookup.ts";
import { BENCH_MODES, COMMAND_LIST, SHELLS } from "../../../src/cli/table.ts";

const NAMES = COMMAND_LIST.map(([name]) => name);

/** Runs a shell's script, with the completion beside it as `$1`. */
function run(shell: (typeof SHELLS)[number], script: string, ...words: string[]): string[] {
  const directory = mkdtempSync(join(tmpdir(), "ayder-completion-"));
  try {
    const path = join(directory, "completion");
    writeFileSync(path, completionOf(shell));
    writeFileSync(join(directory, "some.backup"), "");
    const { stdout, stderr, exitCode } = Bun.spawnSync(
      [shell, "-c", script, shell, path, ...words],
      {
        cwd: directory,
        // Nothing of the user's own settings.
        env: { PATH: process.env["PATH"] ?? "", HOME: directory },
      },
    );
    expect(stderr.toString()).toBe("");
    expect(exitCode).toBe(0);
    return stdout
      .toString()
      .split("\n")
      .filter((line) => line !== "");
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What bash offers behind these words; the last one is what is being typed. */
const bash = (...words: string[]): string[] =>
  run(
    "bash",
    `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ayder; printf "%s\\n" "\${COMPREPLY[@]}"`,
    ...words,
  );

const has = (shell: string): boolean => Bun.which(shell) !== null;

describe.if(has("bash"))("bash", () => {
  test("offers commands first, and those that begin like it", () => {
    expect(bash("ayder", "")).toEqual(NAMES);
    expect(bash("ayder", "ben")).toEqual(["bench"]);
  });

  test.each(NAMES)(
    "offers the options of %s, and those of the node where no command is said",
    (name) => {
      expect(bash("ayder", name, "--")).toEqual([...flagsOf(name)]);
      expect(bash("ayder", "--")).toEqual([...flagsOf("serve")]);
    },
  );

  test("offers the values of an option, also behind a =", () => {
    expect(bash("ayder", "bench", "--mode", "")).toEqual([...BENCH_MODES]);
    expect(bash("ayder", "bench", "--mode", "=", "b")).toEqual(["batch"]);
    expect(bash("ayder", "bench", "--mode", "=")).toEqual([...BENCH_MODES]);
    expect(bash("ayder", "bench", "--token", "")).toEqual([]);
  });

  test("offers what the place of a word takes, whatever options stand before it", () => {
    expect(bash("ayder", "completion", "")).toEqual([...SHELLS]);
    expect(bash("ayder", "help", "ins")).toEqual(["inspect"]);
    expect(bash("ayder", "backup", "--token", "x", "http://h", "some")).toEqual(["some.backup"]);
    expect(bash("ayder", "backup", "--token", "=", "x", "http://h", "some")).toEqual([
      "some.backup",
    ]);
    expect(bash("ayder", "restore", "some")).toEqual(["some.backup"]);
    expect(bash("ayder", "restore", "some.backup", "some")).toEqual([]);
  });
});

describe.if(has("zsh"))("zsh", () => {
  test("reads its script, and finds the function in it", () => {
    expect(
      run(
        "zsh",
        'autoload -Uz compinit; compinit -D -u; source "$1"; print -l $+functions[_ayder] $_comps[ayder]',
      ),
    ).toEqual(["1", "_ayder"]);
  });
});

describe.if(has("fish"))("fish", () => {
  const fish = (line: string): string[] =>
    run("fish", `source $argv[2]; complete -C "${line}"`).map(
      (found) => found.split("\t")[0] ?? "",
    );

  test("offers commands, options and values", () => {
    expect(fish("ayder ").sort()).toEqual([...NAMES].sort());
    expect(fish("ayder backup --").sort()).toEqual([...flagsOf("backup")].sort());
    expect(fish("ayder bench --mode ").sort()).toEqual([...BENCH_MODES].sort());
    expect(fish("ayder completion ").sort()).toEqual([...SHELLS].sort());
  });
});
