/** Names, errors and messages of NATS JetStream, as a bucket of keys has them. */

import { connectionFailure, SystemError } from "../../values/errors.ts";
import { parseMapping } from "../../values/schema.ts";

/** The oldest version that works: before it no key has a life of its own. */
const OLDEST = [2, 11] as const;

/** Kind of an error: worth another try, the bucket is missing, another has the key, or it is final. */
type NatsErrorKind = "elsewhere" | "missing" | "taken" | "final";

/** An error of NATS, or of the way there. */
export class NatsError extends SystemError {
  readonly kind: NatsErrorKind;
  constructor(kind: NatsErrorKind, message: string, code = "") {
    super(code, message);
    this.kind = kind;
  }
}

/** Codes of JetStream's errors: server/errors.json of nats-server. */
const STREAM_NOT_FOUND = 10059;
const MESSAGE_NOT_FOUND = 10037;
const WRONG_LAST_SEQUENCE = [10071, 10164];
/** A bucket of this name with other settings: it is used as it is. */
export const NAME_IN_USE = 10058;

/** An answer of JetStream. */
export interface NatsAnswer {
  readonly error?: {
    readonly code?: number;
    readonly err_code?: number;
    readonly description?: string;
  };
  readonly [field: string]: unknown;
}

/** Reads an answer; null where the key is not there. Throws NatsError for an error in it. */
export function readAnswer(text: string): NatsAnswer | null {
  const answer: NatsAnswer | null = parseMapping(text);
  if (!answer) {
    throw new NatsError("elsewhere", "the answer is not JetStream's");
  }
  const { error } = answer;
  if (!error) return answer;
  const { code = 0, err_code = 0, description = `error ${code}` } = error;
  if (err_code === MESSAGE_NOT_FOUND) return null;
  const kind = err_code === STREAM_NOT_FOUND
    ? "missing"
    : WRONG_LAST_SEQUENCE.includes(err_code)
    ? "taken"
    : code >= 500 || /leader|no suitable peers/.test(description)
    ? "elsewhere"
    : "final";
  throw new NatsError(kind, description, String(err_code));
}

/** Errors that the client's library throws, in our words. */
export function natsError(error: unknown): NatsError {
  if (error instanceof NatsError) return error;
  const { name, message, cause } = error as Error;
  const words = [message, (cause as Error | undefined)?.message].join(" ");
  const say = (text: string, code = "") =>
    new NatsError("elsewhere", text, code);
  if (/no responders/i.test(words)) {
    return say("no JetStream answers there, or it has no leader");
  }
  if (name === "TimeoutError" || /\btimeout\b/i.test(words)) {
    return say("no answer in time", "ETIMEDOUT");
  }
  if (/max_payload|maximum payload/i.test(words)) {
    return new NatsError("final", "the value is larger than it takes");
  }
  if (/permissions violation/i.test(words)) {
    return new NatsError("final", `it forbids our user: ${message}`);
  }
  if (/authoriz|authentic|account|expired.*credential/i.test(words)) {
    return say(`it refuses our user: ${message}`);
  }
  const known = connectionFailure(words);
  return say(known?.message ?? message.split("\n")[0]!, known?.code);
}

/** A complaint where a server's version is too old; null where it is not. */
export function oldVersion(version: string): string | null {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isNew = major > OLDEST[0] ||
    major === OLDEST[0] && minor >= OLDEST[1];
  return isNew
    ? null
    : `NATS ${version} is too old: ${
      OLDEST.join(".")
    } is the oldest that works`;
}

/** The bucket of a prefix: "knock_home" of "knock/home". */
export function bucketOf(prefix: string): string {
  return prefix.replaceAll("/", "_");
}

/**
 * The name of a key in a bucket: "clients.bob" of "clients/bob". What may not
 * stand in a name of NATS stands as "=" and two digits for each byte.
 */
export function keyName(key: string): string {
  return key.split("/").map((part) =>
    part.replace(
      /[^\w-]/gu,
      (char) => new TextEncoder().encode(char).toHex().replace(/../g, "=$&"),
    )
  ).join(".");
}

/** The key of a name in a bucket; null where it is none of ours. */
export function keyOfName(name: string): string | null {
  const key = name.split(".").map((part) => part.replaceAll("=", "%"))
    .join("/");
  try {
    const decoded = decodeURIComponent(key);
    return keyName(decoded) === name ? decoded : null;
  } catch {
    return null;
  }
}

/** A key to write, and how. */
export interface Written {
  readonly key: string;
  readonly value: string;
  /** Life, milliseconds; null = for good. */
  readonly liveMs: number | null;
  /** True: only where there is no such key. */
  readonly isNew?: boolean;
  /** True: writes that the key was dropped. */
  readonly isDrop?: boolean;
}

/** Headers of the message that writes a key (ADR-8, ADR-43). */
export function headersOf(
  stream: string,
  { liveMs, isNew = false, isDrop = false }: Written,
): Record<string, string> {
  return {
    "Nats-Expected-Stream": stream,
    // Linear in the stream: of all that ask for none before, one finds none.
    ...isNew && { "Nats-Expected-Last-Subject-Sequence": "0" },
    ...liveMs !== null && { "Nats-TTL": `${Math.ceil(liveMs / 1000)}s` },
    ...isDrop && { "KV-Operation": "DEL" },
  };
}

/**
 * Reads the reply subject of a message of a consumer: its sequences in the
 * stream and in the consumer, of `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERY.TIME.PENDING`, with a domain
 * and an account before the stream in the longer form (ADR-15). Null: none.
 */
export function placeOf(reply: string) {
  const parts = reply.split(".");
  if (parts[0] !== "$JS" || parts[1] !== "ACK") return null;
  const from = parts.length >= 11 ? 4 : 2;
  const sequence = Number(parts[from + 3]);
  const delivery = Number(parts[from + 4]);
  return Number.isSafeInteger(sequence) && Number.isSafeInteger(delivery)
    ? { sequence, delivery }
    : null;
}
