/** What the chosen firewall can do of what a configuration asks for. */

import {
  knownPlaceholders,
  PLACEHOLDERS,
  unknownPlaceholders,
} from "../firewall/programs.ts";
import { formatEndpoint } from "../values/address.ts";
import { nearest } from "../values/nearest.ts";
import { at, type Mistake, show } from "../values/mistake.ts";
import type { ServerYaml } from "./shape.ts";

/** Longest name of a chain in iptables, characters. */
const MAX_CHAIN = 28;

/** What iptables takes for something else than a chain of ours. */
const NO_CHAINS =
  /^(INPUT|OUTPUT|FORWARD|ACCEPT|DROP|RETURN|QUEUE|REJECT|LOG)$/;

/** Checks what only some backends can do: forwards, single use, a chain by name. */
export function checkBackend(yaml: ServerYaml, mistakes: Mistake[]): void {
  const { backend, chain } = yaml.firewall;
  if (backend !== "iptables" && backend !== "command") return;
  const cure = "nft and gate can";
  for (const [name, service] of yaml.services) {
    if (!("listen" in service) || service.to === null) continue;
    mistakes.push({
      path: at("services", `${name}.to`),
      text: `must be absent with the ${backend} backend, got "${
        formatEndpoint(service.to)
      }"`,
      hint: cure,
    });
  }
  for (const [name, { once }] of yaml.clients) {
    if (!once) continue;
    mistakes.push({
      path: at("clients", `${name}.once`),
      text: `must be false with the ${backend} backend, got "true"`,
      hint: cure,
    });
  }
  if (backend !== "iptables" || chain === null) return;
  const fits = /^[A-Za-z0-9][\w-]*$/.test(chain) && chain.length <= MAX_CHAIN;
  if (fits && !NO_CHAINS.test(chain)) return;
  mistakes.push({
    path: "firewall.chain",
    text: `must be the name of a chain of its own, at most ${MAX_CHAIN} ` +
      `characters, with the iptables backend, got ${show(chain)}`,
  });
}

/** Checks that every placeholder of the programs is one that is filled in. */
export function checkPrograms(
  { firewall, hooks, commands }: ServerYaml,
  mistakes: Mistake[],
): void {
  const programs: [path: string, argv: readonly string[] | null][] = [
    ["firewall.open", firewall.open],
    ["firewall.close", firewall.close],
    ["hooks.open", hooks.open],
    ["hooks.close", hooks.close],
  ];
  const known = PLACEHOLDERS.map((name) => `{${name}}`);
  for (const [path, argv] of programs) {
    for (const wrong of unknownPlaceholders(argv ?? [])) {
      mistakes.push({
        path,
        text: known.includes(wrong)
          ? `must name the program itself first, got ${show(wrong)} in it`
          : `must have none but the placeholders ${known.join(", ")}, ` +
            `got ${show(wrong)}`,
        hint: known.includes(wrong) ? undefined : nearest(wrong, known),
      });
    }
  }
  for (const [name, argv] of commands) {
    for (const placeholder of knownPlaceholders(argv)) {
      mistakes.push({
        path: at("commands", name),
        text: `must have no placeholders, got ${show(placeholder)}`,
        hint: "a command finds KNOCK_CLIENT and KNOCK_ADDRESS in its " +
          "environment",
      });
    }
  }
}
