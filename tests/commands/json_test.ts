/** `--json` of each command: the real output by docs/json.schema.json, errors included. */

import { formatProfile } from "../../lib/client/profile/add.ts";
import { Validator } from "@cfworker/json-schema";
import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { FINDING_IDS } from "../../lib/commands/operator/doctor/finding.ts";
import { runCommand } from "../../lib/commands/table.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import {
  ENROLMENT,
  FakeServer,
  LINE,
  type Manner,
  SERVER_PRIVATE,
} from "../fakes/fake_server.ts";
import { runtime as real } from "../fakes/runtime.ts";

const DOCS = join(dirname(fileURLToPath(import.meta.url)), "../../docs");
const SCHEMA = JSON.parse(real.files.readText(join(DOCS, "json.schema.json")));
const CONFIG = "/etc/knock/server.yaml";
const PROFILES = "/home/alice/.config/knock/profiles.yaml";
const key = (byte: number) => formatBase64url(new Uint8Array(32).fill(byte));

/** Throws unless a text is one JSON document by one of the schema's definitions. */
function check(text: string, definition: string): void {
  const schema = { ...SCHEMA, $ref: `#/$defs/${definition}` };
  const { valid, errors } = new Validator(schema, "2020-12", false)
    .validate(JSON.parse(text));
  assert(valid, `${text}\n${JSON.stringify(errors, null, 1)}`);
}

/** A machine with a server's state, a configuration and profiles. */
async function machine(manner?: Manner, yaml?: string): Promise<FakeRuntime> {
  const runtime = new FakeRuntime({
    userId: 0,
    env: { HOME: "/home/alice" },
    files: {
      [CONFIG]: yaml ?? `state: /var/lib/knock
services: { ssh: tcp/22 }
clients:
  alice: { knock: { key: ${key(9)}, psk: ${
        key(8)
      } }, open: ssh, from: 192.0.2.0/24 }
  bob: { knock: { key: ${key(7)}, psk: ${
        key(6)
      } }, run: [x], hours: "08:00-18:00", expires: 2027-01-01 }
commands: { x: ["true"] }
sequences: { door: { knock: [tcp/7000, udp/8000, tcp/9000], open: ssh, watch: sniff } }
`,
      "/etc/knock/server.key": formatBase64url(SERVER_PRIVATE),
      [PROFILES]: formatProfile("home", ENROLMENT),
      "/var/lib/knock/state.db": "",
    },
  });
  runtime.network.names.set("home.example.org", ["198.51.100.7"]);
  runtime.network.world = new FakeServer(manner).world;
  const store = await openStore(runtime, "/var/lib/knock");
  store.setFact("server", {
    ...{ pid: runtime.pid, sinceMs: START_MS - 1000, backend: "gate" },
    listen: ["[::]:62201"],
  });
  store.setFact("counters", { received: 3, "refused: unknown client": 1 });
  store.setFact("sequences", [
    { name: "door", watch: "sniff", left: null, trouble: "no tcpdump" },
  ]);
  store.setFact("host", [{
    ...{ what: "service", ports: "tcp/22", families: ["ipv4"] },
    ...{ by: "a rule", hint: "allow it" },
  }]);
  store.ledger.put({
    ...{ client: "alice", address: "192.0.2.9", once: true, capped: true },
    ...{ sinceMs: START_MS, untilMs: START_MS + 9000 },
    ports: { protocol: "tcp", first: 22, last: 23 },
    to: { host: "2001:db8::1", port: 22 },
  });
  for (const [event, ports] of [["open", "tcp/22,udp/1-2"], ["run", "x"]]) {
    store.history.add({
      ...{ atMs: START_MS, event: event as "open", client: "alice" },
      ...{ address: "192.0.2.9", ports: ports!, seconds: 30 },
      ...{ dialect: "knock", reason: "" },
    });
  }
  store.close();
  return runtime;
}

const commands: [args: string, definition: string, manner?: Manner][] = [
  ["home", "knock"],
  ["send home --open tcp/22,udp/53 --for 8h", "knock"],
  ["send home --no-reply", "knock"],
  ["send home", "knock", () => ({ status: "refused", reason: "code tries" })],
  ["send home", "knock", () => ({ status: "refused" })],
  ["send home", "knock", () => ({ status: "failed" })],
  ["send home", "knock", () => null],
  ["send home --open tcp/22 --wait", "knock"],
  ["close home", "knock"],
  ["close home", "knock", () => ({ status: "failed" })],
  ["run home x", "knock"],
  ["run home x", "knock", () => ({ status: "refused", reason: "command" })],
  ["ping home", "knock"],
  ["ping home", "knock", () => null],
  ["status", "status"],
  ["log -n 1", "event"],
  ["log --client alice -n1", "event"],
  ["doctor", "doctor"],
  ["check", "check"],
  ["client list", "clients"],
  ["client show bob", "client"],
  ["profiles", "profiles"],
];

for (const [index, [args, definition, manner]] of commands.entries()) {
  test(`row ${index}: knock ${args} --json is "${definition}" of docs/json.schema.json`, async () => {
    const runtime = await machine(manner);
    const status = await runCommand([...args.split(" "), "--json"], runtime);
    assertEquals(runtime.stdout.trimEnd() === "", false, runtime.stderr);
    check(runtime.stdout, definition);
    const { ok = true, exit_status = 0 } = JSON.parse(runtime.stdout);
    if (definition === "knock") {
      assertEquals([ok, exit_status], [status === 0, status]);
    }
  });
}

const mistakes: [args: string, exit: number, error: RegExp][] = [
  ["send nobody", 2, /no profile "nobody"/],
  ["send home --open 22", 2, /--open/],
  ["status --wacth", 2, /unknown option "--wacth"/],
  ["log --since x", 2, /--since must be/],
  ["client show nobody", 2, /there is no client "nobody"/],
  ["check /nowhere.yaml", 2, /nowhere/],
  ["decode", 2, /no packet on/],
  ["keygen", 2, /unknown option "--json"/],
];

for (const [args, exit, error] of mistakes) {
  test(`knock ${args} --json prints its error as JSON, too`, async () => {
    const runtime = await machine();
    const words = [...args.split(" "), "--json"];
    assertEquals(await runCommand(words, runtime), exit);
    check(runtime.stdout, "error");
    assert(error.test(JSON.parse(runtime.stdout).error), runtime.stdout);
    assert(runtime.stderr.startsWith("knock: error: "));
  });
}

test("knock check --json has every mistake", async () => {
  const runtime = await machine(undefined, "lisen: 1\nreply: maybe\n");
  assertEquals(await runCommand(["check", "--json"], runtime), 2);
  check(runtime.stdout, "error");
  const { file, mistakes } = JSON.parse(runtime.stdout);
  assertEquals([file, mistakes.length], [CONFIG, 2]);
});

test("knock exec keeps --json behind -- for its command", async () => {
  const runtime = await machine(() => null);
  await runCommand(["exec", "home", "--", "ls", "--json"], runtime);
  assertEquals(runtime.stdout, "");
});

test("knock decode prints a document by the schema, without --json", async () => {
  for (const stdin of [new Uint8Array(216), "00", "abcd", LINE]) {
    const base = await machine();
    base.readStdin = () =>
      Promise.resolve(
        typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin,
      );
    await runCommand(["decode"], base);
    check(base.stdout, "decode");
    base.stdout = "";
    await runCommand(["decode", "--profiles", PROFILES], base);
    check(base.stdout, "decode");
  }
});

test("docs/json.md names every id of the doctor, and each document", () => {
  const text = real.files.readText(join(DOCS, "json.md"));
  const names = new Set(
    [...text.matchAll(/`([a-z_]+)`/g)].map(([, id]) => id!),
  );
  assertEquals(FINDING_IDS.filter((id) => !names.has(id)), []);
  assertEquals([...FINDING_IDS].sort(), [...FINDING_IDS]);
});
