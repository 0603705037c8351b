/** Messages of etcd's JSON gateway: errors, and lines of a watch. */

import { SystemError } from "../../values/errors.ts";
import { parseMapping } from "../../values/schema.ts";

/** Kind of an error: another server may do better, a token or a lease is gone, our user is refused, or it is final. */
type EtcdErrorKind = "elsewhere" | "token" | "lease" | "user" | "final";

/** An error that etcd answered with. */
export class EtcdError extends SystemError {
  readonly kind: EtcdErrorKind;
  constructor(kind: EtcdErrorKind, message: string) {
    super("", message);
    this.kind = kind;
  }
}

/** Codes of gRPC: https://grpc.github.io/grpc/core/md_doc_statuscodes.html. */
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;

/** Reads the error in an answer. */
export function failureOf(status: number, text: string): EtcdError {
  let code = 0;
  let message = `status ${status}`;
  try {
    const said = JSON.parse(text) as {
      code?: number;
      error?: string | { message?: string; grpc_code?: number };
      message?: string;
    };
    const inner = typeof said.error === "object" ? said.error : {};
    code = said.code ?? inner.grpc_code ?? 0;
    message = said.message ?? inner.message ??
      (typeof said.error === "string" ? said.error : message);
  } catch {
    // A proxy's page, say; etcd itself has one refusal that is plain text.
    if (text.startsWith(NAMED)) message = NAMED;
  }
  const words = message.replace(/^(rpc error: .* desc = )?etcdserver: /, "");
  const [, refusal] = REFUSALS.find(([said]) => words.startsWith(said)) ?? [];
  // After a change of its users, a signed token is of an old revision.
  const isOfToken = code === UNAUTHENTICATED ||
    /^(invalid auth token|revision of auth store is old)/.test(words);
  const kind = isOfToken
    ? "token"
    : code === NOT_FOUND && /lease/.test(message)
    ? "lease"
    : refusal !== undefined || code === PERMISSION_DENIED
    ? "user"
    : code === DEADLINE_EXCEEDED || code === UNAVAILABLE ||
        code === RESOURCE_EXHAUSTED && /too many/.test(message) ||
        /leader|timed out|stopped/.test(message) ||
        code === 0 && status >= 500
    ? "elsewhere"
    : "final";
  return new EtcdError(kind, refusal ?? words);
}

/** Beginning of etcd's words to a client whose certificate bears a name. */
const NAMED = "CommonName of client";

/** Beginnings of etcd's words that refuse our user, and ours. */
const REFUSALS = [
  [
    NAMED,
    "it refuses our certificate: with users, one without a common name is needed",
  ],
  [
    "authentication failed",
    "it refuses our user: wrong fleet.user, or password in password_file",
  ],
  [
    "user name is empty",
    "it refuses us without a user: set fleet.user and password_file",
  ],
  [
    "permission denied",
    "it forbids our user: its role needs readwrite on the prefix",
  ],
  [
    "authentication is not enabled",
    "it knows no users: run `etcdctl auth enable`, or remove fleet.user",
  ],
] as const;

/** True if another server may answer: this one does not, or says so. */
export function isFromElsewhere(error: unknown): boolean {
  if (error instanceof EtcdError) return error.kind === "elsewhere";
  return error instanceof SystemError && error.code !== "EFBIG";
}

/** Lines of a stream; null for one that is too long, of which nothing is kept. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncIterable<string | null> {
  const decoder = new TextDecoder();
  let rest = "";
  let skips = false;
  for await (const chunk of chunks) {
    const parts = decoder.decode(chunk, { stream: true }).split("\n");
    for (const [index, part] of parts.entries()) {
      if (index > 0) {
        if (skips) yield null;
        else if (rest.trim() !== "") yield rest;
        rest = "";
        skips = false;
      }
      if (skips) continue;
      rest += part;
      if (rest.length <= limit) continue;
      rest = "";
      skips = true;
    }
  }
}

/** An answer; those of a watch have theirs under `result`. */
export interface EtcdAnswer {
  readonly header?: {
    readonly cluster_id?: string;
    readonly member_id?: string;
    readonly revision?: string;
  };
  readonly [field: string]: unknown;
}

/** A key and its value, in base64. */
export interface RawPair {
  readonly key: string;
  readonly value?: string;
}

/** Reads an answer; throws SystemError where it is not etcd's. */
export function readAnswer(text: string): EtcdAnswer {
  const answer = parseMapping(text);
  if (!answer) throw new SystemError("", "the answer is not etcd's");
  return answer;
}

/** Reads the reason for which etcd has ended a watch, as an error's text; null where it has not, or only for a compaction. */
export function cancelOf(message: EtcdAnswer): string | null {
  return message.canceled === true && message.compact_revision === undefined
    ? JSON.stringify({ message: String(message.cancel_reason) })
    : null;
}

/** The keys and values of a range. */
export function pairsOf(answer: EtcdAnswer | undefined): readonly RawPair[] {
  return (answer?.kvs ?? []) as readonly RawPair[];
}

/** Reads base64 as text; nothing is empty text. */
export function textOf(base64: string | undefined): string {
  if (base64 === undefined) return "";
  return new TextDecoder().decode(Uint8Array.fromBase64(base64));
}
