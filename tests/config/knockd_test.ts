import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { parse } from "@std/yaml";
import fc from "../fakes/fast_check.ts";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../../lib/commands/operator/convert.ts";
import {
  commandArgv,
  readCommand,
} from "../../lib/config/convert/knockd/command.ts";
import { readKnockdConf } from "../../lib/config/convert/knockd/conf.ts";
import { convertKnockd } from "../../lib/config/convert/knockd/convert.ts";
import { serverSchema } from "../../lib/config/shape.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import { formatPortRange } from "../../lib/values/ports.ts";
import type { Mistake } from "../../lib/values/schema.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { KNOCKD_PROBES } from "./knockd_probes.ts";
import { runtime } from "../fakes/runtime.ts";

const VECTORS = join(
  dirname(fileURLToPath(import.meta.url)),
  "../vectors",
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

/** Converts a file as the command does, which loads the result as check does. */
async function convertFile(text: Uint8Array) {
  const fake = new FakeRuntime();
  fake.files.replace("/knockd.conf", text, 0o600);
  const code = await run(["knockd", "/knockd.conf"], fake);
  return { code, yaml: parse(fake.stdout) as Converted, err: fake.stderr };
}

interface Converted {
  firewall: Record<string, string>;
  listen: number[];
  sequences: Record<string, Record<string, unknown>>;
}

const CASES: [name: string, want: Record<string, unknown>, words: string][] = [
  ["a1-docker-user", { open: undefined, for: "30s" }, "chain DOCKER-USER"],
  ["a3-nft-forward", { open: undefined }, "chain forward of table inet filter"],
  [
    "b1-service-port-in-sequence",
    { open: ["ssh"] },
    "its sequence uses tcp/22",
  ],
  ["b3-wide-range", { open: ["udp-60000-61000"] }, "behind others"],
  ["b5-seq-timeout-over-1h", { within: "1h", open: ["ssh"] }, "7200"],
  ["e4-range-in-sequence", {
    run: ["/usr/local/bin/x.sh", "{address}"],
  }, `"7000-7002" as 7000`],
  ["e5-stop-undoes-another", { open: undefined, for: "30s" }, "not undo"],
  [
    "e7-comment-behind-command",
    { open: ["ssh"], for: "30s", from: "0.0.0.0/0" },
    "listens on all of them",
  ],
];

for (const [name, want, words] of CASES) {
  test(`knock convert knockd of the case ${name}`, async () => {
    const file = join(dirname(VECTORS), "..", "cases", name, "knockd.conf");
    const { code, yaml, err } = await convertFile(
      runtime.files.readBytes(file),
    );
    assertEquals(code, 0);
    const [door] = Object.values(yaml.sequences);
    for (const [key, value] of Object.entries(want)) {
      assertEquals(door![key], value, key);
    }
    assert(err.includes(words), err);
  });
}

test("knock convert knockd finds its own port where every one is opened", async () => {
  const text = `[a]\nsequence = 7000:udp,62201:udp\ncommand = iptables ` +
    "-I INPUT -s %IP% -p udp --dport 1:65535 -j ACCEPT\n";
  const { code, yaml } = await convertFile(bytes(text));
  assertEquals([code, yaml.listen], [0, [62202]]);
  assertEquals(yaml.sequences["a"]!["open"], ["udp/1-65535"]);
});

test("knock convert knockd chooses the firewall that the commands change", async () => {
  const of = async (...commands: string[]) => {
    const doors = commands.map((command, index) =>
      `[d${index}]\nsequence = 7000,6${index}\ncommand = ${command}\n`
    );
    const { yaml, err } = await convertFile(bytes(doors.join("")));
    const opens = Object.values(yaml.sequences).map(({ open }) => open);
    return { firewall: yaml.firewall, opens, err };
  };
  const nft =
    "nft insert rule inet filter input ip saddr %IP% tcp dport 22 accept";
  const rich = `firewall-cmd --add-rich-rule='rule family="ipv4" source ` +
    `address="%IP%" port port="22" protocol="tcp" accept'`;
  const both = await of(nft, OPEN);
  assertEquals(both.firewall, { backend: "iptables", mode: "accept" });
  assertEquals(both.opens, [undefined, ["ssh"]]);
  assert(both.err.includes("sequences.d0: stays a command"), both.err);
  const alone = await of(nft);
  assertEquals(alone.firewall, {
    backend: "nft",
    mode: "accept",
    chain: "inet filter knock",
  });
  assert(alone.err.includes("nft insert rule inet filter input jump knock"));
  const zone = await of(rich);
  assertEquals(zone.firewall, { backend: "nft", mode: "guard" });
  assert(zone.err.includes("--add-port=22/tcp"), zone.err);
  assertEquals((await of("/usr/bin/x")).firewall, { backend: "gate" });
});

test("convertKnockd() keeps commands where a door closes what only they can", () => {
  const { yaml, warnings } = converted(`[a]
sequence = 7000,9000
command = ${OPEN}
[b]
sequence = 7001,9001
tcpflags = fin
command = ${CLOSE}
`);
  assertEquals(yaml.sequences.a.open, undefined);
  assertEquals(yaml.sequences.b.run[1], "-D");
  assert(warnings.some((line) => line.includes("not a plain close")));
});

test("knock convert knockd refuses bytes that are not UTF-8, with their line", async () => {
  const file = join(
    dirname(VECTORS),
    "..",
    "cases",
    "e3-latin1-command",
    "knockd.conf",
  );
  const bytes = runtime.files.readBytes(file);
  await assertRejects(
    () => convertFile(bytes),
    ConfigError,
    "line 4: has bytes",
  );
});

test("knock convert knockd says what a byte order mark does to knockd", async () => {
  await assertRejects(
    () => convertFile(bytes("\ufeff[a]\nsequence=1\n")),
    ConfigError,
    "byte order mark",
  );
});

test("knock convert knockd never writes what knock check refuses", async () => {
  const protocol = fc.constantFrom(
    "",
    ":tcp",
    ":udp",
    ":UDP ",
    ":sctp",
    ":udp:x",
  );
  const number = fc.oneof(
    fc.constantFrom("22", "80", "443", "62201", "62202", "0", "ssh", "-1", ""),
    fc.constantFrom("7000-7002", "60500", "65535", "65536", " 8000 ", "+9"),
    fc.integer({ min: 1, max: 65535 }).map(String),
  );
  const item = fc.tuple(number, protocol).map((parts) => parts.join(""));
  const ports = fc.array(item, { minLength: 1, maxLength: 5 })
    .map((items) => items.join(","));
  const flag = fc.constantFrom("syn", "fin", "!ack", "!syn", "ack", "rst", "x");
  const flags = fc.array(flag, { minLength: 1, maxLength: 3 })
    .map((all) => all.join(","));
  const port = fc.constantFrom(
    "22",
    "60000:61000",
    "62201",
    "80,443",
    "1:65535",
  );
  const rule = fc.tuple(
    fc.constantFrom("-I INPUT", "-A INPUT 2", "-D INPUT", "-I DOCKER-USER"),
    fc.constantFrom("tcp", "udp", "TCP", "all"),
    port,
  ).map(([at, protocol, ports]) =>
    `iptables ${at} -s %IP% -p ${protocol} -m multiport --dports ${ports} -j ACCEPT`
  );
  const other = fc.tuple(
    fc.constantFrom(
      "ufw allow from %IP% to any port",
      "ufw delete allow from %IP% to any port",
      "nft add rule inet filter input ip saddr %IP% tcp dport",
      "nft insert rule ip filter INPUT ip saddr %IP% udp dport",
      "nft add rule inet filter forward ip saddr %IP% tcp dport",
    ),
    fc.constantFrom("22", "22 accept", "22-90 accept", "60000:61000", "domain"),
  ).map((parts) => parts.join(" "));
  const rich = fc.constantFrom("add", "remove").map((how) =>
    `firewall-cmd --${how}-rich-rule='rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept'`
  );
  const plain = fc.constantFrom(
    "",
    "/usr/bin/x %IP%",
    "a '' b",
    'a ""',
    'echo "${HOME} {x} {client}"',
    "logger it's",
    "x\t\u0007\u0085\u2028y: - [#",
  );
  const one = fc.oneof(
    { weight: 5, arbitrary: rule },
    { weight: 3, arbitrary: other },
    rich,
    plain,
    fc.string({ maxLength: 30 }).map((text) => text.replace(/\n/g, "")),
  );
  const joint = fc.constantFrom(" && ", "; ", " || ", " | ", " # ");
  const command = fc.oneof(
    { weight: 3, arbitrary: one },
    fc.tuple(one, joint, one).map((parts) => parts.join("")),
    one.map((text) => `sudo ${text}`),
    one.map((text) => `sh -c "${text}"`),
  );
  const seconds = fc.constantFrom("5", "0", "-3", "7200", "999999999", "x");
  const line = fc.oneof(
    fc.tuple(fc.constantFrom("sequence"), ports),
    fc.tuple(fc.constantFrom("tcpflags"), flags),
    fc.tuple(fc.constantFrom("seq_timeout", "cmd_timeout"), seconds),
    fc.tuple(fc.constantFrom("target"), fc.constantFrom("192.0.2.1", "::1")),
    {
      weight: 3,
      arbitrary: fc.tuple(
        fc.constantFrom("start_command", "stop_command", "command_6"),
        command,
      ),
    },
  ).map((pair) => pair.join(" = "));
  const name = fc.oneof(
    fc.constantFrom("a", "b", "open SSH", "é", "1", "true", "x".repeat(200)),
    fc.string({ minLength: 1, maxLength: 8 }),
  );
  const start = ports.filter((text) => !/sctp|65536/.test(text));
  const door = fc.tuple(name, start, fc.array(line, { maxLength: 5 }))
    .map(([name, ports, lines]) =>
      [`[${name}]`, `sequence = ${ports}`, ...lines].join("\n")
    );
  let converts = 0;
  await fc.assert(fc.asyncProperty(
    fc.array(door, { maxLength: 4 }),
    async (doors) => {
      try {
        const text = doors.join("\n") + "\n";
        const { code } = await convertFile(bytes(text));
        assertEquals(code, 0);
        converts++;
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        assert(!error.message.includes("cannot be converted"), error.message);
      }
    },
  ));
  assert(converts > 0);
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
      from: "0.0.0.0/0",
      for: "8h",
      close: ["udp/9000", "tcp/7000"],
      watch: "sniff",
    },
  });
  assertEquals(yaml.firewall, { backend: "iptables", mode: "accept" });
  assertEquals(warnings.length, 2);
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
    watch: "sniff",
  });
  assertEquals(warnings, [
    "options: knockd listens on one interface (eth0 unless -i names another); " +
    "knock listens on all of them",
  ]);
});

test("convertKnockd() opens for the families that the commands could open for", () => {
  const door = (name: string, commands: string) =>
    `[${name}]\nsequence = 7000,9000,8000\ntcpflags = syn\n${commands}\n`;
  const six = OPEN.replace("iptables", "ip6tables");
  const { yaml } = converted(
    door("four", `command = ${OPEN}`) +
      door("six", `command = ${six}`) +
      door("both", `command = ${OPEN}\ncommand_6 = ${six}`) +
      door("each", `command = ${OPEN}; ${six}`) +
      door("none", `command = ${six}\ncommand_6 = ${OPEN}`),
  );
  const sequences = yaml.sequences as Record<string, Record<string, unknown>>;
  assertEquals(
    Object.values(sequences).map(({ open, from }) => [open, from]),
    [
      [["ssh"], "0.0.0.0/0"],
      [["ssh"], "::/0"],
      [["ssh"], undefined],
      [["ssh"], undefined],
      [undefined, undefined],
    ],
  );
});

test("convertKnockd() warns of rules behind others, and of the other iptables", () => {
  const of = (command: string) =>
    converted(
      `[a]\nsequence = 7000,9000,8000\ntcpflags = syn\ncommand = ${command}\n`,
    ).warnings.join("\n");
  for (
    const command of [
      OPEN.replace("-I", "-A"),
      OPEN.replace("INPUT", "INPUT 2"),
      "ufw insert 3 allow from %IP% to any port 22 proto tcp",
      "nft insert rule inet filter input position 4 ip saddr %IP% tcp dport 22 accept",
    ]
  ) assertMatch(of(command), /appended behind others/, command);
  const first = of(OPEN.replace("INPUT", "INPUT 1"));
  assert(!first.includes("behind"), first);
  assertMatch(
    of(OPEN.replace("iptables", "iptables-legacy")),
    /made by \S*iptables-legacy, and here by iptables/,
  );
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

test("convertKnockd() guards beside firewalld, and says what that must allow", () => {
  const rule = (action: string) =>
    `firewall-cmd --${action}-rich-rule='rule family=ipv4 source ` +
    `address=%IP% port port=22 protocol=tcp accept'`;
  const { yaml, warnings } = converted(`[a]
sequence = 7000,9000,8000
tcpflags = syn
start_command = ${rule("add")}
cmd_timeout = 10
stop_command = ${rule("remove")}
`);
  // No rule outside of firewalld allows what it rejects: accept is impossible.
  assertEquals(yaml.firewall, { backend: "nft", mode: "guard" });
  assertEquals(yaml.sequences.a.open, ["ssh"]);
  const [told] = warnings.filter((text) => text.startsWith("firewall:"));
  assertMatch(told!, /until firewalld allows tcp\/22, knocks open nothing/);
  assertMatch(told!, /--permanent --add-port=22\/tcp && firewall-cmd --reload/);
});

const WARNED: [what: string, text: string, words: string][] = [
  ["ports that ascend", "sequence=1,2,3\ntcpflags=syn", "ascend"],
  ["a tiny timeout", "sequence=3,1\nseq_timeout=1", "very short"],
  ["no timeout", "sequence=3,1\nseq_timeout=0", "never opened"],
  ["no tcpflags", "sequence=3,1", "no tcpflags"],
  ["an open door", `sequence=3,1\ncommand=${OPEN}`, "never closed"],
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
  [`${OPEN} && logger x`, "open tcp/22"],
  [`sudo -n ${OPEN} # first rule`, "open tcp/22"],
  [`sh -c "${OPEN}; sleep 9; ${CLOSE}"`, "open tcp/22"],
  [`${OPEN.replace("-I", "-C")} || ${OPEN}`, "open tcp/22"],
  [`${CLOSE}; ${OPEN} 2>/dev/null`, "open tcp/22"],
  [`LC_ALL=C ${OPEN} || true`, "open tcp/22"],
  [`/usr/local/bin/may %IP% && ${OPEN}`, null],
  [`if x; then ${OPEN}; fi`, null],
  [`${OPEN} | cat`, null],
  [`for p in 1 2; do ${OPEN}; done`, null],
  [
    "iptables -t filter -I INPUT -j ACCEPT --dport=ssh -s %IP% -p 6",
    "open tcp/22",
  ],
  ["iptables -I INPUT -s %IP%/24 -p tcp --dport 22 -j ACCEPT", null],
  ["iptables -I DOCKER-USER -s %IP% -p tcp --dport 22 -j ACCEPT", null],
  ["iptables -I forwarding_wan_rule -s %IP% -p tcp --dport 22 -j ACCEPT", null],
  [
    "iptables -I ufw-user-input -s %IP% -p tcp --dport 22 -j ACCEPT",
    "open tcp/22",
  ],
  ["iptables -D INPUT 1", null],
  ["ufw route allow from %IP% to any port 22", null],
  [
    "nft insert rule inet filter forward ip saddr %IP% tcp dport 22 accept",
    null,
  ],
  [
    "nft add rule inet filter input ip saddr %IP% tcp dport { 22, 80-90 } ct state new counter accept",
    "open tcp/22 tcp/80-90",
  ],
  ["systemctl start ssh", null],
  ["iptables -I INPUT ! -s %IP% -p tcp --dport 22 -j ACCEPT", null],
  ["iptables -I INPUT -s %IP% -p tcp --dport 22 -i eth0 -j ACCEPT", null],
  [`${OPEN}; logger x`, "open tcp/22"],
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
  test(`readCommand() of "${command}": ${want ?? "none"}`, () => {
    const found = readCommand(command).opening;
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
