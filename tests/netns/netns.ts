/**
 * Two network namespaces joined by a cable, for tests on the real kernel:
 *
 *     [server 10.77.0.1, fd77::1] eth0 ---- eth0 [client 10.77.0.2 …, fd77::2 …]
 *
 * Each test makes its own pair, under names of its own, and it is removed
 * whatever happens. Nothing outside of the two namespaces is touched.
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Order, Outcome } from "./service.ts";

/** A third host behind the server, where a test asks for it: eth1 of both. */
export const BEHIND = { 4: "10.78.0.2", 6: "fd78::2" } as const;
const BESIDE = { 4: "10.78.0.1", 6: "fd78::1" } as const;

export const SERVER = { 4: "10.77.0.1", 6: "fd77::1" } as const;

/** The client's addresses: some that look alike, and some that are near. */
export const CLIENTS = {
  4: ["10.77.0.2", "10.77.0.3", "10.77.0.20", "10.77.0.22"],
  6: ["fd77::2", "fd77::3", "fd77::20", "fd77::22"],
} as const;

/** Longest attempt to connect before the port counts as shut. */
const REACH_MS = 400;

const TEST_MS = 300_000;

/** Why tests of this kind cannot run here; null when they can. */
export function whyNot(programs: readonly string[] = []): string | null {
  if (process.platform !== "linux") return "needs Linux";
  if (process.geteuid?.() !== 0) return "needs root";
  for (const program of ["ip", "nft", ...programs]) {
    if (spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0) {
      return `needs the program ${program}`;
    }
  }
  const name = freshName("probe");
  const made = spawnSync("ip", ["netns", "add", name]);
  if (made.status !== 0) return "needs network namespaces";
  const nft = spawnSync("ip", ["netns", "exec", name, "nft", "list", "tables"]);
  spawnSync("ip", ["netns", "delete", name]);
  return nft.status === 0 ? null : "needs nf_tables in the kernel";
}

/**
 * A test with a pair of namespaces of its own. Where it cannot run it is
 * skipped, saying why; with CI=true in the environment it fails instead.
 */
export function netnsTest(
  name: string,
  body: (pair: Pair) => Promise<void>,
  programs: readonly string[] = [],
  timeout = TEST_MS,
): void {
  const reason = whyNot(programs);
  const skip = reason !== null && process.env["CI"] !== "true" ? reason : false;
  test(name, { skip, timeout }, async () => {
    if (reason !== null) throw new Error(`cannot run: ${reason}`);
    const pair = new Pair();
    try {
      await pair.make();
      await body(pair);
    } finally {
      await pair.remove();
    }
  });
}

/** Output and exit status of a program. */
export interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A program that takes JSON orders, one a line, each with an `id`, and answers
 * each with a line that bears the same `id`, in any order.
 */
export class Talker {
  readonly child: ChildProcess;
  readonly #waiting = new Map<number, (answer: unknown) => void>();
  #asked = 0;

  constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const answer = JSON.parse(line) as { id: number };
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    const end = () => {
      for (const wake of this.#waiting.values()) wake(null);
      this.#waiting.clear();
    };
    child.on("exit", end);
    child.stdin!.on("error", end);
  }

  async ask<T>(order: object): Promise<T> {
    const id = ++this.#asked;
    const answer = await new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.child.stdin!.write(JSON.stringify({ ...order, id }) + "\n");
    });
    if (answer === null) throw new Error("the program has ended");
    return answer as T;
  }
}

export class Pair {
  readonly server = freshName("s");
  readonly client = freshName("c");
  readonly behind = freshName("b");
  readonly #children: ChildProcess[] = [];
  readonly #services = new Map<string, Talker>();

  /** Makes the namespaces, the cable and the addresses. */
  async make(): Promise<void> {
    const { server, client } = this;
    await sweep();
    await addNamespace(server);
    await addNamespace(client);
    // deno-fmt-ignore
    await must([
      "ip", "link", "add", "eth0", "netns", server, "type", "veth",
      "peer", "name", "eth0", "netns", client,
    ]);
    for (
      const [netns, all4, all6] of [
        [server, [SERVER[4]], [SERVER[6]]],
        [client, CLIENTS[4], CLIENTS[6]],
      ] as const
    ) {
      const batch = [
        ...all4.map((address) => `address add ${address}/24 dev eth0`),
        ...all6.map((address) => `address add ${address}/64 dev eth0 nodad`),
        "link set lo up",
        "link set eth0 up",
      ].join("\n");
      const said = await run(["ip", "-n", netns, "-batch", "-"], batch + "\n");
      if (said.code !== 0) throw new Error(`ip: ${said.stderr}`);
    }
  }

  /** Makes a third host behind the server; with a way back to the client, or without. */
  async makeBehind(wayBack: boolean): Promise<void> {
    const { server, behind } = this;
    await addNamespace(behind);
    // deno-fmt-ignore
    await must([
      "ip", "link", "add", "eth1", "netns", server, "type", "veth",
      "peer", "name", "eth1", "netns", behind,
    ]);
    for (
      const [netns, addresses] of [[server, BESIDE], [behind, BEHIND]] as const
    ) {
      const batch = [
        `address add ${addresses[4]}/24 dev eth1`,
        `address add ${addresses[6]}/64 dev eth1 nodad`,
        "link set lo up",
        "link set eth1 up",
        ...(wayBack && netns === behind
          ? [`route add default via ${BESIDE[4]}`]
          : []),
      ].join("\n");
      await must(["ip", "-n", netns, "-batch", "-"], batch + "\n");
      if (wayBack && netns === behind) {
        await must([
          "ip",
          "-n",
          netns,
          "-6",
          "route",
          "add",
          "default",
          "via",
          BESIDE[6],
        ]);
      }
    }
  }

  /** Makes the server forward packets between its cables, or not. */
  async passOn(on: boolean): Promise<void> {
    const value = on ? 1 : 0;
    await this.onServer([
      "sh",
      "-c",
      `echo ${value} > /proc/sys/net/ipv4/ip_forward && ` +
      `echo ${value} > /proc/sys/net/ipv6/conf/all/forwarding`,
    ]);
  }

  /** Starts an echo service on the third host, on both families. */
  async serveBehind(
    protocol: "tcp" | "udp",
    ...ports: number[]
  ): Promise<void> {
    for (const port of ports) {
      for (const host of Object.values(BEHIND)) {
        const order = { do: "serve", protocol, host, port } as const;
        if (!await this.#order(this.behind, order)) {
          throw new Error(`cannot serve ${protocol}/${port}`);
        }
      }
    }
  }

  /** Waits until the cable is up: before, Bun finds no addresses of the client's own. */
  async cableUp(): Promise<void> {
    for (let waited = 0; waited < 200; waited++) {
      const argv = ["cat", "/sys/class/net/eth0/operstate"];
      const { stdout } = await this.exec(this.client, argv);
      if (stdout.trim() === "up") return;
      await pass(20);
    }
    throw new Error("the cable is not up");
  }

  /** Ends what was started and removes the namespaces. */
  async remove(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    for (const netns of [this.server, this.client, this.behind]) {
      await run(["ip", "netns", "delete", netns]);
    }
  }

  /** Runs a program inside a namespace to its end. */
  exec(netns: string, argv: readonly string[], stdin = ""): Promise<Said> {
    return run(["ip", "netns", "exec", netns, ...argv], stdin);
  }

  /** Runs a program on the server; throws unless it ends with 0. */
  async onServer(argv: readonly string[], stdin = ""): Promise<string> {
    return await must(["ip", "netns", "exec", this.server, ...argv], stdin);
  }

  /** Starts a program inside a namespace; it is killed at the end of the test. */
  spawn(
    netns: string,
    argv: readonly string[],
    stderr: "inherit" | "pipe" = "inherit",
  ): ChildProcess {
    const all = ["netns", "exec", netns, ...argv];
    const child = spawn("ip", all, { stdio: ["pipe", "pipe", stderr] });
    this.#children.push(child);
    return child;
  }

  /** Starts a script of this folder, under this runtime, inside a namespace. */
  script(netns: string, file: string, ...args: string[]): Talker {
    return new Talker(this.spawn(netns, scriptCommand(file, ...args)));
  }

  /** Starts an echo service on the server, on both families. */
  async serve(protocol: "tcp" | "udp", ...ports: number[]): Promise<void> {
    for (const port of ports) {
      for (const host of Object.values(SERVER)) {
        const order = { do: "serve", protocol, host, port } as const;
        if (!await this.#order(this.server, order)) {
          throw new Error(`cannot serve ${protocol}/${port}`);
        }
      }
    }
  }

  /**
   * Tries to reach a port of the server from one of the client's addresses: by
   * TCP it connects, by UDP it gets its echo. A connection with `keep` stays
   * open under that name.
   */
  canReach(
    source: string,
    port: number,
    reaching: Reaching = {},
  ): Promise<boolean> {
    const target = SERVER[source.includes(":") ? 6 : 4];
    return this.canReachAt(target, source, port, reaching);
  }

  /** As {@linkcode canReach}, at another address than the server's. */
  canReachAt(
    target: string,
    source: string,
    port: number,
    { protocol = "tcp", ...more }: Reaching = {},
  ): Promise<boolean> {
    return this.#order(this.client, {
      do: "reach",
      protocol,
      source,
      target,
      port,
      timeoutMs: REACH_MS,
      ...more,
    });
  }

  /** Resolves when the client reaches a port, and throws when it never does. */
  opens(source: string, port: number, reaching: Reaching = {}): Promise<void> {
    return until(
      `${source} reaches ${port}`,
      () => this.canReach(source, port, reaching),
    );
  }

  /** Resolves when the client does not reach a port any more, and throws when it always does. */
  shuts(source: string, port: number, reaching: Reaching = {}): Promise<void> {
    return until(
      `${source} does not reach ${port}`,
      async () => !await this.canReach(source, port, reaching),
    );
  }

  /** Sends so many datagrams to the server; false if one could not be sent. */
  send(
    source: string,
    port: number,
    count: number,
    hex?: string,
  ): Promise<boolean> {
    const target = SERVER[source.includes(":") ? 6 : 4];
    return this.sendTo(target, source, port, count, hex);
  }

  /** As {@linkcode send}, to another address; broadcast and multicast, too. */
  sendTo(
    target: string,
    source: string,
    port: number,
    count: number,
    hex?: string,
  ): Promise<boolean> {
    return this.#order(this.client, {
      do: "send",
      source,
      target,
      port,
      count,
      ...(hex !== undefined && { hex }),
    });
  }

  /** Has the server's services send a byte on each connection; false where there is none. */
  push(): Promise<boolean> {
    return this.#order(this.server, { do: "push" });
  }

  /** True if a connection that was kept still carries bytes. */
  stillTalks(keep: string): Promise<boolean> {
    return this.#order(this.client, { do: "talk", keep, timeoutMs: REACH_MS });
  }

  async #order(netns: string, order: Order): Promise<boolean> {
    const talker = this.#services.get(netns) ??
      this.script(netns, "service.ts");
    this.#services.set(netns, talker);
    return (await talker.ask<Outcome>(order)).ok;
  }
}

export interface Reaching {
  readonly protocol?: "tcp" | "udp";
  readonly keep?: string;
  /** Bytes to send by UDP, in hexadecimal. */
  readonly hex?: string;
}

const RUNTIME: readonly string[] = "Deno" in globalThis
  ? [process.execPath, "run", "-A", "--no-check", "--quiet"]
  : [process.execPath, "run"];

const PROGRAM = "../../main.ts";

/**
 * The argv of a script of this folder under this runtime; of the program
 * itself, where KNOCK_BINARY names one that is compiled, of that.
 */
export function scriptCommand(file: string, ...args: string[]): string[] {
  const binary = process.env["KNOCK_BINARY"];
  if (file === PROGRAM && binary) return [binary, ...args];
  const path = fileURLToPath(new URL(file, import.meta.url));
  if (!existsSync(path)) throw new Error(`no such script: ${path}`);
  return [...RUNTIME, path, ...args];
}

/** Resolves when so many milliseconds of the real clock have passed. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Far more than a busy machine needs for anything that tests wait for. */
const PATIENCE_MS = 120_000;

/** Resolves when something has come true; how soon, no test says: the machine may do other work. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!await isTrue()) {
    if (performance.now() > endMs) throw new Error(`never: ${what}`);
    await pass(50);
  }
}

/** Makes a namespace whose addresses are in use at once, and not after a second. */
export async function addNamespace(name: string): Promise<void> {
  await must(["ip", "netns", "add", name]);
  const sysctl = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
  await must(["ip", "netns", "exec", name, "sh", "-c", sysctl]);
}

/** Removes the namespaces of test runs that were killed, and ends what still runs there. */
export async function sweep(): Promise<void> {
  const { stdout } = await run(["ip", "netns", "list"]);
  for (
    const [name, pid] of stdout.matchAll(/^knock-(\d+)-[0-9a-f]{8}-[scbgh]/gm)
  ) {
    if (existsSync(`/proc/${pid}`)) continue;
    const { stdout: left } = await run(["ip", "netns", "pids", name]);
    for (const orphan of left.split("\n").map(Number).filter((id) => id > 1)) {
      try {
        process.kill(orphan, "SIGKILL");
      } catch {
        // It has just ended.
      }
    }
    await run(["ip", "netns", "delete", name]);
  }
}

// Test files run in parallel, some of them in the same process.
export function freshName(role: string): string {
  const random = crypto.randomUUID().slice(0, 8);
  return `knock-${process.pid}-${random}-${role}`;
}

export async function must(
  argv: readonly string[],
  stdin = "",
): Promise<string> {
  const said = await run(argv, stdin);
  if (said.code === 0) return said.stdout;
  throw new Error(`${argv.join(" ")}: ${said.stderr || `ended ${said.code}`}`);
}

export function run(argv: readonly string[], stdin = ""): Promise<Said> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: "pipe" });
    let stdout = "", stderr = "";
    child.stdout.on("data", (bytes) => stdout += bytes);
    child.stderr.on("data", (bytes) => stderr += bytes);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
  });
}
