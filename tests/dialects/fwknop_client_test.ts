/** Profiles of fwknop, what they send, and by which way. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { recognisePacket } from "../../lib/commands/tools/explain.ts";
import { sealerOf } from "../../lib/dialects/table.ts";
import { parseTransport } from "../../lib/client/knock/transport.ts";
import { parseProfiles } from "../../lib/client/profile/profile.ts";
import { fwknopDialect } from "../../lib/dialects/fwknop/open.ts";
import { ConfigError, UsageError } from "../../lib/values/errors.ts";
import { START_MS } from "../fakes/fake_runtime.ts";
import { sceneAt } from "../fakes/packets.ts";

const KEY = new Uint8Array(32).fill(5).toBase64();
const MAC = new Uint8Array(64).fill(6).toBase64();
const scene = sceneAt(START_MS);

function profile(fwknop: string) {
  const text = `home:\n  server: 192.0.2.1:62201\n  fwknop: ${fwknop}\n`;
  return parseProfiles(text, "profiles.yaml").get("home")!;
}

const ask = {
  action: "open",
  ports: [{ protocol: "tcp", first: 22, last: 22 }],
  command: null,
  seconds: 0,
  address: null,
  code: null,
} as const;

const circumstances = {
  nowMs: START_MS,
  random: (size: number) => new Uint8Array(size).fill(9),
  wantsReply: false,
  server: "192.0.2.1",
  own: () => [],
  run: () => Promise.reject(new Error("nothing is run")),
};

test("sealerOf() seals fwknop's packets, which the server's dialect opens", async () => {
  const home = profile(
    `{ key_base64: "${KEY}", hmac_key_base64: "${MAC}", hmac: sha512, mode: ctr, user: bob }`,
  );
  const sealer = await sealerOf(home);
  assertEquals(sealer.answers, false);
  const { packet } = await sealer.seal(ask, circumstances);
  const { fwknop } = home;
  if (!fwknop || !("key" in fwknop)) throw new Error("no keys");
  const opened = fwknopDialect([{ ...fwknop, name: "c" }]).open(packet, scene);
  if (!opened.ok) throw new Error(opened.why);
  assertEquals(opened.request.user, "bob");
  assertEquals(opened.request.address, null);
  const known = await recognisePacket([home], packet, START_MS);
  assertEquals([known.verdict, known.profile], ["request", "home"]);
  assertEquals(known.request?.ports, ask.ports);
});

test("fwknopDialect() wants the user that a client's packets must name", async () => {
  const home = profile(
    `{ key_base64: "${KEY}", hmac_key_base64: "${MAC}", user: bob }`,
  );
  const { packet } = await (await sealerOf(home)).seal(ask, circumstances);
  const { fwknop } = home;
  if (!fwknop || !("key" in fwknop)) throw new Error("no keys");
  for (
    const [requireUsername, why] of [
      ["bob", null],
      [null, null],
      ["Bob", "unknown client"],
      ["", "unknown client"],
    ] as const
  ) {
    const opened = fwknopDialect([{ ...fwknop, name: "c", requireUsername }])
      .open(packet, scene);
    assertEquals(opened.ok ? null : opened.why, why);
  }
});

test("sealerOf() names where a profile has the port led", async () => {
  for (
    const [key, kind] of [["nat_access", "nat"], [
      "nat_local",
      "local",
    ]] as const
  ) {
    const home = profile(
      `{ key_base64: "${KEY}", hmac_key_base64: "${MAC}", ${key}: "10.0.0.5:88" }`,
    );
    const sealer = await sealerOf(home);
    const { packet } = await sealer.seal(ask, circumstances);
    const { fwknop } = home;
    if (!fwknop || !("key" in fwknop)) throw new Error("no keys");
    const opened = fwknopDialect([{ ...fwknop, name: "c" }]).open(
      packet,
      scene,
    );
    if (!opened.ok) throw new Error(opened.why);
    assertEquals(opened.request.forward, { kind, host: "10.0.0.5", port: 88 });
  }
});

test("sealerOf() takes text keys, and refuses what fwknop cannot say", async () => {
  const sealer = await sealerOf(profile(`{ key: "a b", hmac: none }`));
  for (
    const over of [
      { action: "close" },
      { action: "ping" },
      { code: 123456 },
      { ports: [] },
      { address: "2001:db8::1" },
    ] as const
  ) {
    assertThrows(
      () => sealer.seal({ ...ask, ...over }, circumstances),
      UsageError,
    );
  }
});

test("parseProfiles() refuses wrong keys of fwknop without showing them", () => {
  const cases: [string, string][] = [
    [`{ hmac: none }`, "home.fwknop.key_base64: is missing"],
    [
      `{ key: a, hmac: none, nat_local: "a:1", nat_access: "b:1" }`,
      "home.fwknop.nat_local: must not be beside nat_access",
    ],
    [`{ key: a, hmac: none, nat_local: "a:0" }`, "must be HOST:PORT"],
    [`{ key_base64: "${KEY}" }`, "home.fwknop.hmac_key_base64: is missing"],
    [
      `{ key_base64: "${KEY}", hmac_key_base64: "${KEY}" }`,
      "home.fwknop.hmac_key_base64: must be another key than the passphrase",
    ],
    [
      `{ key_base64: "${KEY}", hmac_key_base64: "${MAC}", hmac: none }`,
      `home.fwknop.hmac: must not be "none" beside an HMAC key`,
    ],
    [
      `{ key_base64: "se cret", hmac: none }`,
      "home.fwknop.key_base64: must be base64 of 1 to 32 bytes, got 7 characters",
    ],
  ];
  for (const [text, want] of cases) {
    const error = assertThrows(() => profile(text), ConfigError);
    const { lines } = error as ConfigError;
    assert(lines.some((line) => line.includes(want)), lines.join("\n"));
    assert(
      !lines.join().includes("se cret") && !lines.join().includes(KEY),
    );
  }
});

test("parseTransport() reads what it should", () => {
  assertEquals(parseTransport("tcp"), { kind: "tcp", port: null });
  assertEquals(parseTransport("http/8080"), { kind: "http", port: 8080 });
  for (
    const words of ["", "icmp", "http/", "http/0", "http/65536", "tcp/1/2"]
  ) {
    assertEquals(parseTransport(words), null, words);
  }
});
