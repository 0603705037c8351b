/** `sequences` of server.yaml: their shape read, with every mistake, and their warnings. */

import {
  MAX_OPENED_PORTS,
  whyNotInKernel,
} from "../firewall/nft/sequences/rules.ts";
import {
  FIRST_PACKET,
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
import { type KnownServices, readOpen } from "./checks/checks.ts";
import type { SequenceEntry, SequencePrograms, Watch } from "./config.ts";
import type { SequenceYaml, ServerYaml } from "./shape.ts";
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
  const flags = yaml.flags?.reduce(
    (all, { set, clear }) => ({ set: all.set | set, clear: all.clear | clear }),
    { set: 0, clear: 0 },
  ) ?? FIRST_PACKET;
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
    flags,
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
  const runs = yaml.run || yaml.run_ipv6 || yaml.run_after ||
    yaml.run_after_ipv6;
  if (whyNot === null && !runs) return "kernel";
  return hasTcp(yaml) || yaml.flags || yaml.target !== null
    ? "sniff"
    : "socket";
}

/** True if a hit is of TCP, which none of our sockets sees. */
function hasTcp({ knock, close, one_time }: SequenceYaml): boolean {
  return [knock, close, ...one_time ?? []].flat()
    .some((hit) => hit?.protocol === "tcp");
}

function singlePorts({ protocol, first, last }: PortRange): PortRange[] {
  const count = last - first + 1;
  return Array.from(
    { length: count },
    (_, at) => onePort(protocol, first + at),
  );
}

/** Programs to run; those for IPv6 are the same unless given. */
function readPrograms(
  argv: Argv | false | null,
  argv6: Argv | false | null,
): SequencePrograms {
  return { ipv4: argv || null, ipv6: (argv6 ?? argv) || null };
}

/** Settings that sequences are checked against. */
interface SequenceSetting extends KnownServices {
  readonly yaml: ServerYaml;
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
    mistakes.push({ path: `${path}.${key}`, text, hint });
  const { knock, close, one_time } = yaml;
  if (knock && one_time) {
    say("one_time", "takes the place of knock: only one of them can be there");
  }
  if (!knock && !one_time) {
    say("knock", "is missing", "knock: [tcp/7000, udp/8000, tcp/9000]");
  }
  if (knock) checkHits(entry, "knock", knock, setting, say);
  if (close) checkHits(entry, "close", close, setting, say);
  for (const [index, hits] of (one_time ?? []).entries()) {
    checkHits(entry, at("one_time", index), hits, setting, say);
  }
  if (entry.watch === "socket" && hasTcp(yaml)) {
    say("watch", `must be kernel or sniff for TCP, got "socket"`);
  }
  if (entry.watch !== "sniff") {
    if (yaml.flags) say("flags", "is for watch: sniff");
    if (yaml.target !== null) say("target", "is for watch: sniff");
  }
  const [first] = entry.opens;
  if (first && (first.flags.set & first.flags.clear) !== 0) {
    say("flags", "must not want a flag to be both set and clear");
  }
  if (yaml.every !== null && !yaml.run && !yaml.run_ipv6) {
    say("every", "is for a sequence that runs a command");
  }
  if (close && yaml.open.length === 0) {
    say("close", "is for a sequence that opens ports");
  }
  const words = (hits: readonly Hit[] | null) => hits?.map(formatHit).join();
  if (
    close &&
    [knock, ...one_time ?? []].some((hits) => words(hits) === words(close))
  ) {
    say("close", "must be another sequence than the one that opens");
  }
  if (yaml.once && first && first.open.length > MAX_OPENED_PORTS) {
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
    if (protocol === "udp" && yaml.listen.some((to) => to.port === port)) {
      say(place, `must not be the port that knocks come to, got "${shown}"`);
    } else if (entry.watch === "sniff") {
      // What is sniffed may be a port that is in use.
      continue;
    } else if (service) {
      say(
        place,
        `must not be a port of the service "${service.name}", got "${shown}"`,
      );
    } else if (entry.opens.some(({ open }) => among(open))) {
      say(place, `must not be a port that it opens, got "${shown}"`);
    }
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
    if (
      opens.every(({ open }) => open.length === 0) &&
      [run, runAfter].every(({ ipv4, ipv6 }) => !ipv4 && !ipv6)
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
