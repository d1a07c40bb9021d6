// Which retention rule holds for a partition: the narrowest that is set, field by field.

/** Limits as set at one level; 0: none set there. */
export interface RetentionRule {
  readonly ttlMs: number;
  readonly maxBytes: number;
}

/** No limit at all. */
export const NO_RULE: RetentionRule = { ttlMs: 0, maxBytes: 0 };

/** (topic, partition), then topic, then every topic: the first level that sets a field wins. */
export function effectiveRule(levels: readonly (RetentionRule | undefined)[]): RetentionRule {
  const first = (pick: (rule: RetentionRule) => number): number => {
    for (const rule of levels) if (rule !== undefined && pick(rule) > 0) return pick(rule);
    return 0;
  };
  return { ttlMs: first((rule) => rule.ttlMs), maxBytes: first((rule) => rule.maxBytes) };
}
