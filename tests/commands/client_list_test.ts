/** `knock client list` and `show`: the screen of 80 columns, and JSON. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { run } from "../../lib/commands/enrol/client.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";

const FILE = "/etc/knock/server.yaml";

test("run() list on a terminal of 80 columns: the last knock, marks, who has expired", async () => {
  const key = (letter: string) => letter.repeat(42) + "A";
  const entry = (letter: string, rest: string) =>
    `{ knock: { key: ${key(letter)}, psk: ${key(letter)} }, ${rest} }`;
  const text = `services: { ssh: tcp/22 }
clients:
  alice: ${entry("C", "open: [ssh, tcp/443], web: true, once: true")}
  bob: ${entry("D", "open: ssh, expires: 2025-12-31")}
  carol-of-the-accounts: ${
    entry("E", `open: [${[81, 82, 83, 84].map((port) => `tcp/${port}`)}]`)
  }
`;
  for (const isTerminal of [true, false]) {
    const runtime = new FakeRuntime({
      userId: 0,
      terminals: isTerminal ? ["out"] : [],
      env: { NO_COLOR: "1" },
      files: { [FILE]: text, "/etc/knock/server.key": key("B") },
    });
    const { state } = loadConfig(runtime, FILE);
    runtime.files.put(`${state}/state.db`, "");
    const store = await openStore(runtime, state);
    store.history.add({
      ...{ atMs: START_MS - 240_000, event: "open", client: "alice" },
      ...{ address: "192.0.2.9", ports: "tcp/22", seconds: 30 },
      ...{ dialect: "knock", reason: "" },
    });
    store.close();
    assertEquals(await run(["list"], runtime), 0);
    if (isTerminal) {
      assertEquals(runtime.stdout.split("\n"), [
        "CLIENT                 DIALECTS  FOR  LAST KNOCK  EXPIRES  OPEN",
        "alice                  knock     30s  4 min ago   never    tcp/22, tcp/443;",
        "    once; web",
        "bob                    knock     30s  -           expired  tcp/22",
        "carol-of-the-accounts  knock     30s  -           never    tcp/81, tcp/82,",
        "    tcp/83, tcp/84",
        "",
      ]);
    }
    runtime.stdout = "";
    assertEquals(await run(["list", "--json"], runtime), 0);
    const [alice, bob] = JSON.parse(runtime.stdout);
    assertEquals([alice.last_knock, alice.web, alice.once, alice.open], [
      "2026-01-02T11:56:00.000Z",
      true,
      true,
      ["tcp/22", "tcp/443"],
    ]);
    assertEquals([bob.expired, bob.last_knock], [true, null]);
    runtime.stdout = "";
    assertEquals(await run(["show", "bob", "--json"], runtime), 0);
    const shown = JSON.parse(runtime.stdout);
    assertEquals(shown.name, "bob");
    assertEquals(shown.keys.knock, { public_key: key("D") });
  }
});
