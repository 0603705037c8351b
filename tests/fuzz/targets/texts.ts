/** Parsers of words, and of what the firewall prints. */

import { parseIptablesSave } from "../../../lib/firewall/host/iptables_save.ts";
import { parseElements } from "../../../lib/firewall/nft/grants/elements.ts";
import { findTable, readTable } from "../../../lib/firewall/nft/listing.ts";
import { readTold } from "../../../lib/firewall/nft/sequences/chains.ts";
import { parseHit } from "../../../lib/sequences/sequence.ts";
import { parseEndpoint, parsePrefix } from "../../../lib/values/address.ts";
import { parseBase64, parseUuid } from "../../../lib/values/bytes.ts";
import { parsePortRange } from "../../../lib/values/ports.ts";
import {
  parseDuration,
  parseHours,
  parseTime,
} from "../../../lib/values/time.ts";
import { ascii, corpus, textOf } from "./samples.ts";
import type { Target } from "./target.ts";

const WORDS = [
  "mon-fri 08:00-18:00",
  "tcp/8000-8010",
  "2027-01-01T00:00:00Z",
  "192.0.2.0/24",
  "[2001:db8::1]:62201",
  "::ffff:192.0.2.1",
  "1h",
  "c3b66a05-9098-4100-8141-be5695ada0e7",
  "7000/udp",
  "knock open door",
].map(ascii);

/** Words and listings. */
export const TARGETS: readonly Target[] = [
  {
    name: "words",
    seeds: WORDS,
    run: (bytes) => {
      const text = textOf(bytes);
      parseHours(text);
      parsePortRange(text);
      parseTime(text);
      parsePrefix(text);
      parseEndpoint(text);
      parseDuration(text);
      parseUuid(text);
      parseHit(text);
      readTold(text);
      parseBase64(text, { alphabet: "base64url", size: 32 });
    },
  },
  {
    name: "listings of the firewall",
    seeds: [...corpus("nft"), ...corpus("iptables-save")],
    run: (bytes) => {
      const text = textOf(bytes);
      parseElements(text);
      readTable(findTable(text, "inet knock") ?? text);
      parseIptablesSave(text, 4);
    },
  },
];
