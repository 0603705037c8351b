/** Findings of the doctor: a line each, and the command that mends it. */

/** `unknown`: it could not be looked at, with these rights or on this system. */
type FindingLevel = "ok" | "warn" | "bad" | "unknown";

/** One line of the doctor's report. */
export interface Finding {
  /** Name of the check, the same whatever it found: docs/json.md lists all. */
  readonly id: FindingId;
  readonly level: FindingLevel;
  /** One line, lowercase, without secrets. */
  readonly text: string;
  /** A command to type, or a step to take; undefined: none. */
  readonly cure: string | undefined;
}

/** Names of the checks. They stay: scripts go by them. */
export const FINDING_IDS = [
  "accept_forwards",
  "accept_jump",
  "accept_order",
  "backend",
  "backend_kernel",
  "backend_rights",
  "client_expired",
  "client_expires_soon",
  "client_opens_nothing",
  "clients_enrolled",
  "clock",
  "configuration",
  "configuration_missing",
  "configuration_warning",
  "conntrack",
  "filter_bypass",
  "filter_interfaces",
  "filter_knocks",
  "filter_readable",
  "filter_refuse",
  "filter_services",
  "filter_table",
  "fleet_clock",
  "fleet_engine",
  "fleet_gateways",
  "knocks_failed",
  "packets_late",
  "packets_received",
  "packets_unknown_keys",
  "prefilter",
  "profiles",
  "sequence",
  "sequence_used_up",
  "server_port",
  "server_running",
  "service_behind",
  "service_bypass",
  "service_families",
  "service_listening",
  "service_target",
  "service_unused",
  "services_none",
  "state_folder",
  "state_folder_mode",
] as const;

/** Name of a check. */
type FindingId = typeof FINDING_IDS[number];

const finding =
  (level: FindingLevel) =>
  (id: FindingId, text: string, cure?: string): Finding => ({
    id,
    level,
    text,
    cure,
  });

export const ok = finding("ok");
export const warn = finding("warn");
export const bad = finding("bad");
export const unknown = finding("unknown");

/** Those findings whose condition holds. */
export function findingsOf(...found: readonly (Finding | false)[]): Finding[] {
  return found.filter((finding) => finding !== false);
}
