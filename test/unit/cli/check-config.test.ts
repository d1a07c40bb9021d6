// `ayder check-config`: everything that is wrong and everything worth knowing, for people and for programs, whether the
// configuration is valid or not.

import { expect, test } from "bun:test";
import { checkConfig } from "../../../src/cli/check-config.ts";
import { parseArguments, partArguments } from "../../../src/cli/parse.ts";
import { recordedVoice } from "../../support/recorded-voice.ts";

const TYPO = { RF_DATA_DIRR: "/data", RF_BEARER_TOKENS: "mine" };
const NOTICE = {
  level: "warn",
  event: "unknown_variable",
  fields: { variable: "RF_DATA_DIRR", source: "environment", nearest: "RF_DATA_DIR" },
};

function check(env: Record<string, string>, ...argv: string[]) {
  const voice = recordedVoice();
  const { own, settings } = partArguments("check-config", argv);
  const given = parseArguments("check-config", own);
  if (!given.ok) throw new Error(given.error);
  const input = { argv: settings, env, readFile: () => undefined };
  const code = checkConfig(given.value, input, voice);
  return { code, ...voice };
}

test("a valid configuration is printed with its warnings", () => {
  expect(check(TYPO)).toMatchObject({
    code: 0,
    printed: [
      "The configuration is valid",
      "Warning: unknown_variable, variable RF_DATA_DIRR, source environment, nearest RF_DATA_DIR",
    ],
    complaints: [],
  });
  expect(check({})).toMatchObject({
    printed: [
      "The configuration is valid",
      "Warning: RF_BEARER_TOKENS is not set: the token is dev, on this machine only",
    ],
  });
  expect(check({ RF_BEARER_TOKENS: "mine" }, "--workers", "4").printed[1]).toStartWith(
    "Notice: flag_ignored, flag --workers",
  );
});

test("a wrong one is complained of, with its warnings behind what is wrong", () => {
  expect(check({ ...TYPO, RF_DISK: "tape" })).toMatchObject({
    code: 64,
    printed: [],
    complaints: [
      "RF_DISK=tape: auto, uring, worker",
      "Warning: unknown_variable, variable RF_DATA_DIRR, source environment, nearest RF_DATA_DIR",
    ],
  });
});

test("so is what only contradicts itself", () => {
  const { complaints } = check({ RF_TLS_CERT: "/gone", RF_DATA_DIRR: "/data" });

  expect(complaints[0]).toBe(
    "RF_TLS_KEY=: a path, because RF_TLS_CERT is set\nRF_TLS_CERT=/gone: a path to a readable file",
  );
  expect(complaints[1]).toContain("RF_DATA_DIRR");
  expect(complaints[2]).toContain("RF_BEARER_TOKENS is not set");
});

test("and a cluster that anybody could write into", () => {
  const env = {
    RF_HA_ENABLED: "1",
    RF_HA_NODE_ID: "node1",
    RF_HA_NODES: "node1:10.0.0.1:7000",
    RF_HA_NODE: "1",
  };

  const { code, complaints } = check(env);

  expect(code).toBe(7);
  expect(complaints[0]).toContain("RF_HA_SECRET");
  expect(complaints[1]).toContain("nearest RF_HA_NODES");
  expect(JSON.parse(check(env, "--json").printed[0] ?? "")).toMatchObject({
    ok: false,
    error: "insecure_cluster",
    notices: [{ event: "unknown_variable" }, { event: "default_token" }],
  });
});

test("programs get both as lists", () => {
  expect(check(TYPO, "--json")).toMatchObject({
    code: 0,
    printed: [JSON.stringify({ ok: true, notices: [NOTICE] })],
    complaints: [],
  });
  const { code, printed } = check({ ...TYPO, RF_DISK: "tape" }, "--json");
  expect(code).toBe(64);
  expect(JSON.parse(printed[0] ?? "")).toEqual({
    ok: false,
    error: "invalid_configuration",
    message: "RF_DISK=tape: auto, uring, worker",
    problems: [{ variable: "RF_DISK", value: "tape", range: "auto, uring, worker" }],
    notices: [NOTICE],
  });
});
