// The table of commands: what is read by it, what is said of what is wrong, and that help and reference come from it.

import { describe, expect, test } from "bun:test";
import { helpOf, usageOf } from "../../../src/cli/help.ts";
import { allOptionsOf } from "../../../src/cli/lookup.ts";
import { parseArguments, parseCommand, partArguments } from "../../../src/cli/parse.ts";
import { describeCommands } from "../../../src/cli/reference.ts";
import { COMMAND_LIST, type COMMANDS } from "../../../src/cli/table.ts";
import { styleOf, tableOf } from "../../../src/cli/terminal.ts";

const PLAIN = styleOf(false, {});

const wrongWith = (...[name, ...argv]: [keyof typeof COMMANDS, ...string[]]): string => {
  const given = parseArguments(name, argv);
  return given.ok ? "" : given.error;
};

describe("parseCommand()", () => {
  test.each([
    ["", "serve", ""],
    ["--port 0", "serve", "--port 0"],
    ["serve --port 0", "serve", "--port 0"],
    ["--version", "version", ""],
    ["version --verbose", "version", "--verbose"],
  ])("reads %p as %s", (line, name, rest) => {
    const command = parseCommand(line.split(" ").filter((word) => word !== ""));

    expect(command).toEqual({
      ok: true,
      value: {
        name: name as "serve",
        argv: rest.split(" ").filter((word) => word !== ""),
        isHelp: false,
      },
    });
  });

  test("names the nearest command", () => {
    expect(parseCommand(["insepct", "x"])).toEqual({
      ok: false,
      error: "Unknown command insepct: the nearest is inspect. Try: ayder help",
    });
  });

  test("sees that help is asked for, of what and in which form", () => {
    for (const argv of [["--help"], ["-h"]])
      expect(parseCommand(argv)).toMatchObject({ value: { name: "help", isHelp: true } });
    expect(parseCommand(["backup", "--help"])).toMatchObject({
      value: { name: "backup", isHelp: true },
    });
    expect(parseCommand(["--port", "1", "-h"])).toMatchObject({
      value: { name: "serve", isHelp: true },
    });
  });
});

describe("parseArguments()", () => {
  test("gives numbers, texts, switches and words, with what they are when left out", () => {
    const given = parseArguments("bench", ["--seconds=3", "http://h", "--json", "--token", "t"]);

    expect(given).toEqual({
      ok: true,
      value: {
        values: {
          mode: "produce",
          connections: 64,
          seconds: 3,
          warmup: 1,
          rate: undefined,
          bytes: 64,
          batch: 100,
          token: "t",
          ca: undefined,
          json: true,
        },
        words: ["http://h"],
      },
    });
  });

  test("names the nearest option", () => {
    expect(wrongWith("backup", "u", "f", "--tokne", "x")).toContain(
      "Unknown option --tokne: the nearest is --token",
    );
    expect(wrongWith("backup", "u", "f", "-t")).toContain("Unknown option -t");
  });

  test.each([
    ["bench http://h --seconds 0", "--seconds 0: it is a whole number from 1 to 86400"],
    ["bench http://h --seconds 1e3", "--seconds 1e3: it is"],
    ["bench http://h --mode x", "--mode x: it is produce, batch, consume or tail"],
    ["bench http://h --json=1", "--json takes no value"],
    ["bench http://h --token", "--token wants its TOKEN"],
    ["bench http://h --token --json", "--token wants its TOKEN"],
    ["bench", "<url> is missing"],
    ["bench localhost:1109", "<url> localhost:1109: it is an http or https address"],
    ["bench http://h b", "b is one word too many"],
    ["completion tcsh", "<shell> tcsh: it is bash, zsh or fish"],
    ["certs --out x", "--nodes IDS is missing"],
  ])("says what is wrong with %p", (line, problem) => {
    const [name = "", ...argv] = line.split(" ");

    const message = wrongWith(name as "bench", ...argv);

    expect(message).toContain(problem);
    expect(message).toContain(`Usage: ayder ${name}`);
  });

  test("says everything that is wrong at once", () => {
    expect(wrongWith("bench", "http://h", "--rate", "x", "--sec=1").split("\n")).toHaveLength(3);
  });

  test("takes a value that looks like an option behind a =", () => {
    expect(parseArguments("backup", ["http://h", "f", "--token=--x"])).toMatchObject({
      value: { values: { token: "--x" } },
    });
  });
});

test.each([
  ["--json --port 1", "--json", "--port 1"],
  ["--port 1 --ca file --data d", "--ca file", "--port 1 --data d"],
  ["--ca=file --port=1", "--ca=file", "--port=1"],
  ["--ca", "--ca", ""],
  ["--nonsense x", "", "--nonsense x"],
])(
  "partArguments() gives a command %p its own, and the rest to the configuration",
  (line, own, settings) => {
    const words = (text: string): string[] => text.split(" ").filter((word) => word !== "");

    expect(partArguments("healthcheck", words(line))).toEqual({
      own: words(own),
      settings: words(settings),
    });
  },
);

describe("help", () => {
  test.each(COMMAND_LIST)("of %s has a usage line, every option and an example", (name, facts) => {
    const help = helpOf(name, PLAIN);

    expect(help).toContain(usageOf(name));
    for (const option of Object.keys(allOptionsOf(name))) expect(help).toContain(`--${option}`);
    expect(facts.examples.length).toBeGreaterThan(0);
    for (const { line } of facts.examples) expect(help).toContain(line);
  });

  test("every command but the node itself has --json", () => {
    const without = COMMAND_LIST.filter(([, { options }]) => options["json"] === undefined);

    expect(without.map(([name]) => name)).toEqual(["serve"]);
  });

  test("docs/reference/command-line.md is what the table says", async () => {
    expect(await Bun.file("docs/reference/command-line.md").text()).toBe(describeCommands());
  });
});

describe("terminal", () => {
  test("colours are for terminals, and not where NO_COLOR is set", () => {
    expect(styleOf(true, {}).bold("x")).toBe("\x1b[1mx\x1b[0m");
    expect(styleOf(true, { NO_COLOR: "" }).bold("x")).toBe("\x1b[1mx\x1b[0m");
    for (const [isTerminal, env] of [
      [false, {}],
      [true, { NO_COLOR: "1" }],
      [true, { TERM: "dumb" }],
    ] as const)
      expect(styleOf(isTerminal, env).bold("x")).toBe("x");
  });

  test("tables are as wide as their widest cells, with numbers to the right", () => {
    expect(
      tableOf(
        ["name", "n", "why"],
        [
          ["a", 1, "x"],
          ["longer", 100, "yy"],
        ],
        PLAIN,
      ),
    ).toEqual(["name      n  why", "a         1  x", "longer  100  yy"]);
  });
});
