/** The first start with no configuration: one is written that closes nothing. */

import { addProfile } from "../../../client/profile/add.ts";
import { formatEnrolment } from "../../../client/profile/enrolment.ts";
import {
  defaultConfig,
  pathBeside,
  profilesFile,
} from "../../../config/files/places.ts";
import { createOwn } from "../../../config/files/rights.ts";
import { DEFAULT_PORT } from "../../../config/shape.ts";
import { KEY_SIZE, publicKeyOf } from "../../../dialects/crypto/curve25519.ts";
import { drawKnockKeys } from "../../../dialects/knock1/keys.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { caught, OperatorError, orNull } from "../../../values/errors.ts";
import { escapeUnsafe } from "../../../values/text.ts";
import { ownHost } from "../../enrol/add.ts";
import { newConfiguration, sshService } from "./init.ts";

/** The first client's name, and its profile's. */
const CLIENT = "me";

/** Width of what to type, in columns. */
const TYPED = 38;

/** Where the gate listens for ssh, the first that is free. */
const GATE_PORTS = [2222, 22222, 20022, 42222] as const;

/**
 * Writes a configuration with the gate backend, fresh keys and a first client
 * in its default place, stores the client's profile for this user, and says
 * what to type next. Returns the configuration's path.
 */
export async function writeFirstConfiguration(
  runtime: Runtime,
): Promise<string> {
  const file = defaultConfig(runtime);
  const port = await firstFreePort(runtime);
  const key = runtime.random(KEY_SIZE);
  const keys = drawKnockKeys(runtime);
  newConfiguration(runtime, file, key, {
    port: DEFAULT_PORT,
    backend: "gate",
    mode: "guard",
    services: [sshService("gate", port)],
    clients: [{ name: CLIENT, keys, open: ["ssh"], forSeconds: null }],
  });
  const enrolment = {
    host: ownHost(runtime, []),
    port: DEFAULT_PORT,
    name: CLIENT,
    server: publicKeyOf(key),
    key: keys.privateKey!,
    psk: keys.psk,
  };
  const line = pathBeside(runtime, file, `${CLIENT}.knock`);
  if (!runtime.files.stat(line)) {
    createOwn(runtime, line, `${formatEnrolment(enrolment)}\n`);
  }
  // No home, or a profile of that name: the line in the file is enough.
  const isStored = caught(OperatorError, () => {
    const profiles = profilesFile(runtime, undefined);
    const own = { ...enrolment, host: "127.0.0.1" };
    addProfile(runtime, profiles, CLIENT, own);
    return true;
  }, () => false);
  const next = (typed: string, why: string) =>
    `    ${typed.padEnd(TYPED)}${why}\n`;
  const here = next(
    `knock ${CLIENT} && ssh -p ${port} 127.0.0.1`,
    "try it here",
  );
  const copy = `on your other machine; copy ${line} there`;
  runtime.err(`no configuration found: wrote ${escapeUnsafe(file)}
  tcp/${port} of this machine is now a gate to its ssh (127.0.0.1:22); nothing is closed
  next, in another terminal:
${isStored ? here : ""}${next(`knock import ${CLIENT}.knock`, copy)}${
    next("knock help init", "to hide services with nftables")
  }`);
  return file;
}

async function firstFreePort(runtime: Runtime): Promise<number> {
  for (const port of GATE_PORTS) {
    const at = { host: "::", port };
    const listener = await orNull(() => runtime.listenStream(at, () => {}));
    if (!listener) continue;
    await listener.close();
    return port;
  }
  return GATE_PORTS[0];
}
