/**
 * The npm package, packed, installed in a folder outside the repository and
 * used by a small client in Node.js 22, Deno and Bun, which opens a port of a
 * real server's gate.
 */

import { assertEquals, assertMatch } from "@std/assert";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { VERSION } from "../../lib/values/program.ts";
import { build, ROOT, run } from "./build.ts";

const NODE = "node@22.23.3";
const HOST = "127.0.0.1";
const BANNER = "hello from behind the gate";

/** The client: what a user of the library writes. */
const CLIENT = `
import { knock, parseEnrolment, parsePortRange } from "@knock/knock";
import { PACKET_SIZE } from "@knock/knock/protocol";

declare const process: { env: Record<string, string> };
const enrolment = parseEnrolment(process.env.ENROLMENT);
const ports = [parsePortRange(process.env.PORT)!];
const outcome = await knock(enrolment, { ports, seconds: 60 });
if (outcome.kind === "answered") {
  const { status, count, seconds, address } = outcome.answer;
  console.log(PACKET_SIZE, status, count, seconds, address);
} else {
  console.log(outcome.kind);
}
`;

const scratch = mkdtempSync(join(tmpdir(), "knock-npm-test-"));
const dist = build("npm").folder;
const children: ChildProcess[] = [];
const servers: Server[] = [];

after(() => {
  for (const child of children) child.kill();
  for (const server of servers) server.close();
  rmSync(scratch, { recursive: true });
  rmSync(dist, { recursive: true });
});

const tarball = run("npm", ["pack", "--silent", join(dist, "npm")], {
  cwd: scratch,
}).stdout.trim();
writeFileSync(join(scratch, "package.json"), '{ "type": "module" }\n');
run("npm", ["install", "--silent", "--no-audit", `./${tarball}`, NODE], {
  cwd: scratch,
});
writeFileSync(join(scratch, "client.ts"), CLIENT);
const node = join(scratch, "node_modules/.bin/node");
const program = join(scratch, "node_modules/.bin/knock");

/** A random key, and its text. */
function newKey(): { bytes: Uint8Array; text: string } {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return { bytes, text: formatBase64url(bytes) };
}

/** Listens on a free port, or on none: a number for others to use. */
async function listen(answer: string | null): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(answer ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const { port } = server.address() as AddressInfo;
  if (answer === null) {
    await new Promise((resolve) => server.close(resolve));
  } else servers.push(server);
  return port;
}

/** Reads what a port says before it closes; empty for one that says nothing. */
function readPort(port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, HOST);
    socket.on("data", (bytes) => text += bytes);
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

/** Starts the server of this repository with one client. */
async function serve() {
  const [server, client, psk] = [newKey(), newKey(), newKey()];
  const [udp, service] = [await listen(null), await listen(BANNER)];
  // A port of its own for each runtime, closed until its client knocks.
  const gates = [await listen(null), await listen(null), await listen(null)];
  writeFileSync(join(scratch, "server.key"), `${server.text}\n`, {
    mode: 0o600,
  });
  writeFileSync(
    join(scratch, "server.yaml"),
    `key: server.key
state: state
listen: ["${HOST}:${udp}"]
firewall: { backend: gate }
services:
${
      gates.map((gate) =>
        `  hello${gate}: { listen: tcp/${gate}, to: "${HOST}:${service}" }\n`
      ).join("")
    }clients:
  laptop:
    knock: { key: ${
      formatBase64url(publicKeyOf(client.bytes))
    }, psk: ${psk.text} }
    open: [${gates.map((gate) => `hello${gate}`).join(", ")}]
`,
    { mode: 0o600 },
  );
  const child = spawn("deno", [
    ...["run", "-A", "--no-check", "--unstable-net", join(ROOT, "main.ts")],
    ...["serve", "--config", join(scratch, "server.yaml")],
  ], { stdio: ["ignore", "ignore", "pipe"] });
  children.push(child);
  let log = "";
  await new Promise<void>((resolve, reject) => {
    child.on("exit", () => reject(new Error(log)));
    child.stderr!.on("data", (bytes) => {
      log += bytes;
      if (log.includes("listens on")) resolve();
    });
  });
  const enrolment = formatEnrolment({
    name: "laptop",
    host: HOST,
    port: udp,
    server: publicKeyOf(server.bytes),
    key: client.bytes,
    psk: psk.bytes,
  });
  return { enrolment, gates };
}

const { enrolment, gates } = await serve();

const RUNTIMES: readonly (readonly [string, readonly string[]])[] = [
  [node, []],
  ["deno", ["run", "--allow-net", "--allow-env", "--allow-sys"]],
  ["bun", ["run"]],
];

for (const [index, [runtime, args]] of RUNTIMES.entries()) {
  const name = runtime === node ? "Node.js 22" : runtime;
  test(`a client of the package knocks in ${name}`, async () => {
    const gate = gates[index]!;
    assertEquals(await readPort(gate), "");
    const { stdout } = run(runtime, [...args, "client.ts"], {
      cwd: scratch,
      env: { ENROLMENT: enrolment, PORT: `tcp/${gate}` },
    });
    assertEquals(stdout, `216 done 1 60 ${HOST}\n`);
    assertEquals(await readPort(gate), BANNER);
  });
}

test("its types hold in a strict project", () => {
  run("npx", [
    ...["-y", "-p", "typescript@5.9.3", "tsc", "--noEmit", "--strict"],
    ...["--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "false"],
    ...["--module", "nodenext", "--target", "esnext", "client.ts"],
  ], { cwd: scratch });
});

test("its program runs in Node.js 22 and knocks", () => {
  const home = { HOME: scratch, XDG_CONFIG_HOME: join(scratch, "config") };
  const knock = (...args: string[]) =>
    run(node, [program, ...args], { cwd: scratch, env: home }).stdout;
  assertMatch(knock("version"), new RegExp(`^knock ${VERSION} \\(node 22`));
  writeFileSync(join(scratch, "enrolment"), `${enrolment}\n`, { mode: 0o600 });
  knock("import", "--name", "home", "enrolment");
  assertMatch(knock("ping", "home"), /ms/);
});

test("an older Node.js gets one line", (context) => {
  const { stdout } = spawnSync("node", ["--version"], { encoding: "utf8" });
  if (!/^v(1[89]|2[01])\./.test(stdout ?? "")) {
    return context.skip("needs an older Node.js on the PATH");
  }
  const { stderr } = run("node", [program, "version"], { status: 1 });
  assertMatch(stderr, /^knock: error: knock needs Node\.js 22 or newer.*\n$/);
});

test("the package holds its modules, types and licence, and no tests", () => {
  const { files } = JSON.parse(
    run("npm", ["pack", "--dry-run", "--json", join(dist, "npm")], {
      cwd: scratch,
    }).stdout,
  )[0] as { files: { path: string }[] };
  const names = files.map(({ path }) => path);
  for (
    const name of [
      "LICENSE",
      "README.md",
      "knock.js",
      "mod.js",
      "protocol.js",
      "types/mod.d.ts",
      "types/protocol.d.ts",
    ]
  ) assertEquals(names.filter((each) => each === name), [name]);
  assertEquals(names.filter((name) => /test|\/work|tmp/.test(name)), []);
  const text = readFileSync(join(dist, "npm/mod.js"), "utf8");
  assertEquals(text.includes(ROOT), false);
});
