/** Systems that are not Linux: what asks the kernel of Linux asks nobody there, and says what to do instead. */

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { test } from "node:test";
import { reloadServer } from "../../lib/commands/enrol/apply.ts";
import { readSockets } from "../../lib/commands/operator/doctor/services.ts";
import { HostReader } from "../../lib/firewall/host/read.ts";
import { Bpf } from "../../lib/firewall/xdp/bpf.ts";
import { openNftEvents } from "../../lib/server/grants/restore.ts";
import { askServer } from "../../lib/server/report/asked.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeConfig } from "../fakes/fixtures.ts";

/** A machine on which every program of Linux would answer, and its files are there. */
function machine(platform: "darwin" | "windows"): FakeRuntime {
  const runtime = new FakeRuntime({
    platform,
    userId: platform === "windows" ? null : 0,
    files: {
      "/proc/net/tcp": "  sl  local_address\n   0: 00000000:0016 0 0A\n",
    },
  });
  for (const name of ["nft", "iptables-save", "ip6tables-save"]) {
    runtime.programs.set(name, () => {
      throw new Error(`${name} was run`);
    });
  }
  return runtime;
}

for (const platform of ["darwin", "windows"] as const) {
  test(`${platform}: nothing of Linux is asked`, async () => {
    const runtime = machine(platform);
    assertEquals(readSockets(runtime), null);
    assertEquals(await new HostReader(runtime).read(), null);
    assertEquals(await openNftEvents(runtime), null);
    await assertRejects(() => Bpf.open(runtime), Error, "needs Linux");
  });
}

test("windows: a server is told to restart, where others reload it", async () => {
  const runtime = machine("windows");
  assertEquals(await reloadServer(runtime, makeConfig([])), 0);
  assertMatch(runtime.stderr, /^knock: hint: restart a running server/);
});

test("windows: a server is not asked by a socket in a folder", async () => {
  assertEquals(await askServer(machine("windows"), "C:\\state"), false);
});
