/** Changes of clients reach a running server, and a closed terminal ends it: the real program, with the gate. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const PROGRAM = [
  process.execPath,
  ...runtime.name === "deno" ? ["run", "-A", "--no-check"] : ["run"],
  MAIN,
];
const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const SKIP = runtime.platform === "linux" ? false : "needs Linux";

/** A port of UDP and TCP that nobody has, below those that connections of others get. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await isFree(port, createSocket("udp4"))) {
      if (await isFree(port, createServer())) return port;
    }
  }
}

function isFree(port: number, one: Socket | Server): Promise<boolean> {
  return new Promise((resolve) => {
    one.once("error", () => resolve(false));
    const free = () => void one.close(() => resolve(true));
    if ("bind" in one) one.bind(port, "127.0.0.1", free);
    else one.listen(port, "127.0.0.1", free);
  });
}

async function stage(): Promise<{ folder: string; port: number }> {
  const folder = mkdtempSync(join(tmpdir(), "knock-reload-"));
  const port = await freePort();
  const files = {
    "server.yaml": `listen: "127.0.0.1:${port}"
firewall: { backend: gate }
services: { ssh: { listen: tcp/${port}, to: "127.0.0.1:9" } }
state: state
`,
    "server.key": `${KEY}\n`,
  };
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  }
  return { folder, port };
}

function environment(folder: string) {
  return {
    ...process.env,
    HOME: folder,
    KNOCK_CONFIG: join(folder, "server.yaml"),
    KNOCK_PROFILES: join(folder, "profiles.yaml"),
  };
}

/** Resolves when a program has printed a text. */
function printed(child: ChildProcess, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let all = "";
    const look = (bytes: unknown) => {
      all += `${bytes}`;
      if (all.includes(text)) resolve(all);
    };
    child.stdout?.on("data", look);
    child.stderr?.on("data", look);
    child.on("close", () => reject(new Error(`ended: ${all}`)));
  });
}

test("client add, set and remove have the running server reload", {
  skip: SKIP,
  timeout: 60_000,
}, async () => {
  const { folder, port } = await stage();
  const env = environment(folder);
  const knock = (line: string, stdin = "") =>
    runtime.run([...PROGRAM, ...line.split(" ")], { env, stdin });
  const server = spawn(PROGRAM[0]!, [...PROGRAM.slice(1), "serve"], { env });
  const ended = new Promise((resolve) => server.on("close", resolve));
  try {
    await printed(server, "listens on");
    const reloaded =
      `the running server (process ${server.pid}) has reloaded\n`;
    const added = await knock(`client add bob --server 127.0.0.1:${port}`);
    assertEquals(added.code, 0, added.stderr);
    assert(added.stderr.endsWith(reloaded), added.stderr);
    assertEquals((await knock("import", added.stdout)).code, 0);
    const opened = await knock("bob --json");
    assertEquals(opened.code, 0, opened.stderr);
    assertEquals(JSON.parse(opened.stdout).seconds, 30);

    const set = await knock("client set bob --for 2m");
    assertEquals([set.code, set.stdout, set.stderr], [0, "", reloaded]);
    assertEquals(JSON.parse((await knock("bob --json")).stdout).seconds, 120);

    const removed = await knock("client remove bob");
    assertEquals([removed.code, removed.stderr], [0, reloaded]);
    const refused = await knock("bob --tries 1");
    assertEquals(refused.code, 1, refused.stderr);

    // The server's own file is another one, and it cannot use that any more.
    const other = join(folder, "other.yaml");
    const text = readFileSync(env.KNOCK_CONFIG, "utf8");
    writeFileSync(other, text, { mode: 0o600 });
    writeFileSync(env.KNOCK_CONFIG, "listen: [\n");
    const failed = await knock(`client add carl --config ${other}`);
    assertEquals(failed.code, 1, failed.stderr);
    assertMatch(failed.stderr, /did not reload: .*server.yaml: line 2/);
  } finally {
    server.kill("SIGTERM");
    await ended;
    rmSync(folder, { recursive: true });
  }
});

test(
  "a server that was started by hand ends with its terminal, and not on kill -HUP",
  {
    skip: SKIP,
    timeout: 60_000,
  },
  async () => {
    const { folder } = await stage();
    const env = environment(folder);
    const command = [...PROGRAM, "serve"].map((word) => `'${word}'`).join(" ");
    const log = join(folder, "log");
    const terminal = spawn("script", ["-qfc", `exec ${command}`, log], {
      env,
      stdio: ["pipe", "pipe", "pipe"],
    });
    try {
      await printed(terminal, "listens on");
      const state = join(folder, "state", "server.lock");
      const pid = readFileSync(state).readUInt32BE(60);
      const again = printed(terminal, "reloaded");
      process.kill(pid, "SIGHUP");
      await again;
      const closed = new Promise((resolve) => terminal.on("close", resolve));
      terminal.kill("SIGKILL");
      await closed;
      for (let left = 100; left > 0; left--) {
        if (!runtime.signalProcess(pid, "test")) break;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert(!runtime.signalProcess(pid, "test"), "still running");
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
