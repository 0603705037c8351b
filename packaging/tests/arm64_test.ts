/**
 * The binary for arm64, emulated by qemu with Debian's libraries of arm64:
 * what it prints is what the program prints here, and knocks cross from the one
 * to the other, both ways, through the gate.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { VERSION } from "../../lib/values/program.ts";
import vectors from "../../tests/vectors/knock1.json" with { type: "json" };
import { build, ROOT, run, whyNot } from "./build.ts";

const HOST = "127.0.0.1";
const BANNER = "hello from behind\n";
const SUITE = "bookworm";
const MIRROR = process.env["KNOCK_DEBIAN_MIRROR"];
/** Folder that keeps the libraries for the next time. */
const KEPT = process.env["KNOCK_ARM64_ROOT"];

const skip = whyNot(["qemu-aarch64-static", "debootstrap"]) ?? false;
const scratch = mkdtempSync(join(tmpdir(), "knock-arm64-"));
const { folder } = skip ? { folder: "" } : build("linux-arm64");
const children: ChildProcess[] = [];

after(() => {
  for (const child of children) child.kill();
  rmSync(scratch, { recursive: true });
  if (folder) rmSync(folder, { recursive: true });
});

const libraries = KEPT ?? join(scratch, "root");
if (!skip && !existsSync(join(libraries, "usr/lib/aarch64-linux-gnu"))) {
  run("debootstrap", [
    ...["--foreign", "--arch=arm64", "--variant=minbase"],
    ...["--include=libstdc++6", SUITE, libraries],
    ...(MIRROR ? [MIRROR] : []),
  ]);
}

/** The program by what runs it. */
const PROGRAMS = {
  emulated: [
    ...["qemu-aarch64-static", "-L", libraries],
    join(folder, "knock-linux-arm64"),
  ],
  native: [
    ...["deno", "run", "-A", "--no-check", "--quiet", "--unstable-net"],
    join(ROOT, "main.ts"),
  ],
};
type By = keyof typeof PROGRAMS;

function knock(by: By, args: readonly string[], options = {}) {
  const [program, ...before] = PROGRAMS[by];
  return run(program!, [...before, ...args], options);
}

const key = (hex: string) => formatBase64url(Uint8Array.fromHex(hex));

/** Writes a file that only its owner reads; its path. */
function write(place: string, name: string, text: string): string {
  const path = join(scratch, place, name);
  mkdirSync(join(scratch, place), { recursive: true });
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

test("it starts, and makes keys", { skip }, () => {
  const { stdout } = knock("emulated", ["version"]);
  assert(stdout.startsWith(`knock ${VERSION} (`), stdout);
  assertMatch(knock("emulated", ["keygen"]).stdout, /^[\w-]{43}\n$/);
});

test("it decodes the vectors as the program does here", { skip }, () => {
  write("decode", "server.key", key(vectors[0]!.server_private) + "\n");
  const clients = vectors.map(({ client_public, psk }, index) =>
    `  c${index}: { knock: { key: ${key(client_public)}, psk: ${key(psk)} } }\n`
  );
  const config = write(
    "decode",
    "server.yaml",
    `key: server.key\nservices: {}\nclients:\n${clients.join("")}`,
  );
  for (const { packet, now_ms } of vectors) {
    const args = ["decode", "--config", config, "--at", `${now_ms}`, "--hex"];
    const options = { input: packet, status: 0 };
    const { stdout } = knock("emulated", args, options);
    assertEquals(JSON.parse(stdout).verdict, "request");
    assertEquals(stdout, knock("native", args, options).stdout);
  }
});

test("its demo says what failed, and what to do", { skip }, () => {
  const { stderr } = knock("emulated", ["demo"], { status: 1 });
  assertMatch(stderr, /^knock: error: the demo's .* did not start: it ended/m);
  assertMatch(stderr, /^knock: hint: \S/m);
});

for (
  const [client, server] of [
    ["emulated", "native"],
    ["native", "emulated"],
  ] as const
) {
  test(`a knock: ${client} client, ${server} server`, { skip }, async () => {
    const place = `${client}-${server}`;
    const [udp, gate] = [await listen(null), await listen(null)];
    const service = await listen(BANNER);
    write(place, "server.key", knock(server, ["keygen"]).stdout);
    const config = write(
      place,
      "server.yaml",
      `key: server.key
state: ${join(scratch, place, "state")}
listen: ["${HOST}:${udp}"]
firewall: { backend: gate }
services: { hello: { listen: tcp/${gate}, to: "${HOST}:${service}" } }
clients: {}
`,
    );
    const profiles = join(scratch, place, "profiles.yaml");
    const at = ["--server", `${HOST}:${udp}`, "--open", "hello"];
    const line = knock(server, [
      ...["client", "add", "laptop", "--config", config],
      ...at,
    ]).stdout;
    knock(client, ["import", "-", "--profiles", profiles], { input: line });
    await serve(server, config);
    assertEquals(await read(gate), "");
    const said = knock(client, [
      ...["laptop", "--profiles", profiles, "--json"],
      ...["--for", "1m"],
    ]);
    assertEquals(JSON.parse(said.stdout).status, "done");
    assertEquals(await read(gate), BANNER);
  });
}

/** Starts a server; resolves when it listens. */
async function serve(by: By, config: string): Promise<void> {
  const [program, ...before] = PROGRAMS[by];
  const child = spawn(program!, [...before, "serve", "--config", config], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  children.push(child);
  let log = "";
  await new Promise<void>((resolve, reject) => {
    child.on("exit", () => reject(new Error(log)));
    child.stderr!.on("data", (bytes) => {
      log += bytes;
      if (log.includes("listens on")) resolve();
    });
  });
}

/** Listens on a free port, or on none: a number for others to use. */
async function listen(answer: string | null): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(answer ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  server.unref();
  const { port } = server.address() as AddressInfo;
  if (answer === null) await new Promise((done) => server.close(done));
  return port;
}

/** Reads what a port says before it closes; empty for one that says nothing. */
function read(port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, HOST);
    socket.on("data", (bytes) => text += bytes);
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}
