/** The fleet's part of the doctor: the engine, its clock, the other gateways. */

import type { Config } from "../../../config/config.ts";
import { withFleet } from "../../../fleet/shared.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import {
  differences,
  fingerprintOf,
  type GatewayValue,
} from "../../../server/fleet/link.ts";
import { OperatorError } from "../../../values/errors.ts";
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
  const { fleet, maxSkewMs } = config;
  if (!fleet) return [];
  const { engine, name: ownName } = fleet;
  const findings: Finding[] = [];
  try {
    await withFleet(runtime, fleet, async (values) => {
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
      for (const words of warnings) findings.push(warn("fleet_engine", words));
      if (servers.every(({ trouble }) => trouble !== null)) return;
      const nowMs = runtime.nowMs();
      const own = { nowMs, key: fingerprintOf(config.key), maxSkewMs };
      let count = 0;
      for await (const [name, value] of values.gateways()) {
        count++;
        if (name === ownName) continue;
        const lines = value === null
          ? ["has another fleet.secret"]
          : differences(value as unknown as GatewayValue, own);
        for (const words of lines) {
          findings.push(bad(
            "fleet_gateways",
            `${name} ${words}`,
            "give every gateway the same server.key, fleet.secret and max_skew",
          ));
        }
      }
      findings.push(
        ok("fleet_gateways", `${counted(count, "gateway")} in the fleet`),
        clockFinding(engine, values.engine.aheadMs),
      );
    });
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    findings.push(bad("fleet_engine", error.message, error.hint));
  }
  return findings;
}

function clockFinding(engine: string, aheadMs: number | null): Finding {
  const apartMs = Math.abs(aheadMs ?? 0);
  const seconds = Math.round(apartMs / 1000);
  return apartMs < CLOCK_MS
    ? ok("fleet_clock", `this machine's clock is that of ${engine}`)
    : warn(
      "fleet_clock",
      `this machine's clock and that of ${engine} are ${seconds} s apart`,
      "timedatectl set-ntp true, on both",
    );
}
