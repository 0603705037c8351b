/** Reasons of refusals in words, for the person who knocked. Pure. */

import type { Answer, NewRequest } from "../../dialects/dialect.ts";
import { formatPortRange } from "../../values/ports.ts";

/** Part of a request that its outcome is described by. */
export type AskedFor = Pick<
  NewRequest,
  "action" | "ports" | "command" | "seconds"
>;

/** Reason of a refusal in words, and what to do about it. */
export function explainReason(
  { action, ports, command }: AskedFor,
  { reason, address }: Answer,
): readonly [words: string, hint: string] {
  const list = ports.map(formatPortRange).join(", ");
  const set = (key: string) =>
    `the server's operator sets it: \`${key}\` of this client`;
  switch (reason) {
    case "expired":
      return ["this client has expired", set("expires")];
    case "hours":
      return ["outside its hours", set("hours")];
    case "address required":
      return [
        "this client must name its address",
        "use --from ADDRESS, or --from resolve",
      ];
    case "address":
      return [
        `${address} is not the address that the packet came from`,
        `use --from source, or have the operator set \`any_address: true\``,
      ];
    case "source":
      return [`${address} is not an address of this client`, set("from")];
    case "ports":
      return [
        ports.length === 1
          ? `${list} is not allowed`
          : ports.length > 1
          ? `not all of ${list} are allowed`
          : "these ports are not allowed",
        set("open"),
      ];
    case "nothing to open":
      return ["this client may not open anything", set("open")];
    case "command":
      return [`command "${command ?? ""}" is not allowed`, set("run")];
    case "code":
      return [
        "the one-time code is missing or wrong",
        "use the code that the authenticator app shows now: --code 123456",
      ];
    case "code used":
      return ["the one-time code was used before", EACH_CODE_ONCE];
    case "code tries":
      return [
        "too many wrong one-time codes",
        "wait: a minute first, up to an hour after more of them",
      ];
    case "forward":
      return ["this client may not forward a port", "leave --nat out"];
    default:
      return [
        action === "ping"
          ? "this client is not allowed to knock now"
          : `this client is not allowed to ${action} ${
            command ?? (list || "these ports")
          }`,
        "run `knock log` on the server: it shows the reason",
      ];
  }
}

/** Why a code that was right a moment ago is refused. */
export const EACH_CODE_ONCE =
  "a one-time code is good for one knock: after another " +
  "in the same 30 s, wait for the next";
