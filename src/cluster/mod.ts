// Sockets to the other nodes: connections, proof of who is there, frames, pieces. Never looks into a message, and never
// decides anything about the log. Keeps: nothing a peer sent is delivered before that peer has proven who it is, and what
// one connection delivers is whole, unaltered, once and in order per priority. Made by `main`, driven by `replica`.

export { ClusterTransport, type ClusterTransportOptions } from "./transport.ts";
