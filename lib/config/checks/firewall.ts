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
import type { Config } from "../config.ts";
import type { ServerYaml } from "../shape.ts";

/** Longest name of a chain in iptables, characters. */
const MAX_CHAIN = 28;

/** Names that iptables takes for something else than a chain of ours. */
const NO_CHAINS =
  /^(INPUT|OUTPUT|FORWARD|ACCEPT|DROP|RETURN|QUEUE|REJECT|LOG)$/;

/** Checks what only some backends can do: forwards, single use, a chain by name. */
export function checkBackend(yaml: ServerYaml, mistakes: Mistake[]): void {
  const { backend, chain } = yaml.firewall;
  for (const [name, { once, network }] of yaml.clients) {
    if (!once || network === null) continue;
    mistakes.push({
      path: at("clients", `${name}.network`),
      text: "must be absent with once, as a single use is for one address",
    });
  }
  for (const [name, service] of yaml.services) {
    if (!("listen" in service) || !service.cut) continue;
    if (backend === "nft" || backend === "iptables") continue;
    mistakes.push({
      path: at("services", `${name}.cut`),
      text: `must be false with the ${backend} backend, got "true"`,
      hint: "nft and iptables can",
    });
  }
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
  if (backend === "command") {
    const argv = `[PROGRAM, "{address}", "{protocol}", "{port}"]`;
    const missing = "is missing with the command backend";
    if (!open) wrong("open", missing, `open: ${argv}`);
    if (!close) wrong("close", missing, `close: ${argv}`);
  } else {
    if (open) wrong("open", "is for the command backend");
    if (close) wrong("close", "is for the command backend");
  }
  if (mode === "accept" && backend !== "nft" && backend !== "iptables") {
    wrong("mode", `must be guard with the ${backend} backend, got "accept"`);
  }
  if (chain !== null && mode !== "accept") {
    wrong("chain", "is for mode accept", "firewall: { mode: accept, … }");
  }
  if (
    chain !== null && mode === "accept" && backend === "nft" &&
    parseHostChain(chain) === null
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
    wrong(
      "refuse",
      `must be drop ${
        backend === "nft" ? `in mode ${mode}` : `with the ${backend} backend`
      }, got "reject"`,
      "nft in mode guard can",
    );
  }
  if (interfaces.length > 0) {
    const isGuard = mode === "guard" &&
      (backend === "nft" || backend === "iptables");
    const got = `got ${show(interfaces.join(", "))}`;
    if (!isGuard) {
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
