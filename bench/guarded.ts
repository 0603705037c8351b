/** This project's server on a stage, and packets for it. */

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { PrefilterChoice } from "../lib/firewall/firewall.ts";
import { parseEnrolment } from "../lib/client/profile/enrolment.ts";
import { Program, type TestClient } from "../tests/netns/program.ts";
import { BrowserDriver } from "../tests/netns/browsing.ts";
import { SERVER } from "../tests/netns/netns.ts";
import { fwknopKnock } from "./peers/fwknop_packet.ts";
import type { Filled, Trigger } from "./prober/orders.ts";
import { SERVICE_PORT, type Stage } from "./stage.ts";
import { sealKnock } from "../lib/dialects/knock1/seal.ts";

const CLIENT = "alice";
/** Duration of a round's grants. */
const OPEN_SECONDS = 30;
const FILL_SECONDS = 7200;
/** The first of the addresses that are filled in: no round comes from there. */
const FILLED_FROM = 0x40000;

/** A client of another dialect: then the kernel cannot tell junk by its tag. */
const FWKNOP_KEYS = {
  key: new Uint8Array(32).fill(1),
  mode: "cbc",
  hmac: { type: "sha256", key: new Uint8Array(32).fill(2) },
} as const;
const FWKNOP_CLIENT = `  phone:
    fwknop:
      key_base64: ${FWKNOP_KEYS.key.toBase64()}
      hmac_key_base64: ${FWKNOP_KEYS.hmac.key.toBase64()}
    open: [ssh]
    any_address: true
`;

/** A sequence that the kernel judges. */
export const SEQUENCE_HITS = [7000, 8000, 9000];

/** The hits of it. */
export function sequenceKnocks(protocol: "tcp" | "udp"): Trigger[] {
  return SEQUENCE_HITS.map((port) =>
    protocol === "tcp" ? { tcp: port } : { udp: "", port }
  );
}

const sequences = (protocol: "tcp" | "udp") =>
  [
    "sequences:",
    "  door:",
    `    knock: [${
      SEQUENCE_HITS.map((port) => `${protocol}/${port}`).join(", ")
    }]`,
    "    within: 10s",
    "    open: [ssh]",
    `    for: ${OPEN_SECONDS}s`,
    "    watch: kernel",
  ].join("\n");

export interface ServerOptions {
  /** The protocol of a sequence that opens the service, too. */
  readonly sequence?: "tcp" | "udp";
  readonly backend?: "nft" | "iptables";
  /** Absent: auto. */
  readonly prefilter?: PrefilterChoice;
  /** True: a client speaks fwknop, which switches the prefilter off. */
  readonly secondDialect?: boolean;
  /** Clients besides, and the files that their keys are in. */
  readonly others?: {
    readonly clients: readonly TestClient[];
    readonly files: Readonly<Record<string, string>>;
  };
}

/** A server that guards the service by nftables. */
export class GuardedServer {
  readonly #stage: Stage;
  readonly #program: Program;
  #filled = 0;

  private constructor(stage: Stage) {
    this.#stage = stage;
    this.#program = new Program(stage.pair);
  }

  /** Starts a server for some work. */
  static async with<T>(
    stage: Stage,
    work: (server: GuardedServer) => Promise<T>,
    { sequence, backend = "nft", prefilter, secondDialect = false, others }:
      ServerOptions = {},
  ): Promise<T> {
    const server = new GuardedServer(stage);
    const program = server.#program;
    try {
      program.configure(
        [
          "listen: [62201]",
          `firewall: { backend: ${backend}${
            prefilter ? `, prefilter: ${prefilter}` : ""
          } }`,
          `services: { ssh: tcp/${SERVICE_PORT} }`,
          `defaults: { for: ${OPEN_SECONDS}s, max_for: 8h }`,
          `state: ${join(program.folder, "state")}`,
          sequence ? sequences(sequence) : "",
        ].join("\n"),
        [
          { name: CLIENT, policy: ["open: [ssh]", "any_address: true"] },
          ...others?.clients ?? [],
        ],
      );
      for (const [name, text] of Object.entries(others?.files ?? {})) {
        program.write(name, text);
      }
      if (secondDialect) {
        appendFileSync(program.config, FWKNOP_CLIENT, { mode: 0o600 });
      }
      await program.serve();
      return await work(server);
    } finally {
      if (program.pid !== null) await program.signal("SIGTERM");
      program.remove();
    }
  }

  /** The server's public key. */
  get publicKey(): Uint8Array {
    return parseEnrolment(this.#program.enrolment(CLIENT)).server;
  }

  /** A knock of this moment that opens the service for an address. */
  knock(
    address: string,
    wantsReply = false,
    client = CLIENT,
  ): Extract<Trigger, { udp: string }> {
    const { server, key, psk, port } = parseEnrolment(
      this.#program.enrolment(client),
    );
    const { packet } = sealKnock(
      {
        server,
        key: key!,
        psk,
        ephemeral: crypto.getRandomValues(new Uint8Array(32)),
      },
      {
        action: "open",
        ports: [],
        command: null,
        seconds: 0,
        address,
        code: null,
        wantsReply,
      },
      Date.now(),
    );
    return { udp: packet.toBase64(), port };
  }

  /** The same in the second dialect. */
  knockInFwknop(address: string): Trigger {
    return fwknopKnock(FWKNOP_KEYS, address);
  }

  /** Starts Chromium at the client with the page, enrolled for grants of a second. */
  async startBrowser(): Promise<BrowserDriver> {
    const program = this.#program;
    const pair = this.#stage.pair;
    const browser = await BrowserDriver.start(pair, program, "chrome");
    const { link } = await browser.enrol("phone", ["--for", "1s"]);
    await program.signal("SIGHUP");
    await program.logged("reload");
    await browser.open(link);
    await browser.settled();
    return browser;
  }

  /** Fills up to so many long grants, by a valid knock each. */
  async fill(total: number): Promise<Filled> {
    const filled = await this.#stage.ask<Filled>({
      do: "fill",
      enrolment: this.#program.enrolment(CLIENT),
      from: FILLED_FROM + this.#filled,
      count: total - this.#filled,
      port: SERVICE_PORT,
      seconds: FILL_SECONDS,
    });
    this.#filled = total;
    return filled;
  }

  /** Counts the grants that the server reports. */
  async countGrants(): Promise<number> {
    const said = await this.#program.admin("status", "--json");
    if (said.code !== 0) throw new Error(said.stderr);
    return JSON.parse(said.stdout).grants.length;
  }

  /** Memory of the server now, in megabytes (10^6 bytes). */
  residentMb(): number {
    return residentMb(this.#program.pid!);
  }

  /** Where its configuration and its keys are. */
  get folder(): string {
    return this.#program.folder;
  }

  get log(): string {
    return this.#program.log;
  }
}

/** A process's resident memory in megabytes (10^6 bytes), from /proc. */
export function residentMb(pid: number): number {
  const file = `/proc/${pid}/status`;
  if (!existsSync(file)) throw new Error(`no process ${pid}`);
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(file, "utf8"))![1];
  return Number(kilobytes) * 1024 / 1e6;
}

/** Where the server is, for those who flood it. */
export const KNOCK_HOST = SERVER[4];
