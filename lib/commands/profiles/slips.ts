/** Command lines that are taken for a profile to knock with, and what was meant. */

import { caught, UsageError } from "../../values/errors.ts";
import { parseOptions } from "../command.ts";
import { help as SEND } from "../knock/send.ts";

const SERVICE = "to a server that systemd runs: `systemctl";

/** First words that are no commands here, and what was meant. */
const MEANT: readonly (readonly [words: string, meant: string])[] = [
  ["open", "`knock PROFILE` opens, with --open tcp/22 for one port"],
  [
    "list ls",
    "`knock profiles` lists profiles, `knock client list` clients",
  ],
  ["add enrol enroll", "did you mean `knock client add NAME`?"],
  ["user", "did you mean `knock client`?"],
  ["users clients", "did you mean `knock client list`?"],
  ["remove rm delete", "did you mean `knock client remove NAME`?"],
  ["set", "did you mean `knock client set NAME`?"],
  [
    "start server daemon",
    "`knock serve` runs the server, or `systemctl start knock`",
  ],
  ["stop", `${SERVICE} stop knock\``],
  ["restart", `${SERVICE} restart knock\``],
  ["reload", `${SERVICE} reload knock\``],
  ["connect ssh", "`knock exec PROFILE -- ssh HOST` connects once it is open"],
  ["genkey", "did you mean `knock keygen`?"],
  ["validate", "did you mean `knock check`?"],
  ["test", "did you mean `knock check`, or `knock ping PROFILE`?"],
  ["logs", "did you mean `knock log`?"],
  ["setup install", "did you mean `knock init`?"],
  ["man", "did you mean `knock help`?"],
];

/** The error of a command line that was taken for a knock, with a better hint if there is one. */
export function explainSlip(
  args: readonly string[],
  error: UsageError,
): UsageError {
  const [first = ""] = args;
  const found = MEANT.find(([words]) => words.split(" ").includes(first));
  if (found) return new UsageError(`there is no command "${first}"`, found[1]);
  const [, extra] = /^unexpected argument "(.*)"$/s.exec(error.message) ?? [];
  return extra === undefined ? error : new UsageError(
    error.message,
    `\`knock exec ${first} -- ${extra}\` runs a command once it is open`,
  );
}

/** The error of a command line that begins with an option. */
export function explainOption(args: readonly string[]): UsageError {
  const option = args[0]!.replace(/=.*$/s, "");
  const read = () => parseOptions(args, SEND).positionals[0];
  const profile = caught(UsageError, read, () => undefined);
  // A lone "-" is read as a positional, and is no profile.
  if (profile === undefined || profile === args[0]) {
    return new UsageError(
      `unknown option "${option}"`,
      "`knock help` lists the commands",
    );
  }
  const rest = args.toSpliced(args.lastIndexOf(profile), 1);
  return new UsageError(
    `option "${option}" stands before the profile`,
    `write \`knock ${[profile, ...rest].join(" ")}\``,
  );
}
