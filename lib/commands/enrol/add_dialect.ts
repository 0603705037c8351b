/** `knock client add --dialect`: clients that are another tool's. */

import type { Config } from "../../config/config.ts";
import { ALL } from "../../config/checks/checks.ts";
import { addClientText } from "../../config/files/edit.ts";
import { loadConfig } from "../../config/files/load.ts";
import { pathBeside } from "../../config/files/places.ts";
import { makeOwnKeys, type NewEntry } from "../../config/files/write.ts";
import type { DialectName } from "../../dialects/dialect.ts";
import { DIALECTS } from "../../dialects/table.ts";
import type { FleetConfig } from "../../fleet/fleet.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Endpoint } from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import type { Options } from "../command.ts";
import { createWith, enrolWith, shareWith } from "./new_files.ts";
import { formatQrSvg } from "./qr.ts";
import { reloadServer } from "./reload.ts";
import { showQr, tellByHand, tellServer } from "./words.ts";

/** Request to add a client, and where its output goes. */
interface Adding {
  readonly runtime: Runtime;
  readonly options: Options;
  readonly config: Config;
  /** The configuration's text. */
  /** The fleet that shares it; null: it goes into the configuration. */
  readonly fleet: FleetConfig | null;
  readonly text: string;
  /** The entry without its keys. */
  readonly policy: Omit<NewEntry, "keys">;
  /** Finds the endpoint of the server: with this port if it listens there. */
  readonly server: (usualPort: number) => Endpoint;
}

/** Adds a client of another tool's, and returns the exit status. */
export async function addInDialect(
  dialect: DialectName,
  adding: Adding,
): Promise<number> {
  const { runtime, options, config, fleet, text, policy } = adding;
  if (options.flag("code")) {
    throw new UsageError(`a packet of ${dialect} has no place for a code`);
  }
  for (const path of makeOwnKeys(runtime, config, [dialect])) {
    runtime.err(
      `made the key ${escapeUnsafe(path)}: keep a copy in a safe place\n`,
    );
  }
  const enrol = await DIALECTS[dialect].enrol!();
  const made = enrol({
    name: policy.name,
    key: options.value("key"),
    ports: policy.open.flatMap((entry) =>
      typeof entry === "string"
        ? config.services.filter(({ name }) => entry === ALL || name === entry)
          .flatMap(({ ports }) => ports)
        : [entry]
    ),
    server: adding.server,
    random: (size) => runtime.random(size),
    rsaPrivateKey: (bits) => runtime.rsaPrivateKey(bits),
  }, loadConfig(runtime, config.file));
  const files = made.files.map(({ name, data, isOutput = false }) => ({
    path: isOutput ? name : pathBeside(runtime, config.file, name),
    data,
    isOutput,
  }));
  const svg = options.value("svg");
  const qr = options.flag("qr");
  if (made.qr === null && (qr || svg !== undefined)) {
    throw new UsageError(`there is no QR code for ${dialect}`);
  }
  const entry = { ...policy, keys: made.keys };
  const edited = addClientText(text, entry);
  if (edited === null) {
    createWith(runtime, files, () => {});
    runtime.out(made.out);
    throw tellByHand(runtime, config.file, entry, null);
  }
  const change = {
    file: config.file,
    before: text,
    after: edited,
    files: [
      ...files,
      ...svg === undefined
        ? []
        : [{ path: svg, data: formatQrSvg(made.qr!), isOutput: true }],
    ],
    out: made.out,
  };
  if (fleet) await shareWith(runtime, config, fleet, policy.name, change);
  else enrolWith(runtime, change);
  if (qr) showQr(runtime, `the enrolment of ${policy.name}`, made.qr!);
  for (const hint of made.hints) runtime.err(`knock: hint: ${hint}\n`);
  tellServer(runtime, options, made.server);
  return fleet ? 0 : await reloadServer(runtime, config);
}
