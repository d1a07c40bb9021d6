// Looks things up in the table of commands, the settings of a node among them.

import { describeFlags } from "../config/mod.ts";
import { nearestOf } from "../lib/nearest.ts";
import type { CommandFacts, Option } from "./option.ts";
import { COMMANDS, type CommandName } from "./table.ts";

/** Whether a text names a command. */
export const isCommand = (name: string): name is CommandName => Object.hasOwn(COMMANDS, name);

/** Says that there is no such command, and which one may have been meant. */
export const unknownCommand = (name: string): string => {
  const nearest = nearestOf(name, Object.keys(COMMANDS));
  return `Unknown command ${name}: the nearest is ${nearest}. Try: ayder help`;
};

/** Every flag that a command knows, with its dashes. */
export const flagsOf = (name: CommandName): readonly string[] =>
  Object.keys(allOptionsOf(name)).map((option) => `--${option}`);

/** The options of a command and what all commands have; for `serve` and its like the settings, too. */
export function allOptionsOf(name: CommandName): Readonly<Record<string, Option>> {
  const { options, takesSettings }: CommandFacts = COMMANDS[name];
  const settings = (takesSettings === undefined ? [] : describeFlags()).map(
    ({ name: flag, summary, fallback }) =>
      [
        flag,
        {
          summary: summary.replaceAll("`", ""),
          value: flag === "config" ? "FILE" : flag === "data" ? "DIR" : "VALUE",
          ...(flag === "config" && { completes: "file" as const }),
          ...(flag === "data" && { completes: "directory" as const }),
          ...(fallback !== undefined && { fallback }),
        },
      ] as const,
  );
  return { ...Object.fromEntries(settings), ...options, help: { summary: "Print this help." } };
}

/** Choices as a sentence has them. */
export const listOf = (choices: readonly string[]): string =>
  `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
