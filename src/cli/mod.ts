// The command line: which command, and the commands that are not the server. Never starts a node: `main.ts` does.
// Keeps: parsing, help, completion and the reference come from one table; every command has `--help`, a human form on a terminal and a JSON form with `--json`. Called by `main.ts`.

export { placeOf, reasonOf } from "./failure.ts";
export { parseCommand } from "./parse.ts";
export { runCommand } from "./run.ts";
