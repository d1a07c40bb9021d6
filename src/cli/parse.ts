// Reads an argument list by the table: which command, and what its options and arguments are.

import { parseArgs } from "node:util";
import { nearestOf } from "../lib/nearest.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { usageOf } from "./help.ts";
import { flagsOf, isCommand, listOf, unknownCommand } from "./lookup.ts";
import type { CommandFacts, Option, Values } from "./option.ts";
import { COMMANDS, type CommandName } from "./table.ts";

/** What to do, and the arguments behind the command's name. */
export interface Command {
  readonly name: CommandName;
  readonly argv: readonly string[];
  /** The help of that command is asked for, not the command. */
  readonly isHelp: boolean;
}

/** Finds the command; a failure is what is wrong. */
export function parseCommand(argv: readonly string[]): Result<Command, string> {
  const [first = "serve", ...rest] = argv;
  const isHelp = argv.includes("--help") || argv.includes("-h");
  if (first.startsWith("-")) {
    if (first === "--version") return succeed({ name: "version", argv: rest, isHelp });
    const isOverview = first === "--help" || first === "-h";
    return succeed({ name: isOverview ? "help" : "serve", argv, isHelp });
  }
  if (!isCommand(first)) return fail(unknownCommand(first));
  return succeed({ name: first, argv: rest, isHelp });
}

/** The options of a command and the words that are none. */
export interface Given<Name extends CommandName> {
  readonly values: Values<(typeof COMMANDS)[Name]>;
  /** As many as there are arguments that must be there, at least. */
  readonly words: readonly string[];
}

/** Reads the arguments behind a command's name; a failure is everything that is wrong, in lines. */
export function parseArguments<Name extends CommandName>(
  name: Name,
  argv: readonly string[],
): Result<Given<Name>, string> {
  const facts: CommandFacts = COMMANDS[name];
  const read = readTokens(name, facts, argv);
  const problems = [...read.problems];
  const values: Record<string, boolean | number | string | undefined> = {};
  for (const [option, of] of Object.entries(facts.options)) {
    const text = read.values.get(option) ?? of.fallback;
    if (of.value === undefined) {
      values[option] = read.values.has(option);
    } else if (text === undefined) {
      if (of.isRequired) problems.push(`--${option} ${of.value} is missing`);
      values[option] = undefined;
    } else {
      const wrong = wrongOf(of, text);
      if (wrong !== undefined) problems.push(`--${option} ${text}: it is ${wrong}`);
      values[option] = of.range === undefined ? text : Number(text);
    }
  }
  problems.push(...wrongWords(facts, read.words));
  if (problems.length > 0) return fail([...problems, usageOf(name)].join("\n"));
  return succeed({ values: values as Values<(typeof COMMANDS)[Name]>, words: read.words });
}

/**
 * Parts the arguments of a command that takes the settings of a node, too: its own options, which this file reads, and what
 * is left for the configuration.
 */
export function partArguments(
  name: CommandName,
  argv: readonly string[],
): { readonly own: readonly string[]; readonly settings: readonly string[] } {
  const { options }: CommandFacts = COMMANDS[name];
  const own: string[] = [];
  const settings: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    const [flag = ""] = word.split("=");
    const option = Object.entries(options).find(([known]) => flag === `--${known}`)?.[1];
    (option === undefined ? settings : own).push(word);
    const isValueNext = option?.value !== undefined && word === flag && i + 1 < argv.length;
    if (isValueNext) own.push(argv[++i] ?? "");
  }
  return { own, settings };
}

interface Read {
  /** By name; a switch has an empty text. */
  readonly values: Map<string, string>;
  readonly words: string[];
  readonly problems: string[];
}

function readTokens(name: CommandName, facts: CommandFacts, argv: readonly string[]): Read {
  const options = Object.fromEntries(
    Object.entries(facts.options).map(
      ([option, { value }]) =>
        [option, { type: value === undefined ? "boolean" : "string" }] as const,
    ),
  );
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const read: Read = { values: new Map(), words: [], problems: [] };
  for (const token of tokens) {
    if (token.kind === "positional") read.words.push(token.value);
    if (token.kind !== "option") continue;
    const option = facts.options[token.name];
    const takesValue = option?.value !== undefined;
    if (option === undefined || !token.rawName.startsWith("--"))
      read.problems.push(unknownOption(name, token.rawName));
    else if (!takesValue && token.value !== undefined)
      read.problems.push(`${token.rawName} takes no value`);
    // What looks like an option is not taken for the value of another, unless it is written behind a `=`.
    else if (
      takesValue &&
      (token.value === undefined || (!token.inlineValue && token.value.startsWith("-")))
    )
      read.problems.push(`${token.rawName} wants its ${option.value}`);
    else read.values.set(token.name, token.value ?? "");
  }
  return read;
}

const unknownOption = (name: CommandName, option: string): string =>
  `Unknown option ${option}: the nearest is ${nearestOf(option, flagsOf(name))}`;

function wrongOf({ choices, range }: Option, text: string): string | undefined {
  if (choices !== undefined && !choices.includes(text)) return listOf(choices);
  if (range === undefined) return undefined;
  const [minimum, maximum] = range;
  const number = Number(text);
  const isRight = /^\d+$/.test(text) && number >= minimum && number <= maximum;
  return isRight ? undefined : `a whole number from ${minimum} to ${maximum}`;
}

function wrongWords(facts: CommandFacts, words: readonly string[]): readonly string[] {
  const problems: string[] = [];
  for (const [i, { name, isOptional, choices, isUrl }] of facts.arguments.entries()) {
    const word = words[i];
    if (word === undefined) {
      if (!isOptional) problems.push(`<${name}> is missing`);
    } else if (choices !== undefined && !choices.includes(word)) {
      problems.push(`<${name}> ${word}: it is ${listOf(choices)}`);
    } else if (isUrl && !/^https?:$/.test(URL.parse(word)?.protocol ?? "")) {
      problems.push(`<${name}> ${word}: it is an http or https address`);
    }
  }
  for (const word of words.slice(facts.arguments.length))
    problems.push(`${word} is one word too many`);
  return problems;
}
