import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";
import fc from "fast-check";
import { parseProfiles } from "../lib/client/profile.ts";
import {
  convertFwknop,
  fwknopFileOf,
  type Includes,
} from "../lib/config/convert/fwknop.ts";
import { withoutPorts } from "../lib/config/convert/fwknop_ports.ts";
import type { Mistake } from "../lib/config/mistake.ts";
import { serverSchema } from "../lib/config/server_schema.ts";
import { UsageError } from "../lib/values/errors.ts";
import { formatPortRange, parsePortRange } from "../lib/values/ports.ts";

const KEY = new Uint8Array(32).fill(1).toBase64();
const MAC = new Uint8Array(64).fill(2).toBase64();
const MAC2 = new Uint8Array(64).fill(3).toBase64();
const KEYS = `KEY_BASE64 ${KEY}\nHMAC_KEY_BASE64 ${MAC}\n`;
const fwknop = {
  key_base64: KEY,
  hmac_key_base64: MAC,
  hmac: "sha256",
  mode: "cbc",
};
const none: Includes = { read: () => null, list: () => null };

// deno-lint-ignore no-explicit-any
type Yaml = any;

function convert(text: string, name = "access.conf", includes = none) {
  const { text: yaml, warnings } = convertFwknop([{ name, text }], includes);
  const value = parse(yaml, { schema: "core" }) as Yaml;
  if (name !== ".fwknoprc") {
    const mistakes: Mistake[] = [];
    serverSchema.read(value, "", mistakes);
    assertEquals(mistakes, []);
  }
  return { value, warnings };
}

test("convertFwknop() carries over a plain stanza", () => {
  const { value, warnings } = convert(`# comment
SOURCE              ANY
${KEYS}
OPEN_PORTS: tcp/22, udp/51820;
REQUIRE_SOURCE_ADDRESS Y
FW_ACCESS_TIMEOUT   60
HMAC_DIGEST_TYPE    SHA3_512
ENCRYPTION_MODE     CTR
ACCESS_EXPIRE_EPOCH 1893456000
REQUIRE_USERNAME    alice
`);
  assertEquals(value, {
    listen: [62201],
    key: "server.key",
    max_skew: "120s",
    firewall: { backend: "iptables" },
    services: {},
    clients: {
      alice: {
        fwknop: { ...fwknop, hmac: "sha3-512", mode: "ctr" },
        open: ["tcp/22", "udp/51820"],
        for: "60s",
        max_for: "300s",
        any_address: true,
        require_address: true,
        expires: "2030-01-01T00:00:00Z",
      },
    },
  });
  assertEquals(warnings, [
    "access.conf:12: REQUIRE_USERNAME: names the client here; its HMAC key " +
    "tells who knocks, not the user name",
  ]);
});

const stanza = `SOURCE ANY\n${KEYS}OPEN_PORTS tcp/22\n`;

const cases: [
  lines: string,
  wanted: Record<string, unknown>,
  warnings: readonly string[],
][] = [
  ["", { open: ["tcp/22"], for: "30s", max_for: "300s" }, []],
  ["FW_ACCESS_TIMEOUT 900", { for: "900s", max_for: "900s" }, []],
  ["MAX_FW_TIMEOUT 20", { for: "30s", max_for: "30s" }, []],
  ["FW_ACCESS_TIMEOUT x", { for: "30s" }, [`"x" is taken for 30`]],
  ["RESTRICT_PORTS tcp/22", { open: [] }, []],
  ["OPEN_PORTS tcp/22,icmp/1", { open: ["tcp/22"] }, [
    "OPEN_PORTS: set again",
    `"icmp/1" is left out`,
  ]],
  ["ACCESS_EXPIRE 12/31/2030", { expires: "2030-12-31T00:00:00Z" }, [
    "midnight UTC",
  ]],
  ["ACCESS_EXPIRE soon", { expires: "1970-01-01T00:00:00Z" }, [
    "the client is made expired",
  ]],
  ["DESTINATION 192.0.2.1", {}, ["DESTINATION: not converted"]],
  ["DESTINATION ANY", {}, []],
  ["ENABLE_CMD_EXEC Y", {}, ['name each command under "commands"']],
  ["ENABLE_CMD_EXEC N", {}, []],
  ["CMD_EXEC_USER nobody", {}, ["CMD_EXEC_USER: not converted"]],
  ["CMD_CYCLE_OPEN /bin/open $IP", {}, ['use "hooks"']],
  ["CMD_CYCLE_TIMER 9", {}, ['use "hooks"']],
  ["FORWARD_ALL Y", {}, ["no gateway mode"]],
  ["FORCE_SNAT 192.0.2.1", {}, ["masquerade the service"]],
  ["GPG_DECRYPT_ID ABCD", {}, ["has a passphrase, too"]],
  ["GPG_DECRYPT_PW secret", {}, ["must have no passphrase"]],
  ["SOMETHING else", {}, ["SOMETHING: unknown, left out"]],
  ["REQUIRE_SOURCE", {}, ["REQUIRE_SOURCE: has no value"]],
];

for (const [lines, wanted, words] of cases) {
  test(`convertFwknop() takes "${lines}" in a stanza`, () => {
    const { value, warnings } = convert(`${stanza}${lines}\n`);
    const client = value.clients.client1;
    for (const [key, want] of Object.entries(wanted)) {
      assertEquals(client[key], want, key);
    }
    assertEquals(warnings.length, words.length, warnings.join("\n"));
    for (const [index, word] of words.entries()) {
      assert(warnings[index]!.includes(word), warnings[index]);
    }
  });
}

test("convertFwknop() writes text keys as base64, and no HMAC as none", () => {
  const { value, warnings } = convert(
    `SOURCE ANY\nKEY a b: #c"\nENCRYPTION_MODE legacy\nOPEN_PORTS tcp/1\n`,
  );
  assertEquals(value.clients.client1.fwknop, {
    key_base64: new TextEncoder().encode('a b: #c"').toBase64(),
    hmac: "none",
    mode: "legacy",
  });
  assertEquals(warnings.length, 1);
  assert(warnings[0]!.includes("has no HMAC key"));
});

test("convertFwknop() never shows a key, and leaves out what has none", () => {
  const secret = "S3cretS3cretS3cretS3cretS3cretS3cretS3cret";
  for (
    const lines of [
      `KEY ${secret}`,
      `KEY_BASE64 ${secret}!`,
      `KEY`,
      `KEY __CHANGEME__`,
      `KEY x\nHMAC_KEY __CHANGEME__`,
      `KEY x\nHMAC_KEY ${secret.repeat(4)}`,
      `KEY x\nHMAC_KEY_BASE64 ${secret}!`,
      `KEY x\nHMAC_KEY y\nHMAC_DIGEST_TYPE SHA9`,
      `KEY x\nENCRYPTION_MODE Asymmetric`,
      `GPG_DECRYPT_PW ${secret}`,
    ]
  ) {
    const { value, warnings } = convert(`SOURCE ANY\n${lines}\n`);
    assertEquals(value.clients, {}, lines);
    assert(warnings.some((text) => text.includes("left out")), lines);
    assert(!warnings.join("\n").includes(secret.slice(0, 10)), lines);
  }
});

test("convertFwknop() takes SOURCE as who it may be opened for", () => {
  const { value, warnings } = convert(
    `SOURCE 192.0.2.0/24, 10.1.1.1, x\n${KEYS}OPEN_PORTS tcp/22\n`,
  );
  const { from, any_address } = value.clients.client1;
  assertEquals(from, ["192.0.2.0/24", "10.1.1.1"]);
  assertEquals(any_address, undefined);
  assertEquals(warnings.length, 2);
  const none = convert(`SOURCE x\n${KEYS}OPEN_PORTS tcp/22\n`);
  assertEquals(none.value.clients, {});
});

test("convertFwknop() keeps every port that is not restricted", () => {
  const { value, warnings } = convert(
    `SOURCE ANY\n${KEYS}RESTRICT_PORTS tcp/22,udp/1,udp/65535\n`,
  );
  assertEquals(value.clients.client1.open, [
    "tcp/1-21",
    "tcp/23-65535",
    "udp/2-65534",
  ]);
  assert(warnings[0]!.includes("may open every port"));
});

test("convertFwknop() makes a service of FORCE_NAT", () => {
  const { value, warnings } = convert(
    `${stanza}FORCE_NAT 10.0.0.5 2222\nFORCE_MASQUERADE Y\n`,
  );
  assertEquals(value.services, {
    "client1-nat": {
      listen: ["tcp/22"],
      to: "10.0.0.5:2222",
      masquerade: true,
    },
  });
  assertEquals(value.clients.client1.open, ["client1-nat"]);
  assertEquals(warnings, []);
});

test("convertFwknop() numbers clients, and tells keys that are shared", () => {
  const other = stanza.replace(MAC, MAC2);
  const { value, warnings } = convert(`${stanza}\n${other}\n${stanza}`);
  assertEquals(Object.keys(value.clients), ["client1", "client2", "client3"]);
  assertEquals(warnings.length, 1);
  assert(
    warnings[0]!.includes(`"client3" has the HMAC key of "client1"`),
    warnings[0],
  );
});

test("convertFwknop() reads what is included", () => {
  const files: Record<string, string> = {
    "a.conf": stanza,
    "d/b.conf": stanza.replace(MAC, MAC2),
    "d/c.txt": "SOURCE ANY\n",
    "keys": KEYS,
    "loop": "%include loop\n",
  };
  const { value, warnings } = convert(
    `%include a.conf
%include_folder d
%include missing
%include_folder missing
%include loop
SOURCE ANY
OPEN_PORTS tcp/80
%include_keys keys
`,
    "access.conf",
    {
      read: (name) => files[name] ?? null,
      list: (name) => name === "d" ? ["c.txt", "b.conf"] : null,
    },
  );
  assertEquals(Object.keys(value.clients).length, 3);
  assertEquals(value.clients.client3.open, ["tcp/80"]);
  assertEquals(warnings.slice(0, 3), [
    `access.conf:3: %include: cannot read "missing"`,
    `access.conf:4: %include_folder: cannot read "missing"`,
    "loop:1: %include: too deep, left out",
  ]);
});

const daemonCases: [
  lines: string,
  wanted: Record<string, unknown>,
  words: string | null,
][] = [
  ["ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 4000;", { listen: [4000] }, null],
  ["PCAP_FILTER udp port 4001;", { listen: [4001] }, null],
  ["PCAP_FILTER udp dst port 4001;", { listen: [4001] }, null],
  ["PCAP_FILTER tcp;", { listen: [62201] }, `check "listen"`],
  ["UDPSERV_PORT 99999;", { listen: [62201] }, "is taken for 62201"],
  ["MAX_SPA_PACKET_AGE 30;", { max_skew: "30s" }, null],
  ["ENABLE_SPA_PACKET_AGING N;", {}, "always checked"],
  ["ENABLE_SPA_PACKET_AGING Y;", {}, null],
  ["ENABLE_DIGEST_PERSISTENCE N;", {}, "always refused"],
  ["FIREWALL_EXE /usr/sbin/iptables;", {}, null],
  [
    "FIREWALL_EXE /bin/firewall-cmd;",
    { firewall: { backend: "nft", mode: "accept" } },
    "firewalld",
  ],
  ["FIREWALL_EXE /sbin/pfctl;", {}, "no backend"],
  ["PCAP_INTF eth0;", {}, "by a UDP socket"],
  ["ENABLE_SPA_OVER_HTTP Y;", {}, "a port of its own"],
  [
    "ENABLE_SPA_OVER_HTTP Y;\nENABLE_TCP_SERVER Y;\nTCPSERV_PORT 8080;",
    { listen: [62201, "http/8080"] },
    null,
  ],
  ["ENABLE_SPA_OVER_HTTP N;", {}, null],
  ["ENABLE_TCP_SERVER Y;", { listen: [62201, "tcp/62201"] }, null],
  ["SYSLOG_IDENTITY x;", {}, 'see "log"'],
  ["ENABLE_IPT_FORWARDING Y;", {}, "as a service"],
  ["IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, X, 1;", {}, "rules of its own"],
  ["ACCESS_FILE /etc/fwknop/access.conf;", {}, "give that file"],
  ["NEW_ONE 1;", {}, "unknown, left out"],
];

for (const [lines, wanted, words] of daemonCases) {
  test(`convertFwknop() takes "${lines}" in fwknopd.conf`, () => {
    const { value, warnings } = convert(`${lines}\n`, "fwknopd.conf");
    const all = { listen: [62201], max_skew: "120s", ...wanted };
    for (const [key, want] of Object.entries(all)) {
      assertEquals(value[key], want, key);
    }
    assertEquals(warnings.length, words === null ? 0 : 1, warnings.join("\n"));
    if (words !== null) assert(warnings[0]!.includes(words), warnings[0]);
  });
}

test("convertFwknop() makes profiles of .fwknoprc", () => {
  const { value, warnings } = convert(
    `[default]
SPA_SERVER_PORT  4000
USE_HMAC         Y
FW_TIMEOUT       60
DIGEST_TYPE      SHA1

[home.example.org]
SPA_SERVER       home.example.org
ACCESS           tcp/22,udp/53
ALLOW_IP         resolve
KEY_BASE64       ${KEY}
HMAC_KEY_BASE64  ${MAC}   # comment
SPOOF_USER       alice

[send]
SPA_SERVER       2001:db8::1
SPA_SERVER_PROTO udp
ACCESS           tcp/22
ALLOW_IP         192.0.2.9
KEY              words
HMAC_KEY         other
FW_TIMEOUT       0
NAT_ACCESS       10.0.0.5:22

[old]
KEY words
`,
    ".fwknoprc",
  );
  assertEquals(value, {
    "home.example.org": {
      server: "home.example.org:4000",
      fwknop: { ...fwknop, user: "alice" },
      open: ["tcp/22", "udp/53"],
      for: "60s",
      from: "resolve",
    },
    "send-1": {
      server: "[2001:db8::1]:4000",
      fwknop: {
        ...fwknop,
        key_base64: "d29yZHM=",
        hmac_key_base64: "b3RoZXI=",
      },
      open: ["tcp/22"],
      from: "192.0.2.9",
    },
  });
  assertEquals(warnings, [
    ".fwknoprc:5: DIGEST_TYPE: no concern here: the server finds it out by " +
    "itself",
    ".fwknoprc:23: NAT_ACCESS: not converted: the server's services say what " +
    "is forwarded",
    '.fwknoprc: [send]: is called "send-1" here',
    ".fwknoprc: [old]: has no SPA_SERVER, left out",
  ]);
});

test("fwknopFileOf() tells fwknop's files apart", () => {
  const kind = (text: string) => fwknopFileOf({ name: "x", text });
  assertEquals(kind("# x\nSOURCE ANY\n"), "access");
  assertEquals(kind("%include /etc/x\n"), "access");
  assertEquals(kind("PCAP_INTF eth0;\n"), "daemon");
  assertEquals(kind("# as it is delivered\n#PCAP_INTF eth0;\n"), "daemon");
  assertEquals(kind("[default]\n"), "rc");
  assertEquals(kind("listen: [1]\n"), null);
});

test("convertFwknop() wants a server's files, or a client's", () => {
  const access = { name: "access.conf", text: stanza };
  const rc = { name: ".fwknoprc", text: "[a]\n" };
  assertThrows(() => convertFwknop([access, rc], none), UsageError, "client");
  const other = { name: "x", text: "hello\n" };
  assertThrows(() => convertFwknop([other], none), UsageError, "x is no");
});

test("convertFwknop() writes YAML of ours, whatever a stanza says", () => {
  const line = fc.oneof(
    fc.string(),
    fc.tuple(
      fc.constantFrom(
        "KEY",
        "HMAC_KEY",
        "OPEN_PORTS",
        "SOURCE",
        "REQUIRE_USERNAME",
        "FORCE_NAT",
        "FW_ACCESS_TIMEOUT",
        "ACCESS_EXPIRE_EPOCH",
      ),
      fc.oneof(fc.string(), fc.constantFrom("tcp/22", "10.0.0.5 22", "yes")),
    ).map((pair) => pair.join(" ")),
  );
  fc.assert(fc.property(fc.array(line), (lines) => {
    convert(`SOURCE ANY\n${lines.join("\n")}\n`);
  }));
});

test("withoutPorts() takes ports away", () => {
  const range = (text: string) => parsePortRange(text)!;
  const left = withoutPorts(
    [range("tcp/1-10"), range("udp/5")],
    [range("tcp/1"), range("tcp/5-6"), range("udp/5"), range("udp/9")],
  );
  assertEquals(left.map(formatPortRange), ["tcp/2-4", "tcp/7-10"]);
});

const FINGERPRINT = "A".repeat(40);

test("convertFwknop() takes OpenPGP with whole fingerprints", () => {
  const stanza = (signers: string) =>
    convert(`SOURCE ANY
GPG_DECRYPT_ID   me@example.org
GPG_HOME_DIR     /etc/fwknop/gpg
GPG_ALLOW_NO_PW  Y
${signers}
HMAC_KEY_BASE64  ${MAC}
OPEN_PORTS       tcp/22
`);
  const good = stanza(`GPG_FINGERPRINT_ID ${FINGERPRINT}`);
  assertEquals(good.warnings, []);
  assertEquals(good.value.clients.client1.fwknop, {
    hmac_key_base64: MAC,
    hmac: "sha256",
    gpg: {
      home: "/etc/fwknop/gpg",
      recipient: "me@example.org",
      signers: [FINGERPRINT],
    },
  });
  const short = stanza("GPG_REMOTE_ID ABCD1234");
  assertEquals(short.value.clients, {});
  assert(short.warnings[0]!.includes("whole fingerprints"));
});

test("convertFwknop() takes OpenPGP and transports of .fwknoprc", () => {
  const { value, warnings } = convert(
    `[office]
SPA_SERVER        office.example.org
SPA_SERVER_PROTO  http
ACCESS            tcp/22
USE_GPG           Y
GPG_HOMEDIR       /home/alice/.gnupg
GPG_RECIPIENT     ${FINGERPRINT}
GPG_SIGNER        alice@example.org
GPG_NO_SIGNING_PW Y
HMAC_KEY_BASE64   ${MAC}
`,
    ".fwknoprc",
  );
  assertEquals(warnings, []);
  assertEquals(value.office.transport, "http");
  assertEquals(value.office.fwknop.gpg, {
    home: "/home/alice/.gnupg",
    recipient: FINGERPRINT,
    signer: "alice@example.org",
  });
  const rc = `[a]
SPA_SERVER 192.0.2.1
KEY_BASE64 ${KEY}
HMAC_KEY_BASE64 ${MAC}
ACCESS tcp/22
SPA_SERVER_PROTO tcp
`;
  const { text } = convertFwknop([{ name: "rc", text: rc }], none);
  const { transport } = parseProfiles(text, "profiles.yaml").get("a")!;
  assertEquals(transport, { kind: "tcp", port: null });
});
