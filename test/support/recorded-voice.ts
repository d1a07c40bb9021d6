// The voice of a command that a test listens to.

import { styleOf, type Voice } from "../../src/cli/terminal.ts";

/** What was said, by where it would have gone. */
export interface RecordedVoice extends Voice {
  readonly printed: string[];
  readonly complaints: string[];
}

/** A voice without a terminal. */
export function recordedVoice(): RecordedVoice {
  const printed: string[] = [];
  const complaints: string[] = [];
  return {
    printed,
    complaints,
    print: (line) => printed.push(line),
    complain: (line) => complaints.push(line),
    progress: () => undefined,
    style: styleOf(false, {}),
  };
}
