/** Whether the backend can work here: what it is, its version, its rights. */

import type { Config } from "../../../config/config.ts";
import { FirewallError } from "../../../firewall/firewall.ts";
import { openNft } from "../../../firewall/nft/library.ts";
import { mayAdministerNetwork } from "../../../firewall/nft/rights.ts";
import { type Runtime, SystemError } from "../../../runtime/runtime.ts";
import { bad, type Finding, ok, unknown } from "./finding.ts";

/** The oldest kernel that the nft backend's table can be made in. */
const NFT_KERNEL = [5, 10] as const;

/** Names the backend and looks whether it can be used. */
export async function checkBackend(
  runtime: Runtime,
  { firewall }: Config,
): Promise<Finding[]> {
  const { backend, mode } = firewall;
  if (backend === "gate") {
    return [ok("backend gate: needs no rights and no firewall")];
  }
  if (backend === "command") {
    const [program] = firewall.commands?.open ?? ["?"];
    return [ok(`backend command: ${program}`)];
  }
  const findings: Finding[] = [];
  const kernel = readLine(runtime, "/proc/sys/kernel/osrelease")?.trim();
  const admin = mayAdministerNetwork(runtime);
  if (admin === false) {
    findings.push(unknown(
      `backend ${backend}: cannot be tried without CAP_NET_ADMIN (user id ${runtime.userId()})`,
      "run it as root: sudo knock doctor",
    ));
  } else if (backend === "nft") {
    findings.push(await tryNft(runtime, mode, kernel));
  } else findings.push(await tryIptables(runtime, mode));
  if (backend === "nft" && kernel && isOlder(kernel)) {
    const wanted = NFT_KERNEL.join(".");
    findings.push(bad(
      `Linux ${kernel} is older than ${wanted}, which the nft backend needs`,
      "firewall: { backend: iptables }",
    ));
  }
  return findings;
}

async function tryNft(
  runtime: Runtime,
  mode: string,
  kernel: string | undefined,
): Promise<Finding> {
  try {
    const nft = await openNft(runtime);
    nft.close();
    return ok(
      `backend nft, mode ${mode}: ${nft.name}, Linux ${kernel ?? "unknown"}`,
    );
  } catch (error) {
    if (!(error instanceof FirewallError)) throw error;
    return bad(error.message, error.hint);
  }
}

async function tryIptables(runtime: Runtime, mode: string): Promise<Finding> {
  try {
    const { code, stdout } = await runtime.run(["iptables", "--version"]);
    if (code === 0) {
      return ok(`backend iptables, mode ${mode}: ${stdout.trim()}`);
    }
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
  }
  return bad("backend iptables: there is no iptables", "apt install iptables");
}

function isOlder(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split(".").map((word) =>
    parseInt(word, 10)
  );
  const [wantedMajor, wantedMinor] = NFT_KERNEL;
  return major < wantedMajor || major === wantedMajor && minor < wantedMinor;
}

function readLine(runtime: Runtime, file: string): string | null {
  try {
    return runtime.files.readText(file);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return null;
  }
}
