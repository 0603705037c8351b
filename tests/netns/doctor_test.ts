/** The doctor on the real kernel: the server, other packet filters, containers' ports. */

import { assertEquals, assertMatch } from "@std/assert";
import { CLIENTS, type Pair } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services: { ssh: tcp/22, web: tcp/8080 }
`;
const ALICE = { name: "alice", policy: ["open: [ssh, web]"] };

interface Told {
  readonly ok: boolean;
  readonly findings: readonly {
    readonly group: string;
    readonly level: string;
    readonly text: string;
    readonly cure: string | null;
  }[];
}

/** Findings that are not ok, but for the test's own machine (the clock). */
async function examine(program: Program): Promise<[Told, string[]]> {
  const said = await program.admin("doctor", "--json");
  assertEquals(said.stderr, "");
  const told = JSON.parse(said.stdout) as Told;
  assertEquals(said.code, told.ok ? 0 : 1);
  const wrong = told.findings.filter(({ group, level }) =>
    level !== "ok" && group !== "clock"
  ).map(({ level, text }) => `${level} ${text}`);
  return [told, wrong];
}

function job(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
  programs: readonly string[] = [],
) {
  programTest(name, async (program, pair) => {
    program.configure(SETTINGS, [ALICE]);
    await pair.serve("tcp", 22, 8080);
    await program.serve();
    // So that something has come in.
    await pair.send(CLIENTS[4][0], 62201, 1);
    await body(program, pair);
  }, programs);
}

job("the doctor finds nothing on a good machine", async (program) => {
  const [told, wrong] = await examine(program);
  // The counters are written down now and then.
  const still = wrong.filter((text) => !text.includes("no packet has come"));
  assertEquals(still, [], JSON.stringify(told, null, 2));
  const backend = told.findings.find(({ group }) => group === "backend")!;
  assertMatch(backend.text, /^backend nft, mode guard: .*nft.*, Linux \d/);
});

job("the doctor finds nftables that drop by default", async (program, pair) => {
  const rules = `table inet filter {
    chain input {
      type filter hook input priority 0; policy drop;
      ct state established,related accept
      iif lo accept
      tcp dport { 22, 8080 } accept
      iifname eth7 udp dport 62201 accept
    }
  }`;
  await pair.onServer(["nft", "-f", "-"], rules);
  const [, some] = await examine(program);
  assertMatch(
    some.join("\n"),
    /warn chain input .* drops knocks to udp\/62201/,
  );
  await pair.onServer(["nft", "flush", "chain", "inet", "filter", "input"]);
  const [told, none] = await examine(program);
  assertMatch(none.join("\n"), /bad chain input .* drops knocks to udp\/62201/);
  assertMatch(
    none.join("\n"),
    /bad chain input .* drops what is opened, tcp\/22/,
  );
  const finding = told.findings.find(({ text }) => /drops knocks/.test(text));
  // The cure works, as it is written.
  const [, cure] = /else: (nft .*)$/.exec(finding!.cure!)!;
  await pair.onServer(["sh", "-c", cure!]);
  const [, cured] = await examine(program);
  assertEquals(cured.filter((text) => text.includes("udp/62201")), []);
});

job("the doctor reads rules of iptables", async (program, pair) => {
  const iptables = (...args: string[]) => pair.onServer(["iptables", ...args]);
  await iptables("-P", "INPUT", "DROP");
  // deno-fmt-ignore
  await iptables("-A", "INPUT", "-p", "udp", "-m", "conntrack", "--ctstate", "NEW",
    "-m", "multiport", "--dports", "53,62201", "-j", "ACCEPT");
  const [, wrong] = await examine(program);
  const said = wrong.filter((text) => text.includes("INPUT"));
  assertEquals(said, [
    "bad chain INPUT of table ip filter drops what is opened, tcp/22 by IPv4",
    "bad chain INPUT of table ip filter drops what is opened, tcp/8080 by IPv4",
  ]);
}, ["iptables"]);

job("the doctor finds published ports of containers", async (program, pair) => {
  const iptables = (...args: string[]) =>
    pair.onServer(["iptables", "-t", "nat", ...args]);
  await iptables("-N", "DOCKER");
  // deno-fmt-ignore
  await iptables("-A", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL",
    "-j", "DOCKER");
  // deno-fmt-ignore
  await iptables("-A", "DOCKER", "!", "-i", "docker0", "-p", "tcp", "--dport", "8080",
    "-j", "DNAT", "--to-destination", "172.17.0.2:80");
  await iptables(
    ..."-A PREROUTING -p tcp --dport 2222 -j REDIRECT --to-ports 22".split(" "),
  );
  await pair.onServer(["ip", "link", "add", "docker0", "type", "bridge"]);
  const [all, wrong] = await examine(program);
  assertMatch(
    all.findings.map(({ level, text }) => `${level} ${text}`).join("\n"),
    /ok tcp\/8080 is forwarded to 172\.17\.0\.2:80, and guarded before that/,
  );
  assertMatch(wrong.join("\n"), /bad tcp\/2222 leads to tcp\/22/);
  assertMatch(wrong.join("\n"), /warn containers behind docker0/);
}, ["iptables"]);

job("the doctor misses a server that was killed", async (program, pair) => {
  await program.signal("SIGKILL");
  const [, wrong] = await examine(program);
  assertMatch(wrong.join("\n"), /bad server not running/);
  await pair.onServer(["nft", "delete", "table", "inet", "knock"]);
  const [, bare] = await examine(program);
  assertMatch(bare.join("\n"), /warn nothing is guarded/);
});
