/** Settings of a bucket: those of a new one, and those of one that may lose data. */

/** Largest value, bytes. */
const MAX_VALUE = 512 * 1024;

/** A new bucket for a fleet, on so many servers: a key-value bucket of NATS whose messages nobody can delete or purge. */
export function newBucket(name: string, subject: string, servers: number) {
  return {
    name,
    subjects: [subject],
    description: "a fleet of knock",
    retention: "limits",
    storage: "file",
    num_replicas: servers >= 3 ? 3 : 1,
    max_msgs_per_subject: 1,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msg_size: MAX_VALUE,
    discard: "new",
    allow_msg_ttl: true,
    allow_direct: true,
    deny_delete: true,
    deny_purge: true,
  };
}

/** The configuration of a stream, as far as data may be lost by it. */
export interface StreamSettings extends Partial<ReturnType<typeof newBucket>> {
  readonly no_ack?: boolean;
  readonly persist_mode?: string;
  readonly sealed?: boolean;
}

/** Settings by which a bucket loses data or takes none, a line each. */
export function settingsThatLose(
  bucket: string,
  settings: StreamSettings,
): string[] {
  const { num_replicas = 1, max_age = 0 } = settings;
  const found: readonly (readonly [boolean, string])[] = [
    [
      settings.storage !== "file",
      "storage: memory: what was accepted is lost with a restart, and could " +
      "be accepted again; it cannot be changed: delete the bucket",
    ],
    [
      num_replicas < 3,
      `replicas: ${num_replicas}: the fleet stands still when one server is ` +
      `lost, and forgets with its disk: \`nats stream edit ${bucket} ` +
      "--replicas 3`",
    ],
    [
      settings.persist_mode === "async",
      "persist mode: async: a write that was acknowledged may be lost; it " +
      "cannot be changed: delete the bucket",
    ],
    [
      settings.no_ack === true,
      "no_ack: writes are not acknowledged, so no packet is accepted: " +
      `\`nats stream edit ${bucket} --ack\``,
    ],
    [
      settings.allow_msg_ttl !== true,
      "no life of its own for a key, so no packet is accepted: " +
      `\`nats stream edit ${bucket} --allow-msg-ttl\``,
    ],
    [
      settings.discard !== "new",
      "discard: old: when it is full the oldest is lost, and could be " +
      `accepted again: \`nats stream edit ${bucket} --discard new\``,
    ],
    [
      max_age > 0,
      `max age: ${max_age / 1e9} s: clients are lost then: \`nats stream ` +
      `edit ${bucket} --max-age 0\``,
    ],
    [
      (settings.retention ?? "limits") !== "limits",
      `retention: ${settings.retention}: what was read is lost; it cannot be ` +
      "changed: delete the bucket",
    ],
    [settings.sealed === true, "sealed: it takes no writes"],
  ];
  return found.flatMap(([is, words]) =>
    is ? [`bucket ${bucket}: ${words}`] : []
  );
}
