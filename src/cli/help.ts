// Help in words, out of the table of commands.

import { allOptionsOf, listOf } from "./lookup.ts";
import type { Argument, CommandFacts, Option } from "./option.ts";
import { COMMAND_LIST, COMMANDS, type CommandName } from "./table.ts";
import type { Style } from "./terminal.ts";

/** Required options one by one, the rest in brackets: `Usage: ayder backup <url> <file> [--token TOKEN] [--json]`. */
export function usageOf(name: CommandName): string {
  const { arguments: words }: CommandFacts = COMMANDS[name];
  const parts = words.map(argumentText);
  for (const [option, facts] of Object.entries(allOptionsOf(name))) {
    if (option === "help") continue;
    const text = optionText(option, facts);
    parts.push(facts.isRequired ? text : `[${text}]`);
  }
  const shown = name === "serve" ? "[serve]" : name;
  return ["Usage: ayder", shown, ...parts].join(" ");
}

/** What all of an option's facts say. */
export function explain({
  summary,
  choices,
  range,
  fallback,
}: Option | (Argument & Option)): string {
  const facts: string[] = [];
  if (choices !== undefined) facts.push(listOf(choices));
  if (range !== undefined) facts.push(`${range[0]} to ${range[1]}`);
  if (fallback !== undefined && fallback !== "") facts.push(`default ${fallback}`);
  return facts.length === 0 ? summary : `${summary} (${facts.join("; ")})`;
}

/** An option as it is typed. */
export const optionText = (name: string, { value }: Option): string =>
  value === undefined ? `--${name}` : `--${name} ${value}`;

/** An argument as usage lines show it. */
export const argumentText = ({ name, isOptional }: Argument): string =>
  isOptional ? `[<${name}>]` : `<${name}>`;

/** The help of one command. */
export function helpOf(name: CommandName, style: Style): string {
  const { summary, details, arguments: words, examples }: CommandFacts = COMMANDS[name];
  const lines = [`${style.bold(`ayder ${name}`)}: ${summary}`];
  if (details !== undefined) lines.push("", details);
  lines.push("", usageOf(name));
  if (words.length > 0)
    lines.push(
      "",
      style.bold("Arguments"),
      ...inColumns(words.map((word) => [argumentText(word), explain(word)])),
    );
  const options = Object.entries(allOptionsOf(name));
  lines.push("", style.bold("Options"));
  lines.push(
    ...inColumns(options.map(([option, facts]) => [optionText(option, facts), explain(facts)])),
  );
  lines.push("", style.bold("Examples"), ...examples.map(({ line }) => `  ${line}`));
  return lines.join("\n");
}

/** All commands, a line each. */
export function overview(style: Style): string {
  return [
    "Ayder: an HTTP-native durable event log",
    "",
    "Usage: ayder [command] [options]",
    "",
    style.bold("Commands"),
    ...inColumns(COMMAND_LIST.map(([name, { summary }]) => [name, summary])),
    "",
    "The options of a command, and examples: ayder help <command>",
  ].join("\n");
}

function inColumns(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
