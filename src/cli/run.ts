// Runs a command that is not the server.

import { type ConfigInput, describeConfig, describeSettings } from "../config/mod.ts";
import { assertNever } from "../lib/assert.ts";
import { EXIT_CODES } from "../lib/fatal.ts";
import { backup } from "./backup.ts";
import { bench } from "./bench.ts";
import { certs } from "./certs.ts";
import { checkConfig } from "./check-config.ts";
import { completionOf, isShell } from "./completion.ts";
import { reportFailure } from "./failure.ts";
import { healthcheck } from "./healthcheck.ts";
import { helpOf, overview } from "./help.ts";
import { inspect } from "./inspect.ts";
import { isCommand, unknownCommand } from "./lookup.ts";
import { type Command, type Given, parseArguments } from "./parse.ts";
import { proveCommand } from "./prove.ts";
import { describeCommands } from "./reference.ts";
import { restore, type StateOf } from "./restore.ts";
import { sandbox } from "./sandbox.ts";
import { COMMANDS, type CommandName } from "./table.ts";
import { openVoice, type Voice } from "./terminal.ts";
import { type Build, buildLines, describeBuild } from "./version.ts";

/** What commands are handed of rooms that this one does not know. */
interface Rooms {
  readonly build: Build;
  readonly stateOf: StateOf;
}

/** Runs `command` and returns its exit status. */
export async function runCommand(
  command: Command,
  input: Omit<ConfigInput, "argv">,
  rooms: Rooms,
): Promise<number> {
  const voice = openVoice(input.env);
  try {
    return await run(command, input, rooms, voice);
  } catch (error) {
    return reportFailure(error, command.argv.includes("--json"), voice);
  }
}

async function run(
  command: Command,
  input: Omit<ConfigInput, "argv">,
  rooms: Rooms,
  voice: Voice,
): Promise<number> {
  const { name, argv } = command;
  const { version } = rooms.build;
  const { print } = voice;
  if (command.isHelp) {
    print(name === "help" ? overview(voice.style) : helpOf(name, voice.style));
    return EXIT_CODES.ok;
  }
  const surroundings = { env: input.env, version };
  switch (name) {
    case "serve":
      // Whoever calls serves.
      return EXIT_CODES.unexpected;
    case "version":
      return withArguments(name, argv, voice, (given) =>
        versionCommand(given, rooms, input, voice),
      );
    case "help":
      return withArguments(name, argv, voice, (given) => help(given, voice));
    case "docs":
      return withArguments(name, argv, voice, (given) => docs(given, voice));
    case "completion":
      return withArguments(name, argv, voice, ({ values, words: [shell = ""] }) => {
        if (!isShell(shell)) return EXIT_CODES.invalid_configuration;
        const script = completionOf(shell);
        print(values.json ? JSON.stringify({ shell, script }) : script);
        return EXIT_CODES.ok;
      });
    case "check-config":
      return checkConfig(argv, input, voice);
    case "healthcheck":
      return healthcheck(withoutJson(argv), input, print);
    case "inspect":
      return withArguments(name, argv, voice, ({ values, words: [directory = ""] }) =>
        inspect(directory, values.json, voice),
      );
    case "prove":
      return withArguments(name, argv, voice, (given) => proveCommand(given, surroundings, voice));
    case "sandbox":
      return withArguments(name, argv, voice, (given) => sandbox(given, surroundings, voice));
    case "bench":
      return withArguments(name, argv, voice, (given) => bench(given, voice));
    case "backup":
      return withArguments(name, argv, voice, (given) => backup(given, voice));
    case "restore":
      return withArguments(name, argv, voice, (given) => restore(given, rooms.stateOf, voice));
    case "certs":
      return withArguments(name, argv, voice, (given) => certs(given, print));
    default:
      return assertNever(name);
  }
}

/** Reads the arguments and runs, or says what is wrong with them. */
function withArguments<Name extends CommandName>(
  name: Name,
  argv: readonly string[],
  voice: Voice,
  run: (given: Given<Name>) => number | Promise<number>,
): number | Promise<number> {
  const given = parseArguments(name, argv);
  if (given.ok) return run(given.value);
  voice.complain(given.error);
  if (argv.includes("--json"))
    voice.print(JSON.stringify({ ok: false, error: "invalid_arguments", message: given.error }));
  return EXIT_CODES.invalid_configuration;
}

async function versionCommand(
  { values }: Given<"version">,
  { build }: { readonly build: Build },
  input: Omit<ConfigInput, "argv">,
  { print }: Voice,
): Promise<number> {
  const { version } = build;
  if (!values.verbose) {
    print(values.json ? JSON.stringify({ version }) : version);
    return EXIT_CODES.ok;
  }
  const facts = await describeBuild(build, input);
  if (values.json) print(JSON.stringify(facts));
  else for (const line of buildLines(facts)) print(line);
  return EXIT_CODES.ok;
}

function help({ values, words: [about] }: Given<"help">, voice: Voice): number {
  if (about !== undefined && !isCommand(about)) {
    voice.complain(unknownCommand(about));
    return EXIT_CODES.invalid_configuration;
  }
  const { style } = voice;
  if (values.json) voice.print(JSON.stringify(about === undefined ? COMMANDS : COMMANDS[about]));
  else voice.print(about === undefined ? overview(style) : helpOf(about, style));
  return EXIT_CODES.ok;
}

function docs({ values, words: [page] }: Given<"docs">, { print }: Voice): number {
  const isCommandLine = page === "command-line";
  if (values.json) print(JSON.stringify(isCommandLine ? COMMANDS : describeSettings()));
  else print((isCommandLine ? describeCommands() : describeConfig()).trimEnd());
  return EXIT_CODES.ok;
}

const withoutJson = (argv: readonly string[]): readonly string[] =>
  argv.filter((flag) => flag !== "--json");
