import { assert, assertEquals, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";
import { test } from "node:test";
import {
  parseGoDuration,
  parseSpec,
} from "../../lib/config/convert/openme/read.ts";
import { convertOpenme } from "../../lib/config/convert/openme/server.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import { formatPortRange } from "../../lib/values/ports.ts";
import { bytesOf } from "../fakes/packets.ts";

const PRIVATE = bytesOf("server").toBase64();
const PUBLIC = publicKeyOf(bytesOf("server")).toBase64();
const ALICE = bytesOf("alice").toBase64();
const BOB = bytesOf("bob").toBase64();

const ALWAYS = [
  `the health port is not opened: \`openme status\` finds it closed`,
  `a knock that names another address than its source is refused: a client ` +
  `that does it (openme knock --ip) needs any_address: true`,
];

const newer = `
server:
  host: gw.example.org
  udp_port: 54155
  health_port: 54154
  firewall: nft
  knock_timeout: 1m30s
  replay_window: 45s
  private_key: ${PRIVATE}
  public_key: ${PUBLIC}
  drop_ports: true
ports:
  default: [22/tcp]
  admin: [443/tcp, 8080-8090, "53/udp"]
  my group: [25/tcp]
  nothing: []
clients:
  alice:
    ed25519_pubkey: ${ALICE}
    allowed_ports: [default, admin, my group, nothing, 9000-9001/tcp]
    expires: 2027-01-01T00:00:00Z
  bob: { ed25519_pubkey: "${BOB}" }
`;

/** A service whose connections end with their grant. */
const cutting = (...listen: string[]) => ({ listen, cut: true });

test("convertOpenme() converts the schema of 0.7.0", () => {
  const { text, files, warnings } = convertOpenme(newer, "config.yaml");
  assertEquals(parse(text, { schema: "core" }), {
    listen: [54155],
    key: "server.key",
    max_skew: "45s",
    openme: { key: "openme.key" },
    firewall: { backend: "nft", mode: "guard" },
    services: {
      default: cutting("tcp/22"),
      admin: cutting("tcp/443", "tcp/8080-8090", "udp/8080-8090", "udp/53"),
      "xmy-group": cutting("tcp/25"),
      "port-tcp-9000-9001": cutting("tcp/9000-9001"),
    },
    defaults: { for: "90s", max_for: "8h" },
    clients: {
      alice: {
        openme: { key: ALICE },
        open: ["default", "admin", "xmy-group", "tcp/9000-9001"],
        expires: "2027-01-01T00:00:00Z",
      },
      bob: { openme: { key: BOB }, open: ["default"] },
    },
  });
  assertEquals([...files], [["openme.key", `${PRIVATE}\n`]]);
  assertEquals(warnings, [
    `ports.my group is called "xmy-group" now`,
    `server.drop_ports was on, so firewall.mode is guard, which closes the ` +
    `ports and opens none that the host's own rules drop: on a host with ` +
    `INPUT DROP, set it to accept`,
    `mode guard also closes the ports that containers publish: openme's ` +
    `rules were in INPUT, which their packets do not pass`,
    `connections end with their grant (cut), as openme's did where no rule ` +
    `before let established ones pass: this needs conntrack (apt install ` +
    `conntrack)`,
    `openme let udp/54155 in through the host's firewall; this server does ` +
    `not: where the host's rules drop it, nft insert rule inet filter input ` +
    `udp dport 54155 accept`,
    ...ALWAYS,
  ]);
  assert(!text.includes(PRIVATE) && !warnings.join().includes(PRIVATE));
});

test("convertOpenme() converts the schema of 0.4.0", () => {
  const { text, warnings } = convertOpenme(
    `
server: { private_key: "${PRIVATE}", public_key: "${BOB}", firewall: iptables }
defaults:
  server: gw.example.org
  ports: [{ port: 22, proto: tcp }]
clients:
  a: { ed25519_pubkey: "${ALICE}", allowed_ports: { mode: default } }
  b:
    ed25519_pubkey: "${BOB}"
    allowed_ports: { mode: default_plus, ports: [{ port: 53, proto: udp }] }
  c:
    ed25519_pubkey: "${PRIVATE}"
    allowed_ports: { mode: only, ports: [{ port: 443, proto: tcp }] }
`,
    "config.yaml",
  );
  const { listen, max_skew, firewall, services, clients } = parse(text) as {
    listen: number[];
    max_skew: string;
    firewall: unknown;
    services: unknown;
    clients: Record<string, { open: string[] }>;
  };
  assertEquals(listen, [54154]);
  assertEquals(max_skew, "1m");
  assertEquals(firewall, { backend: "iptables", mode: "accept" });
  assertEquals(services, { default: cutting("tcp/22") });
  assertEquals(Object.values(clients).map(({ open }) => open), [
    ["default"],
    ["default", "udp/53"],
    ["tcp/443"],
  ]);
  assert(
    warnings.includes(
      "server.public_key does not belong to server.private_key",
    ),
  );
});

test("convertOpenme() tells every mistake at once, and no secret", () => {
  const error = assertThrows(
    () =>
      convertOpenme(
        `
server: { udp_port: 0, private_key: "c2VjcmV0", firewall: pf, knock_timeout: 5, drop_ports: 1 }
ports: { default: [22/sctp] }
clients:
  a: { ed25519_pubkey: x, allowed_ports: [nobody] }
`,
        "config.yaml",
      ),
    ConfigError,
  );
  assertEquals(error.lines, [
    `config.yaml: server.udp_port: must be 1 to 65535, got "0"`,
    `config.yaml: server.knock_timeout: must be a duration such as 30s or ` +
    `1m0s, got "5"`,
    `config.yaml: server.firewall: must be "nft" or "iptables", got "pf"`,
    `config.yaml: server.private_key: must be a key of 32 bytes in base64, ` +
    `got 8 characters`,
    `config.yaml: server.drop_ports: must be true or false, got "1"`,
    `config.yaml: ports.default: must be ports such as 22/tcp, got "22/sctp"`,
    `config.yaml: clients.a.ed25519_pubkey: must be a key of 32 bytes in ` +
    `base64, got "x"`,
  ]);
});

for (
  const [text, want] of [
    ["30s", 30],
    ["1m0s", 60],
    ["1h30m0s", 5400],
    ["1.5s", 1],
    ["+.5m", 30],
    ["0s", null],
    ["500ms", 1],
    ["30", null],
    ["", null],
    ["-1s", null],
    ["1d", null],
  ] as const
) {
  test(`parseGoDuration() reads "${text}"`, () => {
    assertEquals(parseGoDuration(text), want);
  });
}

for (
  const [entry, want] of [
    ["22/tcp", ["tcp/22"]],
    [80, ["tcp/80", "udp/80"]],
    ["8080-8090/UDP", ["udp/8080-8090"]],
    [{ port: 22, proto: "tcp" }, ["tcp/22"]],
    [{ port: 22, proto: "icmp" }, null],
    ["0/tcp", null],
    ["65536", null],
    ["9-8/tcp", null],
    ["", null],
  ] as const
) {
  test(`parseSpec() reads ${JSON.stringify(entry)}`, () => {
    assertEquals(parseSpec(entry)?.map(formatPortRange) ?? null, want);
  });
}
