/**
 * A fleet in namespaces: three machines, each a node of etcd and a gateway,
 * and a client, all on one switch.
 *
 *     [1: 10.79.0.1]  [2: 10.79.0.2]  [3: 10.79.0.3]  [client 10.79.0.9, .10]
 *            \______________|______________/______________/
 *                        [switch]
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import type { EngineName } from "../../lib/fleet/fleet.ts";
import { oldVersion } from "../../lib/fleet/nats/wire.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import {
  addNamespace,
  freshName,
  must,
  run,
  type Said,
  scriptCommand,
  sweep,
  Talker,
  until,
  whyNot,
} from "./netns.ts";
import type { Order, Outcome } from "./service.ts";

/** The machines, and the addresses of the client: the second has not knocked. */
export const NODES = [1, 2, 3] as const;
export type NodeId = (typeof NODES)[number];
export const HERE = "10.79.0.9";
export const NEIGHBOUR = "10.79.0.10";

const REACH_MS = 400;
const TEST_MS = 300_000;
export const KNOCK_PORT = 62201;

/** A client with keys. */
interface Keys {
  readonly key: Uint8Array<ArrayBuffer>;
  readonly psk: Uint8Array<ArrayBuffer>;
}

const fresh = () => crypto.getRandomValues(new Uint8Array(32));

/** Address of a machine. */
export function addressOf(node: NodeId): string {
  return `10.79.0.${node}`;
}

/** The fleet of one test. */
export class FleetStage {
  readonly engine: EngineName;
  readonly folder = mkdtempSync(join(tmpdir(), "knock-fleet-"));
  readonly serverKey = fresh();
  readonly secret = formatBase64url(fresh());
  readonly alice: Keys = { key: fresh(), psk: fresh() };
  readonly #switch = freshName("h");
  readonly #client = freshName("c");
  readonly #nodes = new Map<NodeId, string>();
  readonly #services = new Map<string, Talker>();
  readonly #engines = new Map<NodeId, ChildProcess>();
  readonly #gateways = new Map<NodeId, ChildProcess>();
  /** Standard error of each gateway so far. */
  readonly logs = new Map<NodeId, string>();

  constructor(engine: EngineName = "etcd") {
    this.engine = engine;
  }

  async make(): Promise<void> {
    await sweep();
    await addNamespace(this.#switch);
    await must([
      ...["ip", "-n", this.#switch, "-batch", "-"],
    ], "link add br0 type bridge\nlink set br0 up\n");
    await this.#plug(this.#client, "c", [HERE, NEIGHBOUR]);
    for (const node of NODES) {
      const name = freshName("g");
      this.#nodes.set(node, name);
      await this.#plug(name, `g${node}`, [addressOf(node)]);
      await this.#order(name, {
        ...{ do: "serve", protocol: "tcp", host: addressOf(node), port: 22 },
      });
      mkdirSync(this.#folderOf(node), { mode: 0o700 });
    }
  }

  /** Plugs another machine into the switch; its namespace. */
  async plugRouter(address: string): Promise<string> {
    const name = freshName("b");
    this.#routers.push(name);
    await this.#plug(name, "r", [address]);
    return name;
  }
  readonly #routers: string[] = [];

  async #plug(name: string, port: string, addresses: string[]): Promise<void> {
    await addNamespace(name);
    // deno-fmt-ignore
    await must([
      "ip", "link", "add", "eth0", "netns", name, "type", "veth",
      "peer", "name", port, "netns", this.#switch,
    ]);
    const batch = [
      ...addresses.map((one) => `address add ${one}/24 dev eth0`),
      ...["link set lo up", "link set eth0 up"],
    ].join("\n");
    await must(["ip", "-n", name, "-batch", "-"], `${batch}\n`);
    const plug = `link set ${port} master br0\nlink set ${port} up\n`;
    await must(["ip", "-n", this.#switch, "-batch", "-"], plug);
  }

  async remove(): Promise<void> {
    const children = [
      ...this.#gateways.values(),
      ...this.#engines.values(),
      ...this.#racers,
      ...[...this.#services.values()].map(({ child }) => child),
    ];
    // It has children of its own.
    for (const child of this.#kept) await kill(child, "SIGTERM");
    for (const child of children) await kill(child, "SIGKILL");
    const names = [
      ...[...this.#nodes.values(), ...this.#routers],
      ...[this.#client, this.#switch],
    ];
    for (const name of names) await run(["ip", "netns", "delete", name]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Gives the client more addresses. */
  async addAddresses(addresses: readonly string[]): Promise<void> {
    const batch = addresses.map((one) => `address add ${one}/24 dev eth0\n`);
    await must(["ip", "-n", this.#client, "-batch", "-"], batch.join(""));
  }

  /** Starts a program on the client that takes orders; it is killed at the end. */
  clientTalker(argv: readonly string[]): Talker {
    const talker = new Talker(this.#spawn(this.#client, argv));
    this.#services.set(argv.join(" "), talker);
    return talker;
  }

  /** Cuts a machine off from the switch, or plugs it in again. */
  async cable(node: NodeId, way: "up" | "down"): Promise<void> {
    await must(["ip", "-n", this.#switch, "link", "set", `g${node}`, way]);
  }

  // The engine.

  /** Addresses of the engine's servers. */
  get servers(): string[] {
    return NODES.map((one) =>
      this.engine === "etcd"
        ? `http://${addressOf(one)}:2379`
        : `nats://${addressOf(one)}:4222`
    );
  }

  /** Starts the engine on a machine; with its data of before, where it has some. */
  startEngine(node: NodeId, ...options: string[]): void {
    const argv = this.engine === "etcd"
      ? this.etcdCommand(node, options)
      : this.#nats(node);
    this.#engines.set(node, this.#spawn(this.#nodes.get(node)!, argv));
  }

  #nats(node: NodeId): string[] {
    const file = join(this.folder, `nats${node}.conf`);
    const routes = NODES.map((one) => `"nats://${addressOf(one)}:6222"`);
    writeFileSync(
      file,
      `listen: "${addressOf(node)}:4222"
server_name: n${node}
jetstream { store_dir: "${this.dataOf(node)}", sync_interval: always }
cluster {
  name: knock
  listen: "${addressOf(node)}:6222"
  routes: [${routes.join(", ")}]
}
`,
    );
    return [NATS, "-c", file];
  }

  protected etcdCommand(node: NodeId, options: readonly string[]): string[] {
    const own = (port: number) => `http://${addressOf(node)}:${port}`;
    const cluster = NODES.map((one) => `n${one}=http://${addressOf(one)}:2380`)
      .join(",");
    // deno-fmt-ignore
    return [
      "etcd", "--name", `n${node}`, "--data-dir", this.dataOf(node),
      "--listen-client-urls", own(2379), "--advertise-client-urls", own(2379),
      "--listen-peer-urls", own(2380), "--initial-advertise-peer-urls", own(2380),
      "--initial-cluster", cluster, "--log-level", "error", ...options,
    ];
  }

  /** Starts the engine on all machines, and waits until it takes a write. */
  async startEngines(...options: string[]): Promise<void> {
    for (const node of NODES) this.startEngine(node, ...options);
    await this.engineWrites();
  }

  async engineWrites(): Promise<void> {
    const { engine } = this;
    await until(`${engine} takes a write`, async () => {
      const { code } = engine === "etcd"
        ? await this.etcdctl("put", "probe", "1")
        : await this.put("probe", "1");
      return code === 0;
    });
  }

  /** Writes a key as it is, with no seal, as whoever reaches the engine can. */
  put(key: string, value: string): Promise<Said> {
    const { engine, servers } = this;
    const probe = scriptCommand("engine_probe.ts", engine, key, ...servers);
    return this.onClient(probe, value);
  }

  /** Begins a race for keys (engine_racer.ts); the function ends it, and resolves to what it printed. */
  race(): () => Promise<string> {
    const child = this.#spawn(
      this.#client,
      scriptCommand("engine_racer.ts", this.engine, ...this.servers),
    );
    this.#racers.push(child);
    let said = "";
    let complaints = "";
    child.stdout!.on("data", (bytes) => said += bytes);
    child.stderr!.on("data", (bytes) => complaints += bytes);
    const ended = new Promise<void>((resolve) =>
      child.once("close", () => resolve())
    );
    return async () => {
      child.stdin!.write("\n");
      await ended;
      if (said === "") throw new Error(complaints);
      return said;
    };
  }
  readonly #racers: ChildProcess[] = [];

  async signalEngine(node: NodeId, signal: NodeJS.Signals): Promise<void> {
    const child = this.#engines.get(node)!;
    if (signal === "SIGSTOP" || signal === "SIGCONT") {
      process.kill(child.pid!, signal);
    } else await kill(child, signal);
  }

  /** Empties the data of a node that is not running. */
  emptyEngine(node: NodeId): void {
    rmSync(this.dataOf(node), { recursive: true, force: true });
  }

  /** Runs etcdctl on the client, at all nodes. */
  etcdctl(...args: string[]): Promise<Said> {
    return this.onClient([
      ...["env", "ETCDCTL_API=3", ...this.etcdctlEnvironment, "etcdctl"],
      ...["--dial-timeout", "1s", "--command-timeout", "4s", ...args],
    ]);
  }

  protected get etcdctlEnvironment(): readonly string[] {
    return [`ETCDCTL_ENDPOINTS=${this.servers.join(",")}`];
  }

  /** Runs a program on a machine to its end. */
  onNode(node: NodeId, argv: readonly string[], stdin = ""): Promise<Said> {
    return run(["ip", "netns", "exec", this.#nodes.get(node)!, ...argv], stdin);
  }

  /** Starts a program on a machine, or another namespace; it is ended with the stage. */
  keep(where: NodeId | string, argv: readonly string[]): ChildProcess {
    const netns = typeof where === "string" ? where : this.#nodes.get(where)!;
    const child = this.#spawn(netns, argv);
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (bytes) => this.said += `${where}: ${bytes}`);
    }
    this.#kept.push(child);
    return child;
  }
  readonly #kept: ChildProcess[] = [];
  /** Output of the programs that are kept. */
  said = "";

  /** Runs a program on the client to its end. */
  onClient(argv: readonly string[], stdin = ""): Promise<Said> {
    return run(["ip", "netns", "exec", this.#client, ...argv], stdin);
  }

  /** The node that leads. */
  async leader(): Promise<NodeId> {
    if (this.engine === "nats") {
      const { stdout } = await this.admin(1, "fleet", "status", "--json");
      const { servers } = JSON.parse(stdout) as {
        servers: { address: string; leads: boolean }[];
      };
      const leading = servers.findIndex(({ leads }) => leads);
      return NODES[leading]!;
    }
    const { stdout } = await this.etcdctl("endpoint", "status");
    const line = stdout.split("\n").find((one) =>
      one.split(", ")[4] === "true"
    );
    return Number(/10\.79\.0\.(\d)/.exec(line ?? "")?.[1]) as NodeId;
  }

  // The gateways.

  config(node: NodeId): string {
    return join(this.#folderOf(node), "server.yaml");
  }

  /** Writes a gateway's files; `fleet` are more lines of its section. */
  configure(
    node: NodeId,
    {
      fleet = [],
      clients = [],
      secret = this.secret,
      key = this.serverKey,
      listen = `listen: [${KNOCK_PORT}]`,
    }: {
      readonly fleet?: readonly string[];
      /** Lines of YAML, a client each. */
      readonly clients?: readonly string[];
      readonly secret?: string;
      readonly key?: Uint8Array;
      /** Line of the configuration. */
      readonly listen?: string;
    } = {},
  ): void {
    this.write(node, "server.key", `${formatBase64url(key)}\n`);
    this.write(node, "fleet.secret", `${secret}\n`);
    this.write(
      node,
      "server.yaml",
      `
${listen}
firewall: { backend: nft }
services: { ssh: tcp/22, web: tcp/8080-8090 }
defaults: { for: 10m, max_for: 1h }
fleet:
  engine: ${this.engine}
  servers: [${this.servers.map((one) => `"${one}"`).join(", ")}]
  name: gw${node}
  prefix: knock/test
${fleet.map((line) => `  ${line}\n`).join("")}
clients:${clients.length === 0 ? " {}" : ""}
${clients.map((line) => `  ${line}\n`).join("")}`,
    );
  }

  /** A client's line for {@linkcode configure}. */
  clientLine(name = "alice", keys = this.alice, policy = "open: [ssh, web]") {
    const key = formatBase64url(publicKeyOf(keys.key));
    const psk = formatBase64url(keys.psk);
    return `${name}: { knock: { key: "${key}", psk: "${psk}" }, ${policy} }`;
  }

  /** Writes a file of a gateway, 0600. */
  write(node: NodeId, name: string, text: string): void {
    const path = join(this.#folderOf(node), name);
    writeFileSync(path, text, { mode: 0o600 });
    chmodSync(path, 0o600);
  }

  /** Starts a gateway; resolves when it listens. */
  async start(node: NodeId, prefix: readonly string[] = []): Promise<void> {
    const command = scriptCommand(
      "../../main.ts",
      ...["serve", "--config", this.config(node)],
    );
    const child = this.#spawn(this.#nodes.get(node)!, [...prefix, ...command]);
    this.#gateways.set(node, child);
    const from = this.log(node).length;
    child.stderr!.on("data", (bytes) => {
      this.logs.set(node, this.log(node) + bytes);
    });
    await this.logged(node, "listens on", from);
  }

  async startAll(): Promise<void> {
    await Promise.all(NODES.map((node) => this.start(node)));
  }

  /** Ends a gateway; its exit status. */
  signal(node: NodeId, signal: NodeJS.Signals): Promise<number | null> {
    return kill(this.#gateways.get(node)!, signal);
  }

  hup(node: NodeId): void {
    process.kill(this.#gateways.get(node)!.pid!, "SIGHUP");
  }

  log(node: NodeId): string {
    return this.logs.get(node) ?? "";
  }

  async logged(node: NodeId, words: string, from = 0): Promise<void> {
    const child = this.#gateways.get(node)!;
    await until(`gateway ${node} logs "${words}"`, () => {
      const text = this.log(node).slice(from);
      if (text.includes(words)) return true;
      if (child.exitCode === null) return false;
      throw new Error(`gateway ${node} has ended: ${text}`);
    });
  }

  /** Runs the program on a machine, with its configuration. */
  admin(node: NodeId, ...args: string[]): Promise<Said> {
    return run([
      ...["ip", "netns", "exec", this.#nodes.get(node)!],
      ...scriptCommand("../../main.ts", ...args, "--config", this.config(node)),
    ]);
  }

  /** A counter of a gateway, as `status` shows it: written every two seconds. */
  async count(node: NodeId, name: string): Promise<number> {
    const { stdout } = await this.admin(node, "status", "--json");
    return JSON.parse(stdout).counters[name.replace(/: | /g, "_")] ?? 0;
  }

  // The client.

  /** Knocks as the program's client at a gateway; `args` are its command, and more. */
  async knock(
    node: NodeId,
    command: string,
    profile = "home",
    ...args: string[]
  ): Promise<Said> {
    if (!this.#imported.has(node)) {
      this.#imported.add(node);
      await this.import(
        node,
        "home",
        formatEnrolment({
          ...{ host: addressOf(node), port: KNOCK_PORT, name: "home" },
          ...{ server: publicKeyOf(this.serverKey), ...this.alice },
        }),
      );
    }
    return await this.#run(node, [command, profile, ...args]);
  }
  readonly #imported = new Set<NodeId>();

  /** Stores what `client add` printed. */
  async import(node: NodeId, profile: string, line: string): Promise<void> {
    const said = await this.#run(
      node,
      ["import", "-", "--name", profile],
      line,
    );
    if (said.code !== 0) throw new Error(said.stderr);
  }

  #run(node: NodeId, words: readonly string[], stdin = ""): Promise<Said> {
    const profiles = join(this.folder, `profiles-${node}.yaml`);
    const program = scriptCommand("../../main.ts", ...words);
    const memory = join(this.folder, "memory");
    const env = [
      "env",
      `KNOCK_PROFILES=${profiles}`,
      `XDG_STATE_HOME=${memory}`,
    ];
    return this.onClient([...env, ...program], stdin);
  }

  /** A fresh packet of alice's that opens all she may. */
  packet(over: { nowMs?: number; seconds?: number } = {}): Uint8Array {
    const { nowMs = Date.now(), seconds = 600 } = over;
    return sealKnock(
      {
        ...{ server: publicKeyOf(this.serverKey), ...this.alice },
        ephemeral: fresh(),
      },
      {
        ...{ action: "open", ports: [], command: null, seconds },
        ...{ address: null, code: null, wantsReply: false },
      },
      nowMs,
    ).packet;
  }

  /** Sends a packet to gateways, one right after the other. */
  async send(packet: Uint8Array, ...nodes: readonly NodeId[]): Promise<void> {
    await Promise.all(nodes.map((node) => this.sendFrom(HERE, packet, node)));
  }

  /** Sends a packet from an address of the client's. */
  sendFrom(
    source: string,
    packet: Uint8Array,
    node: NodeId,
  ): Promise<boolean> {
    return this.#order(this.#client, {
      ...{ do: "send", source, target: addressOf(node), count: 1 },
      ...{ port: KNOCK_PORT, hex: packet.toHex() },
    });
  }

  canReach(node: NodeId, source = HERE, port = 22): Promise<boolean> {
    return this.canReachAt(addressOf(node), source, port);
  }

  canReachAt(target: string, source = HERE, port = 22): Promise<boolean> {
    return this.#order(this.#client, {
      ...{ do: "reach", protocol: "tcp", source, target },
      ...{ port, timeoutMs: REACH_MS },
    });
  }

  async opens(...nodes: readonly NodeId[]): Promise<void> {
    for (const node of nodes) {
      await until(`${node} is open`, () => this.canReach(node));
    }
  }

  async shuts(...nodes: readonly NodeId[]): Promise<void> {
    for (const node of nodes) {
      await until(`${node} is shut`, async () => !await this.canReach(node));
    }
  }

  #folderOf(node: NodeId): string {
    return join(this.folder, `gw${node}`);
  }

  /** Folder of the data of a node. */
  dataOf(node: NodeId): string {
    return join(this.folder, `${this.engine}${node}`);
  }

  #spawn(netns: string, argv: readonly string[]): ChildProcess {
    return spawn("ip", ["netns", "exec", netns, ...argv], { stdio: "pipe" });
  }

  async #order(netns: string, order: Order): Promise<boolean> {
    const talker = this.#services.get(netns) ??
      new Talker(this.#spawn(netns, scriptCommand("service.ts")));
    this.#services.set(netns, talker);
    return (await talker.ask<Outcome>(order)).ok;
  }
}

export async function kill(
  child: ChildProcess,
  signal: NodeJS.Signals,
): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return child.exitCode;
  }
  const ended = new Promise<number | null>((resolve) =>
    child.once("exit", resolve)
  );
  // Not by child.kill(): that of Deno closes the pipes.
  process.kill(child.pid!, signal);
  return await ended;
}

/** The program of NATS: KNOCK_NATS is its path. */
export const NATS = process.env["KNOCK_NATS"] ?? "nats-server";

/** The version of the nats-server that is here; null = there is none. */
export function natsVersion(): string | null {
  const { stdout } = spawnSync(NATS, ["--version"], { encoding: "utf8" });
  return /v([\d.]+)/.exec(stdout ?? "")?.[1] ?? null;
}

/**
 * Reason why tests of an engine cannot run here; null: they can. Debian's
 * nats-server is too old, so that those of NATS run where KNOCK_NATS says.
 */
export function whyNoEngine(engine: EngineName): string | null {
  if (engine === "etcd") return whyNot(["etcd", "etcdctl"]);
  const version = natsVersion();
  return version === null
    ? "there is no nats-server: KNOCK_NATS is its path"
    : oldVersion(version) ?? whyNot();
}

/** Options of a test of an engine; throws in CI where etcd cannot run. */
export function skipOf(engine: EngineName, timeout: number) {
  const reason = whyNoEngine(engine);
  if (reason !== null && engine === "etcd" && process.env["CI"] === "true") {
    throw new Error(`cannot run: ${reason}`);
  }
  return { skip: reason ?? false, timeout };
}

/** Options of a test of a fleet. */
interface FleetTestOptions {
  readonly engine?: EngineName;
  readonly timeout?: number;
}

/** A test of a fleet; skipped, or in CI failed, where it cannot run. */
export function fleetTest(
  name: string,
  body: (stage: FleetStage) => Promise<void>,
  options: FleetTestOptions = {},
): void {
  stageTest(name, () => new FleetStage(options.engine), body, options);
}

/** As {@linkcode fleetTest}, with a stage of another kind. */
export function stageTest<S extends FleetStage>(
  name: string,
  makeStage: () => S,
  body: (stage: S) => Promise<void>,
  { engine = "etcd", timeout = TEST_MS }: FleetTestOptions = {},
): void {
  test(name, skipOf(engine, timeout), async () => {
    const stage = makeStage();
    try {
      await stage.make();
      await body(stage);
    } catch (error) {
      const logs = [...stage.logs].map(([node, log]) =>
        `gateway ${node}:\n${log}`
      );
      const all = [...logs, stage.said.slice(-5000)].join("\n");
      throw new Error(all, { cause: error });
    } finally {
      await stage.remove();
    }
  });
}
