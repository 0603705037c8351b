/** Runs gpg for packets in OpenPGP: few at a time, each for a short while. */

import type { Config } from "../../config/config.ts";
import {
  decryptArguments,
  type GpgOpened,
  readGpgSigner,
} from "../../dialects/fwknop/gpg.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { failing, FailureError, orNull } from "../../values/errors.ts";

/** Most gpg processes at a time, and most packets that wait for one. */
const MAX_RUNNING = 2;
const MAX_WAITING = 16;
const TIMEOUT_MS = 5000;

/** Opens messages by gpg; what comes while too many wait is not opened. */
export class Gpg {
  readonly #runtime: Runtime;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Decrypts a message and checks its signature; see OpenPgp. */
  async open(
    home: string,
    message: Uint8Array,
  ): Promise<GpgOpened | "busy" | null> {
    if (this.#running >= MAX_RUNNING) {
      if (this.#waiting.length >= MAX_WAITING) return "busy";
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      const ran = await orNull(() =>
        this.#runtime.run(
          decryptArguments(home),
          { stdin: message, timeoutMs: TIMEOUT_MS },
        )
      );
      const signer = ran?.code === 0 ? readGpgSigner(ran.stderr) : null;
      return ran === null || signer === null
        ? null
        : { text: new TextEncoder().encode(ran.stdout), signer };
    } finally {
      // Whoever waits takes the place over.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }
}

/** Checks that gpg is there, with the keys that a configuration names. Throws FailureError. */
export async function checkGpg(
  runtime: Runtime,
  { clients }: Config,
): Promise<void> {
  for (const { name, fwknop } of clients) {
    if (!fwknop || !("gpg" in fwknop)) continue;
    const { home, recipient, signers } = fwknop.gpg;
    const failed = (what: string, hint?: string) =>
      new FailureError(`client "${name}": ${what}`, hint);
    const look = async (list: string, key: string) => {
      // deno-fmt-ignore
      const argv = [
        "gpg", "--homedir", home, "--batch", "--no-tty", "--no-options",
        "--with-colons", list, "--", key,
      ] as const;
      const { code } = await failing(
        ({ message }) =>
          failed(
            `gpg cannot be run: ${message}`,
            "apt install gnupg, or take the client's gpg key out",
          ),
        () => runtime.run(argv, { timeoutMs: TIMEOUT_MS }),
      );
      return code === 0;
    };
    if (!await look("--list-secret-keys", recipient)) {
      throw failed(
        `there is no secret key "${recipient}" in the keyring ${home}`,
        `gpg --homedir ${home} --list-secret-keys shows what is there`,
      );
    }
    for (const signer of signers) {
      if (await look("--list-keys", signer)) continue;
      throw failed(
        `the public key ${signer} is not in the keyring ${home}`,
        `gpg --homedir ${home} --import FILE adds it`,
      );
    }
  }
}
