import { assert, assertEquals, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readProfiles } from "../../lib/client/profile/file.ts";
import { parseProfiles } from "../../lib/client/profile/profile.ts";
import { run as runCheck } from "../../lib/commands/operator/check.ts";
import { run } from "../../lib/commands/operator/convert.ts";
import {
  convertFwknop,
  fwknopFileOf,
} from "../../lib/config/convert/fwknop/convert.ts";
import type { Includes } from "../../lib/config/convert/converted.ts";
import { parseConfig } from "../../lib/config/read.ts";
import { serverSchema } from "../../lib/config/shape.ts";
import type { Request } from "../../lib/dialects/dialect.ts";
import { judge } from "../../lib/server/packet/judge.ts";
import {
  ConfigError,
  OperatorError,
  UsageError,
} from "../../lib/values/errors.ts";
import { formatPortRange, parsePortRange } from "../../lib/values/ports.ts";
import type { Mistake } from "../../lib/values/schema.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { runtime } from "../fakes/runtime.ts";

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
  const { text: yaml, warnings: all } = convertFwknop(
    [{ name, text }],
    includes,
  );
  const warnings = all.filter((line) => !line.startsWith("no access.conf"));
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
    listen: ["sniff/0.0.0.0:62201"],
    key: "server.key",
    max_skew: "120s",
    firewall: { backend: "iptables", mode: "accept" },
    services: {},
    clients: {
      alice: {
        fwknop: {
          ...fwknop,
          hmac: "sha3-512",
          mode: "ctr",
          require_username: "alice",
        },
        open: ["tcp/22", "udp/51820"],
        for: "60s",
        max_for: "300s",
        any_address: true,
        require_address: true,
        expires: "2030-01-01T00:00:00Z",
      },
    },
  });
  assertEquals(warnings, []);
});

const stanza = `SOURCE ANY\n${KEYS}OPEN_PORTS tcp/22\n`;

const cases: [
  lines: string,
  wanted: Record<string, unknown>,
  warnings: readonly string[],
][] = [
  ["", { open: ["tcp/22"], for: "30s", max_for: "300s" }, []],
  ["FW_ACCESS_TIMEOUT 900", { for: "900s", max_for: "900s" }, [
    "fwknopd gives at most 300s",
  ]],
  ["MAX_FW_TIMEOUT 20", { for: "30s", max_for: "30s" }, [
    "fwknopd gives at most 20s",
  ]],
  ["FW_ACCESS_TIMEOUT 0\nMAX_FW_TIMEOUT 60 # s", { max_for: "60s" }, []],
  ["FW_ACCESS_TIMEOUT 9999999", { for: "30s" }, ["is taken for 30"]],
  ["FW_ACCESS_TIMEOUT x", { for: "30s" }, [`"x" is taken for 30`]],
  ["RESTRICT_PORTS tcp/22", { open: [] }, []],
  ["OPEN_PORTS tcp/22,icmp/1", { open: ["tcp/22"] }, [
    "OPEN_PORTS: set again",
    `"icmp/1" is left out`,
  ]],
  ["OPEN_PORTS TCP/22 # ssh, udp/53-60", { open: ["tcp/22", "udp/53"] }, [
    "OPEN_PORTS: set again",
    `"udp/53-60" is udp/53 alone`,
  ]],
  ["RESTRICT_PORTS tcp/20-30", { open: ["tcp/22"] }, ["is tcp/20 alone"]],
  ["ACCESS_EXPIRE 3/1/2030", { expires: "2030-03-01T00:00:00Z" }, ["midnight"]],
  ["ACCESS_EXPIRE 3/01/30 x", { expires: "2030-03-01T00:00:00Z" }, [
    "midnight",
  ]],
  [
    "ACCESS_EXPIRE 3/1/2030\nACCESS_EXPIRE_EPOCH 1893456000",
    { expires: "2030-01-01T00:00:00Z" },
    [],
  ],
  [
    "ACCESS_EXPIRE_EPOCH 1893456000\nACCESS_EXPIRE 3/1/2030",
    { expires: "2030-03-01T00:00:00Z" },
    ["midnight"],
  ],
  ["ACCESS_EXPIRE_EPOCH 0", { expires: undefined }, []],
  ["ACCESS_EXPIRE_EPOCH 999999999999", { expires: "9999-12-31T23:59:59Z" }, []],
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
  ["CMD_CYCLE_TIMER 9", {}, ["belongs to CMD_CYCLE_OPEN"]],
  ["FORWARD_ALL Y", {}, ["no gateway mode"]],
  ["FORCE_MASQUERADE N", {}, []],
  ["GPG_DECRYPT_ID ABCD", {}, ["has a passphrase, too"]],
  ["GPG_DECRYPT_PW secret", {}, ["must have no passphrase"]],
  ["GPG_REQUIRE_SIG N", {}, ["GPG_REQUIRE_SIG: a good signature is always"]],
  ["GPG_REQUIRE_SIG Y\nGPG_DISABLE_SIG N", {}, []],
  ["GPG_DISABLE_SIG Y", {}, ["GPG_DISABLE_SIG: a good signature is always"]],
  ["SOMETHING else", {}, ["SOMETHING: unknown, left out"]],
  [
    "REQUIRE_SOURCE_ADDRESS Y\nREQUIRE_SOURCE N",
    { require_address: undefined },
    [],
  ],
  ["KEY_BASE64 AA==\nKEY words", {
    fwknop: { ...fwknop, key_base64: "d29yZHM=" },
  }, [
    "KEY_BASE64: set again",
  ]],
  [
    "HMAC_KEY words",
    { fwknop: { ...fwknop, hmac_key_base64: "d29yZHM=" } },
    [],
  ],
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
      `KEY ${secret.slice(0, 32)}\nHMAC_KEY ${secret.slice(0, 32)}`,
      `GPG_DECRYPT_PW ${secret}`,
    ]
  ) {
    const { lines: mistakes } = assertThrows(
      () => convert(`SOURCE ANY\n${lines}\n`),
      ConfigError,
    );
    assert(mistakes.join("\n").match(/left out|has no value/), lines);
    assert(!mistakes.join("\n").includes(secret.slice(0, 10)), lines);
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
  for (const source of ["x", "10.0.0.0/0", "10.0.0.0/255.0.255.0", "::/1"]) {
    assertThrows(
      () => convert(`SOURCE ${source}\n${KEYS}OPEN_PORTS tcp/22\n`),
      ConfigError,
      `SOURCE: "${source}" is left out`,
    );
  }
  const masked = convert(
    `SOURCE 10.1.0.0/255.255.128.0,10.2.2.2/32\n${KEYS}OPEN_PORTS tcp/22\n`,
  );
  assertEquals(masked.value.clients.client1.from, ["10.1.0.0/17", "10.2.2.2"]);
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

for (
  const line of [
    "FORCE_NAT 10.0.0.5 2222",
    "FORCE_NAT 10.0.0.5 2222\nFORCE_MASQUERADE Y",
    "FORCE_SNAT 192.0.2.1",
    "FORCE_MASQUERADE Y\nFORWARD_ALL Y",
    "CMD_CYCLE_OPEN /bin/open $IP\nCMD_CYCLE_CLOSE NONE",
  ]
) {
  test(`convertFwknop() opens nothing of this machine for "${line}"`, () => {
    const keyword = line.split(" ")[0]!;
    for (const ports of ["", "OPEN_PORTS tcp/22\n"]) {
      assertThrows(
        () => convert(`SOURCE ANY\n${KEYS}${ports}${line}\n`),
        ConfigError,
        `${keyword}: the stanza is left out`,
      );
      // Nor for a later stanza with its keys, which fwknopd does not come to.
      const other = `SOURCE ANY\n${KEYS.replace(MAC, MAC2)}OPEN_PORTS tcp/1\n`;
      const { value, warnings } = convert(
        `SOURCE ANY\n${KEYS}${ports}${line}\n${stanza}${other}`,
      );
      assertEquals(Object.keys(value.clients), ["client1"]);
      assertEquals(value.clients.client1.open, ["tcp/1"]);
      assert(warnings.some((text) => text.includes("an earlier stanza has")));
    }
  });
}

test("convertFwknop() makes one client of stanzas that have one key", () => {
  const other = stanza.replace(MAC, MAC2);
  const web = stanza.replace("tcp/22", "tcp/80");
  const { value, warnings } = convert(`${stanza}\n${other}\n${web}`);
  assertEquals(Object.keys(value.clients), ["client1", "client2"]);
  assertEquals(value.clients.client1.open, ["tcp/22", "tcp/80"]);
  assertEquals(warnings, [
    'access.conf:11: has the keys of "client1", and is made one with it: ' +
    "it may ask for ports of both at once",
  ]);
});

test("convertFwknop() gives no client more than the first of its stanzas", () => {
  const web = stanza.replace("tcp/22", "tcp/80");
  for (
    const differs of [
      "FW_ACCESS_TIMEOUT 9\n",
      "ACCESS_EXPIRE_EPOCH 9\n",
      "ENCRYPTION_MODE CTR\n",
      "REQUIRE_USERNAME bob\n",
    ]
  ) {
    const { value, warnings } = convert(`${stanza}${web}${differs}${web}`);
    assertEquals(Object.keys(value.clients), ["client1"]);
    assertEquals(value.clients.client1.open, ["tcp/22"]);
    assertEquals(warnings.length, 2, warnings.join("\n"));
    for (const words of warnings) assert(words.includes("left out"), words);
  }
});

test("convertFwknop() reads what is included", () => {
  const files: Record<string, string> = {
    "a.conf": stanza,
    "d/b.conf": stanza.replace(MAC, MAC2),
    "d/c.txt": "SOURCE ANY\n",
    "keys": KEYS + "OPEN_PORTS tcp/1-65535\nSOURCE ANY\nMAX_FW_TIMEOUT 9\n",
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
  assertEquals(Object.keys(value.clients), ["client1", "client2"]);
  // The key file's owner sets no more than keys.
  assertEquals(value.clients.client1.open, ["tcp/22", "tcp/80"]);
  assertEquals(value.clients.client1.max_for, "300s");
  assertEquals(warnings.slice(0, 6), [
    `access.conf:3: %include: cannot read "missing"`,
    `access.conf:4: %include_folder: cannot read "missing"`,
    "loop:1: %include: too deep, left out",
    "keys:3: OPEN_PORTS: not a key: left out of a key file, as by fwknopd",
    "keys:4: SOURCE: not a key: left out of a key file, as by fwknopd",
    "keys:5: MAX_FW_TIMEOUT: not a key: left out of a key file, as by fwknopd",
  ]);
});

test("convertFwknop() goes on with a stanza behind an included file", () => {
  const { value, warnings } = convert(
    `SOURCE ANY\n${KEYS}%include b.conf\nOPEN_PORTS tcp/80\n`,
    "access.conf",
    {
      ...none,
      read: () => `OPEN_PORTS tcp/1\n${stanza.replace(MAC, MAC2)}`,
    },
  );
  assertEquals(value.clients.client1.open, ["tcp/80"]);
  assertEquals(value.clients.client2.open, ["tcp/22"]);
  assertEquals(warnings, [
    "b.conf:1: OPEN_PORTS: is before any SOURCE, left out",
  ]);
});

test("convertFwknop() refuses lines that it would read otherwise", () => {
  const lines: [line: string, words: string][] = [
    ["OPEN_PORTS", "OPEN_PORTS: has no value: fwknopd does not start so"],
    ["OPEN_PORTS ;tcp/22", "OPEN_PORTS: has no value"],
    ["KEY caf\ufffd", "KEY: must be UTF-8"],
    [`OPEN_PORTS ${"tcp/22,".repeat(200)}`, "OPEN_PORTS: must be at most"],
  ];
  for (const [line, words] of lines) {
    const text = `SOURCE ANY\n${KEYS}${line}\n`;
    const error = assertThrows(() => convert(text), ConfigError);
    assert(error.message.includes(`access.conf:4: ${words}`), error.message);
  }
});

const at = (port: number) => ({ listen: [`0.0.0.0:${port}`] });
const sniffAt = (port: number) => ({ listen: [`sniff/0.0.0.0:${port}`] });

const daemonCases: [
  lines: string,
  wanted: Record<string, unknown>,
  words: string | null,
][] = [
  ["ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 4000;", at(4000), null],
  ["ENABLE_UDP_SERVER Y\nUDPSERV_PORT 4000", at(4000), null],
  ["PCAP_FILTER udp port 4001;", sniffAt(4001), null],
  ["PCAP_FILTER udp dst port 4001", sniffAt(4001), null],
  ["", sniffAt(62201), null],
  ["PCAP_INTF eth1;", sniffAt(62201), "from every interface"],
  ["PCAP_FILTER tcp;", {}, `check "listen"`],
  ["PCAP_FILTER udp port 99999;", {}, `check "listen"`],
  ["UDPSERV_PORT 4000;", {}, "without ENABLE_UDP_SERVER Y"],
  [
    "ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 99999;",
    at(62201),
    "is taken for 62201",
  ],
  ["MAX_SPA_PACKET_AGE 30;", { max_skew: "30s" }, null],
  ["MAX_SPA_PACKET_AGE 100000;", { max_skew: "86400s" }, "taken for 86400"],
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
  ["PCAP_LOOP_SLEEP 1;", {}, "nothing to set for the capture"],
  ["ENABLE_SPA_OVER_HTTP Y;", {}, "a port of its own"],
  [
    "ENABLE_SPA_OVER_HTTP Y;\nENABLE_TCP_SERVER Y;\nTCPSERV_PORT 8080;",
    { listen: ["sniff/0.0.0.0:62201", "http/0.0.0.0:8080"] },
    null,
  ],
  ["ENABLE_SPA_OVER_HTTP N;", {}, null],
  ["ENABLE_TCP_SERVER Y;", {
    listen: ["sniff/0.0.0.0:62201", "tcp/0.0.0.0:62201"],
  }, null],
  ["SYSLOG_IDENTITY x;", {}, 'see "log"'],
  ["ENABLE_IPT_FORWARDING Y;", {}, "as a service"],
  ["IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, X, 1;", {}, null],
  ["IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 9, X, 1;", {}, "INPUT leads to"],
  ["IPT_INPUT_ACCESS ACCEPT, filter, MINE, 1, X, 1;", {}, "INPUT leads to"],
  ["IPT_OUTPUT_ACCESS x;", {}, "rules of its own"],
  ["ENABLE_DESTINATION_RULE Y;", {}, "every address of the machine"],
  ["ENABLE_DESTINATION_RULE N;", {}, null],
  ["ENABLE_IPT_OUTPUT Y;", {}, "let answers out"],
  ["FLUSH_IPT_AT_EXIT N;", {}, "grants outlive the server"],
  ["RULES_CHECK_THRESHOLD 5", {}, "rules of other programs"],
  ["GPG_HOME_DIR /root/x;", {}, null],
  ["ACCESS_FILE /etc/fwknop/access.conf;", {}, "give that file"],
  ["NEW_ONE 1;", {}, "unknown, left out"],
];

for (const [lines, wanted, words] of daemonCases) {
  test(`convertFwknop() takes "${lines}" in fwknopd.conf`, () => {
    const { value, warnings } = convert(`${lines}\n`, "fwknopd.conf");
    const firewall = { backend: "iptables", mode: "accept" };
    const all = { ...sniffAt(62201), max_skew: "120s", firewall, ...wanted };
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
      fwknop: { ...fwknop, user: "alice", digest: "sha1" },
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
        digest: "sha1",
        nat_access: "10.0.0.5:22",
      },
      open: ["tcp/22"],
      from: "192.0.2.9",
    },
  });
  assertEquals(warnings, [
    ".fwknoprc:10: ALLOW_IP: fwknop asks " +
    "https://www.cipherdyne.org/cgi-bin/myip, and nobody is put in here: " +
    '"resolve: { https: URL }" in profiles.yaml names a page',
    '.fwknoprc: [send]: is called "send-1" here',
    ".fwknoprc: [old]: has no SPA_SERVER, left out: what is typed after " +
    '"fwknop -D" belongs there',
    '.fwknoprc: without SPOOF_USER packets name the user "knock", and not who ' +
    'runs it: write "user" where the server has REQUIRE_USERNAME',
  ]);
});

test("fwknopFileOf() tells fwknop's files apart", () => {
  const kind = (text: string) => fwknopFileOf({ name: "x", text });
  assertEquals(kind("# x\nSOURCE ANY\n"), "access");
  assertEquals(kind("%include /etc/x\n"), "access");
  assertEquals(kind("PCAP_INTF eth0;\n"), "daemon");
  assertEquals(kind("MAX_SPA_PACKET_AGE 30\n"), "daemon");
  assertEquals(kind("[home] # mine\n"), "rc");
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
  const both = stanza(
    `GPG_FINGERPRINT_ID ${FINGERPRINT}\nGPG_REMOTE_ID ABCD1234`,
  );
  assert(both.warnings[0]!.includes("GPG_FINGERPRINT_ID alone tells"));
  assertThrows(
    () => stanza("GPG_REMOTE_ID ABCD1234"),
    ConfigError,
    "whole fingerprints",
  );
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
ALLOW_IP          source
SPOOF_USER        alice
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

const gpgRows: [lines: string, home: string | null, words: string][] = [
  [`GPG_RECIPIENT ${FINGERPRINT}\nGPG_SIGNER me`, "~/.gnupg", ""],
  [
    `GPG_HOMEDIR /k\nGPG_RECIPIENT ${FINGERPRINT}\nGPG_SIGNER me`,
    "/k",
    "",
  ],
  [`GPG_RECIPIENT ${FINGERPRINT}`, null, "without GPG_SIGNER\n"],
  ["GPG_HOMEDIR /k", null, "without GPG_RECIPIENT and GPG_SIGNER\n"],
];

for (const [lines, home, words] of gpgRows) {
  test(`convertFwknop() of .fwknoprc with USE_GPG and ${lines}`, () => {
    const act = () =>
      convert(
        `[a]\nSPA_SERVER 192.0.2.30\nACCESS tcp/22\nALLOW_IP source\n` +
          `SPOOF_USER me\nHMAC_KEY_BASE64 ${MAC}\nUSE_GPG Y\n${lines}\n`,
        ".fwknoprc",
      );
    if (home === null) {
      assertThrows(act, ConfigError, words);
      return;
    }
    const { value, warnings } = act();
    assertEquals([value.a.fwknop.gpg.home, warnings], [home, []]);
  });
}

/** A stanza of .fwknoprc with keys and all that is asked for. */
const RC = `SPA_SERVER 192.0.2.30
ACCESS tcp/22
SPOOF_USER alice
${KEYS}`;

const rcCases: [
  lines: string,
  wanted: Record<string, unknown>,
  words: readonly string[],
][] = [
  ["ALLOW_IP source", { from: "source" }, []],
  ["", { from: "source" }, ['has no ALLOW_IP: "from: source"']],
  [
    "RESOLVE_IP_HTTPS Y\nRESOLVE_URL https://ip.example.org/",
    { from: "resolve", resolve: { https: "https://ip.example.org/" } },
    [],
  ],
  [
    "RESOLVE_URL https://ip.example.org/",
    { from: "resolve", resolve: { https: "https://ip.example.org/" } },
    [],
  ],
  ["RESOLVE_IP_HTTP Y", { from: "resolve", resolve: undefined }, [
    "RESOLVE_IP_HTTP: fwknop asks https://www.cipherdyne.org",
  ]],
  ["RESOLVE_URL http://ip.example.org/", { from: "resolve" }, [
    "RESOLVE_URL: not converted: no page but one of https://",
  ]],
  [
    "ALLOW_IP 192.0.2.9\nRESOLVE_IP_HTTPS Y\nRESOLVE_URL https://a.example/",
    { from: "192.0.2.9", resolve: undefined },
    [],
  ],
  ["ALLOW_IP source\nRESOLVE_IP_HTTPS yes", { from: "source" }, []],
  [
    "ALLOW_IP source\nNAT_ACCESS 10.0.0.5,88\nNAT_PORT 8088",
    {
      open: ["tcp/8088"],
      fwknop: { ...fwknop, user: "alice", nat_access: "10.0.0.5:88" },
    },
    [],
  ],
  [
    "ALLOW_IP source\nNAT_LOCAL Y\nNAT_PORT 9000",
    {
      open: ["tcp/9000"],
      fwknop: { ...fwknop, user: "alice", nat_local: "192.0.2.30:22" },
    },
    [],
  ],
  ["ALLOW_IP source\nNAT_ACCESS 10.0.0.5:99\nNAT_RAND_PORT Y", {}, [
    "NAT_ACCESS: not converted: NAT_RAND_PORT",
  ]],
  ["ALLOW_IP source\nFW_TIMEOUT 99999", { for: undefined }, ["FW_TIMEOUT"]],
  ["ALLOW_IP source\nSPA_SERVER_PORT 0", { server: "192.0.2.30:62201" }, [
    "SPA_SERVER_PORT: is no port",
  ]],
  ["ALLOW_IP source\nDIGEST_TYPE SHA3_256", {
    fwknop: { ...fwknop, user: "alice", digest: "sha3-256" },
  }, []],
  ["ALLOW_IP source\nTIME_OFFSET 60s", {}, ["set the clock"]],
  ["ALLOW_IP source\nKEY words", {
    fwknop: { ...fwknop, user: "alice", key_base64: "d29yZHM=" },
  }, []],
  [
    `ALLOW_IP source\nACCESS ${
      Array.from({ length: 20 }, (_, at) => `udp/${at + 1}`).join()
    }`,
    {},
    ["ACCESS: set again", "only the first 15 ports"],
  ],
];
for (const [lines, wanted, words] of rcCases) {
  test(`convertFwknop() takes "${lines}" in .fwknoprc`, () => {
    const text = `[router] # at home\n${RC}${lines}\n`;
    const { value, warnings } = convert(text, ".fwknoprc");
    parseProfiles(
      convertFwknop([{ name: "rc", text }], none).text,
      "profiles.yaml",
    );
    for (const [key, want] of Object.entries(wanted)) {
      assertEquals(value.router[key], want, key);
    }
    assertEquals(warnings.length, words.length, warnings.join("\n"));
    for (const [index, word] of words.entries()) {
      assert(warnings[index]!.includes(word), warnings[index]);
    }
  });
}

test("convertFwknop() has stanzas of .fwknoprc inherit as fwknop does", () => {
  const { value, warnings } = convert(
    `[DEFAULT]
ALLOW_IP 192.0.2.9
NAT_LOCAL Y
${KEYS}
[Home]
SPA_SERVER 192.0.2.30
ACCESS tcp/22
ALLOW_IP resolve
NAT_LOCAL N
SPOOF_USER alice
[home]
NAT_PORT 9000
`,
    ".fwknoprc",
  );
  assertEquals(warnings, []);
  assertEquals(value, {
    Home: {
      server: "192.0.2.30:62201",
      fwknop: { ...fwknop, user: "alice", nat_local: "192.0.2.30:22" },
      open: ["tcp/9000"],
      from: "192.0.2.9",
    },
  });
});

test("convertFwknop() refuses a .fwknoprc that comes to no profile", () => {
  for (
    const [text, words] of [
      [`[default]\n${KEYS}ACCESS tcp/22\n`, "[default]: has no SPA_SERVER"],
      [`[a]\nSPA_SERVER a/b\n${KEYS}`, "SPA_SERVER: is no host"],
      ["[a]\nSPA_SERVER a\n", "has no passphrase"],
      [
        `[a]\nSPA_SERVER a\nKEY x\nUSE_HMAC Y\n`,
        "USE_HMAC: fwknop asks for the HMAC key",
      ],
    ]
  ) {
    assertThrows(() => convert(text!, ".fwknoprc"), ConfigError, words);
  }
});

/** Small inputs of users, each with one kind of fault. */
const moving = (name: string) =>
  runtime.files.readText(
    fileURLToPath(new URL(`../vectors/moving/${name}`, import.meta.url)),
  );

test("the plainest access.conf opens beside the host's own rules", () => {
  const text = moving("c1-fwknop-default-host/access.conf");
  const converted = convertFwknop([{ name: "access.conf", text }], none);
  assertEquals(converted.warnings, []);
  const value = parse(converted.text, { schema: "core" }) as Yaml;
  assertEquals(value.listen, ["sniff/0.0.0.0:62201"]);
  assertEquals(value.firewall, { backend: "iptables", mode: "accept" });
  assertEquals(value.clients.client1.open, ["tcp/22"]);
});

test("a .fwknoprc with RESOLVE_URL asks that page", () => {
  const text = moving("e2-rc-resolve/fwknoprc");
  const { value } = convert(text, ".fwknoprc");
  assertEquals(value.router.from, "resolve");
  assertEquals(value.router.resolve, { https: "https://ip.example.org/" });
});

/** A line of a keyword with one of its values, or with anything. */
function lineOf(
  table: Readonly<Record<string, readonly string[]>>,
): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...Object.keys(table)) },
    { weight: 1, arbitrary: fc.constantFrom("TYPO", "#", ";", "[x]", "") },
  ).chain((keyword) => {
    const values = table[keyword] ?? [""];
    const value = fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...values) },
      { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
      { weight: 1, arbitrary: fc.integer().map(String) },
    );
    const end = fc.constantFrom("", "", ";", " ", "\r", " # x");
    return fc.tuple(value, end).map(([text, after]) =>
      `${keyword} ${text}${after}`
    );
  });
}

const yesNo = ["Y", "N", "yes", "no"];
const KEY_LINES = {
  KEY: ["words", "other words", KEY, "__CHANGEME__"],
  KEY_BASE64: [KEY, MAC2, "AA==", "?"],
  HMAC_KEY: ["words", "mac", "__changeme__"],
  HMAC_KEY_BASE64: [MAC, MAC2, KEY, "AA"],
  HMAC_DIGEST_TYPE: ["SHA1", "sha256", "SHA3_512", "md6"],
  ENCRYPTION_MODE: ["CBC", "ctr", "legacy", "PCBC", "Asymmetric"],
};
const GPG_LINES = {
  GPG_DECRYPT_ID: ["me@example.org", 'a"b'],
  GPG_DECRYPT_PW: ["secret"],
  GPG_ALLOW_NO_PW: yesNo,
  GPG_REQUIRE_SIG: yesNo,
  GPG_DISABLE_SIG: yesNo,
  GPG_IGNORE_SIG_VERIFY_ERROR: yesNo,
  GPG_REMOTE_ID: ["ABCD1234"],
  GPG_FINGERPRINT_ID: ["A".repeat(40), "AB CD", `${"A".repeat(40)},x`],
};
const ACCESS_LINES = {
  ...KEY_LINES,
  ...GPG_LINES,
  GPG_HOME_DIR: ["/root/.gnupg", "x y"],
  GPG_EXE: ["/usr/bin/gpg"],
  SOURCE: [
    "ANY",
    "any,x",
    "10.0.0.0/8",
    "10.0.0.0/255.0.0.0",
    "192.0.2.1, ::1",
  ],
  DESTINATION: ["ANY", "192.0.2.1"],
  OPEN_PORTS: ["tcp/22", "tcp/22,udp/53", "TCP/80-90", "icmp/1", "tcp/0"],
  RESTRICT_PORTS: ["tcp/22", "tcp/23,udp/1", "x"],
  FW_ACCESS_TIMEOUT: ["30", "0", "900", "8388609", "x"],
  MAX_FW_TIMEOUT: ["30", "0", "900", "-1"],
  REQUIRE_USERNAME: ["alice", "bob", "a b", "x".repeat(40)],
  REQUIRE_SOURCE_ADDRESS: yesNo,
  REQUIRE_SOURCE: yesNo,
  ACCESS_EXPIRE: ["3/1/2030", "12/31/30", "0/0/0000", "99/99/9999", "soon"],
  ACCESS_EXPIRE_EPOCH: ["1893456000", "0", "999999999999", "x"],
  ENABLE_CMD_EXEC: yesNo,
  ENABLE_CMD_SUDO_EXEC: yesNo,
  CMD_EXEC_USER: ["nobody"],
  CMD_EXEC_GROUP: ["nobody"],
  CMD_SUDO_EXEC_USER: ["nobody"],
  CMD_SUDO_EXEC_GROUP: ["nobody"],
  CMD_CYCLE_OPEN: ["/bin/open $IP"],
  CMD_CYCLE_CLOSE: ["NONE", "/bin/close $IP"],
  CMD_CYCLE_TIMER: ["5", "x"],
  FORCE_NAT: ["10.0.0.5 22", "x"],
  FORCE_SNAT: ["192.0.2.1"],
  FORCE_MASQUERADE: yesNo,
  DISABLE_DNAT: yesNo,
  FORWARD_ALL: yesNo,
  "%include": ["/keys", "/more.conf", "/none"],
  "%include_folder": ["/", "/none"],
  "%include_keys": ["/keys", "/none"],
};
const DAEMON_LINES = Object.fromEntries([
  ["PCAP_INTF", ["eth0"]],
  ["PCAP_FILTER", ["udp port 62201", "udp port 0", "tcp", "udp port 70000"]],
  ["UDPSERV_PORT", ["62201", "4000", "0", "99999"]],
  ["TCPSERV_PORT", ["62201", "4000", "x"]],
  ["MAX_SPA_PACKET_AGE", ["120", "0", "100000", "100001"]],
  ["FIREWALL_EXE", ["/usr/sbin/iptables", "/bin/firewall-cmd", "/sbin/pfctl"]],
  ["GPG_HOME_DIR", ["/root/.gnupg", "$FWKNOP_CONF_DIR/gpg"]],
  ["IPT_INPUT_ACCESS", ["ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1", "x"]],
  ...("ENABLE_UDP_SERVER ENABLE_TCP_SERVER ENABLE_SPA_OVER_HTTP " +
    "ENABLE_SPA_PACKET_AGING ENABLE_DIGEST_PERSISTENCE ENABLE_PCAP_PROMISC " +
    "ENABLE_PCAP_ANY_DIRECTION ENABLE_X_FORWARDED_FOR ENABLE_RULE_PREPEND " +
    "ENABLE_DESTINATION_RULE ENABLE_NAT_DNS ENABLE_IPT_FORWARDING " +
    "ENABLE_IPT_LOCAL_NAT ENABLE_IPT_SNAT ENABLE_IPT_OUTPUT EXIT_AT_INTF_DOWN " +
    "ENABLE_IPT_COMMENT_CHECK FLUSH_IPT_AT_INIT FLUSH_IPT_AT_EXIT " +
    "ENABLE_NFQ_CAPTURE ALLOW_ANY_USER_AGENT").split(" ")
    .map((keyword) => [keyword, yesNo] as const),
  ...("PCAP_FILE PCAP_DISPATCH_COUNT PCAP_LOOP_SLEEP MAX_SNIFF_BYTES " +
    "RULES_CHECK_THRESHOLD CMD_EXEC_TIMEOUT UDPSERV_SELECT_TIMEOUT LOCALE " +
    "SYSLOG_IDENTITY SYSLOG_FACILITY SNAT_TRANSLATE_IP IPT_OUTPUT_ACCESS " +
    "IPT_FORWARD_ACCESS IPT_DNAT_ACCESS IPT_SNAT_ACCESS IPT_MASQUERADE_ACCESS " +
    "FWKNOP_RUN_DIR FWKNOP_CONF_DIR ACCESS_FILE ACCESS_FOLDER FWKNOP_PID_FILE " +
    "DIGEST_FILE GPG_EXE SUDO_EXE VERBOSE FAULT_INJECTION_TAG NFQ_PORT")
    .split(" ").map((keyword) => [keyword, ["1", "x y"]] as const),
]) as Record<string, readonly string[]>;
const RC_LINES = {
  ...KEY_LINES,
  "[home]": [""],
  "[send]": ["# c"],
  "[resolve]": [""],
  "[ a b ]": [""],
  "[default]": [""],
  DIGEST_TYPE: ["SHA1", "sha3_256", "x"],
  SPA_SERVER: ["192.0.2.1", "home.example.org", "[2001:db8::1]", "a/b", "a:1"],
  SPA_SERVER_PROTO: ["udp", "tcp", "http", "icmp"],
  SPA_SERVER_PORT: ["62201", "0", "70000"],
  SPA_SOURCE_PORT: ["1"],
  FW_TIMEOUT: ["30", "0", "65536", "65537", "x"],
  ALLOW_IP: ["source", "resolve", "192.0.2.9", "0.0.0.0", "x"],
  TIME_OFFSET: ["0", "-60s"],
  USE_GPG: yesNo,
  USE_GPG_AGENT: yesNo,
  GPG_RECIPIENT: ["A".repeat(40)],
  GPG_SIGNER: ["me"],
  GPG_HOMEDIR: ["/home/a"],
  GPG_EXE: ["/usr/bin/gpg"],
  GPG_SIGNING_PW: ["secret"],
  GPG_SIGNING_PW_BASE64: ["AA=="],
  GPG_NO_SIGNING_PW: yesNo,
  SPOOF_USER: ["alice"],
  SPOOF_SOURCE_IP: ["192.0.2.1"],
  ACCESS: ["tcp/22", "tcp/22,udp/53", "none/0", "tcp/1,".repeat(20) + "tcp/2"],
  RAND_PORT: yesNo,
  USE_HMAC: yesNo,
  USE_WGET_USER_AGENT: yesNo,
  KEY_FILE: ["/x"],
  HMAC_KEY_FILE: ["/x"],
  NAT_ACCESS: ["10.0.0.5,22", "10.0.0.5:22", "10.0.0.5", "inner:0", ":,"],
  HTTP_USER_AGENT: ["x"],
  RESOLVE_URL: ["https://ip.example.org/", "http://x", "https://", "https://["],
  SERVER_RESOLVE_IPV4: yesNo,
  NAT_LOCAL: yesNo,
  NAT_RAND_PORT: yesNo,
  NAT_PORT: ["8088", "0"],
  VERBOSE: ["1"],
  RESOLVE_IP_HTTP: yesNo,
  RESOLVE_IP_HTTPS: yesNo,
  RESOLVE_HTTP_ONLY: yesNo,
  WGET_CMD: ["/usr/bin/wget"],
  NO_SAVE_ARGS: yesNo,
};

/** Converts as the command does; false: it was refused, and nothing written. */
async function convertsTo(
  files: Record<string, string>,
  given: readonly string[],
): Promise<FakeRuntime | null> {
  const fake = new FakeRuntime({ files });
  try {
    assertEquals(await run(["fwknop", ...given, "-d", "/new"], fake), 0);
    return fake;
  } catch (error) {
    // A conversion that would not pass has no words for what was wrong.
    if (!(error instanceof OperatorError)) throw error;
    assertEquals(error.status, 2);
    assert(!error.message.includes("cannot be converted"), error.message);
    assertEquals(fake.files.stat("/new"), null);
    return null;
  }
}

const lines = (
  table: Readonly<Record<string, readonly string[]>>,
  first: string,
) =>
  fc.array(lineOf(table), { maxLength: 14 })
    .map((all) => [first, ...all, ""].join("\n"));

test("what knock convert fwknop writes of a server passes knock check", async () => {
  let converted = 0;
  await fc.assert(
    fc.asyncProperty(
      lines(ACCESS_LINES, `SOURCE ANY\n${KEYS}`),
      lines(ACCESS_LINES, `SOURCE ANY\n${KEYS.replace(MAC, MAC2)}`),
      lines(DAEMON_LINES, ""),
      lines({ ...KEY_LINES, ...GPG_LINES, OPEN_PORTS: ["tcp/1"] }, ""),
      async (access, more, daemon, keys) => {
        const fake = await convertsTo(
          { "/a": access, "/d": daemon, "/more.conf": more, "/keys": keys },
          daemon.trim() === "" ? ["/a"] : ["/a", "/d"],
        );
        if (!fake) return;
        converted++;
        assertEquals(await runCheck(["/new/server.yaml"], fake), 0);
      },
    ),
    { numRuns: 150 },
  );
  assert(converted > 20, `${converted}`);
});

test("what knock convert fwknop writes of a client is read by it", async () => {
  let converted = 0;
  await fc.assert(
    fc.asyncProperty(
      lines(RC_LINES, `[office]\n${RC}`),
      async (rc) => {
        const fake = await convertsTo({ "/rc": rc }, ["/rc"]);
        if (!fake) return;
        converted++;
        assert(readProfiles(fake, "/new/profiles.yaml").size > 0);
      },
    ),
    { numRuns: 150 },
  );
  assert(converted > 20, `${converted}`);
});

/** Sources that each SOURCE allows. */
const SOURCES: Readonly<Record<string, (address: string) => boolean>> = {
  "ANY": () => true,
  "10.0.0.0/8": (address) => address.startsWith("10."),
  "10.1.0.0/255.255.0.0": (address) => address.startsWith("10.1."),
  "192.0.2.1,10.0.0.1": (address) =>
    address === "192.0.2.1" || address === "10.0.0.1",
};
/** Ports that fwknopd reads in lists. */
const LISTS: Readonly<Record<string, readonly string[]>> = {
  "tcp/22": ["tcp/22"],
  "tcp/22,tcp/80": ["tcp/22", "tcp/80"],
  "tcp/80,udp/53": ["tcp/80", "udp/53"],
  "udp/53-60": ["udp/53"],
  "TCP/80 # x": ["tcp/80"],
};
const MACS = [MAC, MAC2];

const maybe = <T>(some: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: some },
  );
const anyStanza = fc.record({
  SOURCE: fc.constantFrom(...Object.keys(SOURCES)),
  HMAC_KEY_BASE64: fc.constantFrom(...MACS),
  OPEN_PORTS: maybe(fc.constantFrom(...Object.keys(LISTS))),
  RESTRICT_PORTS: maybe(fc.constantFrom("tcp/22", "tcp/80,udp/53")),
  FW_ACCESS_TIMEOUT: maybe(fc.constantFrom(10, 60, 900)),
  MAX_FW_TIMEOUT: maybe(fc.constantFrom(20, 60, 1000)),
  REQUIRE_SOURCE_ADDRESS: maybe(fc.constantFrom("Y", "N")),
  REQUIRE_USERNAME: maybe(fc.constantFrom("alice", "bob")),
  ACCESS_EXPIRE: maybe(fc.constantFrom("3/1/2020", "3/1/2040")),
  CMD_CYCLE_OPEN: maybe(fc.constant("/bin/x")),
  FORCE_NAT: maybe(fc.constant("10.9.9.9 22")),
});
const anyPacket = fc.record({
  mac: fc.constantFrom(...MACS),
  source: fc.constantFrom("10.1.2.3", "10.2.2.3", "192.0.2.1", "203.0.113.9"),
  address: fc.constantFrom(null, null, "10.1.2.3", "203.0.113.9"),
  ports: fc.subarray(["tcp/22", "tcp/80", "udp/53", "udp/54"], {
    minLength: 1,
    maxLength: 2,
  }),
  seconds: fc.constantFrom(0, 0, 5, 50, 500, 5000),
  user: fc.constantFrom("alice", "bob", "carol"),
});
type AnyStanza = typeof anyStanza extends fc.Arbitrary<infer T> ? T : never;
type AnyPacket = typeof anyPacket extends fc.Arbitrary<infer T> ? T : never;

/** Ports that fwknopd opens on this machine: the first stanza that does not refuse decides. */
function openedByFwknopd(
  stanzas: readonly AnyStanza[],
  { mac, source, address, ports, seconds, user }: AnyPacket,
) {
  for (const one of stanzas) {
    const { OPEN_PORTS, RESTRICT_PORTS, REQUIRE_USERNAME } = one;
    const refuses = !SOURCES[one.SOURCE]!(source) ||
      one.ACCESS_EXPIRE === "3/1/2020" || one.HMAC_KEY_BASE64 !== mac ||
      (address === null && one.REQUIRE_SOURCE_ADDRESS === "Y") ||
      (REQUIRE_USERNAME && REQUIRE_USERNAME !== user);
    if (refuses) continue;
    if (one.CMD_CYCLE_OPEN) return null;
    const within = (list: string) => (port: string) =>
      LISTS[list]!.includes(port);
    if (RESTRICT_PORTS && ports.some(within(RESTRICT_PORTS))) continue;
    if (OPEN_PORTS && !ports.every(within(OPEN_PORTS))) continue;
    if (one.FORCE_NAT) return null;
    const own = one.FW_ACCESS_TIMEOUT ?? 30;
    const most = one.MAX_FW_TIMEOUT ?? 300;
    const given = seconds > 0 ? Math.min(seconds, most) : own;
    return { address: address ?? source, ports, given, own };
  }
  return null;
}

test("the converted server opens what fwknopd opens, or less with a warning", () => {
  let granted = 0;
  const packets = fc.array(anyPacket, { minLength: 10, maxLength: 10 });
  const stanzas = fc.array(anyStanza, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(stanzas, packets, (stanzas, packets) => {
      const text = stanzas.map((one) =>
        Object.entries({ ...one, KEY_BASE64: KEY })
          .flatMap(([keyword, value]) =>
            value === null ? [] : [[keyword, value]]
          )
          .map((words) => `${words.join(" ")}\n`).join("")
      ).join("");
      let converted;
      try {
        converted = convertFwknop([{ name: "access.conf", text }], none);
      } catch (error) {
        if (error instanceof ConfigError) return;
        throw error;
      }
      const { clients } = parseConfig(converted.text, {
        file: "server.yaml",
        readKey: () => new Uint8Array(32),
        readCode: () => ({ text: "" }),
        stateFolder: () => "/",
      });
      const warned = (words: RegExp) =>
        assert(
          converted.warnings.some((line) => words.test(line)),
          converted.warnings.join("\n"),
        );
      for (const packet of packets) {
        const theirs = openedByFwknopd(stanzas, packet);
        const client = clients.find(({ fwknop }) =>
          fwknop?.hmac?.key.toBase64() === packet.mac
        );
        const user = client?.fwknop?.requireUsername ?? packet.user;
        const ours = client && user === packet.user
          ? judge(requestOf(packet), client, packet.source, NOW_MS)
          : null;
        if (!ours?.ok) {
          if (theirs) warned(/SOURCE: limits here|left out/);
          continue;
        }
        granted++;
        if (!theirs) {
          // A port of this stanza and one of that, in one packet.
          warned(/ports of both at once/);
          for (const port of packet.ports) {
            assert(openedByFwknopd(stanzas, { ...packet, ports: [port] }));
          }
          continue;
        }
        assertEquals(ours.address, theirs.address);
        assertEquals(ours.ports.map(formatPortRange), theirs.ports);
        if (ours.seconds === theirs.given) continue;
        warned(/FW_ACCESS_TIMEOUT: .* is what a client may ask for, too/);
        assert(ours.seconds <= theirs.own);
      }
    }),
    { numRuns: 200 },
  );
  assert(granted > 20, `${granted}`);
});

const NOW_MS = Date.UTC(2026, 5, 1);

function requestOf({ address, ports, seconds, user }: AnyPacket): Request {
  return {
    dialect: "fwknop",
    client: "",
    action: "open",
    ports: ports.map((port) => parsePortRange(port)!),
    command: null,
    seconds,
    timestampMs: NOW_MS,
    address,
    code: null,
    identity: new Uint8Array(32),
    wantsReply: false,
    user,
  };
}
