// The HTTP edge: checks, admits, encodes; decides nothing about records. Never imports the log or the replica:
// what it needs stands in `ports.ts`. Keeps: every request is answered once, in bounded memory. Called by `main`.

export { ERRORS } from "./errors.ts";
export type {
  AddedView,
  BackupStream,
  BrokerPort,
  ChangeView,
  GroupView,
  KeyChangesView,
  KeyChangeView,
  KeyView,
  KvPort,
  MembershipView,
  NewNode,
  NodeStatus,
  NodeView,
  PartitionView,
  ReadRequest,
  RecordBatch,
  RetentionView,
  TopicView,
} from "./ports.ts";
export { HttpServer } from "./server.ts";
