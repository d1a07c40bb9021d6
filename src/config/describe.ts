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

/** What a setting is, as the reference has it. */
export interface SettingFacts {
  readonly variable: string;
  readonly description: string;
  readonly range: string;
  readonly fallback: string | undefined;
  readonly flag: string | undefined;
}

/** Every setting, in the order of the schema. */
export const describeSettings = (): readonly SettingFacts[] =>
  VARIABLES.map((variable) => {
    const { range, flag } = factsOf(variable);
    const description = descriptionOf(variable);
    return { variable, description, range, fallback: defaultOf(variable), flag };
  });

/** The text of \`docs/reference/configuration.md\`. */
export function describeConfig(): string {
  const sections = describeSettings().map(({ variable, description, range, fallback, flag }) => {
    const lines = [`## ${variable}`, "", description, "", `- Range: ${range}`];
    if (fallback !== undefined) lines.push(`- Default: \`${fallback}\``);
    if (flag !== undefined) lines.push(`- Flag: \`${flag}\``);
    return lines.join("\n");
  });
  return `${HEAD}\n${sections.join("\n\n")}\n`;
}

/** A flag that sets something, for help and completion. */
export interface SettingFlag {
  /** Without its dashes. */
  readonly name: string;
  readonly summary: string;
  readonly fallback: string | undefined;
}

/** The flags of `ayder serve`, and of every command that asks for the same settings. */
export function describeFlags(): readonly SettingFlag[] {
  const config = {
    name: "config",
    summary: "A TOML file with settings.",
    fallback: undefined,
  };
  const others = describeSettings().flatMap(({ flag, description, fallback }) =>
    flag === undefined ? [] : [{ name: flag.slice("--".length), summary: description, fallback }],
  );
  return [config, ...others];
}
