// Gathers settings as text from flags, environment and a TOML file, and says what it does not know.

import { TOML } from "bun";
import { nearestOf } from "../lib/nearest.ts";
import type { ConfigInput, ConfigNotice, ConfigProblem } from "./load.ts";
import { ConfigSchema, VARIABLES } from "./schema.ts";

/** Flags by name, with the variable each one sets. */
export const FLAGS: Readonly<Record<string, string>> = {
  "--port": "PORT",
  "--data": "RF_DATA_DIR",
  "--log-level": "RF_LOG_LEVEL",
};

/** Flags of the published reference that mean nothing here: one process serves, and the log is always synced. */
const IGNORED_FLAGS: Readonly<Record<string, string>> = {
  "--workers": "One thread serves all connections",
  "--aof": "The log is always written and synced before a reply",
};

/** What was found. */
export interface Sources {
  /** By variable. */
  readonly values: Record<string, string>;
  readonly notices: ConfigNotice[];
  readonly problems: ConfigProblem[];
}

/** Reads all sources; later ones win: file, environment, flags. */
export function readSources(input: ConfigInput): Sources {
  const found: Sources = { values: {}, notices: [], problems: [] };
  const flags = readFlags(input.argv, found);
  const path = flags["--config"];
  if (path !== undefined) readToml(path, input.readFile(path), found);
  readEnvironment(input.env, found);
  for (const [flag, variable] of Object.entries(FLAGS)) {
    const value = flags[flag];
    if (value !== undefined) found.values[variable] = value;
  }
  return found;
}

function readFlags(argv: readonly string[], found: Sources): Record<string, string> {
  const flags: Record<string, string> = {};
  const known = ["--config", ...Object.keys(FLAGS)];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const isKnown = name === "--config" || name in FLAGS || name in IGNORED_FLAGS;
    if (!isKnown) {
      found.problems.push({
        variable: name,
        value: word,
        range: `a flag: ${known.join(", ")}; the nearest is ${nearestOf(name, known)}`,
      });
      continue;
    }
    const value = equals < 0 ? argv[++i] : word.slice(equals + 1);
    if (value === undefined) {
      found.problems.push({ variable: name, value: "", range: "a value after the flag" });
      continue;
    }
    const reason = IGNORED_FLAGS[name];
    if (reason === undefined) flags[name] = value;
    else
      found.notices.push({ level: "info", event: "flag_ignored", fields: { flag: name, reason } });
  }
  return flags;
}

function readToml(path: string, content: string | undefined, found: Sources): void {
  if (content === undefined) {
    found.problems.push({
      variable: "--config",
      value: path,
      range: "a path to a readable TOML file",
    });
    return;
  }
  let table: Record<string, unknown>;
  try {
    table = TOML.parse(content) as Record<string, unknown>;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    found.problems.push({ variable: "--config", value: path, range: `a TOML file (${reason})` });
    return;
  }
  for (const [key, value] of Object.entries(table)) {
    const upper = key.toUpperCase();
    const variable = upper === "PORT" || upper.startsWith("RF_") ? upper : `RF_${upper}`;
    const text = Array.isArray(value) ? value.join(",") : String(value);
    if (variable in ConfigSchema.entries) found.values[variable] = text;
    else found.notices.push(unknown(key, variable, path));
  }
}

function readEnvironment(env: ConfigInput["env"], found: Sources): void {
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) continue;
    if (name in ConfigSchema.entries) {
      // An empty variable is how shells and compose files say "not set".
      if (value !== "") found.values[name] = value;
    } else if (name.startsWith("RF_")) {
      found.notices.push(unknown(name, name, "environment"));
    }
  }
}

function unknown(name: string, variable: string, source: string): ConfigNotice {
  return {
    level: "warn",
    event: "unknown_variable",
    fields: { variable: name, source, nearest: nearestOf(variable, VARIABLES) },
  };
}
