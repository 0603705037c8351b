import {
  MAC_AT,
  macOf,
  PACKET_SIZE,
  windowOf,
} from "../../lib/dialects/knock1/tag.ts";
import type { TestClient } from "../../tests/netns/program.ts";
import { compileFlood, withFlood } from "../flood.ts";
import { GuardedServer } from "../guarded.ts";
import { FWKNOP_PORT, fwknopKnock } from "../peers/fwknop_packet.ts";
import { startFwknopd } from "../peers/fwknopd.ts";
import type { Trigger } from "../prober/orders.ts";
import { Stage } from "../stage.ts";
import type { Bench, Step } from "../step.ts";
import { knockAll, THREE_TRIES_MS } from "./flood.ts";
import { tagOf } from "../../lib/dialects/knock1/tag.ts";

const FORMS = ["form", "tag", "mac", "copy"] as const;
type Form = typeof FORMS[number];

const POOL = 4096;
const FWKNOP_POOL = 256;
/** Clients of fwknop besides, each of which costs an HMAC. */
const FWKNOP_CLIENTS = 20;
const RATES = [60, 600, 3_000, 20_000, 50_000];
/** A right mac costs the server a Noise handshake. */
const MAC_RATES = [60, 600, 3_000, 5_000, 10_000, 20_000];
/** The rate of a form's figure. */
const headline = (form: Form) => form === "mac" ? 5_000 : 50_000;

const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));
const bytesOf = (trigger: Trigger) =>
  Uint8Array.fromBase64((trigger as { udp: string }).udp);

interface Knocker {
  readonly from: string;
  readonly prepare: (address: string) => Trigger;
}

const OTHER: TestClient = {
  name: "bob",
  policy: ["open: [ssh]", "any_address: true"],
};
const CROWD: TestClient[] = Array.from({ length: FWKNOP_CLIENTS }, (_, at) => ({
  name: `phone${at}`,
  keys: `fwknop: { key_base64: ${random(32).toBase64()}, ` +
    `hmac_key_base64: ${random(64).toBase64()} }`,
  policy: ["open: [ssh]"],
}));

/** Packets that an attacker makes at this moment, all of one size. */
function forge(
  form: Form,
  server: Uint8Array,
  address: string,
  copy: Trigger,
): Uint8Array[] {
  if (form === "copy") return [bytesOf(copy)];
  if (form === "form") {
    return Array.from({ length: FWKNOP_POOL }, () => {
      const hmac = { type: "sha256", key: random(64) } as const;
      const keys = { key: random(32), mode: "cbc", hmac } as const;
      return bytesOf(fwknopKnock(keys, address));
    });
  }
  const tag = tagOf(server, windowOf(Date.now()));
  const mac = macOf(server);
  return Array.from({ length: POOL }, () => {
    const packet = random(PACKET_SIZE);
    packet.set(tag);
    if (form === "mac") packet.set(mac(packet.subarray(0, MAC_AT)), MAC_AT);
    return packet;
  });
}

const measuresOf = (form: Form) => [
  `forged_${form}_pps`,
  `forged_${form}_opened_of_20`,
  `forged_${form}_other_opened_of_20`,
];

export const forged: Step = {
  name: "forged",
  measures: [
    ...FORMS.flatMap(measuresOf),
    "forged_form_fwknop_opened_of_20",
    "forged_form_21_clients_opened_of_20",
  ],
  peers: [],
  programs: ["gcc"],
  inNamespaces: true,

  async run(bench) {
    await floodKnock(bench, FORMS, "", []);
    await floodKnock(bench, ["form"], "_21_clients", CROWD);
  },
};

function floodKnock(
  { results, folder, quick }: Bench,
  forms: readonly Form[],
  suffix: string,
  crowd: readonly TestClient[],
): Promise<void> {
  return Stage.with((stage) =>
    GuardedServer.with(stage, async (server) => {
      const binary = compileFlood(folder);
      const alice = stage.freshAddress();
      const bob = stage.freshAddress();
      const thrice = (knocker: Knocker, count?: number) =>
        knockAll(
          stage,
          THREE_TRIES_MS,
          (address) =>
            Array.from({ length: 3 }, () => [knocker.prepare(address)]),
          knocker.from,
          count,
        );
      const own: Knocker = {
        from: alice,
        prepare: (to) => server.knock(to, true),
      };
      const other: Knocker = {
        from: bob,
        prepare: (to) => server.knock(to, true, "bob"),
      };
      const fwknop: Knocker = {
        from: alice,
        prepare: (to) => server.knockInFwknop(to),
      };
      // A knock that opens nothing anyway would measure nothing.
      for (const knocker of [own, other, fwknop]) {
        const opened = await thrice(knocker, 1);
        if (opened.length < 1) throw new Error("a knock without a flood fails");
      }
      for (const form of forms) {
        const most = headline(form);
        const rates = form === "mac" ? MAC_RATES : RATES;
        for (const perSecond of quick || suffix ? [most] : rates) {
          const accepted = server.knock(alice);
          await knockAll(stage, THREE_TRIES_MS, () => [[accepted]], alice, 1);
          const packets = forge(form, server.publicKey, alice, accepted);
          const { result, flooded } = await withFlood(
            stage,
            binary,
            {
              port: accepted.port,
              perSecond,
              forgery: { source: alice, packets },
            },
            async () => ({
              own: await thrice(own),
              other: await thrice(other),
              fwknop: form === "form" && !suffix && perSecond === most
                ? await thrice(fwknop)
                : [],
            }),
          );
          const name = `forged_${form}${suffix}`;
          results.point(`${name}_opened`, flooded.perSecond, result.own.length);
          results.point(
            `${name}_other`,
            flooded.perSecond,
            result.other.length,
          );
          if (perSecond !== most) continue;
          results.measure(`${name}_opened_of_20`, result.own.length);
          if (suffix) continue;
          results.measure(`${name}_pps`, flooded.perSecond);
          results.measure(`${name}_other_opened_of_20`, result.other.length);
          if (form !== "form") continue;
          results.measure(`${name}_fwknop_opened_of_20`, result.fwknop.length);
        }
      }
    }, {
      secondDialect: true,
      others: { clients: [OTHER, ...crowd], files: {} },
    })
  );
}

/** The real fwknopd under the same packets, and under copies of one of its own. */
export const forgedPeers: Step = {
  name: "forged-peers",
  measures: [],
  peers: FORMS.map((form) => `fwknopd_forged_${form}_opened_of_20`),
  programs: ["gcc", "fwknopd"],
  inNamespaces: true,

  run: ({ results, folder }) =>
    Stage.with(async (stage) => {
      const binary = compileFlood(folder);
      const daemon = await startFwknopd(stage, folder, "udp");
      const alice = stage.freshAddress();
      const server = random(32);
      for (const form of FORMS) {
        const copy = daemon.knock(alice);
        await knockAll(stage, THREE_TRIES_MS, () => [[copy]], alice, 1);
        const packets = forge(form, server, alice, copy);
        const { result, flooded } = await withFlood(
          stage,
          binary,
          {
            port: FWKNOP_PORT,
            perSecond: headline(form),
            forgery: { source: alice, packets },
          },
          () =>
            knockAll(
              stage,
              THREE_TRIES_MS,
              (to) => Array.from({ length: 3 }, () => [daemon.knock(to)]),
              alice,
            ),
        );
        const name = `fwknopd_forged_${form}`;
        results.point(`${name}_opened`, flooded.perSecond, result.length);
        results.peer(`${name}_opened_of_20`, result.length);
      }
    }),
};
