// What the table of commands is made of: options, arguments, commands, and the types of what they are read as.

/** An option. Without `value` it is a switch. */
export interface Option {
  /** One sentence. */
  readonly summary: string;
  /** What its value is called. */
  readonly value?: string;
  /** Its value when it is left out. */
  readonly fallback?: string;
  readonly isRequired?: true;
  /** The values that there are. */
  readonly choices?: readonly string[];
  /** Makes it a whole number from the first to the second. */
  readonly range?: readonly [number, number];
  readonly completes?: Completes;
}

/** What a shell offers in its place. */
export type Completes = "file" | "directory";

/** A word that is no option; its place says what it is. */
export interface Argument {
  readonly name: string;
  readonly summary: string;
  readonly isOptional?: true;
  readonly choices?: readonly string[];
  /** It is the address of a node. */
  readonly isUrl?: true;
  readonly completes?: Completes;
}

/** A line to type. */
export interface Example {
  readonly line: string;
  /** It serves until it is stopped, or takes its time: the documents show it and do not run it. */
  readonly isLong?: true;
}

/** A command. */
export interface CommandFacts {
  /** One sentence. */
  readonly summary: string;
  /** More of them, for its own help. */
  readonly details?: string;
  readonly arguments: readonly Argument[];
  readonly options: Readonly<Record<string, Option>>;
  /** It takes the settings of a node, too, by the flags of `serve`. */
  readonly takesSettings?: true;
  readonly examples: readonly Example[];
}

/** What an option is read as. */
export type ValueOf<Of extends Option> = Of extends { readonly value: string }
  ? (Of extends { readonly range: readonly [number, number] } ? number : string) extends infer Read
    ? Of extends { readonly fallback: string } | { readonly isRequired: true }
      ? Read
      : Read | undefined
    : never
  : boolean;

/** What the options of a command are read as. */
export type Values<Facts extends CommandFacts> = {
  readonly [Name in keyof Facts["options"]]: ValueOf<Facts["options"][Name]>;
};
