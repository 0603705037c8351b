/** A server, a client that knocks fast, and what is in the kernel and in the state file. */

import { assert, assertEquals } from "@std/assert";
import type { ChildProcess } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import process from "node:process";
import {
  CLIENTS,
  netnsTest,
  type Pair,
  pass,
  scriptCommand,
  type Talker,
} from "../netns/netns.ts";
import { Program, type TestClient } from "../netns/program.ts";
import type { ClientOrder, Knocked } from "./client.ts";
import type { Faults } from "./server.ts";

/** True if the long form of these tests was asked for. */
export const LONG = process.env["KNOCK_FAULTS"] === "long";

export const HERE = CLIENTS[4][0];
export const NEIGHBOUR = CLIENTS[4][1];

/** Largest difference between the kernel's end of a grant and the recorded one. */
const TOLERANCE_MS = 2000;
const LONG_TEST_MS = 1_800_000;

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services: { ssh: tcp/22 }
defaults: { for: 1h, max_for: 8h }
commands: { talk: [seq, -f, "%0500.0f", "1", "90"] }
`;

/** May open more ports than a test can count. */
export const ALICE: TestClient = {
  name: "alice",
  policy: ["open: [ssh, tcp/20000-59999]", "run: [talk]"],
};

/** Open ports: "address protocol port" and until when, Unix milliseconds. */
export type Open = ReadonlyMap<string, number>;

export class Stage {
  readonly pair: Pair;
  readonly program: Program;
  #client: Talker | null = null;

  constructor(pair: Pair, program: Program) {
    this.pair = pair;
    this.program = program;
  }

  get state(): string {
    return join(this.program.folder, "state");
  }

  configure(clients: readonly TestClient[] = [ALICE]): void {
    const settings = `${SETTINGS}state: ${JSON.stringify(this.state)}`;
    this.program.configure(settings, clients);
  }

  /** Has the server of {@linkcode serveFaulty} go wrong like this from now on. */
  async setFaults(faults: Faults): Promise<void> {
    const file = join(this.program.folder, "faults.json");
    writeFileSync(`${file}.new`, JSON.stringify(faults));
    renameSync(`${file}.new`, file);
    await pass(100);
  }

  serveFaulty(): Promise<void> {
    return this.program.serveBy([
      "env",
      `KNOCK_FAULTS_FILE=${join(this.program.folder, "faults.json")}`,
      ...scriptCommand(
        "../faults/server.ts",
        "serve",
        "--config",
        this.program.config,
      ),
    ]);
  }

  /** Starts the server without anybody who reads its log. */
  serveUnread(): ChildProcess {
    const argv = ["serve", "--config", this.program.config];
    return this.pair.spawn(
      this.pair.server,
      scriptCommand("../../main.ts", ...argv),
      "pipe",
    );
  }

  #talker(): Talker {
    return this.#client ??= this.pair.script(
      this.pair.client,
      "../faults/client.ts",
      this.program.enrolment("alice"),
      HERE,
    );
  }

  knock(
    order: Omit<Extract<ClientOrder, { do: "knock" }>, "do">,
  ): Promise<Knocked> {
    return this.#talker().ask<Knocked>({ do: "knock", ...order });
  }

  /** Opens ports, and says how it ended. */
  async open(ports: string, seconds: number, more: { clockMs?: number } = {}) {
    const order = { action: "open", ports: [ports], seconds, ...more } as const;
    return (await this.knock(order)).status;
  }

  /** Pings until there is an answer; how often that took. */
  async answers(tries = 240): Promise<number> {
    for (let tried = 1; tried <= tries; tried++) {
      const { status } = await this.knock({ action: "ping", timeoutMs: 250 });
      if (status === "done") return tried;
    }
    throw new Error(`no answer in ${tries} tries; ${this.program.log}`);
  }

  /** Sends packets as they are. */
  async send(packets: readonly string[], times = 1): Promise<void> {
    await this.#talker().ask({ do: "send", packets, times });
  }

  /** Reads the state file, whoever else has it open. */
  query<T>(sql: string): T[] {
    const database = new DatabaseSync(join(this.state, "state.db"));
    try {
      database.exec("pragma busy_timeout = 2000");
      return database.prepare(sql).all() as T[];
    } finally {
      database.close();
    }
  }

  /** Grants in the state file. */
  recorded(): Open {
    const rows = this.query<
      { address: string; protocol: string; first: number; until_ms: number }
    >(`select * from grants where until_ms > ${Date.now()}`);
    return new Map(
      rows.map((row) => [
        `${row.address} ${row.protocol} ${row.first}`,
        row.until_ms,
      ]),
    );
  }

  /** Grants in the kernel. */
  async inKernel(): Promise<Open> {
    const argv = ["nft", "-j", "list", "set", "inet", "knock", "allow4"];
    const nowMs = Date.now();
    const { nftables } = JSON.parse(await this.pair.onServer(argv));
    const set = nftables.find((item: { set?: object }) => item.set).set;
    const elements: {
      elem: { val: { concat: unknown[] }; expires: number };
    }[] = set.elem ?? [];
    return new Map(
      elements.map(({ elem }) => [
        elem.val.concat.join(" "),
        nowMs + elem.expires * 1000,
      ]),
    );
  }

  /** Fails unless the kernel and the state file say the same; how many are open. */
  async agree(): Promise<number> {
    const startMs = Date.now();
    const kernel = await this.inKernel();
    const recorded = this.recorded();
    const tookMs = Date.now() - startMs;
    assertEquals([...kernel.keys()].sort(), [...recorded.keys()].sort());
    for (const [key, untilMs] of kernel) {
      const off = untilMs - recorded.get(key)!;
      assert(
        Math.abs(off) < TOLERANCE_MS + tookMs,
        `${key} is off by ${off} ms`,
      );
    }
    return kernel.size;
  }

  /** Fails unless SQLite finds its file whole. */
  sound(): void {
    const found = this.query("pragma integrity_check");
    assertEquals(found.map((row) => Object.values(row as object)[0]), ["ok"]);
  }

  /** Resident memory of the server, MB. */
  memoryMb(pid = this.program.pid!): number {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024;
  }
}

/** A test with a server's files, not started yet, and a client that is enrolled there. */
export function faultTest(
  name: string,
  body: (stage: Stage) => Promise<void>,
  programs: readonly string[] = [],
): void {
  netnsTest(
    name,
    async (pair) => {
      const program = new Program(pair);
      try {
        const stage = new Stage(pair, program);
        stage.configure();
        await body(stage);
      } finally {
        program.remove();
      }
    },
    programs,
    LONG ? LONG_TEST_MS : undefined,
  );
}
