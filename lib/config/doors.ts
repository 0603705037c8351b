/** `sequences` -> doors, with every mistake in them. */

import { whyNotInKernel } from "../firewall/nft/sequences/rules.ts";
import {
  FIRST_PACKET,
  FLAG,
  type Flags,
  type Hit,
  type Sequence,
  type SequenceAction,
} from "../sequences/sequence.ts";
import { nearest } from "../values/nearest.ts";
import { formatPortRange, type PortRange } from "../values/ports.ts";
import type { Argv, Door, DoorPrograms, Watch } from "./config.ts";
import { checkDoor } from "./door_checks_.ts";
import type { DoorYaml, FlagWord } from "./door_schema.ts";
import type { DoorSetting } from "./door_setting.ts";
import { at, type Mistake, show } from "../values/mistake.ts";

/** Reads all doors, in the file's order. */
export function readDoors(
  setting: DoorSetting,
  mistakes: Mistake[],
): Door[] {
  return [...setting.yaml.sequences].map(([name, yaml]) => {
    const door = readDoor(name, yaml, setting, mistakes);
    checkDoor(door, yaml, setting, mistakes);
    return door;
  });
}

/** The sequences that the kernel is to judge. */
export function kernelSequences(doors: readonly Door[]): Sequence[] {
  return doors.filter(({ watch }) => watch === "kernel")
    .flatMap(({ opens, closes }) => closes ? [...opens, closes] : opens);
}

function readDoor(
  name: string,
  yaml: DoorYaml,
  setting: DoorSetting,
  mistakes: Mistake[],
): Door {
  const { services } = setting;
  const path = at("sequences", name);
  const wanted = readOpening(path, yaml, setting, mistakes);
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
    run: readPrograms(yaml.run, yaml.run_ipv6),
    runAfter: readPrograms(yaml.run_after, yaml.run_after_ipv6),
    every: yaml.every,
  };
}

function chooseWatch(yaml: DoorYaml, whyNot: string | null): Watch {
  const runs = yaml.run || yaml.run_ipv6 || yaml.run_after;
  if (whyNot === null && !runs) return "kernel";
  const orders = [yaml.knock, yaml.close, ...yaml.one_time ?? []];
  const udp = orders.every((hits) =>
    hits === null || hits.every(({ protocol }) => protocol === "udp")
  );
  return udp && !yaml.flags && yaml.target === null ? "socket" : "sniff";
}

function readOpening(
  path: string,
  { open }: DoorYaml,
  { services, serviceNames }: DoorSetting,
  mistakes: Mistake[],
): PortRange[] {
  const found = new Map<string, PortRange>();
  for (const [index, entry] of open.entries()) {
    if (typeof entry === "string" && !serviceNames.includes(entry)) {
      mistakes.push({
        path: open.length > 1 ? at(`${path}.open`, index) : `${path}.open`,
        text: `must be the name of a service, tcp/PORT or udp/PORT, ` +
          `got ${show(entry)}`,
        hint: nearest(entry, serviceNames),
      });
    }
    const ranges = typeof entry === "string"
      ? services.find(({ name }) => name === entry)?.ports ?? []
      : [entry];
    for (const range of ranges) found.set(formatPortRange(range), range);
  }
  return [...found.values()];
}

function singlePorts({ protocol, first, last }: PortRange): PortRange[] {
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const port = first + index;
    return { protocol, first: port, last: port };
  });
}

/** What is run over IPv6 is the same, unless it says otherwise. */
function readPrograms(
  argv: Argv | false | null,
  argv6: Argv | false | null,
): DoorPrograms {
  return { ipv4: argv || null, ipv6: (argv6 ?? argv) || null };
}

function readFlags(words: readonly FlagWord[] | null): Flags {
  if (words === null) return FIRST_PACKET;
  const bits = (set: boolean) =>
    words.filter((word) => word.set === set)
      .reduce((all, { name }) => all | FLAG[name], 0);
  return { set: bits(true), clear: bits(false) };
}
