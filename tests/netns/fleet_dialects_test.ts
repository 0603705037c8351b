/** Clients of other tools that a fleet shares: enrolled in the engine alone, they open on all gateways, and end on all. */

import { assert } from "@std/assert";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import { sealOpenme } from "../../lib/dialects/openme/open.ts";
import { sealOpenspa } from "../../lib/dialects/openspa/open.ts";
import { sealValue } from "../../lib/fleet/seal.ts";
import { formatUuid, parseBase64 } from "../../lib/values/bytes.ts";
import {
  CLIENT_PRIVATE,
  CLIENT_PUBLIC_PEM,
  RSA_PRIVATE_PEM,
  RSA_PUBLIC,
} from "../fakes/rsa.ts";
import { addressOf, fleetTest, HERE, NODES } from "./fleet.ts";
import { until } from "./netns.ts";

const SSH = { protocol: "tcp", first: 22, last: 22 } as const;
const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));

const OPENME_SERVER = random(32);
const SEED = random(32);
const UUID = random(16);
const PASSPHRASE = random(32);
const HMAC_KEY = random(64);

const DIALECTS = {
  openme: {
    keys: { key: verifyingKeyOf(SEED).toBase64() },
    seal: () =>
      sealOpenme(
        {
          ...{ server: publicKeyOf(OPENME_SERVER), key: SEED },
          ...{ ephemeral: random(32), nonce: random(12), random: random(16) },
        },
        null,
        BigInt(Date.now()) * 1_000_000n,
      ),
  },
  openspa: {
    keys: { uuid: formatUuid(UUID), key: "phone.pem" },
    seal: () =>
      sealOpenspa(
        {
          ...{ uuid: UUID, key: CLIENT_PRIVATE, server: RSA_PUBLIC },
          ...{ adk_secret: null, random: random(32) },
        },
        { ports: SSH, address: HERE, target: addressOf(1) },
        Date.now(),
      ).packet,
  },
  fwknop: {
    keys: {
      key_base64: PASSPHRASE.toBase64(),
      hmac_key_base64: HMAC_KEY.toBase64(),
    },
    seal: () =>
      sealFwknop(
        {
          ...{ key: PASSPHRASE, mode: "cbc" },
          hmac: { type: "sha256", key: HMAC_KEY },
        },
        {
          ...{ action: "open", ports: [SSH], command: null, seconds: 0 },
          ...{ address: HERE, forward: null, user: "u", checksum: "sha256" },
        },
        fwknopRandom(random(16)),
        Date.now(),
      ),
  },
} as const;

fleetTest(
  "clients of openme, OpenSPA and fwknop in the engine alone open on all, and are gone from all",
  async (stage) => {
    for (const node of NODES) {
      stage.configure(node);
      stage.write(node, "openme.key", `${OPENME_SERVER.toBase64()}\n`);
      stage.write(node, "openspa.pem", RSA_PRIVATE_PEM);
    }
    await stage.startEngines();
    await stage.startAll();
    const secret = parseBase64(stage.secret, { alphabet: "base64url" })!;
    for (const [dialect, { keys, seal }] of Object.entries(DIALECTS)) {
      const key = "knock/test/clients/phone";
      const entry = { [dialect]: keys, open: ["ssh"] };
      const files = { "phone.pem": CLIENT_PUBLIC_PEM };
      const value = sealValue(secret, key, { entry, files }, random(16));
      await stage.send(seal(), ...NODES);
      assert(!await stage.canReach(1), `${dialect}: nobody is enrolled`);
      const put = await stage.etcdctl("put", key, value);
      assert(put.code === 0, put.stderr);
      await until(`${dialect} opens`, async () => {
        await stage.send(seal(), 1);
        return await stage.canReach(1);
      });
      await stage.opens(...NODES);
      await stage.etcdctl("del", key);
      await stage.shuts(...NODES);
      await stage.send(seal(), ...NODES);
      assert(!await stage.canReach(2), `${dialect}: it is gone`);
    }
  },
);
