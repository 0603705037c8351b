import { parseKey } from "../../dialects/knock1/keys.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { failing, UsageError } from "../../values/errors.ts";
import { counted } from "../../values/text.ts";
import { parseOptions, takePositionals } from "../command.ts";

export const help = `Usage:
    knock pubkey < PRIVATE

Reads a private key from stdin and prints its public key.

Example:
    $ knock pubkey < /etc/knock/server.key
    9nM1Y0o3kz3OOZ6ADFl2Uu7YQo6Hq1zyA0jwLQn6kGw
`;

/** Far more than a key and its newline, in bytes. */
const MAX_INPUT = 4096;

const WANTED =
  "standard input must be a private key of 43 base64url characters";

/** Runs `knock pubkey`. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  takePositionals(parseOptions(args, help), []);
  const input = await failing(
    ({ message }) => new UsageError(`${WANTED}: ${message}`),
    () => runtime.readStdin(MAX_INPUT),
  );
  const text = new TextDecoder().decode(input).trim();
  const key = parseKey(text);
  // The input is a secret even where it is not a key: only its length is printed.
  if (!key) {
    const got = text === "" ? "nothing" : counted(text.length, "character");
    throw new UsageError(`${WANTED}, got ${got}`, "`knock keygen` makes one");
  }
  runtime.out(`${formatBase64url(publicKeyOf(key))}\n`);
  return 0;
}
