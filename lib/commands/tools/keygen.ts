import { KEY_SIZE, publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import {
  ADK_SECRET_SIZE,
  formatAdkSecret,
} from "../../dialects/openspa/adk.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { parseOptions, takePositionals } from "../command.ts";

export const help = `Usage:
    knock keygen [--adk]

Prints a new private key of 43 characters, and its public key on stderr.

A client that makes its own key keeps the private one: only the public key goes
to the server, for \`knock client add NAME --key PUBLIC\`.

Options:
        --adk    Print a new ADK secret for OpenSPA instead, 7 characters, for
                 openspa.adk_secret: all OpenSPA clients of a server share it.

Example:
    $ (umask 077; knock keygen > laptop.key)
    public key: 9nM1Y0o3kz3OOZ6ADFl2Uu7YQo6Hq1zyA0jwLQn6kGw
`;

/** Runs `knock keygen`. */
// deno-lint-ignore require-await -- so that a throw is a rejection
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  if (options.flag("adk")) {
    runtime.out(`${formatAdkSecret(runtime.random(ADK_SECRET_SIZE))}\n`);
    return 0;
  }
  const key = runtime.random(KEY_SIZE);
  runtime.out(`${formatBase64url(key)}\n`);
  runtime.err(`public key: ${formatBase64url(publicKeyOf(key))}\n`);
  return 0;
}
