/** Firewall around the peers: a rule of iptables that closes the service. */

import { SERVICE_PORT, type Stage } from "../stage.ts";

/** Lets established connections through and drops new ones to the service. */
export async function guardByIptables(stage: Stage): Promise<void> {
  // deno-fmt-ignore
  await restore(stage, [
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    `-A INPUT -p tcp --dport ${SERVICE_PORT} -j DROP`,
  ]);
}

/** Adds rules to the server's filter table, all at once. */
export async function restore(
  stage: Stage,
  rules: readonly string[],
): Promise<void> {
  await stage.pair.onServer(
    ["iptables-restore", "--noflush"],
    ["*filter", ...rules, "COMMIT", ""].join("\n"),
  );
}
