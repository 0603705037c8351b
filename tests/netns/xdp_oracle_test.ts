/**
 * The program of XDP against the prefilter of nft: on random frames that are
 * nearly knocks both say the same, or XDP passes what nft drops. With
 * KNOCK_XDP=long 100,000 of them.
 */

import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { type FramesAnswer, type FramesOrder, macOf } from "./drive_frames.ts";
import { NftDriver } from "./driver.ts";
import { netnsTest, SERVER, until } from "./netns.ts";

const IS_LONG = process.env["KNOCK_XDP"] === "long";
const FRAMES = IS_LONG ? 100_000 : 3000;
const SEED = Number(process.env["KNOCK_XDP_SEED"] ?? 1);
const SHARE = 1000;

const TAGS = ["00112233445566ff", "f0e1d2c3b4a59687"];
const WEB_TAGS = ["4142434445464748"];
const PORTS = [62201, 53];
const OTHERS = ["10.78.0.2", "10.77.0.99", "fd78::2"];

/** Notes what passes the prefilter, by source MAC. */
const PASSED = `table inet passed {
  set macs { type ether_addr; size 131072; }
  chain passed {
    type filter hook prerouting priority -299; policy accept;
    iif eth0 add @macs { ether saddr }
  }
}
`;

netnsTest(
  `XDP drops nothing that nft passes, of ${FRAMES} random frames`,
  async (pair) => {
    await pair.onServer(["nft", "-f", "-"], PASSED);
    // Where no rule asks for connections, nothing puts fragments together.
    const nft = new NftDriver(pair, "--accept");
    await nft.apply([]);
    const gate = { ports: PORTS, tags: TAGS, webTags: WEB_TAGS };
    await nft.take({ do: "gate", gate });
    const mac = (await pair.onServer(["cat", "/sys/class/net/eth0/address"]))
      .trim().replaceAll(":", "");
    const talker = pair.script(pair.server, "drive_frames.ts");
    let verdicts = "";
    for (let first = 0; first < FRAMES; first += SHARE) {
      const order: FramesOrder = {
        seed: SEED,
        first,
        count: Math.min(SHARE, FRAMES - first),
        ports: PORTS,
        addresses: [SERVER[4], SERVER[6]],
        others: OTHERS,
        mac,
        tags: TAGS,
        webTags: WEB_TAGS,
      };
      verdicts += (await talker.ask<FramesAnswer>(order)).verdicts;
    }
    assertEquals(verdicts.length, FRAMES);
    const count = (kind: string) => verdicts.split(kind).length - 1;

    let macs = new Set<string>();
    const list = async () => {
      const listing = await pair.onServer([
        "nft",
        "list",
        "set",
        "inet",
        "passed",
        "macs",
      ]);
      return new Set(
        [...listing.matchAll(/02:00(?::[0-9a-f]{2}){4}/g)].map(([mac]) => mac),
      );
    };
    await until("all frames are received", async () => {
      const before = macs.size;
      macs = await list();
      return macs.size > 0 && macs.size === before;
    });
    const passedByNft = (number: number) =>
      macs.has(macOf(number).toHex().match(/../g)!.join(":"));
    const wrong: number[] = [];
    let both = 0;
    for (let number = 0; number < FRAMES; number++) {
      if (!passedByNft(number)) continue;
      if (verdicts[number] === "p") both++;
      if (verdicts[number] === "d") wrong.push(number);
    }
    assertEquals(wrong, [], `seed ${SEED}`);
    // Enough of each kind that the comparison means something.
    assert(both > FRAMES / 10, `${both} passed by both`);
    assert(count("d") > FRAMES / 10, `${count("d")} dropped by XDP`);
    const counters = await nft.take({ do: "counters" }) as Record<
      string,
      number
    >;
    const byNft = Object.values(counters).reduce((sum, one) => sum + one, 0);
    // Options, extension headers, and frames that are too short to tell.
    const alone = byNft - count("d");
    assert(
      alone >= 0 && alone < byNft / 4,
      `${alone} of ${byNft} dropped by nft alone`,
    );
  },
);
