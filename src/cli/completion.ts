// Completion scripts for shells, out of the table of commands. Nothing of a command is written down here.

import { allOptionsOf, flagsOf } from "./lookup.ts";
import type { Argument, CommandFacts, Option } from "./option.ts";
import { COMMAND_LIST, type CommandName, SHELLS } from "./table.ts";

/** A shell that completion is written for. */
export type Shell = (typeof SHELLS)[number];

/** Whether a text names one. */
export const isShell = (name: string): name is Shell => SHELLS.some((shell) => shell === name);

/** The script for a shell. */
export function completionOf(shell: Shell): string {
  if (shell === "bash") return bashScript();
  return shell === "zsh" ? zshScript() : fishScript();
}

const NAMES = COMMAND_LIST.map(([name]) => name);
const valueOptionsOf = (name: CommandName): [string, Option][] =>
  Object.entries(allOptionsOf(name)).filter(([, { value }]) => value !== undefined);
/** What `help` takes is a name out of this very table. */
const choicesOf = ({ name, choices }: Argument): readonly string[] | undefined =>
  name === "command" ? NAMES : choices;

/** Completes a value or an argument in bash; undefined: nothing is known of it. */
function bashReply({
  choices,
  completes,
}: Pick<Option, "choices" | "completes">): string | undefined {
  if (choices !== undefined) return `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$word"))`;
  if (completes === undefined) return undefined;
  const kind = completes === "file" ? "-f" : "-d";
  return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen ${kind} -- "$word"))`;
}

function bashScript(): string {
  const words: string[] = [];
  const values: string[] = [];
  const takers: string[] = [];
  const flags: string[] = [];
  for (const [name, facts] of COMMAND_LIST) {
    flags.push(`    ${name}) flags="${flagsOf(name).join(" ")}" ;;`);
    for (const [option, of] of valueOptionsOf(name)) {
      takers.push(`"${name} --${option}"`);
      values.push(`    "${name} --${option}") ${bashReply(of) ?? ":"}; return ;;`);
    }
    for (const [i, argument] of facts.arguments.entries()) {
      const reply = bashReply({ ...argument, ...listed(choicesOf(argument)) });
      if (reply !== undefined) words.push(`    "${name} ${i}") ${reply}; return ;;`);
    }
  }
  return `# bash completion of ayder: source <(ayder completion bash)
_ayder() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  local command="" place=0 i flags taken=""
  COMPREPLY=()
  # Bash takes "--mode=x" for three words.
  if [[ $word == = ]]; then word=""; elif [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ -n $taken ]]; then [[ \${COMP_WORDS[i]} == = ]] || taken=""; continue; fi
    if [[ \${COMP_WORDS[i]} == -* ]]; then
      case "\${command:-serve} \${COMP_WORDS[i]}" in ${takers.join("|")}) taken=1 ;; esac
    elif [[ -z $command ]]; then command=\${COMP_WORDS[i]}
    else place=$((place + 1)); fi
  done
  case "\${command:-serve} $before" in
${values.join("\n")}
  esac
  if [[ -z $command && $word != -* ]]; then
    COMPREPLY=($(compgen -W "${NAMES.join(" ")}" -- "$word"))
    return
  fi
  if [[ $word != -* ]]; then
    case "$command $place" in
${words.join("\n")}
    esac
  fi
  case "\${command:-serve}" in
${flags.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$flags" -- "$word"))
}
complete -F _ayder ayder`;
}

const listed = (
  choices: readonly string[] | undefined,
): { readonly choices?: readonly string[] } => (choices === undefined ? {} : { choices });

/** A text within single quotes, of a list of zsh or fish alike. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Zsh reads brackets and colons of a description as its own. */
const plain = (text: string): string => text.replaceAll(/[[\]:]/g, (mark) => `\\${mark}`);

function zshScript(): string {
  const action = ({ choices, completes }: Pick<Option, "choices" | "completes">): string => {
    if (choices !== undefined) return `(${choices.join(" ")})`;
    if (completes === undefined) return " ";
    return completes === "file" ? "_files" : "_files -/";
  };
  const cases = COMMAND_LIST.map(([name, facts]) => {
    const options = Object.entries(allOptionsOf(name)).map(([option, of]) =>
      quoted(
        `--${option}[${plain(of.summary)}]${of.value === undefined ? "" : `:${of.value}:${action(of)}`}`,
      ),
    );
    const words = facts.arguments.map((argument, i) =>
      quoted(
        `${i + 1}:${argument.name}:${action({ ...argument, ...listed(choicesOf(argument)) })}`,
      ),
    );
    return `    ${name}) _arguments ${[...options, ...words].join(" ")} ;;`;
  });
  const names = COMMAND_LIST.map(([name, { summary }]) => quoted(`${name}:${plain(summary)}`));
  return `#compdef ayder
# zsh completion of ayder: ayder completion zsh > a file _ayder in a directory of $fpath
_ayder() {
  local -a commands
  commands=(${names.join(" ")})
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then _describe command commands; return; fi
  local name=serve
  if [[ $words[2] != -* ]]; then name=$words[2]; shift words; (( CURRENT-- )); fi
  case $name in
${cases.join("\n")}
  esac
}
if [[ $funcstack[1] == _ayder ]]; then _ayder "$@"; else compdef _ayder ayder; fi`;
}

function fishScript(): string {
  const lines = [
    "# fish completion of ayder: ayder completion fish > ~/.config/fish/completions/ayder.fish",
    "complete -c ayder -f",
  ];
  const extra = ({ choices, completes }: Pick<Option, "choices" | "completes">): string => {
    if (choices !== undefined) return ` -a ${quoted(choices.join(" "))}`;
    if (completes === undefined) return "";
    return completes === "file" ? " -F" : " -a '(__fish_complete_directories)'";
  };
  for (const [name, { summary, arguments: words }] of COMMAND_LIST as readonly [
    CommandName,
    CommandFacts,
  ][]) {
    lines.push(`complete -c ayder -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`);
    const isThis =
      name === "serve"
        ? `'__fish_use_subcommand; or __fish_seen_subcommand_from serve'`
        : `'__fish_seen_subcommand_from ${name}'`;
    for (const [option, of] of Object.entries(allOptionsOf(name))) {
      // -x: what is offered is all there is; -r: files, too.
      const kind = of.completes === "file" ? "-r" : "-x";
      const takes = of.value === undefined ? "" : ` ${kind}${extra(of)}`;
      lines.push(`complete -c ayder -n ${isThis} -l ${option}${takes} -d ${quoted(of.summary)}`);
    }
    for (const argument of words) {
      const offered = extra({ ...argument, ...listed(choicesOf(argument)) });
      if (offered !== "") lines.push(`complete -c ayder -n ${isThis}${offered}`);
    }
  }
  return lines.join("\n");
}
