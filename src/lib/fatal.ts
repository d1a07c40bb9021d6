// Reasons for which a node stops or a command fails, and the exit status of each. A half-alive node is worse than a dead
// one: it answers health checks and takes connections while it can keep no promise.

/** Exit status per reason. Both are part of the interface: supervisors act on the numbers, programs on the names. */
export const EXIT_CODES = {
  ok: 0,
  unexpected: 1,
  // Of commands. Container runtimes know 1 as ill.
  node_unavailable: 1,
  check_failed: 1,
  sync_failed: 2,
  log_corrupt: 3,
  broken_invariant: 4,
  disk_full: 5,
  state_over_budget: 6,
  insecure_cluster: 7,
  data_locked: 8,
  data_format: 9,
  data_unusable: 10,
  data_foreign: 11,
  backup_damaged: 12,
  invalid_configuration: 64,
  invalid_arguments: 64,
  address_in_use: 69,
} as const;

/** A named reason to stop. */
export type FatalReason = keyof typeof EXIT_CODES;

/** Carries a reason to the one place that exits. */
export class FatalError extends Error {
  override readonly name = "FatalError";
  readonly reason: FatalReason;

  /** @param message Says which act failed, on what, and what to do about it. */
  constructor(reason: FatalReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** A disk did not do what it was asked to; another try may go well. */
export class DiskFailure extends Error {
  override readonly name: string = "DiskFailure";
}
