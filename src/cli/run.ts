// Runs a command that is not the server.

import { type ConfigInput, describeConfig, describeSettings } from "../config/mod.ts";
import { assert, assertNever } from "../lib/assert.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
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
import { type Command, type Given, parseArguments, parseCommand, partArguments } from "./parse.ts";
import { proveCommand } from "./prove.ts";
import { describeCommands } from "./reference.ts";
import { restore, type StateOf } from "./restore.ts";
import { sandbox } from "./sandbox.ts";
import { COMMANDS, type CommandName } from "./table.ts";
import { openVoice, type Voice } from "./terminal.ts";
import { type Build, buildLines, describeBuild } from "./version.ts";
import { inSnakeCase } from "./wire.ts";

/** What commands are handed of rooms that this one does not know. */
interface Rooms {
  readonly build: Build;
  readonly stateOf: StateOf;
}

/** Runs the command that `argv` asks for, and returns its exit status. Whatever it throws is said in one shape. */
export async function runCommand(
  argv: readonly string[],
  input: Omit<ConfigInput, "argv">,
  rooms: Rooms,
): Promise<number> {
  const voice = openVoice(input.env);
  try {
    const command = parseCommand(argv);
    if (!command.ok) throw new FatalError("invalid_arguments", command.error);
    return await run(command.value, input, rooms, voice);
  } catch (error) {
    return reportFailure(error, argv.includes("--json"), voice);
  }
}

async function run(
  { name, argv, isHelp }: Command,
  input: Omit<ConfigInput, "argv">,
  rooms: Rooms,
  voice: Voice,
): Promise<number> {
  const { version } = rooms.build;
  if (isHelp) {
    voice.print(name === "help" ? overview(voice.style) : helpOf(name, voice.style));
    return EXIT_CODES.ok;
  }
  const surroundings = { env: input.env, version };
  switch (name) {
    case "serve":
      // Whoever calls serves.
      return EXIT_CODES.unexpected;
    case "version":
      return versionCommand(given(name, argv), rooms, input, voice);
    case "help":
      return help(given(name, argv), voice);
    case "docs":
      return docs(given(name, argv), voice);
    case "completion":
      return completion(given(name, argv), voice);
    case "check-config":
    case "healthcheck": {
      const { own, settings } = partArguments(name, argv);
      const node = { ...input, argv: settings };
      return name === "check-config"
        ? checkConfig(given(name, own), node, voice)
        : healthcheck(given(name, own), node, voice);
    }
    case "inspect":
      return inspect(given(name, argv), voice);
    case "prove":
      return proveCommand(given(name, argv), surroundings, voice);
    case "sandbox":
      return sandbox(given(name, argv), surroundings, voice);
    case "bench":
      return bench(given(name, argv), voice);
    case "backup":
      return backup(given(name, argv), voice);
    case "restore":
      return restore(given(name, argv), rooms.stateOf, voice);
    case "certs":
      return certs(given(name, argv), voice);
    default:
      return assertNever(name);
  }
}

/** Reads the arguments, or throws what is wrong with them. */
function given<Name extends CommandName>(name: Name, argv: readonly string[]): Given<Name> {
  const read = parseArguments(name, argv);
  if (!read.ok) throw new FatalError("invalid_arguments", read.error);
  return read.value;
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
  if (about !== undefined && !isCommand(about))
    throw new FatalError("invalid_arguments", unknownCommand(about));
  const { style } = voice;
  if (values.json)
    voice.print(JSON.stringify(inSnakeCase(about === undefined ? COMMANDS : COMMANDS[about])));
  else voice.print(about === undefined ? overview(style) : helpOf(about, style));
  return EXIT_CODES.ok;
}

function docs({ values, words: [page] }: Given<"docs">, { print }: Voice): number {
  const isCommandLine = page === "command-line";
  if (values.json)
    print(JSON.stringify(inSnakeCase(isCommandLine ? COMMANDS : describeSettings())));
  else print((isCommandLine ? describeCommands() : describeConfig()).trimEnd());
  return EXIT_CODES.ok;
}

function completion(
  { values, words: [shell = ""] }: Given<"completion">,
  { print }: Voice,
): number {
  // The table has let through nothing else.
  assert(isShell(shell), `${shell} is a shell that completion is written for`);
  const script = completionOf(shell);
  print(values.json ? JSON.stringify({ shell, script }) : script);
  return EXIT_CODES.ok;
}
