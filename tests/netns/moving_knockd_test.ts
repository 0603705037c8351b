/**
 * The real knockd and then the server that its configuration was converted
 * to, in the same namespace, under the same rules of the host, with the same
 * knocks: what can be reached, by whom and for how long is the same, or the
 * conversion has warned of just that.
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import process from "node:process";
import { BEHIND, CLIENTS, netnsTest, Pair, pass, SERVER } from "./netns.ts";
import { run as convert } from "../../lib/commands/operator/convert.ts";
import { runtime } from "../fakes/runtime.ts";
import { Program } from "./program.ts";

/** Address of the knocker, which the kernel chooses, and of a neighbour, by family. */
const WHO = {
  4: [CLIENTS[4][0], CLIENTS[4][1]],
  6: [CLIENTS[6][3], CLIENTS[6][0]],
} as const;
const SSH = 22;
const WEB = 8080;

/** knockd says nothing when it is ready. */
const START_MS = 700;
/** Longer than a knock takes to open. */
const OPEN_MS = 500;
/** Time for which a door stays open, and a longer one: our grants end with a whole second. */
const OPEN_SECONDS = 2;
const OVER_MS = 4200;

/** On a machine that is busy; else it is half a minute. */
const TEST_MS = 180_000;

const DROPPING = `iptables -P INPUT DROP
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p tcp --dport 80 -j ACCEPT`;

const DROPPING6 = `${DROPPING}
${DROPPING.replaceAll("iptables", "ip6tables")}
ip6tables -I INPUT -p ipv6-icmp -j ACCEPT`;

const NFT_DROPPING = `nft -f - <<X
table inet filter {
  set allowed { type ipv4_addr; flags timeout; }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    ip saddr @allowed tcp dport ${SSH} accept
  }
}
X`;

/** As Docker publishes a port of a container, with its chain for others' rules. */
const PUBLISHED = `iptables -t nat -A PREROUTING -p tcp --dport ${WEB} -j DNAT \
--to-destination ${BEHIND[4]}:${WEB}
iptables -N DOCKER-USER
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -j DOCKER-USER`;

const rule = (port: number, chain = "INPUT") => (how: string) =>
  `iptables ${how} ${chain} -s %IP% -p tcp --dport ${port} -j ACCEPT`;

const ssh = rule(SSH);
const ssh6 = (how: string) => ssh(how).replace("iptables", "ip6tables");

/** A door that opens, and closes after a while. */
const door = (start: string, stop: string, sequence = "7000,9000,8000") =>
  `[door]
sequence = ${sequence}
tcpflags = syn
start_command = ${start}
cmd_timeout = ${OPEN_SECONDS}
stop_command = ${stop}
`;

interface Row {
  readonly what: string;
  /** Shell lines that make the rules of the host. */
  readonly host: string;
  readonly conf: string;
  readonly knocks?: readonly string[];
  readonly port?: number;
  /** Family of who knocks and of the neighbour; default: 4. */
  readonly family?: 4 | 6;
  /** False where knockd itself opens nothing for the knocker. Default: true. */
  readonly opens?: boolean;
  readonly isBehind?: boolean;
  /** Command that the warning gives, typed before the converted server is tried. */
  readonly typed?: string;
  /** A word of the warnings. */
  readonly warned?: string;
  /** Differences that the warning names. */
  readonly differs?: Partial<Seen>;
}

interface Seen {
  readonly before: boolean;
  readonly knocker: boolean;
  readonly neighbour: boolean;
  readonly afterEnd: boolean;
  readonly afterKill: boolean;
}

const ROWS: readonly Row[] = [
  {
    what: "INPUT DROP",
    host: DROPPING,
    conf: door(ssh("-I"), ssh("-D")),
  },
  {
    what: "INPUT DROP, as people write it",
    host: DROPPING,
    conf: door(
      `/usr/bin/env ${ssh("-I").replace("INPUT", "INPUT 1")} # first rule`,
      `sh -c "${ssh("-D")}" && true`,
    ),
  },
  {
    what: "INPUT DROP, commands for both families, over IPv6",
    host: DROPPING6,
    family: 6,
    conf: `${door(ssh("-I"), ssh("-D"))}start_command_6 = ${ssh6("-I")}
stop_command_6 = ${ssh6("-D")}
`,
  },
  {
    what: "INPUT DROP, commands for IPv4 alone, over IPv6",
    opens: false,
    host: DROPPING6,
    family: 6,
    conf: door(ssh("-I"), ssh("-D")),
  },
  {
    what: "INPUT DROP, other commands for IPv6, over IPv6",
    opens: false,
    host: DROPPING6,
    family: 6,
    conf: `${door(ssh("-I"), ssh("-D"))}start_command_6 = ${
      ssh6("-I").replace("--dport 22", "--dport 23")
    }
stop_command_6 = ${ssh6("-D").replace("--dport 22", "--dport 23")}
`,
    warned: "another one runs for IPv6",
  },
  {
    what: "INPUT ACCEPT",
    host: "iptables -P INPUT ACCEPT",
    conf: door(ssh("-I"), ssh("-D")),
  },
  {
    what: "INPUT ACCEPT with a drop of the port, and -A behind it",
    opens: false,
    host: `iptables -A INPUT -p tcp --dport ${SSH} -j DROP`,
    conf: door(ssh("-A"), ssh("-D")),
    warned: "behind others",
    differs: { knocker: true },
  },
  {
    what: "INPUT DROP, knocked at the service's own port",
    host: DROPPING,
    conf: door(ssh("-I"), ssh("-D"), `4444:udp,3333:udp,${SSH}`),
    knocks: ["4444:udp", "3333:udp", `${SSH}`],
    warned: "its sequence uses tcp/22",
  },
  {
    what: "INPUT DROP, nothing closes",
    host: DROPPING,
    conf: `[door]\nsequence = 7000,9000,8000\ntcpflags = syn\ncommand = ${
      ssh("-I")
    }\n`,
    warned: "knockd never closed what it opened",
  },
  {
    what: "nft with policy drop, a rule",
    host: NFT_DROPPING,
    conf: `[door]\nsequence = 7000,9000,8000\ntcpflags = syn\n` +
      `command = nft insert rule inet filter input ip saddr %IP% ` +
      `tcp dport ${SSH} accept\n`,
    typed: "nft add chain inet filter knock && " +
      "nft insert rule inet filter input jump knock",
  },
  {
    what: "nft with policy drop, an element of the host's set",
    host: NFT_DROPPING,
    conf: `[door]\nsequence = 7000,9000,8000\ntcpflags = syn\n` +
      `command = nft add element inet filter allowed ` +
      `{ %IP% timeout ${OPEN_SECONDS}s }\n`,
    warned: "stays a command",
  },
  {
    what: "a published port, a rule in DOCKER-USER",
    host: `${PUBLISHED}\niptables -P FORWARD DROP`,
    conf: door(rule(WEB, "DOCKER-USER")("-I"), rule(WEB, "DOCKER-USER")("-D")),
    port: WEB,
    isBehind: true,
    warned: "runs at the next start",
    differs: { afterKill: true },
  },
  {
    what: "a published port, a rule in INPUT that does nothing",
    host: PUBLISHED,
    conf: door(rule(WEB)("-I"), rule(WEB)("-D")),
    port: WEB,
    isBehind: true,
  },
];

/** Observes reachable ports while something runs that hears the knocks; `kill` ends it at once. */
async function look(
  pair: Pair,
  { port = SSH, knocks = ["7000", "9000", "8000"], family = 4 }: Row,
  kill: () => Promise<void>,
): Promise<Seen> {
  const [knocker, neighbour] = WHO[family];
  const reaches = (source: string) => pair.canReach(source, port);
  const knock = async () => {
    const to = [`-${family}`, SERVER[family], ...knocks];
    const said = await pair.exec(pair.client, ["knock", "-d", "50", ...to]);
    assertEquals(said.code, 0, said.stderr);
    await pass(OPEN_MS);
  };
  const before = await reaches(knocker);
  await knock();
  const [opened, neighbours] = await Promise.all(
    [knocker, neighbour].map(reaches),
  );
  await pass(OVER_MS);
  const afterEnd = await reaches(knocker);
  await knock();
  await kill();
  await pass(OVER_MS);
  const afterKill = await reaches(knocker);
  return {
    before,
    knocker: opened!,
    neighbour: neighbours!,
    afterEnd,
    afterKill,
  };
}

/** Makes the host's rules anew: whatever was there is gone. */
async function makeHost(pair: Pair, host: string): Promise<void> {
  await pair.onServer(["nft", "flush", "ruleset"]);
  await pair.onServer(["sh", "-e", "-c", host]);
}

async function tryRow(row: Row): Promise<void> {
  const pair = new Pair();
  const program = new Program(pair);
  try {
    await pair.make();
    if (row.isBehind) {
      await pair.makeBehind(true);
      await pair.passOn(true);
      await pair.serveBehind("tcp", row.port!);
    } else await pair.serve("tcp", row.port ?? SSH);
    program.write("knockd.conf", row.conf);
    const conf = join(program.folder, "knockd.conf");

    await makeHost(pair, row.host);
    const argv = ["knockd", "-i", "eth0", "-c", conf];
    const pidFile = join(program.folder, "knockd.pid");
    const knockd = pair.spawn(pair.server, [...argv, "-p", pidFile], "pipe");
    await pass(START_MS);
    const theirs = await look(pair, row, async () => {
      process.kill(knockd.pid!, "SIGKILL");
      await new Promise((resolve) => knockd.once("exit", resolve));
    });

    const warnings: string[] = [];
    const converted = await convert(
      ["knockd", conf, "--dir", program.folder],
      { ...runtime, err: (text) => warnings.push(text) > 0 },
    );
    const said = warnings.join("");
    assertEquals(converted, 0, said);
    await makeHost(pair, row.host);
    if (row.typed !== undefined) {
      assert(said.includes(row.typed), said);
      await pair.onServer(["sh", "-c", row.typed]);
    }
    await program.serve();
    const ours = await look(pair, row, async () => {
      await program.signal("SIGKILL");
    });
    assertEquals(theirs.knocker, row.opens ?? true, `knockd: ${row.what}`);
    assertEquals(ours, { ...theirs, ...row.differs }, row.what + program.log);
    assert(said.includes(row.warned ?? ""), said);
  } finally {
    await pair.remove();
    program.remove();
  }
}

netnsTest(
  "knock convert knockd: the converted server opens what knockd opened",
  async () => {
    // They mostly wait: all at once take no longer than one.
    const all = await Promise.allSettled(ROWS.map(tryRow));
    const failed = all.flatMap((one) =>
      one.status === "rejected" ? [String(one.reason)] : []
    );
    assertEquals(failed.join("\n"), "");
  },
  ["knockd", "knock", "iptables", "tcpdump"],
  TEST_MS,
);
