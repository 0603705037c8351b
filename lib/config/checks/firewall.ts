/** Checks of `firewall:`, and of what the chosen backend and its programs can do. */

import {
  DEFAULT_CHAIN,
  parseHostChain,
} from "../../firewall/nft/rules/sets.ts";
import {
  knownPlaceholders,
  PLACEHOLDERS,
  unknownPlaceholders,
} from "../../firewall/command/programs.ts";
import { formatEndpoint } from "../../values/address.ts";
import { at, type Mistake, show } from "../../values/schema.ts";
import { nearest } from "../../values/text.ts";
import type { Config, Service } from "../config.ts";
import type { ServerYaml } from "../shape.ts";

/** Longest name of a chain in iptables, characters. */
const MAX_CHAIN = 28;

/** Names that iptables takes for something else than a chain of ours. */
const NO_CHAINS =
  /^(INPUT|OUTPUT|FORWARD|ACCEPT|DROP|RETURN|QUEUE|REJECT|LOG)$/;

/** Checks what only some backends can do: forwards, single use, a chain by name. */
export function checkBackend(
  yaml: ServerYaml,
  services: readonly Service[],
  mistakes: Mistake[],
): void {
  const { backend, chain } = yaml.firewall;
  const cannot = (path: string, wanted: string, got: string, hint: string) => {
    const text = `must be ${wanted} with the ${backend} backend, got "${got}"`;
    mistakes.push({ path, text, hint });
  };
  const once = [...yaml.clients].filter(([, client]) => client.once);
  for (const [name, { network }] of once) {
    if (network === null) continue;
    mistakes.push({
      path: at("clients", `${name}.network`),
      text: "must be absent with once, as a single use is for one address",
    });
  }
  if (backend === "nft") return;
  if (backend !== "iptables") {
    const hint = "nft and iptables can";
    for (const { name } of services.filter(({ cut }) => cut)) {
      cannot(at("services", `${name}.cut`), "false", "true", hint);
    }
  }
  if (backend === "gate") return;
  const hint = "nft and gate can";
  for (const { name, to } of services) {
    if (!to) continue;
    cannot(at("services", `${name}.to`), "absent", formatEndpoint(to), hint);
  }
  for (const [name] of once) {
    cannot(at("clients", `${name}.once`), "false", "true", hint);
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
  for (const [path, argv] of programs) {
    for (const wrong of unknownPlaceholders(argv ?? [])) {
      mistakes.push({
        path,
        text: PLACEHOLDERS.includes(wrong)
          ? `must name the program itself first, got ${show(wrong)} in it`
          : "must have none but the placeholders " +
            `${PLACEHOLDERS.join(", ")}, got ${show(wrong)}`,
        hint: PLACEHOLDERS.includes(wrong)
          ? undefined
          : nearest(wrong, PLACEHOLDERS),
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

/** Reads `firewall:`, and notes what does not go together. */
export function readFirewall(
  { firewall }: ServerYaml,
  mistakes: Mistake[],
): Config["firewall"] {
  const { backend, mode, chain, prefilter, refuse, open, close } = firewall;
  const interfaces: readonly string[] = firewall.interfaces;
  const wrong = (key: string, text: string, hint?: string) =>
    mistakes.push({ path: `firewall.${key}`, text, hint });
  for (const [key, program] of Object.entries({ open, close })) {
    if (backend === "command" && !program) {
      const hint = `${key}: [PROGRAM, "{address}", "{protocol}", "{port}"]`;
      wrong(key, "is missing with the command backend", hint);
    }
    if (backend !== "command" && program) {
      wrong(key, "is for the command backend");
    }
  }
  if (mode === "accept" && backend !== "nft" && backend !== "iptables") {
    wrong("mode", `must be guard with the ${backend} backend, got "accept"`);
  }
  if (chain !== null && mode !== "accept") {
    wrong("chain", "is for mode accept", "firewall: { mode: accept, … }");
  } else if (
    chain !== null && backend === "nft" && parseHostChain(chain) === null
  ) {
    wrong(
      "chain",
      `must be FAMILY TABLE CHAIN with inet, ip or ip6, got ${show(chain)}`,
      `chain: ${DEFAULT_CHAIN}`,
    );
  }
  if (refuse === "reject" && prefilter === "xdp") {
    wrong("prefilter", `must not be xdp with refuse: reject, got "xdp"`, "nft");
  }
  if (refuse === "reject" && (backend !== "nft" || mode !== "guard")) {
    const where = backend === "nft"
      ? `in mode ${mode}`
      : `with the ${backend} backend`;
    const hint = "nft in mode guard can";
    wrong("refuse", `must be drop ${where}, got "reject"`, hint);
  }
  if (interfaces.length > 0) {
    const got = `got ${show(interfaces.join(", "))}`;
    if (mode !== "guard" || (backend !== "nft" && backend !== "iptables")) {
      wrong("interfaces", `is for mode guard of nft and iptables, ${got}`);
    } else if (interfaces.includes("lo")) {
      wrong(
        "interfaces",
        `must be interfaces that strangers come in by, ${got}`,
        "take lo out: the loopback is never guarded",
      );
    }
  }
  if (backend !== "nft" && (prefilter === "nft" || prefilter === "xdp")) {
    const got = `got ${show(prefilter)} with the ${backend} backend`;
    wrong("prefilter", `is for the nft backend, ${got}`);
  }
  const commands = open && close ? { open, close } : null;
  return { backend, mode, chain, interfaces, prefilter, refuse, commands };
}
