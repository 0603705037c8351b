import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { convertKnockd } from "../lib/config/convert/knockd.ts";
import {
  commandArgv,
  readOpening,
} from "../lib/config/convert/knockd_command.ts";
import { readKnockdConf } from "../lib/config/convert/knockd_conf.ts";
import { serverSchema } from "../lib/config/server_schema.ts";
import type { Mistake } from "../lib/config/mistake.ts";
import { ConfigError } from "../lib/values/errors.ts";
import { formatPortRange } from "../lib/values/ports.ts";
import { KNOCKD_PROBES } from "./knockd_probes.ts";
import { runtime } from "./runtime.ts";

const VECTORS = join(
  dirname(fileURLToPath(import.meta.url)),
  "vectors",
  "knockd",
);

const bytes = (text: string) => new TextEncoder().encode(text);

// deno-lint-ignore no-explicit-any -- the shape is what is tested
function converted(text: string): { yaml: any; warnings: readonly string[] } {
  const found = convertKnockd(bytes(text), "knockd.conf", () => null);
  return { yaml: parse(found.text), warnings: found.warnings };
}

for (const { name, text, refused } of KNOCKD_PROBES) {
  test(`readKnockdConf() ${refused ? "refuses" : "takes"} ${name}`, () => {
    const read = () => readKnockdConf(text, "knockd.conf", () => null);
    if (refused === null) return void read();
    const error = assertThrows(read, ConfigError);
    assert(error.message.startsWith(`knockd.conf: line ${refused}: `));
  });
}

test("readKnockdConf() never throws but ConfigErrors", () => {
  const line = fc.constantFrom(
    "[d]",
    "[options]",
    "sequence = 1,2:udp",
    "seq_timeout = 5",
    "tcpflags = syn",
    "command = x %IP%",
    "#",
    "",
  );
  const junk = fc.uint8Array({ maxLength: 40 });
  fc.assert(fc.property(fc.array(line), junk, (lines, tail) => {
    const text = bytes(lines.join("\n") + "\n");
    try {
      convertKnockd(new Uint8Array([...text, ...tail]), "f", () => tail);
    } catch (error) {
      assert(error instanceof ConfigError, String(error));
    }
  }));
});

test("convertKnockd() converts each sample into valid YAML", () => {
  const want: [file: string, sequences: string[]][] = [
    ["1-classic-open-close.conf", ["openSSH"]],
    ["2-open-then-close-nft-dual-stack.conf", ["ssh-30s"]],
    ["3-one-time-sequences.conf", ["smtp"]],
    ["5-shared-prefix-many-doors.conf", [
      "web",
      "ssh",
      "log-only",
      "same-name-is-allowed",
      "same-name-is-allowed-2",
    ]],
  ];
  for (const [file, sequences] of want) {
    const { text } = convertKnockd(
      runtime.files.readBytes(join(VECTORS, file)),
      file,
      (path) =>
        path === "/etc/knockd.smtp.sequences"
          ? runtime.files.readBytes(join(VECTORS, "3-smtp.sequences"))
          : null,
    );
    const yaml = parse(text) as { sequences: Record<string, unknown> };
    assertEquals(Object.keys(yaml.sequences), sequences, file);
    const mistakes: Mistake[] = [];
    serverSchema.read(yaml, "", mistakes);
    assertEquals(mistakes, [], file);
  }
});

const OPEN = "/usr/sbin/iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT";
const CLOSE = OPEN.replace("-I", "-D");

test("convertKnockd() makes one door of a pair that opens and closes", () => {
  const { yaml, warnings } = converted(`[openSSH]
sequence = 7000,9000,8000
tcpflags = syn
command = ${OPEN}
[closeSSH]
sequence = 9000:udp,7000
tcpflags = syn
command = ${CLOSE}
`);
  assertEquals(yaml.services, { ssh: "tcp/22" });
  assertEquals(yaml.sequences, {
    openSSH: {
      knock: ["tcp/7000", "tcp/9000", "tcp/8000"],
      within: "25s",
      open: ["ssh"],
      for: "8h",
      close: ["udp/9000", "tcp/7000"],
      watch: "kernel",
    },
  });
  assertEquals(warnings.length, 1);
});

test("convertKnockd() opens for as long as the stop command waited", () => {
  const { yaml, warnings } = converted(`[a]
sequence = 7000,9000,8000
tcpflags = syn,!ack
start_command = ${OPEN.replace("22", "8080")}
start_command_6 = ${OPEN.replace("iptables", "ip6tables").replace("22", "8080")}
cmd_timeout = 60
stop_command = ${CLOSE.replace("22", "8080")}
stop_command_6 = ${CLOSE.replace("iptables", "ip6tables").replace("22", "8080")}
`);
  assertEquals(yaml.sequences.a, {
    knock: ["tcp/7000", "tcp/9000", "tcp/8000"],
    within: "25s",
    open: ["tcp-8080"],
    for: "1m",
    watch: "kernel",
  });
  assertEquals(warnings, []);
});

test("convertKnockd() keeps what it does not understand as a command", () => {
  const { yaml, warnings } = converted(`[a]
sequence = 7000,9000,8000
tcpflags = fin
target = 192.0.2.1
start_command = /usr/bin/wake "%IP%" && logger woke
stop_command = /usr/bin/sleep-well %IP%
start_command_6 =
`);
  assertEquals(yaml.sequences.a, {
    knock: ["tcp/7000", "tcp/9000", "tcp/8000"],
    within: "25s",
    run: ["/bin/sh", "-c", `/usr/bin/wake "{address}" && logger woke`],
    run_ipv6: false,
    run_after: ["/usr/bin/sleep-well", "{address}"],
    for: "10s",
    flags: ["fin"],
    target: "192.0.2.1",
    watch: "sniff",
  });
  assert(warnings.some((text) => text.includes("shell")));
});

const WARNED: [what: string, text: string, words: string][] = [
  ["ports that ascend", "sequence=1,2,3\ntcpflags=syn", "ascend"],
  ["a tiny timeout", "sequence=3,1\nseq_timeout=1", "tiny"],
  ["no timeout", "sequence=3,1\nseq_timeout=0", "let nothing through"],
  ["no tcpflags", "sequence=3,1", "no tcpflags"],
  ["an open door", `sequence=3,1\ncommand=${OPEN}`, "nothing closed"],
  ["port 0", "sequence=3,ssh", "port 0"],
  ["a shell", "sequence=3,1\ncommand=x | y", "shell"],
  [
    "no protocol",
    `sequence=3,1\ncommand=${OPEN.replace("-p tcp ", "")}`,
    "names no protocol",
  ],
  ["nothing to do", "sequence=3,1", "runs nothing"],
];

for (const [what, text, words] of WARNED) {
  test(`convertKnockd() warns of ${what}`, () => {
    const { warnings } = converted(`[a]\n${text}\n`);
    assert(warnings.some((line) => line.includes(words)), warnings.join("\n"));
  });
}

test("convertKnockd() leaves out a door that cannot be knocked at", () => {
  const { yaml } = converted("[a]\nsequence=1,\n[b]\nsequence=2:udp\n");
  assertEquals(Object.keys(yaml.sequences), ["b"]);
});

const OPENINGS: [command: string, want: string | null][] = [
  [OPEN, "open tcp/22"],
  [CLOSE, "close tcp/22"],
  [
    "iptables -A INPUT 3 -s %IP% -p udp --dport 5000:5010 -j ACCEPT",
    "open udp/5000-5010",
  ],
  [
    "ip6tables -w -I INPUT 1 -s %IP%/128 -p tcp -m tcp --dport 22 -j ACCEPT",
    "open tcp/22",
  ],
  [
    "iptables -I INPUT -p tcp -m multiport --dports 80,443 -s %IP% -j ACCEPT",
    "open tcp/80 tcp/443",
  ],
  [
    "iptables -I INPUT -s %IP% -p tcp -m conntrack --ctstate NEW,RELATED --dport 22 -j ACCEPT",
    "open tcp/22",
  ],
  ["iptables -I INPUT -s %IP% -p tcp --dport 22 -j DROP", null],
  ["iptables -I INPUT -p tcp --dport 22 -j ACCEPT", null],
  ["iptables -I FORWARD -s %IP% -p tcp --dport 22 -j ACCEPT", null],
  ["iptables -I INPUT -s %IP% -j ACCEPT", null],
  ["iptables -t nat -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT", null],
  ["iptables -I INPUT ! -s %IP% -p tcp --dport 22 -j ACCEPT", null],
  ["iptables -I INPUT -s %IP% -p tcp --dport 22 -i eth0 -j ACCEPT", null],
  [`${OPEN}; logger x`, null],
  ["ufw allow from %IP% to any port 22 proto tcp", "open tcp/22"],
  ["ufw delete allow from %IP% to any port 22 proto tcp", "close tcp/22"],
  ["ufw insert 1 allow proto tcp from %IP% to any port 22", "open tcp/22"],
  ["ufw allow from %IP% to any port 53", "open tcp/53 udp/53"],
  ["ufw allow from %IP%", null],
  [
    `firewall-cmd --add-rich-rule='rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept'`,
    "open tcp/22",
  ],
  [
    `firewall-cmd --remove-rich-rule='rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept'`,
    "close tcp/22",
  ],
  [
    "nft add rule inet filter input ip saddr %IP% tcp dport 22 accept",
    "open tcp/22",
  ],
  ["nft add element inet filter knock4 { %IP% timeout 30s }", null],
  ["", null],
];

for (const [command, want] of OPENINGS) {
  test(`readOpening() of "${command}": ${want ?? "none"}`, () => {
    const found = readOpening(command);
    const got = found &&
      [found.action, ...found.ports.map(formatPortRange)].join(" ");
    assertEquals(got, want);
  });
}

test("commandArgv() needs a shell only for a shell's words", () => {
  const table: [string, string[] | null][] = [
    ["a b  c", ["a", "b", "c"]],
    [`/bin/a "b c" 'd"e' --x="y z"`, ["/bin/a", "b c", `d"e`, "--x=y z"]],
    ["a %IP% x%IP%y", ["a", "{address}", "x{address}y"]],
    ["a { b }", ["a", "{", "b", "}"]],
    ["a; b", null],
    ["a > b", null],
    ["a $b", null],
    [`a "$b"`, null],
    ["a `b`", null],
    ["a # b", null],
    ["a ~", null],
    ["a *", null],
    ["A=1 b", null],
    [`a "b`, null],
    ["a \\b", null],
  ];
  for (const [command, want] of table) {
    const shell = ["/bin/sh", "-c", command];
    assertEquals(commandArgv(command), want ?? shell, command);
  }
});
