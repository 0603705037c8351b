/** Health of the servers of an etcd cluster: what may lose data, or refuse writes. */

import { ifRefused, orNull } from "../../values/errors.ts";
import { counted } from "../../values/text.ts";
import type { EngineHealth, EngineServer } from "../fleet.ts";
import { type EtcdCalls, TRY_MS } from "./calls.ts";
import { rangeOf } from "./watch.ts";

/** Revisions from which on some should have been compacted: three days of three gateways. */
const MANY_REVISIONS = 300_000;

/** Asks every server how it is, and the cluster; `prefix` ends with "/". */
export async function healthOf(
  calls: EtcdCalls,
  prefix: string,
): Promise<EngineHealth> {
  const servers = await Promise.all(
    calls.servers.map((address) => lookAt(calls, prefix, address)),
  );
  const warnings = servers.flatMap(({ address, version }) =>
    version !== null && isOld(version)
      ? [`${address}: etcd ${version} is too old: 3.4 is the oldest that works`]
      : []
  );
  if (servers.every(({ trouble }) => trouble !== null)) {
    return { servers, warnings };
  }
  await ifRefused(async () => {
    const [{ members }, { alarms }] = await Promise.all([
      calls.call("cluster/member/list", {}),
      calls.call("maintenance/alarm", { action: "GET" }),
    ]);
    const { length } = members as unknown[] ?? [];
    if (length < 3) {
      warnings.push(
        `${counted(length, "member")}: the fleet stands still when one ` +
          "is lost; three survive the loss of one",
      );
    }
    for (const { alarm } of alarms as { alarm?: string }[] ?? []) {
      warnings.push(
        alarm === "NOSPACE"
          ? "alarm NOSPACE: its space is used up and it takes no writes: " +
            "compact, defragment, then `etcdctl alarm disarm`"
          : `alarm ${alarm}: see \`etcdctl alarm list\``,
      );
    }
  }, ({ message }) => {
    warnings.push(`members and alarms cannot be listed: ${message}`);
  });
  warnings.push(...await lookAtHistory(calls, prefix));
  return { servers, warnings };
}

async function lookAt(
  calls: EtcdCalls,
  prefix: string,
  address: string,
): Promise<EngineServer> {
  let version: string | null = null;
  const post = (path: string, body: object) =>
    calls.post(address, path, body, TRY_MS);
  return await ifRefused(async () => {
    const status = await post("maintenance/status", {});
    const { errors, leader, header } = status;
    version = String(status.version);
    const trouble = Array.isArray(errors) && errors.length > 0
      ? errors.join("; ")
      : leader === undefined || leader === "0"
      ? "it knows no leader"
      : null;
    if (trouble === null) await post("kv/txn", askForRights(prefix));
    const leads = trouble === null && leader === header?.member_id;
    return { address, version, leads, trouble };
  }, ({ message }) => {
    // An alarm tells of used up space.
    const isFull = version !== null && /space exceeded/.test(message);
    const trouble = isFull ? null : message;
    return { address, version, leads: false, trouble };
  });
}

/** A read, and a write that is never carried out: etcd refuses both to a user without the rights to either. */
function askForRights(prefix: string): object {
  const key = btoa(prefix);
  // No revision is below 0.
  const never = { target: "CREATE", result: "LESS", create_revision: "0" };
  return {
    compare: [{ key, ...never }],
    success: [{ request_put: { key } }],
    failure: [{ request_range: { ...rangeOf(prefix), limit: "1" } }],
  };
}

/** Tells of old revisions that nobody removes, until they fill the disk. */
async function lookAtHistory(
  calls: EtcdCalls,
  prefix: string,
): Promise<string[]> {
  const first = { ...rangeOf(prefix), limit: "1", revision: "1" };
  const answer = await orNull(() => calls.call("kv/range", first));
  const revision = answer?.header?.revision ?? 0;
  return Number(revision) < MANY_REVISIONS ? [] : [
    `it keeps all of its ${revision} revisions, until its space is used ` +
    "up: set --auto-compaction-retention=1h",
  ];
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < 3 || major === 3 && minor < 4;
}
