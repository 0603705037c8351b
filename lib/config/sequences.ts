/** `sequences` of server.yaml: their shape read, with every mistake, and their warnings. */

import {
  MAX_OPENED_PORTS,
  whyNotInKernel,
} from "../firewall/nft/sequences/rules.ts";
import {
  FIRST_PACKET,
  FLAG,
  type Flags,
  formatHit,
  type Hit,
  isAscending,
  MAX_HITS,
  type Sequence,
  type SequenceAction,
} from "../sequences/sequence.ts";
import {
  formatPortRange,
  onePort,
  overlapPorts,
  type PortRange,
} from "../values/ports.ts";
import { at, type Mistake } from "../values/schema.ts";
import { readOpen } from "./checks/checks.ts";
import type {
  SequenceEntry,
  SequencePrograms,
  Service,
  Watch,
} from "./config.ts";
import type { FlagWord, SequenceYaml, ServerYaml } from "./shape.ts";
import type { Argv } from "../firewall/firewall.ts";

/** Reads all entries, in the file's order. */
export function readSequences(
  setting: SequenceSetting,
  mistakes: Mistake[],
): SequenceEntry[] {
  return [...setting.yaml.sequences].map(([name, yaml]) => {
    const entry = readSequence(name, yaml, setting, mistakes);
    checkSequence(entry, yaml, setting, mistakes);
    return entry;
  });
}

/** The sequences that the kernel is to judge. */
export function kernelSequences(
  sequences: readonly SequenceEntry[],
): Sequence[] {
  return sequences.filter(({ watch }) => watch === "kernel")
    .flatMap(({ opens, closes }) => closes ? [...opens, closes] : opens);
}

function readSequence(
  name: string,
  yaml: SequenceYaml,
  setting: SequenceSetting,
  mistakes: Mistake[],
): SequenceEntry {
  const { services } = setting;
  const path = at("sequences", name);
  const wanted = readOpen(path, yaml, setting, mistakes);
  const orders = yaml.one_time ?? (yaml.knock ? [yaml.knock] : []);
  const sequence = (
    action: SequenceAction,
    hits: readonly Hit[],
    open: readonly PortRange[],
  ): Sequence => ({
    name,
    action,
    hits,
    withinMs: yaml.within * 1000,
    open,
    forSeconds: yaml.for ?? setting.yaml.defaults.for,
    once: yaml.once,
    flags: readFlags(yaml.flags),
    target: yaml.target,
  });
  const forwards = services.some(({ to, ports }) =>
    to !== null && ports.some((range) => wanted.includes(range))
  );
  const { backend, mode } = setting.yaml.firewall;
  const whyNot = backend !== "nft"
    ? `the ${backend} backend has no sequences in the kernel`
    : mode !== "guard"
    ? "it needs mode guard"
    : forwards
    ? "the kernel opens this machine's own ports only"
    : yaml.from
    ? "the kernel opens for every source"
    : yaml.one_time
    ? "the kernel cannot tell which one-time sequence is used"
    : orders.map((hits) => whyNotInKernel(sequence("open", hits, wanted)))
      .find((why) => why !== null) ?? null;
  if (yaml.watch === "kernel" && whyNot !== null) {
    mistakes.push({
      path: `${path}.watch`,
      text: `must be sniff or socket, as ${whyNot}, got "kernel"`,
    });
  }
  const watch = yaml.watch ?? chooseWatch(yaml, whyNot);
  // A rule knows of single ports only, and so does the end of a single use.
  const open = watch === "kernel" || yaml.once
    ? wanted.flatMap(singlePorts)
    : wanted;
  return {
    name,
    watch,
    opens: orders.map((hits) => sequence("open", hits, open)),
    oneTime: yaml.one_time !== null,
    closes: yaml.close && sequence("close", yaml.close, open),
    from: yaml.from,
    run: readPrograms(yaml.run, yaml.run_ipv6),
    runAfter: readPrograms(yaml.run_after, yaml.run_after_ipv6),
    every: yaml.every,
  };
}

function chooseWatch(yaml: SequenceYaml, whyNot: string | null): Watch {
  const runs = yaml.run || yaml.run_ipv6 || yaml.run_after;
  if (whyNot === null && !runs) return "kernel";
  const orders = [yaml.knock, yaml.close, ...yaml.one_time ?? []];
  const udp = orders.every((hits) =>
    hits === null || hits.every(({ protocol }) => protocol === "udp")
  );
  return udp && !yaml.flags && yaml.target === null ? "socket" : "sniff";
}

function singlePorts({ protocol, first, last }: PortRange): PortRange[] {
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const port = first + index;
    return onePort(protocol, port);
  });
}

/** Programs to run; those for IPv6 are the same unless given. */
function readPrograms(
  argv: Argv | false | null,
  argv6: Argv | false | null,
): SequencePrograms {
  return { ipv4: argv || null, ipv6: (argv6 ?? argv) || null };
}

function readFlags(words: readonly FlagWord[] | null): Flags {
  if (words === null) return FIRST_PACKET;
  const bits = (set: boolean) =>
    words.filter((word) => word.set === set)
      .reduce((all, { name }) => all | FLAG[name], 0);
  return { set: bits(true), clear: bits(false) };
}

/** Settings that sequences are checked against. */
interface SequenceSetting {
  readonly yaml: ServerYaml;
  readonly services: readonly Service[];
  /** The names of all services, of those with mistakes too. */
  readonly serviceNames: readonly string[];
}

/** Notes what is wrong with an entry. */
function checkSequence(
  entry: SequenceEntry,
  yaml: SequenceYaml,
  setting: SequenceSetting,
  mistakes: Mistake[],
): void {
  const path = at("sequences", entry.name);
  const say = (key: string, text: string, hint?: string) =>
    mistakes.push({ path: key && `${path}.${key}`, text, hint });

  if (yaml.knock && yaml.one_time) {
    say("one_time", "takes the place of knock: only one of them can be there");
  }
  if (!yaml.knock && !yaml.one_time) {
    const hint = `knock: [tcp/7000, udp/8000, tcp/9000]`;
    mistakes.push({ path: `${path}.knock`, text: "is missing", hint });
  }
  const orders: [key: string, hits: readonly Hit[] | null][] = [
    ["knock", yaml.knock],
    ["close", yaml.close],
    ...(yaml.one_time ?? []).map((hits, index): [string, readonly Hit[]] => [
      at("one_time", index),
      hits,
    ]),
  ];
  for (const [key, hits] of orders) {
    if (hits) checkHits(entry, key, hits, setting, say);
  }
  checkWatch(entry, yaml, say);
  if (yaml.every !== null && !yaml.run && !yaml.run_ipv6) {
    say("every", "is for a sequence that runs a command");
  }
  if (yaml.close && yaml.open.length === 0) {
    say("close", "is for a sequence that opens ports");
  }
  const close = yaml.close?.map(formatHit).join();
  const opens = orders.filter(([key]) => key !== "close");
  if (opens.some(([, hits]) => hits && hits.map(formatHit).join() === close)) {
    say("close", "must be another sequence than the one that opens");
  }
  if (yaml.once && (entry.opens[0]?.open.length ?? 0) > MAX_OPENED_PORTS) {
    say("once", `is for ${MAX_OPENED_PORTS} ports at most`);
  }
}

type Say = (key: string, text: string, hint?: string) => void;

function checkHits(
  entry: SequenceEntry,
  key: string,
  hits: readonly Hit[],
  { yaml, services }: SequenceSetting,
  say: Say,
): void {
  if (hits.length > MAX_HITS) {
    say(key, `must have at most ${MAX_HITS} ports, got ${hits.length}`);
  }
  const told = new Set<string>();
  for (const [index, { protocol, port }] of hits.entries()) {
    const range: PortRange = onePort(protocol, port);
    const shown = formatPortRange(range);
    if (told.has(shown)) continue;
    told.add(shown);
    const place = hits.length > 1 ? at(key, index) : key;
    const among = (ports: readonly PortRange[]) =>
      ports.some((other) => overlapPorts(other, range));
    const service = services.find(({ ports }) => among(ports));
    // What is sniffed may be a port that is in use.
    const isSniffed = entry.watch === "sniff";
    if (protocol === "udp" && yaml.listen.some((to) => to.port === port)) {
      say(place, `must not be the port that knocks come to, got "${shown}"`);
    } else if (service && !isSniffed) {
      say(
        place,
        `must not be a port of the service "${service.name}", got "${shown}"`,
      );
    } else if (
      !isSniffed && entry.opens.some(({ open }) => among(open))
    ) {
      say(place, `must not be a port that it opens, got "${shown}"`);
    }
  }
}

function checkWatch(
  { watch, opens }: SequenceEntry,
  yaml: SequenceYaml,
  say: Say,
): void {
  if (watch === "socket") {
    const orders = [yaml.knock, yaml.close, ...yaml.one_time ?? []];
    const tcp = orders.flatMap((hits) => hits ?? [])
      .find(({ protocol }) => protocol === "tcp");
    if (tcp) {
      say("watch", `must be kernel or sniff for TCP, got "socket"`);
    }
  }
  if (watch !== "sniff") {
    if (yaml.flags) say("flags", "is for watch: sniff");
    if (yaml.target !== null) say("target", "is for watch: sniff");
  }
  const flags = opens[0]?.flags;
  if (flags && (flags.set & flags.clear) !== 0) {
    say("flags", "must not want a flag to be both set and clear");
  }
}

/** Valid but suspicious settings, a line each with its path. */
export function sequenceWarnings(
  sequences: readonly SequenceEntry[],
): string[] {
  const orders = new Map<string, string>();
  return sequences.flatMap((entry) => {
    const { name, opens, run, runAfter, oneTime } = entry;
    const found: string[] = [];
    const warn = (words: string) =>
      found.push(`${at("sequences", name)}: ${words}`);
    const texts = opens.map(({ hits }) => hits.map(formatHit).join(", "));
    if (opens.some(({ hits }) => hits.length === 1)) {
      warn("a single port opens it, and so does any scan of that port");
    }
    if (opens.some(({ hits }) => isAscending(hits))) {
      warn("its ports ascend, which is the order of the simplest scan");
    }
    if (new Set(texts).size < texts.length) {
      warn("a one-time sequence is in it twice: it can be used once");
    }
    const programs = [run.ipv4, run.ipv6, runAfter.ipv4, runAfter.ipv6];
    if (
      opens.every(({ open }) => open.length === 0) &&
      programs.every((program) => program === null)
    ) {
      warn("opens nothing and runs nothing: it is only noted in the history");
    }
    for (const text of oneTime ? [] : texts) {
      const other = orders.get(text);
      if (other !== undefined) {
        warn(`is knocked as "${other}" is: both open`);
      }
      orders.set(text, name);
    }
    return found;
  });
}
