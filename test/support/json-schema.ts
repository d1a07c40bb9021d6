// Checks a value against the part of JSON Schema that our OpenAPI document uses. Throws on a keyword it does not know,
// so that a document with more in it does not pass unread.

/** A schema of the document. */
export type JsonSchema = Readonly<Record<string, unknown>>;

const IGNORED = new Set(["description", "format", "example", "title", "default"]);

/** What is wrong with `value`, with its place; empty when it fits. */
export function schemaProblems(
  schema: JsonSchema,
  value: unknown,
  resolve: (reference: string) => JsonSchema,
  place = "$",
): string[] {
  const { $ref: reference, nullable, type } = schema;
  if (typeof reference === "string")
    return schemaProblems(resolve(reference), value, resolve, place);
  if (value === null && nullable === true) return [];
  const problems: string[] = [];
  const complain = (rule: string): void => {
    problems.push(`${place}: ${JSON.stringify(value)} ${rule}`);
  };
  // What is of another type cannot be looked into.
  if (typeof type === "string" && !hasType(value, type)) {
    complain(`is no ${type}`);
    return problems;
  }
  for (const [keyword, rule] of Object.entries(schema)) {
    switch (keyword) {
      case "type":
        break;
      case "enum":
        if (!(rule as unknown[]).includes(value)) complain(`is none of ${JSON.stringify(rule)}`);
        break;
      case "minimum":
        if ((value as number) < (rule as number)) complain(`is below ${rule}`);
        break;
      case "maximum":
        if ((value as number) > (rule as number)) complain(`is above ${rule}`);
        break;
      case "pattern":
        if (!new RegExp(rule as string).test(value as string)) complain(`does not match ${rule}`);
        break;
      case "required":
        for (const key of rule as string[]) {
          if (!Object.hasOwn(value as object, key)) complain(`has no ${key}`);
        }
        break;
      case "items":
        for (const [i, item] of (value as unknown[]).entries()) {
          problems.push(...schemaProblems(rule as JsonSchema, item, resolve, `${place}[${i}]`));
        }
        break;
      case "anyOf": {
        const all = (rule as JsonSchema[]).map((one) => schemaProblems(one, value, resolve, place));
        if (all.every((found) => found.length > 0)) problems.push(...all.flat());
        break;
      }
      case "properties":
      case "additionalProperties":
        break;
      case "nullable":
        break;
      default:
        if (!IGNORED.has(keyword)) throw new Error(`The schema at ${place} uses ${keyword}`);
    }
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    problems.push(...propertyProblems(schema, value as Record<string, unknown>, resolve, place));
  }
  return problems;
}

function propertyProblems(
  schema: JsonSchema,
  value: Readonly<Record<string, unknown>>,
  resolve: (reference: string) => JsonSchema,
  place: string,
): string[] {
  const { properties = {}, additionalProperties: others } = schema;
  const known = properties as Record<string, JsonSchema>;
  return Object.entries(value).flatMap(([key, item]) => {
    const own = known[key] ?? (typeof others === "object" ? (others as JsonSchema) : undefined);
    if (own !== undefined) return schemaProblems(own, item, resolve, `${place}.${key}`);
    return others === false ? [`${place}: ${key} is not documented`] : [];
  });
}

function hasType(value: unknown, type: string): boolean {
  switch (type) {
    case "integer":
      return Number.isInteger(value);
    case "array":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}
