// `ayder check-config`: everything that is wrong with the settings of a node, and everything that it would warn of.

import { type ConfigInput, type ConfigNotice, insecureReason, loadConfig } from "../config/mod.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { problemLines, reportFailure } from "./failure.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

/** Checks what a node would start with. Returns the exit status that it would end with, or 0. */
export function checkConfig(
  { values }: Given<"check-config">,
  input: ConfigInput,
  voice: Voice,
): number {
  const loaded = loadConfig(input);
  const { notices } = loaded.ok ? loaded.value : loaded.error;
  const failed = (error: FatalError, facts: object): number => {
    const status = reportFailure(error, values.json, voice, { ...facts, notices });
    for (const notice of notices) voice.complain(lineOf(notice));
    return status;
  };
  if (!loaded.ok) {
    const { problems } = loaded.error;
    return failed(new FatalError("invalid_configuration", problemLines(problems)), { problems });
  }
  const { cluster } = loaded.value.config;
  const insecure = cluster && insecureReason(cluster);
  if (insecure !== undefined) return failed(new FatalError("insecure_cluster", insecure), {});
  if (values.json) {
    voice.print(JSON.stringify({ ok: true, notices }));
    return EXIT_CODES.ok;
  }
  voice.print("The configuration is valid");
  for (const notice of notices) voice.print(lineOf(notice));
  return EXIT_CODES.ok;
}

function lineOf({ level, event, fields }: ConfigNotice): string {
  const { message, ...facts } = fields;
  const said =
    message ?? [event, ...Object.entries(facts).map((fact) => fact.join(" "))].join(", ");
  return `${level === "warn" ? "Warning" : "Notice"}: ${said}`;
}
