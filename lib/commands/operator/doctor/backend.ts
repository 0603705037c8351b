/** Looks at the backend: does it work here, with its version and rights. */

import type { Config } from "../../../config/config.ts";
import { conntrackProblem } from "../../../firewall/conntrack.ts";
import { FirewallError } from "../../../firewall/firewall.ts";
import { hooked } from "../../../firewall/host/flow.ts";
import type { HostRules } from "../../../firewall/host/model.ts";
import { listing } from "../../../firewall/host/read.ts";
import { findDrops, findJump } from "../../../firewall/host/jump.ts";
import {
  mayAdministerNetwork,
  openNft,
} from "../../../firewall/nft/library.ts";
import { hostChainOf } from "../../../firewall/nft/nft.ts";
import { formatHostChain } from "../../../firewall/nft/rules/sets.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { bad, type Finding, findingsOf, ok, unknown, warn } from "./finding.ts";
import { caught, orNull } from "../../../values/errors.ts";

/** The oldest kernel that the nft backend's table can be made in. */
const NFT_KERNEL = [5, 10] as const;

/** Names the backend and looks whether it can be used. */
export async function checkBackend(
  runtime: Runtime,
  { firewall, services }: Config,
): Promise<Finding[]> {
  const { backend, mode } = firewall;
  if (backend === "gate") {
    return [ok("backend", "backend gate: needs no rights and no firewall")];
  }
  if (backend === "command") {
    const [program] = firewall.commands?.open ?? ["?"];
    return [ok("backend", `backend command: ${program}`)];
  }
  const isNft = backend === "nft";
  const kernel = orNull(() =>
    runtime.files.readText("/proc/sys/kernel/osrelease")
  )?.trim();
  const tried = mayAdministerNetwork(runtime) === false
    ? unknown(
      "backend_rights",
      `backend ${backend}: cannot be tried without CAP_NET_ADMIN (user id ${runtime.userId()})`,
      "run it as root: sudo knock doctor",
    )
    : await (isNft
      ? tryNft(runtime, mode, kernel)
      : tryIptables(runtime, mode));
  const old = isNft && kernel !== undefined && isOlder(kernel) && bad(
    "backend_kernel",
    `Linux ${kernel} is older than ${NFT_KERNEL.join(".")}, which the nft ` +
      "backend needs",
    "firewall: { backend: iptables }",
  );
  return [...findingsOf(tried, old), ...await checkEnding(runtime, services)];
}

/** Tells if connections can be ended, where services say so. */
async function checkEnding(
  runtime: Runtime,
  services: Config["services"],
): Promise<Finding[]> {
  const ending = services.filter(({ cut, kill }) => cut || kill);
  if (ending.length === 0) return [];
  const problem = await conntrackProblem(runtime, ending);
  if (problem) return [bad("conntrack", problem.message, problem.hint)];
  const names = ending.map(({ name }) => name).join(", ");
  return [ok("conntrack", `connections to ${names} can be ended`)];
}

function tryNft(
  runtime: Runtime,
  mode: string,
  kernel = "unknown",
): Promise<Finding> {
  return caught(FirewallError, async () => {
    const nft = await openNft(runtime);
    nft.close();
    const words = `backend nft, mode ${mode}: ${nft.name}, Linux ${kernel}`;
    return ok("backend", words);
  }, ({ message, hint }) => bad("backend", message, hint));
}

async function tryIptables(runtime: Runtime, mode: string): Promise<Finding> {
  const said = await listing(runtime, ["iptables", "--version"], 5000);
  const text = "backend iptables: there is no iptables";
  return said === null
    ? bad("backend", text, "apt install iptables")
    : ok("backend", `backend iptables, mode ${mode}: ${said.trim()}`);
}

function isOlder(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split(".").map((word) =>
    parseInt(word, 10)
  );
  const [wantedMajor, wantedMinor] = NFT_KERNEL;
  return major < wantedMajor || major === wantedMajor && minor < wantedMinor;
}

// Mode accept of the nft backend: whether the host's own rules come to ours.

/** Judges the host's chains; null = they cannot be listed. */
export function checkAccept(
  { firewall, services }: Pick<Config, "firewall" | "services">,
  rules: Pick<HostRules, "chains"> | null,
): Finding[] {
  const host = firewall.backend === "nft" ? hostChainOf(firewall) : null;
  // That it cannot be listed is said once, for all.
  if (!host || rules === null) return [];
  const jump = findJump(rules, host);
  if (!jump.ok) {
    return [bad("accept_jump", jump.problem.text, jump.problem.hint)];
  }
  return [
    ok("accept_jump", `chain ${jump.base} comes to ${formatHostChain(host)}`),
    ...findDrops(rules, host).map(({ text, hint }) =>
      bad("accept_order", text, hint)
    ),
    ...services.some(({ to }) => to) ? checkPassing(rules) : [],
  ];
}

/** Checks that the host lets through connections forwarded to other machines. */
function checkPassing({ chains }: Pick<HostRules, "chains">): Finding[] {
  return hooked(chains, "filter", "forward").filter(({ policy, rules }) =>
    policy === "drop" && !rules.some(({ text }) => /\bDNAT|dnat\b/.test(text))
  ).map(({ table, name }) =>
    warn(
      "accept_forwards",
      `chain ${name} of table ${table} may drop what is passed on to ` +
        "other machines",
      `nft add rule ${table} ${name} ct status dnat accept`,
    )
  );
}
