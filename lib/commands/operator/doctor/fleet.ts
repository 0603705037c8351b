/** The fleet's part of the doctor: the engine, its clock, the other gateways. */

import type { Config } from "../../../config/config.ts";
import type { FleetEngine } from "../../../fleet/fleet.ts";
import { withFleet } from "../../../fleet/shared.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { differences, type GatewayValue } from "../../../server/fleet/link.ts";
import { caught, OperatorError } from "../../../values/errors.ts";
import { counted } from "../../../values/text.ts";
import { bad, type Finding, ok, warn } from "./finding.ts";

/** Largest difference of clocks that is not told, milliseconds. */
const CLOCK_MS = 5000;

/** The units of engines in systemd. */
const UNITS = { etcd: "etcd", nats: "nats-server" };

/** Checks the fleet of a configuration; nothing where there is none. */
export async function checkFleet(
  runtime: Runtime,
  config: Config,
): Promise<Finding[]> {
  const { fleet } = config;
  if (!fleet) return [];
  const { engine } = fleet;
  const findings: Finding[] = [];
  const look = () =>
    withFleet(runtime, fleet, async (values) => {
      const { servers, warnings } = await values.engine.health();
      for (const { address, version, trouble } of servers) {
        findings.push(
          trouble === null
            ? ok("fleet_engine", `${engine} ${version} at ${address} answers`)
            : bad(
              "fleet_engine",
              `${engine} at ${address}: ${trouble}`,
              /^it (refuses|forbids) /.test(trouble)
                ? "see docs/fleet.md for the user and its rights"
                : `systemctl status ${UNITS[engine]}, there`,
            ),
        );
      }
      findings.push(...warnings.map((words) => warn("fleet_engine", words)));
      if (servers.every(({ trouble }) => trouble !== null)) return;
      const cure =
        "give every gateway the same server.key, fleet.secret and max_skew";
      const nowMs = runtime.nowMs();
      let count = 0;
      for await (const [name, value] of values.gateways()) {
        count++;
        if (name === fleet.name) continue;
        const other = value as GatewayValue | null;
        findings.push(
          ...differences(other, config, nowMs)
            .map((words) => bad("fleet_gateways", `${name} ${words}`, cure)),
        );
      }
      const apart = clocksApart(values.engine);
      findings.push(
        ok("fleet_gateways", `${counted(count, "gateway")} in the fleet`),
        apart === null
          ? ok("fleet_clock", `this machine's clock is that of ${engine}`)
          : warn("fleet_clock", apart, "timedatectl set-ntp true, on both"),
      );
    });
  await caught(OperatorError, look, ({ message, hint }) => {
    findings.push(bad("fleet_engine", message, hint));
  });
  return findings;
}

/** Words about a difference of clocks that is too large; null where it is not. */
export function clocksApart({ name, seen }: FleetEngine): string | null {
  const apartMs = Math.abs(seen.aheadMs ?? 0);
  return apartMs < CLOCK_MS ? null : `this machine's clock and that of ` +
    `${name} are ${Math.round(apartMs / 1000)} s apart`;
}
