/** The first start with no configuration: one is written that closes nothing. */

import { addProfile } from "../../../client/profile/add.ts";
import { formatEnrolment } from "../../../client/profile/enrolment.ts";
import {
  defaultConfig,
  pathBeside,
  profilesFile,
} from "../../../config/files/places.ts";
import { createOwn } from "../../../config/files/rights.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { caught, OperatorError, orNull } from "../../../values/errors.ts";
import { escapeUnsafe } from "../../../values/text.ts";
import { newConfiguration } from "./init.ts";
import type { NewService } from "../../../config/config.ts";
import { onePort } from "../../../values/ports.ts";

/** The first client's name, and its profile's. */
const CLIENT = "me";

/** Where the gate listens for ssh, the first that is free. */
const GATE_PORTS = [2222, 22222, 20022, 42222];

/**
 * Writes a configuration with the gate backend, fresh keys and a first client
 * in its default place, stores the client's profile for this user, and says
 * what to type next. Returns the configuration's path.
 */
export async function writeFirstConfiguration(
  runtime: Runtime,
): Promise<string> {
  const file = defaultConfig(runtime);
  const port = await firstFreePort(runtime, GATE_PORTS);
  const services: NewService[] = [{
    name: "ssh",
    ports: [onePort("tcp", port)],
    to: { host: "127.0.0.1", port: 22 },
  }];
  const { enrolment } = newConfiguration(runtime, {
    file,
    backend: "gate",
    services,
    client: CLIENT,
  });
  const line = pathBeside(runtime, file, `${CLIENT}.knock`);
  if (!runtime.files.stat(line)) {
    createOwn(runtime, line, `${formatEnrolment(enrolment!)}\n`);
  }
  const profile = storeProfile(runtime, { ...enrolment!, host: "127.0.0.1" });
  runtime.err(`no configuration found: wrote ${escapeUnsafe(file)}
  tcp/${port} of this machine is now a gate to its ssh (127.0.0.1:22); nothing is closed
  next, in another terminal:
${
    profile
      ? next(`knock ${CLIENT} && ssh -p ${port} 127.0.0.1`, "try it here")
      : ""
  }${
    next(
      `knock import ${CLIENT}.knock`,
      `on your other machine; copy ${line} there`,
    )
  }${next("knock help init", "to hide services with nftables")}`);
  return file;
}

/** Width of what to type, in columns. */
const TYPED = 38;

function next(command: string, why: string): string {
  return `    ${command.padEnd(TYPED)}${why}\n`;
}

function storeProfile(
  runtime: Runtime,
  enrolled: Parameters<typeof addProfile>[3],
): boolean {
  // No home, or a profile of that name: the line in the file is enough.
  return caught(OperatorError, () => {
    const file = profilesFile(runtime, undefined);
    addProfile(runtime, file, CLIENT, enrolled);
    return true;
  }, () => false);
}

async function firstFreePort(
  runtime: Runtime,
  ports: readonly number[],
): Promise<number> {
  for (const port of ports) {
    const at = { host: "::", port };
    const listener = await orNull(() => runtime.listenStream(at, () => {}));
    if (!listener) continue;
    await listener.close();
    return port;
  }
  return ports[0]!;
}
