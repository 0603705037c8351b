/** What a door of port sequences must be, by itself and to all else. */

import { MAX_OPENED_PORTS } from "../firewall/nft/sequences/rules.ts";
import { formatHit, type Hit, MAX_HITS } from "../sequences/sequence.ts";
import {
  formatPortRange,
  overlapPorts,
  type PortRange,
} from "../values/ports.ts";
import type { Door } from "./config.ts";
import type { DoorYaml } from "./door_schema.ts";
import type { DoorSetting } from "./door_setting.ts";
import { at, type Mistake } from "../values/mistake.ts";

/** Notes what is wrong with a door. */
export function checkDoor(
  door: Door,
  yaml: DoorYaml,
  setting: DoorSetting,
  mistakes: Mistake[],
): void {
  const path = at("sequences", door.name);
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
    if (hits) checkHits(door, key, hits, setting, say);
  }
  checkWatch(door, yaml, say);
  if (yaml.every !== null && !yaml.run && !yaml.run_ipv6) {
    say("every", "is for a door that runs something");
  }
  if (yaml.close && yaml.open.length === 0) {
    say("close", "is for a door that opens something");
  }
  const close = yaml.close?.map(formatHit).join();
  const opens = orders.filter(([key]) => key !== "close");
  if (opens.some(([, hits]) => hits && hits.map(formatHit).join() === close)) {
    say("close", "must be another sequence than the one that opens");
  }
  if (yaml.once && (door.opens[0]?.open.length ?? 0) > MAX_OPENED_PORTS) {
    say("once", `is for ${MAX_OPENED_PORTS} ports at most`);
  }
}

type Say = (key: string, text: string, hint?: string) => void;

function checkHits(
  door: Door,
  key: string,
  hits: readonly Hit[],
  { yaml, services }: DoorSetting,
  say: Say,
): void {
  if (hits.length > MAX_HITS) {
    say(key, `must have at most ${MAX_HITS} ports, got ${hits.length}`);
  }
  const told = new Set<string>();
  for (const [index, { protocol, port }] of hits.entries()) {
    const range: PortRange = { protocol, first: port, last: port };
    const shown = formatPortRange(range);
    if (told.has(shown)) continue;
    told.add(shown);
    const place = hits.length > 1 ? at(key, index) : key;
    const among = (ports: readonly PortRange[]) =>
      ports.some((other) => overlapPorts(other, range));
    const service = services.find(({ ports }) => among(ports));
    // What is sniffed may be a port that is in use.
    const isSniffed = door.watch === "sniff";
    if (protocol === "udp" && yaml.listen.some((to) => to.port === port)) {
      say(place, `must not be the port that knocks come to, got "${shown}"`);
    } else if (service && !isSniffed) {
      say(
        place,
        `must not be a port of the service "${service.name}", got "${shown}"`,
      );
    } else if (
      !isSniffed && door.opens.some(({ open }) => among(open))
    ) {
      say(place, `must not be a port that it opens, got "${shown}"`);
    }
  }
}

function checkWatch({ watch, opens }: Door, yaml: DoorYaml, say: Say): void {
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

/** What is allowed and wants a look, a line each with its path. */
export function doorWarnings(doors: readonly Door[]): string[] {
  const orders = new Map<string, string>();
  return doors.flatMap((door) => {
    const { name, opens, run, runAfter, oneTime } = door;
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

function isAscending(hits: readonly Hit[]): boolean {
  return hits.length > 1 &&
    hits.every(({ port }, index) =>
      index === 0 || port > hits[index - 1]!.port
    );
}
