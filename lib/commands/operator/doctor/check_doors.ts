/** Whether port sequences are heard, and whether there are any left. */

import type { Config } from "../../../config/config.ts";
import { counted } from "../../../values/counted.ts";
import type { DoorFact } from "../../../server/doors/doors.ts";
import { bad, type Finding, ok, warn } from "./finding.ts";

/** Compares what the configuration wants with what a running server says; null: none runs. */
export function checkDoors(
  { doors }: Config,
  facts: readonly DoorFact[] | null,
): Finding[] {
  return doors.flatMap(({ name, watch }): Finding[] => {
    const what = `sequence ${name} (watch: ${watch})`;
    const fact = facts?.find((one) => one.name === name);
    if (!facts) return [ok(`${what}: configured`)];
    if (!fact) {
      const text = `${what}: the server has not read of it yet`;
      return [warn(text, "systemctl reload knock")];
    }
    const { left, trouble } = fact;
    const findings: Finding[] = [];
    if (trouble !== null) {
      const text = watch === "kernel"
        ? `${what}: opens, but nobody hears of it: ${trouble}`
        : `${what}: is not heard: ${trouble}`;
      const cure = watch === "socket"
        ? "another port, or whoever has it must let it go"
        : "apt install tcpdump; it needs CAP_NET_RAW and CAP_NET_ADMIN";
      findings.push(watch === "kernel" ? warn(text, cure) : bad(text, cure));
    }
    if (left === 0) {
      findings.push(bad(
        `${what}: all one-time sequences are used, it stays shut`,
        `add new ones to sequences.${name}.one_time`,
      ));
    }
    if (findings.length > 0) return findings;
    const rest = left === null
      ? ""
      : `, ${counted(left, "one-time sequence")} left`;
    return [ok(`${what}: is heard${rest}`)];
  });
}
