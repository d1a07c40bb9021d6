// Prints the reference of the command line, so that it cannot differ from what is parsed.

import { argumentText, explain, optionText, usageOf } from "./help.ts";
import { allOptionsOf } from "./lookup.ts";
import { COMMAND_LIST } from "./table.ts";

const HEAD = `# Command line

Every command has \`--help\`, and \`--json\` but for the node itself, whose diagnostics are JSON in any case.
What goes wrong is said on standard error; with \`--json\` standard output has it, too, as \`{"ok":false,"error":"...","message":"..."}\` with the reason by name.
Wrong arguments end with 64, an unknown option with the nearest known one; files that cannot be used with 10.
Colours and progress are for terminals; \`NO_COLOR\` turns the colours off.
The exit statuses are in the repository under \`docs/operating/deploy.md\`.

This page is printed from the table of commands by \`ayder docs command-line\`.
`;

/** The text of `docs/reference/command-line.md`. */
export function describeCommands(): string {
  const sections = COMMAND_LIST.map(([name, facts]) => {
    const lines = [`## ayder ${name}`, "", facts.summary];
    if (facts.details !== undefined) lines.push(facts.details);
    lines.push("", "```text", usageOf(name), "```", "", "| word | meaning |", "| --- | --- |");
    for (const word of facts.arguments)
      lines.push(`| \`${argumentText(word)}\` | ${explain(word)} |`);
    for (const [option, of] of Object.entries(allOptionsOf(name)))
      lines.push(`| \`${optionText(option, of)}\` | ${explain(of)} |`);
    for (const isLong of [undefined, true]) {
      const shown = facts.examples.filter((example) => example.isLong === isLong);
      if (shown.length === 0) continue;
      lines.push("", `\`\`\`${isLong ? "text" : "sh"}`, ...shown.map(({ line }) => line), "```");
    }
    return lines.join("\n");
  });
  return `${HEAD}\n${sections.join("\n\n")}\n`;
}
