// Names as the wire has them, for what commands print with `--json`.

/** The same facts with every name of a field in snake_case, all the way down. */
export const inSnakeCase = (facts: object): object =>
  Array.isArray(facts)
    ? facts.map(converted)
    : Object.fromEntries(
        Object.entries(facts).map(([name, value]) => [
          name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
          converted(value),
        ]),
      );

const converted = (value: unknown): unknown =>
  typeof value === "object" && value !== null ? inSnakeCase(value) : value;
