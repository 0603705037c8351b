/** Words of `knock client add` beside the enrolment. */

import { pathBeside } from "../../config/files/places.ts";
import {
  formatClient,
  indent,
  type NewClient,
  type NewEntry,
} from "../../config/files/write.ts";
import { formatOtpauth } from "../../dialects/crypto/codes.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Endpoint } from "../../values/address.ts";
import { FailureError } from "../../values/errors.ts";
import type { Options } from "../command.ts";
import { codeFileOf } from "./new_files.ts";
import { formatQr, qrColumns } from "./qr.ts";

/** Prints the entry to write by hand where the configuration cannot be added to. */
export function tellByHand(
  runtime: Runtime,
  file: string,
  entry: NewClient | NewEntry,
  code: string | null,
): FailureError {
  return new FailureError(
    `${file} is not in a form that can be added to: it is as it was`,
    `add these lines by hand, under "clients:":\n` +
      indent(formatClient(entry), 2).trimEnd() +
      (code === null
        ? ""
        : `\nand make ${
          pathBeside(runtime, file, codeFileOf(entry.name))
        }, mode 600, with this line:\n  ${code}`),
  );
}

/** Shows how an authenticator app learns the secret. */
export function showCode(
  runtime: Runtime,
  name: string,
  code: string,
  qr: boolean,
): void {
  const uri = formatOtpauth(name, code);
  const what = `the one-time codes of ${name}, for an authenticator app`;
  if (qr) showQr(runtime, what, uri);
  runtime.err(`${what}:\n    ${uri}\n`);
}

/** Says that the line is a secret, and what to type at the client's side. */
export function tellNext(
  runtime: Runtime,
  name: string,
  hasKey: boolean,
): void {
  const command = hasKey ? "knock import" : "knock import --key FILE";
  runtime.err(`this line is secret: give it to nobody but ${name}
next, at the client:
    ${command.padEnd(TYPED)}paste the line; it is not shown
    ${`knock ${name}`.padEnd(TYPED)}open
`);
}

/** As {@linkcode tellNext}, of a link for a browser. */
export function tellPage(runtime: Runtime, name: string): void {
  runtime.err(`this link is secret: give it to nobody but ${name}
next, at the client: open it in the browser, which stores the profile; then
keep the page, and not the link, as a bookmark or on the home screen
`);
}

/** Width of what to type, in columns. */
const TYPED = 26;

/** Prints the address that the client got, where none was named. */
export function tellServer(
  runtime: Runtime,
  options: Options,
  { host }: Endpoint,
): void {
  if (options.value("server") !== undefined) return;
  runtime.err(
    `knock: hint: the client will knock at ${host}: ` +
      `--server HOST names another\n`,
  );
}

/** Prints a QR code under what it is, on standard error. */
export function showQr(runtime: Runtime, what: string, text: string): void {
  const terminal = runtime.isTerminal("err");
  runtime.err(`${what}:\n`);
  runtime.paint("err", formatQr(text, terminal));
  const [wanted, columns] = [qrColumns(text), runtime.columns()];
  if (!terminal || wanted <= columns) return;
  runtime.err(
    `knock: hint: this QR code is ${wanted} columns wide and the terminal ` +
      `${columns}: make it wider, or draw a picture with --svg FILE\n`,
  );
}
