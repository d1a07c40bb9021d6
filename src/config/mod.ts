// The node's settings: read once, checked as a whole, frozen. Nothing else in the program reads the environment.
// Keeps: a node that starts has a configuration without a contradiction. Called by `main` and the command line.

export { advertisedUrl, type ClusterConfig, insecureReason } from "./cluster.ts";
export { describeConfig, describeFlags, describeSettings } from "./describe.ts";
export * as limits from "./limits.ts";
export {
  type Config,
  type ConfigInput,
  type ConfigNotice,
  type ConfigProblem,
  loadConfig,
} from "./load.ts";
export { certificatesIn } from "./tls.ts";
export type { Access, RateLimit, Token } from "./tokens.ts";
export { NODE_ID, NODE_ID_RANGE } from "./topology.ts";
