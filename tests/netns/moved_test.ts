/**
 * Converted configurations of openme and OpenSPA under the host's rules that
 * the real servers ran under: what they opened and closed is in
 * tests/vectors/moved.json. The lines that the warnings have somebody type are
 * typed as they stand.
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { formatOpenmeProfiles } from "../../lib/dialects/openme/enrol.ts";
import { formatOspa } from "../../lib/dialects/openspa/enrol.ts";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import { OPENME_PORT } from "../../lib/dialects/openme/open.ts";
import { OPENSPA_PORT } from "../../lib/dialects/openspa/open.ts";
import {
  CLIENT_PRIVATE_PEM,
  CLIENT_PUBLIC_PEM,
  RSA_PRIVATE_PEM,
  RSA_PUBLIC_PEM,
} from "../fakes/rsa.ts";
import moved from "../vectors/moved.json" with { type: "json" };
import {
  BEHIND,
  CLIENTS,
  type Pair,
  pass,
  scriptCommand,
  SERVER,
} from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const SECONDS = 4;
/** Ports that listen; where a container's is published, the second one is that. */
const PORTS = [22, 8080, 9000];
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const KEY = new Uint8Array(32).fill(9);
const SEED = new Uint8Array(32).fill(4);

/** Observations of the real server. */
interface Seen {
  readonly before: readonly boolean[];
  readonly knocker: readonly boolean[];
  readonly neighbour: readonly boolean[];
  readonly after: readonly boolean[];
}

const NFT_DROPS = `table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
  }
}
`;
const IPTABLES_DROPS = ["iptables", "ip6tables"].map((program) =>
  `${program} -P INPUT DROP
${program} -A INPUT -i lo -j ACCEPT
${program} -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
`
).join("");

/** Makes the host's rules, and what listens on it. */
async function setHost(
  pair: Pair,
  host: string,
  ports: readonly number[],
): Promise<void> {
  const published = host.startsWith("published") ? ports[1]! : null;
  await pair.serve("tcp", ...ports.filter((port) => port !== published));
  if (published !== null) {
    await pair.makeBehind(true);
    await pair.passOn(true);
    await pair.serveBehind("tcp", published);
    const to = `${BEHIND[4]}:${published}`;
    // deno-fmt-ignore
    await pair.onServer(["iptables", "-t", "nat", "-A", "PREROUTING", "-p",
      "tcp", "--dport", `${published}`, "-j", "DNAT", "--to-destination", to]);
  }
  if (host === "nft") await pair.onServer(["nft", "-f", "-"], NFT_DROPS);
  if (host === "iptables" || host.endsWith("INPUT drops")) {
    await pair.onServer(["sh"], IPTABLES_DROPS);
  }
}

/** Converts and checks; the warnings. */
async function convert(
  program: Program,
  pair: Pair,
  tool: string,
): Promise<string> {
  const file = join(program.folder, "old.yaml");
  const args = ["convert", tool, file, "--dir", join(program.folder, "new")];
  const { code, stderr } = await pair.exec(
    pair.server,
    scriptCommand("../../main.ts", ...args),
  );
  assertEquals(code, 0, stderr);
  return stderr;
}

/** Types the lines of the warnings: rules of nft and iptables. */
async function typeLines(pair: Pair, warnings: string): Promise<void> {
  const lines = warnings.match(
    /nft add .*$|nft insert .*$|iptables -I .*ACCEPT/gm,
  );
  for (const line of lines ?? []) await pair.onServer(["sh"], `${line}\n`);
}

/** Holds what our server does against what the real one did. */
async function compare(
  program: Program,
  pair: Pair,
  ports: readonly number[],
  seen: Seen,
  knock: readonly string[],
  opens: boolean,
): Promise<void> {
  const config = join(program.folder, "new", "server.yaml");
  const serve = () =>
    program.serveBy(
      scriptCommand("../../main.ts", "serve", "--config", config),
    );
  const reached = async (source: string) => {
    const got: boolean[] = [];
    for (const port of ports) got.push(await pair.canReach(source, port));
    return got;
  };
  const send = async () => {
    const from = program.log.length;
    await program.client(knock);
    if (opens) await program.logged(" open ", from);
  };
  await serve();
  assertEquals(await reached(HERE), seen.before, "before");
  await send();
  assertEquals(await reached(HERE), seen.knocker, "the knocker");
  assertEquals(await reached(NEIGHBOUR), seen.neighbour, "a neighbour");
  await pass(SECONDS * 1000 + 500);
  assertEquals(await reached(HERE), seen.after, "after the end");
  await send();
  await program.signal("SIGKILL");
  // Better than theirs, whose rules stay: the kernel ends ours. That of
  // iptables is up to two seconds late.
  await pass(SECONDS * 1000 + 2500);
  assertEquals(await reached(HERE), seen.after, "after kill -9");
}

for (const row of moved.openme) {
  programTest(`moved from openme: ${row.name}`, async (program, pair) => {
    await setHost(pair, row.host, PORTS);
    program.write(
      "old.yaml",
      `server:
  private_key: ${KEY.toBase64()}
  knock_timeout: ${SECONDS}s
  ${row.server}
${row.rest}
clients:
  alice:
    ed25519_pubkey: ${verifyingKeyOf(SEED).toBase64()}
    ${row.client}
`,
    );
    const profile = formatOpenmeProfiles([{
      name: "home",
      server: { host: SERVER[4], port: OPENME_PORT },
      serverKey: publicKeyOf(KEY),
      seed: SEED,
      key: verifyingKeyOf(SEED),
      postKnock: null,
    }]);
    const said = await program.client(["import", "-"], profile);
    assertEquals(said.code, 0, said.stderr);
    const warnings = await convert(program, pair, "openme");
    if (row.host !== "accept" && row.host !== "published") {
      await typeLines(pair, warnings);
    }
    const opens = row.knocker.join() !== row.neighbour.join();
    assert(opens || warnings.includes("clients.alice is left out"), warnings);
    assert(warnings.includes(row.warned ?? ""), warnings);
    const seen = { ...row, ...row.ours };
    await compare(program, pair, PORTS, seen, ["home"], opens);
  }, row.host === "accept" || row.host === "nft" ? [] : ["iptables"]);
}

for (const row of moved.openspa) {
  programTest(`moved from OpenSPA: ${row.name}`, async (program, pair) => {
    const ports = PORTS.slice(0, 2);
    await setHost(pair, row.host, ports);
    const rule = `-A INPUT -p udp --dport ${OPENSPA_PORT} -j ACCEPT`;
    await pair.onServer(["iptables", ...rule.split(" ")]);
    program.write("server.pem", RSA_PRIVATE_PEM);
    await pair.onServer(["mkdir", join(program.folder, "keys")]);
    program.write(`keys/${UUID}.pub`, CLIENT_PUBLIC_PEM);
    program.write(
      "old.yaml",
      `server: { ip: "0.0.0.0", adk: { secret: 7O4ZIRI } }
firewall: { backend: iptables, iptables: { chain: OPENSPA-ALLOW } }
authorization: { backend: simple, simple: { duration: ${SECONDS}s } }
crypto:
  cipherSuitePriority: [CipherSuite_RSA_SHA256_AES256CBC]
  rsa:
    client: { publicKeyLookupDir: keys }
    server: { privateKeyPath: server.pem, publicKeyPath: server.pub }
`,
    );
    const ospa = formatOspa({
      uuid: UUID,
      server: { host: SERVER[4], port: OPENSPA_PORT },
      adkSecret: "7O4ZIRI",
      privateKey: CLIENT_PRIVATE_PEM,
      publicKey: CLIENT_PUBLIC_PEM,
      serverKey: RSA_PUBLIC_PEM,
    });
    const args = ["import", "-", "--name", "home"];
    const said = await program.client(args, ospa);
    assertEquals(said.code, 0, said.stderr);
    await convert(program, pair, "openspa");
    const knock = ["home", "--open", row.open, "--from", HERE];
    await compare(program, pair, ports, row, knock, true);
  }, ["iptables"]);
}
