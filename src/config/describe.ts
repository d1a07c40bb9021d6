// Prints the configuration reference, so that it cannot differ from what is read.

import { defaultOf, descriptionOf, factsOf } from "./load.ts";
import { VARIABLES } from "./schema.ts";

const HEAD = `# Configuration

Flags win over environment variables, these over a TOML file (\`--config PATH\`), and that over defaults.
In the file a name is written in lower case, with or without \`rf_\`: \`data_dir = "/var/lib/ayder"\`.
Everything is checked at start, and every problem is reported at once.
An unknown \`RF_\` variable is a warning with the nearest known name.
\`--workers N\` and \`--aof MODE\` are taken with a notice and have no effect.

This page is printed from the schema by \`bun run docs\`.
`;

/** The text of \`docs/reference/configuration.md\`. */
export function describeConfig(): string {
  const sections = VARIABLES.map((variable) => {
    const { range, flag } = factsOf(variable);
    const fallback = defaultOf(variable);
    const lines = [`## ${variable}`, "", descriptionOf(variable), "", `- Range: ${range}`];
    if (fallback !== undefined) lines.push(`- Default: \`${fallback}\``);
    if (flag !== undefined) lines.push(`- Flag: \`${flag}\``);
    return lines.join("\n");
  });
  return `${HEAD}\n${sections.join("\n\n")}\n`;
}
