// A web page on which anybody can prove and try a node: each visitor gets a node of their own on a scratch directory.
// Never hands out a token, an address or a path of a node: a short list of calls is passed on, field by field.
// Keeps: bounds on visitors, proofs, bytes, calls and time; no node and no directory outlives it.
// Called by `cli` (`ayder sandbox`).

export { type OpenSandbox, openSandbox, type SandboxOptions } from "./server.ts";
