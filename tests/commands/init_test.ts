import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { NFT_GUARD } from "../fakes/fixtures.ts";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import { writeFirstConfiguration } from "../../lib/commands/operator/init/first.ts";
import {
  newConfiguration,
  run,
  sshService,
} from "../../lib/commands/operator/init/init.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import {
  ConfigError,
  FailureError,
  UsageError,
} from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const FILE = "/etc/knock/server.yaml";
const KEY_FILE = "/etc/knock/server.key";

function root(nft?: number): FakeRuntime {
  const runtime = new FakeRuntime({ userId: 0 });
  if (nft !== undefined) runtime.programs.set("nft", () => ({ code: nft }));
  return runtime;
}

test("run() writes a configuration that is valid, both files 0600", async () => {
  const runtime = root(0);
  assertEquals(await run([], runtime), 0);
  const { firewall, services, listen } = loadConfig(runtime, FILE);
  assertEquals(firewall, NFT_GUARD);
  assertEquals(services.map(({ name }) => name), ["ssh"]);
  assertEquals(listen, [{ host: "::", port: 62201 }]);
  assertEquals(runtime.files.stat(FILE)!.mode, 0o600);
  assertEquals(runtime.files.stat(KEY_FILE)!.mode, 0o600);
  assertEquals(runtime.files.stat("/etc/knock")!.mode, 0o700);
  assertEquals(runtime.stdout, "");
  assert(runtime.stderr.includes(`wrote ${FILE} and ${KEY_FILE}`));
});

test("run() writes the file that KNOCK_CONFIG names, as all commands read it", async () => {
  const runtime = new FakeRuntime({
    userId: 0,
    env: { KNOCK_CONFIG: "/srv/knock/my.yaml" },
  });
  runtime.programs.set("nft", () => ({ code: 0 }));
  assertEquals(await run([], runtime), 0);
  assertMatch(
    runtime.stderr,
    /^wrote \/srv\/knock\/my.yaml and \/srv\/knock\/server.key\n/,
  );
  assert(!runtime.stderr.includes("--config"), runtime.stderr);
  assertEquals(runtime.files.stat(FILE), null);
});

test("run() says what guarding means for containers", async () => {
  const runtime = root(0);
  runtime.files.put(
    "/proc/net/dev",
    "Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0: 0 0\ndocker0: 0 0\n",
  );
  assertEquals(await run([], runtime), 0);
  assertMatch(
    runtime.stderr,
    /\ncontainers behind docker0 .*firewall: \{ interfaces: \[eth0\] \}\n/,
  );
  assertEquals(loadConfig(runtime, FILE).firewall, NFT_GUARD);
});

const gates: [name: string, runtime: FakeRuntime][] = [
  ["without nft", root()],
  ["where nft fails", root(1)],
  ["for a user", new FakeRuntime()],
  ["on macOS", new FakeRuntime({ platform: "darwin", userId: 0 })],
];

for (const [name, runtime] of gates) {
  test(`run() takes the gate ${name}`, async () => {
    assertEquals(await run(["--dir", "/d"], runtime), 0);
    const { firewall, services } = loadConfig(runtime, "/d/server.yaml");
    assertEquals(firewall.backend, "gate");
    assertEquals(services[0]!.to, { host: "127.0.0.1", port: 22 });
    assert(runtime.stderr.includes("--config /d/server.yaml"));
  });
}

test("run() needs neither a home nor the right to ask for it with --dir", async () => {
  const refused = () => {
    throw new Error('Requires env access to "KNOCK_CONFIG"');
  };
  for (const env of [() => undefined, refused]) {
    const runtime = Object.assign(new FakeRuntime(), { env });
    assertEquals(await run(["--dir", "/d"], runtime), 0);
    assertMatch(runtime.stderr, /knock serve --config \/d\/server.yaml /);
  }
});

test("run() finds nft where the PATH does not name its folder", async () => {
  const runtime = new FakeRuntime({ userId: 0 });
  runtime.programs.set("/usr/sbin/nft", () => ({ code: 0 }));
  assertEquals(await run([], runtime), 0);
  assertEquals(loadConfig(runtime, FILE).firewall, NFT_GUARD);
});

test("run() takes services and a port", async () => {
  const runtime = root();
  const args = ["-b", "gate", "-l", "7000", "-s", "a=tcp/1,tcp/2,host:3"];
  assertEquals(await run([...args, "-s", "b=tcp/4,[::1]:5"], runtime), 0);
  const config = loadConfig(runtime, FILE);
  assertEquals(config.listen[0]!.port, 7000);
  assertEquals(config.services.map(({ to }) => to), [
    { host: "host", port: 3 },
    { host: "::1", port: 5 },
  ]);
  assertEquals(config.services[0]!.ports.length, 2);
});

const wrong: [args: string, message: string][] = [
  ["extra", `unexpected argument "extra"`],
  [
    "--backend nftables",
    `--backend must be nft, iptables, gate or command, got "nftables"`,
  ],
  ["--backend nft --mode open", `--mode must be guard or accept, got "open"`],
  [
    "--backend gate --mode guard",
    `--mode is for --backend nft or iptables, got "gate"`,
  ],
  ["--listen 0", `--listen must be a port, 1 to 65535, got "0"`],
  ["--listen 1e3", `--listen must be a port, 1 to 65535, got "1e3"`],
  [
    "--backend nft --service ssh",
    `--service must be NAME=tcp/PORT or NAME=udp/PORT, got "ssh"`,
  ],
  [
    "--backend nft --service ssh=22",
    `--service ssh must be tcp/PORT or udp/PORT, got "22"`,
  ],
  [
    "--backend nft --service ssh=",
    `--service ssh must be tcp/PORT or udp/PORT, got ""`,
  ],
  [
    "--backend gate --service ssh=a:1",
    `--service ssh must have a tcp/PORT or udp/PORT, got "ssh=a:1"`,
  ],
  [
    "--backend gate --service ssh=tcp/22",
    '--service ssh must say where connections go with the gate backend, got "ssh=tcp/22"',
  ],
  [
    "--backend nft --service a=tcp/1 --service a=tcp/2",
    `--service names "a" twice`,
  ],
];

for (const [args, message] of wrong) {
  test(`run() refuses "${args}"`, async () => {
    const runtime = root();
    await assertRejects(
      () => run(args.split(" "), runtime),
      UsageError,
      message,
    );
    assertEquals(runtime.files.paths(), []);
  });
}

for (const backend of ["nft", "iptables", "gate", "command"]) {
  test(`run() --backend ${backend} writes what can be read again`, async () => {
    const runtime = root();
    assertEquals(await run(["-b", backend], runtime), 0);
    assertEquals(loadConfig(runtime, FILE).firewall.backend, backend);
  });
}

test("run() writes nothing that cannot be read again", async () => {
  const runtime = root();
  const args = ["-b", "iptables", "-s", "nas=tcp/8443,10.0.0.5:443"];
  await assertRejects(() => run(args, runtime), ConfigError);
  assertEquals(runtime.files.paths(), []);
});

for (const path of [FILE, KEY_FILE]) {
  test(`run() leaves ${path} as it is, and writes nothing beside it`, async () => {
    const runtime = root(0);
    runtime.files.put(path, "mine");
    await assertRejects(() => run([], runtime), FailureError, "exists already");
    assertEquals(runtime.files.paths(), [path]);
    assertEquals(runtime.files.readText(path), "mine");
  });

  test(`run() leaves nothing half-written when ${path} fails`, async () => {
    const runtime = root(0);
    runtime.files.failingWrites.set(path, "ENOSPC");
    await assertRejects(
      () => run([], runtime),
      FailureError,
      `cannot write ${path}`,
    );
    assertEquals(runtime.files.paths(), []);
  });
}

test("writeFirstConfiguration() enrols a first client", async () => {
  const runtime = new FakeRuntime();
  const folder = "/home/alice/.config/knock";
  const file = await writeFirstConfiguration(runtime);
  assertEquals(file, `${folder}/server.yaml`);
  assert(runtime.files.stat(`${folder}/server.key`));
  const config = loadConfig(runtime, file);
  const line = runtime.files.readText(`${folder}/me.knock`);
  const enrolment = parseEnrolment(line.trim());
  assertEquals(config.clients.map(({ name }) => name), ["me"]);
  assertEquals(config.clients[0]!.knock!.psk, enrolment.psk);
  assertEquals(enrolment.host, "192.0.2.10");
  assertEquals(enrolment.port, 62201);
  assertEquals(config.clients[0]!.open.length, 1);
});

test("newConfiguration() names no half-made client", () => {
  const runtime = new FakeRuntime();
  const key = new Uint8Array(32).fill(1);
  const client = { name: "a b", keys: { key, psk: key }, open: ["ssh"] };
  const settings = {
    ...{ port: 62201, backend: "gate", mode: "guard" } as const,
    services: [sshService("gate")],
    clients: [{ ...client, forSeconds: null }],
  };
  assertThrows(
    () => newConfiguration(runtime, "/d/server.yaml", key, settings),
    ConfigError,
  );
  assertEquals(runtime.files.paths(), []);
});
