/**
 * Moving from fwknop: the real fwknopd and then the server that its files
 * become stand on the same host, and the same real client knocks at both. What
 * can be reached before, then, after kill -9 and at the end is the same, or the
 * conversion warned of it, and then no more can be reached than before.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  BEHIND,
  CLIENTS,
  Pair,
  pass,
  scriptCommand,
  SERVER,
  whyNot,
} from "./netns.ts";
import { Program } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const MAC = new Uint8Array(64).fill(0x5a).toBase64();
const KEYS = `KEY_BASE64 ${KEY}\nHMAC_KEY_BASE64 ${MAC}\n`;

const STEP_MS = 50;
/** Longer than a knock takes to open. */
const OPEN_MS = 2500;
/** Longer than a knock takes to be refused. */
const REFUSE_MS = 1000;
/** Longer than a grant of three seconds lasts, with what xt_time adds. */
const END_MS = 9000;
const TEST_MS = 120_000;

/** Ports that are looked at: the service, another one, a container's. */
const PORTS = [22, 80, 8080];

/** The host's own rules, as a script. */
const HOSTS = {
  "INPUT drops": `
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -p udp --dport 62201 -j ACCEPT
iptables -A INPUT -p tcp --dport 80 -j ACCEPT
iptables -P INPUT DROP`,
  "INPUT drops knocks, too": `
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -P INPUT DROP`,
  "INPUT accepts": "true",
  "nft drops": `
nft -f - <<END
table inet filter { chain input { type filter hook input priority 0; policy drop;
ct state established,related accept; udp dport 62201 accept; tcp dport 80 accept;
}
}
END`,
  "a container's port is published": `
iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to ${BEHIND[4]}:80
iptables -A INPUT -p udp --dport 62201 -j ACCEPT
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -P INPUT DROP`,
} as const;

interface Row {
  readonly name: string;
  readonly host: keyof typeof HOSTS;
  /** access.conf, behind the first SOURCE ANY and its keys. */
  readonly access: string;
  /** fwknopd.conf; default: it sniffs at eth0. */
  readonly daemon?: string;
  /** Options of the client. */
  readonly ask: readonly string[];
  /**
   * Ports that are reachable with the real fwknopd while the grant lasts, so
   * that the test is no empty one.
   */
  readonly opens: readonly string[];
  /** Warning of the conversion where the converted server opens less. */
  readonly warns?: RegExp;
  /** True: no grant is long enough to kill the server within it. */
  readonly short?: true;
  /** True: the conversion must refuse. */
  readonly refused?: true;
}

const OPEN_22 = "OPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 3\n";
const ASK_22 = ["-A", "tcp/22", "-s"];
const base = { access: OPEN_22, ask: ASK_22 };
const drops = { ...base, host: "INPUT drops" } as const;
const web = [`${HERE}:80`, `${NEIGHBOUR}:80`];
const here = [`${HERE}:22`, ...web];

const ROWS: readonly Row[] = [
  { ...drops, name: "plain", opens: here },
  {
    ...base,
    name: "sniffed",
    host: "INPUT drops knocks, too",
    opens: [`${HERE}:22`],
  },
  {
    ...base,
    name: "plain",
    host: "INPUT accepts",
    opens: [HERE, NEIGHBOUR].flatMap((who) => [`${who}:22`, `${who}:80`]),
  },
  { ...base, name: "plain", host: "nft drops", opens: web },
  {
    ...base,
    name: "plain",
    host: "a container's port is published",
    opens: [`${HERE}:22`, `${HERE}:8080`, `${NEIGHBOUR}:8080`],
  },
  {
    ...drops,
    name: "a UDP server without semicolons",
    daemon: "ENABLE_UDP_SERVER Y\n",
    opens: here,
  },
  {
    ...drops,
    name: "any port, asked for longer",
    access: "FW_ACCESS_TIMEOUT 1\nMAX_FW_TIMEOUT 3 # s\n",
    ask: [...ASK_22, "-f", "3000"],
    opens: here,
    short: true,
  },
  {
    ...drops,
    name: "for another address",
    ask: ["-A", "tcp/22", "-a", NEIGHBOUR],
    opens: [`${NEIGHBOUR}:22`, ...web],
  },
  {
    ...drops,
    name: "a network with a mask",
    access: `${OPEN_22}SOURCE 10.77.0.0/255.255.255.0\n` +
      `${KEYS.replace("MDEy", "MDEx").replace("Wlpa", "Wlpb")}${OPEN_22}`,
    // deno-fmt-ignore
    ask: [...ASK_22, "--key-base64-rijndael", KEY.replace("MDEy", "MDEx"),
      "--key-base64-hmac", MAC.replace("Wlpa", "Wlpb")],
    opens: here,
  },
  {
    ...drops,
    name: "a port that is not listed, nor by a range that fwknopd cuts",
    access: "OPEN_PORTS tcp/20-30\nFW_ACCESS_TIMEOUT 3\n",
    opens: web,
  },
  {
    ...drops,
    name: "an address is wanted",
    access: `${OPEN_22}REQUIRE_SOURCE_ADDRESS Y\n`,
    opens: web,
  },
  {
    ...drops,
    name: "another user's name",
    access: `${OPEN_22}REQUIRE_USERNAME bob\n`,
    ask: [...ASK_22, "-U", "alice"],
    opens: web,
  },
  {
    ...drops,
    name: "the user's name",
    access: `${OPEN_22}REQUIRE_USERNAME bob\n`,
    ask: [...ASK_22, "-U", "bob"],
    opens: here,
  },
  {
    ...drops,
    name: "another stanza with the key",
    access:
      `OPEN_PORTS tcp/23\nFW_ACCESS_TIMEOUT 3\nSOURCE ANY\n${KEYS}${OPEN_22}`,
    opens: here,
  },
  {
    ...drops,
    name: "a key file that would allow more",
    access: "OPEN_PORTS tcp/23\nFW_ACCESS_TIMEOUT 3\n%include_keys KEYS\n",
    opens: web,
  },
  {
    ...drops,
    name: "the end of the stanza, in its day's short form",
    access: `${OPEN_22}ACCESS_EXPIRE 3/1/2024\n`,
    opens: web,
  },
  {
    ...drops,
    name: "commands in the place of rules",
    access: "CMD_CYCLE_OPEN /bin/true\nCMD_CYCLE_CLOSE NONE\n",
    opens: web,
    refused: true,
    warns: /CMD_CYCLE_OPEN: the stanza is left out/,
  },
  {
    ...drops,
    name: "NAT to another host",
    access: `${OPEN_22}FORCE_NAT ${BEHIND[4]} 80\n`,
    daemon: "PCAP_INTF eth0;\nENABLE_IPT_FORWARDING Y;\n",
    opens: here,
    refused: true,
    warns: /FORCE_NAT: the stanza is left out/,
  },
];

/** Reachable ports: an address of the client and a port each. */
type Reached = readonly string[];

interface Seen {
  readonly before: Reached;
  readonly knocked: Reached;
  readonly ended: Reached;
  /** Within a second grant. */
  readonly killed: Reached;
}

/** Something that opens ports, running. */
interface Standing {
  readonly kill: () => Promise<void>;
  readonly log: () => string;
}

class Stage {
  readonly pair = new Pair();
  readonly program = new Program(this.pair);
  readonly #row: Row;

  constructor(row: Row) {
    this.#row = row;
  }

  get #folder(): string {
    return join(this.program.folder, "fwknop");
  }

  async make(): Promise<void> {
    await this.pair.make();
    await this.pair.makeBehind(true);
    await this.pair.cableUp();
    await this.pair.passOn(true);
    await this.pair.serve("tcp", 22, 80);
    await this.pair.serveBehind("tcp", 80);
    const { access, daemon = "PCAP_INTF eth0;\n" } = this.#row;
    mkdirSync(this.#folder, { mode: 0o700 });
    const keys = this.#file("keys", `${KEYS}OPEN_PORTS tcp/22\n`);
    this.#file(
      "access.conf",
      `SOURCE ANY\n${KEYS}${access.replace("KEYS", keys)}`,
    );
    this.#file(
      "fwknopd.conf",
      `${daemon}FWKNOP_RUN_DIR ${this.#folder};\nPCAP_LOOP_SLEEP 10000;\n` +
        `UDPSERV_SELECT_TIMEOUT 10000;\n`,
    );
  }

  #file(name: string, text: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  async remove(): Promise<void> {
    await this.pair.remove();
    this.program.remove();
  }

  /** The host as it is without anything that opens ports. */
  async host(): Promise<void> {
    // As after a boot: no rules, no connections that are known.
    const rules = `set -e
nft flush ruleset
iptables -P INPUT ACCEPT
${HOSTS[this.#row.host]}
conntrack -F 2>/dev/null`;
    await this.pair.onServer(["sh", "-c", rules]);
  }

  /** The conversion: its exit status, and what it said. */
  async convert(): Promise<{ code: number | null; stderr: string }> {
    // deno-fmt-ignore
    return await this.pair.exec(this.pair.server, scriptCommand(
      "../../main.ts", "convert", "fwknop", join(this.#folder, "access.conf"),
      join(this.#folder, "fwknopd.conf"), "--dir", this.program.folder,
    ));
  }

  async #check(): Promise<void> {
    const said = await this.program.admin("check");
    assertEquals([said.code, said.stdout], [0, "configuration OK\n"]);
  }

  async #fwknopd(): Promise<Standing> {
    const { pair } = this;
    // deno-fmt-ignore
    const daemon = pair.spawn(pair.server, [
      "fwknopd", "-f", "-v", "-c", join(this.#folder, "fwknopd.conf"),
      "-a", join(this.#folder, "access.conf"),
    ], "pipe");
    let said = "";
    daemon.stdout!.on("data", (text) => said += text);
    daemon.stderr!.on("data", (text) => said += text);
    const runs = /Kicking off UDP server|Starting fwknopd main event loop/;
    for (let waits = 0; !runs.test(said); waits++) {
      if (daemon.exitCode !== null || waits === 200) {
        throw new Error(`no fwknopd:\n${said.slice(-2000)}`);
      }
      await pass(STEP_MS);
    }
    const kill = async () => {
      const ended = new Promise((resolve) => daemon.once("exit", resolve));
      process.kill(daemon.pid!, "SIGKILL");
      await ended;
    };
    return { kill, log: () => said };
  }

  async #knock(): Promise<Standing> {
    await this.program.serve();
    return {
      kill: async () => void await this.program.signal("SIGKILL"),
      log: () => this.program.log,
    };
  }

  /** Observes two knocks at fwknopd, or at the converted server. */
  async see(converted: boolean): Promise<Seen> {
    await this.host();
    if (converted) await this.#check();
    const before = await this.#reached();
    const standing = converted ? await this.#knock() : await this.#fwknopd();
    try {
      assertEquals(await this.#reached(), before, "nothing opens by its start");
      const opens = this.#row.opens.length > before.length;
      const judgedMs = opens ? OPEN_MS : REFUSE_MS;
      await this.#send();
      const knocked = await this.#until(judgedMs, before, false);
      const ended = await this.#until(END_MS, before, true);
      if (this.#row.short) {
        await standing.kill();
        return { before, knocked, ended, killed: [] };
      }
      await this.#send("-f", "60");
      await this.#until(judgedMs, before, false);
      await standing.kill();
      return { before, knocked, ended, killed: await this.#reached() };
    } catch (error) {
      throw new Error(`${error}\n${standing.log()}`);
    }
  }

  async #send(...more: string[]): Promise<void> {
    // deno-fmt-ignore
    const said = await this.pair.exec(this.pair.client, [
      "fwknop", "--no-save-args", "--no-rc-file", "-D", SERVER[4], "--use-hmac",
      "--key-base64-rijndael", KEY, "--key-base64-hmac", MAC,
      ...this.#row.ask, ...more,
    ]);
    assertEquals(said.code, 0, said.stderr + said.stdout);
  }

  async #reached(): Promise<Reached> {
    const all = [HERE, NEIGHBOUR].flatMap((who) =>
      PORTS.map(async (port) =>
        // A machine that is busy answers late.
        await this.pair.canReach(who, port) ||
          await this.pair.canReach(who, port)
          ? [`${who}:${port}`]
          : []
      )
    );
    return (await Promise.all(all)).flat().toSorted();
  }

  /** Waits until the reachable ports are, or are no longer, as they were; or until the time is over. */
  async #until(
    mostMs: number,
    was: Reached,
    same: boolean,
  ): Promise<Reached> {
    const end = performance.now() + mostMs;
    for (;;) {
      const reached = await this.#reached();
      const changed = reached.join() !== was.join();
      if (changed !== same || performance.now() > end) return reached;
    }
  }
}

async function compare(row: Row): Promise<void> {
  const stage = new Stage(row);
  try {
    await stage.make();
    const theirs = await stage.see(false);
    assertEquals(theirs.knocked, [...row.opens].toSorted(), "fwknopd");
    const { code, stderr } = await stage.convert();
    if (row.warns) assertMatch(stderr, row.warns);
    assertEquals(code, row.refused ? 2 : 0, stderr);
    if (row.refused) return;
    const ours = await stage.see(true);
    if (!row.warns) {
      assertEquals(ours, theirs);
      return;
    }
    for (const moment of ["before", "knocked", "ended", "killed"] as const) {
      const more = ours[moment].filter((one) => !theirs[moment].includes(one));
      assert(more.length === 0, `${moment}: ${more}`);
    }
  } finally {
    await stage.remove();
  }
}

const reason = whyNot(["fwknop", "fwknopd", "iptables", "conntrack"]);
const skip = reason !== null && process.env["CI"] !== "true" ? reason : false;
const TOGETHER = 9;
for (let from = 0; from < ROWS.length; from += TOGETHER) {
  // They wait more than they work: several at a time.
  const rows = ROWS.slice(from, from + TOGETHER);
  const names = rows.map(({ host, name }) => `${host}: ${name}`).join("; ");
  test(`the converted server does what fwknopd did: ${names}`, {
    skip,
    timeout: TEST_MS,
  }, async () => {
    if (reason !== null) throw new Error(`cannot run: ${reason}`);
    const ran = await Promise.allSettled(rows.map(compare));
    const failures = ran.flatMap((one, index) =>
      one.status === "rejected"
        ? [`${rows[index]!.host}: ${rows[index]!.name}: ${one.reason}`]
        : []
    );
    assert(failures.length === 0, failures.join("\n\n"));
  });
}
