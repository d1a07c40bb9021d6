// Runs a command that is not the server.

import { type ConfigInput, describeConfig, insecureReason, loadConfig } from "../config/mod.ts";
import { assertNever } from "../lib/assert.ts";
import { EXIT_CODES } from "../lib/fatal.ts";
import { backup, type Voice } from "./backup.ts";
import { certs } from "./certs.ts";
import { COMMANDS, type Command } from "./command.ts";
import { healthcheck } from "./healthcheck.ts";
import { inspect } from "./inspect.ts";
import { proveCommand } from "./prove.ts";
import { restore, type StateOf } from "./restore.ts";
import { sandbox } from "./sandbox.ts";

/** Says how far something is, on the last line of a terminal. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

/** Runs `command` and returns its exit status. */
export async function runCommand(
  command: Command & { readonly name: Exclude<Command["name"], "serve"> },
  input: Omit<ConfigInput, "argv">,
  rooms: { readonly version: string; readonly stateOf: StateOf },
): Promise<number> {
  const { version } = rooms;
  const print = (line: string): void => console.log(line);
  const voice: Voice = { print, progress };
  const asJson = command.argv.includes("--json");
  if (command.isHelp && command.name !== "help") {
    print(`ayder ${command.name}: ${COMMANDS[command.name]}`);
    return EXIT_CODES.ok;
  }
  switch (command.name) {
    case "version":
      print(asJson ? JSON.stringify({ version }) : version);
      return EXIT_CODES.ok;
    case "help":
      print("Ayder: an HTTP-native durable event log\n\nUsage: ayder [command] [flags]\n");
      for (const [name, text] of Object.entries(COMMANDS)) print(`  ${name.padEnd(14)}${text}`);
      print(
        "\nFlags of serve: --port N, --data DIR, --config FILE; the rest is in the configuration reference: ayder docs",
      );
      return EXIT_CODES.ok;
    case "docs":
      print(describeConfig());
      return EXIT_CODES.ok;
    case "check-config": {
      const loaded = loadConfig({
        ...input,
        argv: command.argv.filter((flag) => flag !== "--json"),
      });
      const insecure =
        loaded.ok && loaded.value.config.cluster && insecureReason(loaded.value.config.cluster);
      if (insecure) {
        print(asJson ? JSON.stringify({ ok: false, insecure_cluster: insecure }) : insecure);
        return EXIT_CODES.insecure_cluster;
      }
      if (loaded.ok) {
        print(
          asJson
            ? JSON.stringify({ ok: true, notices: loaded.value.notices })
            : "The configuration is valid",
        );
        return EXIT_CODES.ok;
      }
      if (asJson) print(JSON.stringify({ ok: false, problems: loaded.error }));
      else
        for (const { variable, value, range } of loaded.error)
          print(`${variable}=${value}: ${range}`);
      return EXIT_CODES.invalid_configuration;
    }
    case "inspect": {
      const directory = command.argv.find((word) => !word.startsWith("-"));
      if (directory === undefined) {
        print("Usage: ayder inspect <dir> [--json]");
        return EXIT_CODES.invalid_configuration;
      }
      return inspect(directory, asJson, print);
    }
    case "prove":
      return proveCommand(command.argv, { env: input.env, version }, voice);
    case "sandbox":
      return sandbox(command.argv, { env: input.env, version }, print);
    case "backup":
      return backup(command.argv, voice);
    case "restore":
      return restore(command.argv, rooms.stateOf, voice);
    case "certs":
      return certs(command.argv, print);
    case "healthcheck":
      return healthcheck(command.argv, input, print);
    default:
      return assertNever(command.name);
  }
}
