import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import type { Config } from "../../lib/config/config.ts";
import { convertKnockd } from "../../lib/config/convert/knockd/convert.ts";
import { parseConfig } from "../../lib/config/read.ts";
import { formatHit } from "../../lib/sequences/sequence.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import { formatPortRange } from "../../lib/values/ports.ts";
import { runtime } from "../fakes/runtime.ts";

function parse(text: string): Config {
  return parseConfig(text, {
    file: "server.yaml",
    readKey: () => new Uint8Array(32).fill(1),
    readCode: () => new Uint8Array(10),
    stateFolder: () => "/state",
  });
}

const HEAD = `services: { ssh: tcp/22, web: [tcp/80, tcp/443] }
`;

/** A configuration with one sequence of these keys. */
function withSequence(keys: string, head = HEAD): Config {
  return parse(`${head}sequences: { door: { ${keys} } }\n`);
}

test("parseConfig() reads a door with its defaults", () => {
  const { sequences: [entry], warnings } = withSequence(
    "knock: [tcp/7000, 8000:udp, 900], open: [ssh, web]",
  );
  assertEquals(entry!.watch, "kernel");
  assertEquals(entry!.oneTime, false);
  assertEquals(entry!.closes, null);
  const [sequence] = entry!.opens;
  assertEquals(sequence!.hits.map(formatHit), [
    "tcp/7000",
    "udp/8000",
    "tcp/900",
  ]);
  assertEquals(sequence!.open.map(formatPortRange), [
    "tcp/22",
    "tcp/80",
    "tcp/443",
  ]);
  assertEquals([sequence!.withinMs, sequence!.forSeconds], [5000, 30]);
  assertEquals(warnings, []);
});

test("parseConfig() reads every key of a door", () => {
  const { sequences: [entry] } = withSequence(
    `one_time: [[tcp/3, tcp/1], [tcp/9, udp/4]], within: 1m, open: tcp/8000-8001,
     for: 2h, once: true, close: [tcp/4, tcp/3], run: [wake, "{address}"], run_ipv6: false,
     run_after_ipv6: [sleep], flags: [syn, "!ack"], target: 192.0.2.1, watch: sniff`,
  );
  assertEquals(entry!.opens.map(({ hits }) => hits.map(formatHit).join(" ")), [
    "tcp/3 tcp/1",
    "tcp/9 udp/4",
  ]);
  assertEquals(entry!.oneTime, true);
  assertEquals(entry!.run, { ipv4: ["wake", "{address}"], ipv6: null });
  assertEquals(entry!.runAfter, { ipv4: null, ipv6: ["sleep"] });
  const sequence = entry!.closes!;
  assertEquals([sequence.action, sequence.once, sequence.target], [
    "close",
    true,
    "192.0.2.1",
  ]);
  assertEquals(sequence.flags, { set: 2, clear: 16 });
  assertEquals(sequence.open.map(formatPortRange), ["tcp/8000", "tcp/8001"]);
});

const WATCHED: [keys: string, head: string, want: string][] = [
  ["knock: [tcp/2, tcp/1], open: ssh", HEAD, "kernel"],
  ["knock: [tcp/2, tcp/1], open: tcp/1000-2000", HEAD, "sniff"],
  ["knock: [tcp/2, tcp/1], open: ssh, target: ::1", HEAD, "sniff"],
  ["knock: [tcp/2, tcp/1], run: [wake]", HEAD, "sniff"],
  ["knock: [tcp/2, tcp/1], run_ipv6: [wake]", HEAD, "sniff"],
  ["knock: [tcp/2, tcp/1], open: ssh, run_after: [sleep]", HEAD, "sniff"],
  ["knock: [tcp/2, tcp/1], open: ssh, run_after_ipv6: [sleep]", HEAD, "sniff"],
  ["knock: [tcp/2, tcp/1], open: ssh, run_after: false", HEAD, "kernel"],
  ["knock: [udp/2, udp/1], run: [wake]", HEAD, "socket"],
  [
    "knock: [udp/2, udp/1], open: tcp/22",
    `firewall: { backend: iptables }\n`,
    "socket",
  ],
  [
    "knock: [udp/2, tcp/1], open: tcp/22",
    `firewall: { backend: iptables }\n`,
    "sniff",
  ],
];

for (const [keys, head, want] of WATCHED) {
  test(`parseConfig() has ${want} watch ${keys}`, () => {
    assertEquals(withSequence(keys, head).sequences[0]!.watch, want);
  });
}

const many = (count: number) =>
  Array.from({ length: count }, (_, index) => `tcp/${9000 - index}`).join(", ");

test("parseConfig() takes a port in use as a knock that is sniffed", () => {
  withSequence("knock: [tcp/7000, tcp/22], open: ssh, watch: sniff");
  withSequence("knock: [tcp/7000, tcp/8000], open: tcp/8000, watch: sniff");
});

const WRONG: [keys: string, want: string][] = [
  [
    "knock: [tcp/0, tcp/1]",
    `knock[0]: must be tcp/PORT or udp/PORT, got "tcp/0"`,
  ],
  [
    "knock: [70000, tcp/1]",
    `knock[0]: must be tcp/PORT or udp/PORT, got "70000"`,
  ],
  [
    "knock: [tcp/2, icmp/1]",
    `knock[1]: must be tcp/PORT or udp/PORT, got "icmp/1"`,
  ],
  [`knock: [${many(33)}]`, "knock: must have at most 32 ports, got 33"],
  ["open: ssh", "knock: is missing"],
  [
    "knock: [tcp/7000, tcp/22], open: ssh",
    `knock[1]: must not be a port of the service "ssh", got "tcp/22"`,
  ],
  [
    "knock: [tcp/7000, udp/62201], open: ssh",
    `knock[1]: must not be the port that knocks come to, got "udp/62201"`,
  ],
  [
    "knock: [tcp/7000, tcp/8000], open: tcp/7990-8010",
    `knock[1]: must not be a port that it opens, got "tcp/8000"`,
  ],
  [
    "knock: [tcp/7000, tcp/6000], open: ssh, close: [tcp/443, tcp/1]",
    `close[0]: must not be a port of the service "web", got "tcp/443"`,
  ],
  [
    "knock: [tcp/2, tcp/1], open: ssh, close: [tcp/2, tcp/1]",
    "close: must be another sequence than the one that opens",
  ],
  [
    "knock: [tcp/2, tcp/1], close: [tcp/1, tcp/2]",
    "close: is for a sequence that opens ports",
  ],
  [
    "knock: [tcp/2, tcp/1], open: shh",
    `open: must be the name of a service, all, tcp/PORT or udp/PORT, got "shh"`,
  ],
  ["knock: [tcp/2, tcp/1], run: wake", `run: must be a list, got "wake"`],
  [
    "knock: [tcp/2, tcp/1], one_time: [[tcp/3, tcp/2]]",
    "one_time: takes the place of knock: only one of them can be there",
  ],
  [
    "one_time: [[tcp/3, tcp/2]], watch: kernel",
    `watch: must be sniff or socket, as the kernel cannot tell which one-time sequence is used, got "kernel"`,
  ],
  [
    "knock: [tcp/2, tcp/1], open: ssh, flags: fin, watch: kernel",
    `watch: must be sniff or socket, as the kernel looks for the first packet of a connection only, got "kernel"`,
  ],
  [
    "knock: [tcp/2, tcp/1], open: ssh, from: 0.0.0.0/0, watch: kernel",
    `watch: must be sniff or socket, as the kernel opens for every source, got "kernel"`,
  ],
  [
    "knock: [tcp/2, udp/1], open: ssh, watch: socket",
    `watch: must be kernel or sniff for TCP, got "socket"`,
  ],
  [
    "knock: [udp/2, udp/1], target: 192.0.2.1, watch: socket",
    "target: is for watch: sniff",
  ],
  [
    `knock: [tcp/2, tcp/1], flags: [syn, "!syn"]`,
    "flags: must not want a flag to be both set and clear",
  ],
  [
    "knock: [tcp/2, tcp/1], flags: [synn]",
    `flags[0]: must be one of fin, syn, rst, psh, ack, urg, with "!" before it or without, got "synn"`,
  ],
  [
    "knock: [tcp/2, tcp/1], watch: kernl",
    `watch: must be kernel, sniff or socket, got "kernl"`,
  ],
  [
    "knock: [tcp/2, tcp/1], within: 2h",
    `within: must be a duration such as 30s, 5m or 8h, at least 1s and at most 3600s, got "2h"`,
  ],
  [
    "knock: [tcp/2, tcp/1], open: tcp/1000-2000, once: true",
    "once: is for 64 ports at most",
  ],
  ["knock: [tcp/2, tcp/1], oppen: ssh", "oppen: unknown key"],
];

for (const [keys, want] of WRONG) {
  test(`parseConfig() refuses ${keys.slice(0, 70)}`, () => {
    const { lines: mistakes } = assertThrows(
      () => withSequence(keys),
      ConfigError,
    );
    const wanted = `server.yaml: sequences.door.${want}`;
    assert(mistakes.includes(wanted), mistakes.join("\n"));
  });
}

const WARNED: [keys: string, words: string][] = [
  ["knock: udp/7000, open: ssh", "a single port opens it"],
  ["knock: [tcp/1, tcp/2], open: ssh", "its ports ascend"],
  ["knock: [tcp/2, tcp/1]", "opens nothing and runs nothing"],
  ["one_time: [[tcp/2, udp/1], [tcp/2, udp/1]], open: ssh", "in it twice"],
];

for (const [keys, words] of WARNED) {
  test(`parseConfig() warns of ${keys}`, () => {
    const { warnings } = withSequence(keys);
    assertEquals(warnings.length, 1, warnings.join("\n"));
    assert(warnings[0]!.startsWith("sequences.door: "), warnings[0]);
    assert(warnings[0]!.includes(words), warnings[0]);
  });
}

test("parseConfig() warns of two doors with one sequence", () => {
  const { warnings } = parse(
    `${HEAD}sequences:
  a: { knock: [tcp/2, tcp/1], open: ssh }
  b: { knock: [tcp/2, tcp/1], open: web }
`,
  );
  assertEquals(warnings, [`sequences.b: is knocked as "a" is: both open`]);
});

test("parseConfig() takes what convertKnockd() writes", () => {
  const folder = "tests/vectors/knockd";
  const names = runtime.files.list(folder).filter((name) =>
    name.endsWith(".conf")
  );
  assert(names.length > 3);
  for (const name of names) {
    const { text } = convertKnockd(
      runtime.files.readBytes(`${folder}/${name}`),
      name,
      () => runtime.files.readBytes(`${folder}/3-smtp.sequences`),
    );
    assert(parse(text).sequences.length > 0, name);
  }
});
