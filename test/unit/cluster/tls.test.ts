// Mutual TLS: an identity is a chain to the authority and the node's own name, on both sides. The certificates are made by
// the documented commands.

import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { namesIn } from "../../../src/cluster/tls.ts";
import { makeAuthority } from "../../support/certificates.ts";
import {
  introducePair,
  knowPair,
  peerNode,
  stranger,
  untilTrue,
} from "../../support/peer-nodes.ts";

const authority = await makeAuthority(["one", "other", "third"]);
const foreign = await makeAuthority(["one"]);
afterAll(() => {
  authority.clean();
  foreign.clean();
});

test("two nodes with certificates of one authority meet", async () => {
  await using one = peerNode("one", { tls: authority.pathsOf("one") });
  await using other = peerNode("other", { tls: authority.pathsOf("other") });

  await introducePair(one, other);

  expect(one.listener.kinds("other")).toEqual(["connected"]);
});

test("a common name is enough, also beside other DNS names", async () => {
  const make = Bun.spawnSync(
    [
      "sh",
      "-ec",
      `openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout named.key -subj /CN=other -out named.csr
       printf 'subjectAltName=DNS:other.example' > named.ext
       openssl x509 -req -in named.csr -CA ca.pem -CAkey ca.key -days 2 -extfile named.ext -out named.pem`,
    ],
    { cwd: authority.directory, stdout: "ignore", stderr: "ignore" },
  );
  expect(make.exitCode).toBe(0);
  await using one = peerNode("one", { tls: authority.pathsOf("one") });
  await using other = peerNode("other", { tls: authority.pathsOf("named") });

  await introducePair(one, other);
});

test("a certificate of another authority is refused in both directions", async () => {
  await using one = peerNode("one", { tls: foreign.pathsOf("one", authority.directory) });
  await using other = peerNode("other", { tls: authority.pathsOf("other") });
  knowPair(one, other);

  await untilTrue("both ways fail", () => [one, other].every((node) => failuresOf(node) > 0));
  await untilTrue(
    "the listener says why",
    () => other.transport.stats.refusals.wrong_certificate > 1,
  );

  expect([...one.listener.deliveries, ...other.listener.deliveries]).toEqual([]);
});

test("a certificate for another id is refused in both directions", async () => {
  await using one = peerNode("one", { tls: authority.pathsOf("third") });
  await using other = peerNode("other", { tls: authority.pathsOf("other") });
  knowPair(one, other);

  await untilTrue("both ways fail", () => [one, other].every((node) => failuresOf(node) > 0));
  await untilTrue("it is said why", () => other.transport.stats.refusals.wrong_certificate > 1);

  expect([...one.listener.deliveries, ...other.listener.deliveries]).toEqual([]);
  expect(other.lines).toContainEqual(
    expect.objectContaining({ event: "peer_refused", peer: "one", reason: "wrong_certificate" }),
  );
});

test("who has no certificate gets no further than TLS", async () => {
  await using node = peerNode("one", { tls: authority.pathsOf("one") });
  let isClosed = false;
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: node.transport.port,
    tls: { ca: Bun.file(join(authority.directory, "ca.pem")), rejectUnauthorized: false },
    socket: {
      data: () => undefined,
      handshake: (opened) => {
        opened.write("ayder/1\n");
      },
      close: () => {
        isClosed = true;
      },
      error: () => undefined,
    },
  });

  await untilTrue("it is thrown out", () => isClosed);
  socket.terminate();
  expect(node.transport.stats.refusals).toMatchObject({ wrong_certificate: 1, malformed: 0 });
});

test("a node without TLS and one with it do not understand each other", async () => {
  await using one = peerNode("one");
  await using other = peerNode("other", { tls: authority.pathsOf("other") });
  knowPair(one, other);

  await untilTrue("both ways fail", () => [one, other].every((node) => failuresOf(node) > 0));

  expect([...one.listener.deliveries, ...other.listener.deliveries]).toEqual([]);
});

test("bytes without TLS are refused", async () => {
  await using node = peerNode("one", { tls: authority.pathsOf("one") });
  await using other = await stranger(node.transport.port);

  other.write(new Uint8Array(200));
  await untilTrue("it is thrown out", () => other.isClosed);

  expect(node.listener.deliveries).toEqual([]);
});

test("a key that does not belong to the certificate is a named reason to stop", () => {
  const tls = { ...authority.pathsOf("one"), keyPath: authority.pathsOf("other").keyPath };

  expect(() => peerNode("one", { tls })).toThrow(
    expect.objectContaining({ reason: "invalid_configuration" }),
  );
});

test("a file that is not there is a named reason to stop", () => {
  const tls = { ...authority.pathsOf("one"), caPath: "/nowhere/ca.pem" };

  expect(() => peerNode("one", { tls })).toThrow(/Cannot read \/nowhere\/ca\.pem/);
});

test.each([
  ["nothing", undefined, []],
  ["a common name", { subject: { CN: "a" } }, ["a"]],
  ["several common names", { subject: { CN: ["a", "b"] } }, ["a", "b"]],
  [
    "DNS names beside it, and no addresses",
    { subject: { CN: "a" }, subjectaltname: "DNS:b, IP Address:10.0.0.1, DNS:c.d" },
    ["a", "b", "c.d"],
  ],
  ["a quoted name, which is nobody's", { subjectaltname: 'DNS:"x, DNS:node1"' }, ['"x', 'node1"']],
])("namesIn() finds %s", (_what, certificate, names) => {
  expect(namesIn(certificate)).toEqual(names);
});

function failuresOf(node: ReturnType<typeof peerNode>): number {
  return node.transport.stats.peers[0]?.failures ?? 0;
}
