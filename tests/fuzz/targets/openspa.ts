/** Parsers of OpenSPA's packets. */

import { openspaDialect } from "../../../lib/dialects/openspa/open.ts";
import { readHeader } from "../../../lib/dialects/openspa/envelope.ts";
import {
  decodeRequest,
  decodeResponse,
} from "../../../lib/dialects/openspa/payload.ts";
import { readItems } from "../../../lib/dialects/openspa/tlv.ts";
import { CLIENT_PUBLIC, RSA_PRIVATE } from "../../fakes/rsa.ts";
import openspa from "../../vectors/openspa.json" with { type: "json" };
import { open } from "./samples.ts";
import type { Target } from "./target.ts";

const box = openspaDialect(
  RSA_PRIVATE,
  [{
    name: "box",
    uuid: Uint8Array.fromHex(
      openspa.v2[0]!.client_uuid.replaceAll("-", ""),
    ),
    key: CLIENT_PUBLIC,
  }],
  null,
);
const packets = openspa.v2.map((vector) => Uint8Array.fromHex(vector.request));

/** Packets of OpenSPA, and what is inside. */
export const TARGETS: readonly Target[] = [
  { name: "OpenSPA packet", seeds: packets, run: open(box) },
  {
    name: "OpenSPA contents",
    seeds: packets,
    run: (bytes) => {
      readHeader(bytes);
      decodeRequest(bytes);
      decodeResponse(bytes);
      readItems(bytes);
    },
  },
];
