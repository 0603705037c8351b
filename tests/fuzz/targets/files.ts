/** Parsers of files: this program's own, and other tools'. */

import { parseEnrolment } from "../../../lib/client/profile/enrolment.ts";
import { parseProfiles } from "../../../lib/client/profile/profile.ts";
import { convertFwknop } from "../../../lib/config/convert/fwknop/convert.ts";
import { convertKnockd } from "../../../lib/config/convert/knockd/convert.ts";
import { parseOpenmeProfiles } from "../../../lib/dialects/openme/enrol.ts";
import { convertOpenme } from "../../../lib/config/convert/openme/server.ts";
import { parseOspa } from "../../../lib/dialects/openspa/enrol.ts";
import { parseConfig } from "../../../lib/config/read.ts";
import { bytesOf } from "../../fakes/packets.ts";
import { ascii, corpus, files, textOf } from "./samples.ts";
import type { Target } from "./target.ts";

const KNOCKD = new URL("../../vectors/knockd/", import.meta.url);
const surroundings = {
  file: "server.yaml",
  readKey: () => bytesOf("server"),
  readCode: () => bytesOf("code").slice(0, 10),
  stateFolder: (written: string | null) => written ?? "/state",
};
const enrolment = "knock://[2001:db8::1]:62201/?server=" +
  "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE&key=" +
  "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI&psk=" +
  "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM#al%20ice";

/** Files that an operator gives. */
export const TARGETS: readonly Target[] = [
  {
    name: "server.yaml",
    seeds: corpus("server.yaml"),
    run: (bytes) => void parseConfig(textOf(bytes), surroundings),
  },
  {
    name: "profiles.yaml",
    seeds: corpus("profiles.yaml"),
    run: (bytes) => void parseProfiles(textOf(bytes), "profiles.yaml"),
  },
  {
    name: "enrolment",
    seeds: [ascii(enrolment)],
    run: (bytes) => void parseEnrolment(textOf(bytes)),
  },
  {
    name: "knockd.conf and one-time lists",
    seeds: files(KNOCKD),
    run: (bytes) => {
      convertKnockd(bytes, "knockd.conf", () => bytes);
      const door = ascii("[door]\none_time_sequences = /list\n");
      convertKnockd(door, "knockd.conf", () => bytes);
    },
  },
  {
    name: "fwknop's files",
    seeds: ["access.conf", "fwknopd.conf", "fwknoprc"].flatMap(corpus),
    run: (bytes) => {
      const file = { name: "file", text: textOf(bytes) };
      convertFwknop([file], { read: () => null, list: () => null });
    },
  },
  {
    name: "openme's files",
    seeds: [...corpus("openme.yaml"), ...corpus("qr.json")],
    run: (bytes) => {
      const text = textOf(bytes);
      for (const parse of [convertOpenme, parseOpenmeProfiles]) {
        parse(text, "config.yaml");
      }
    },
  },
  {
    name: "OSPA files",
    seeds: corpus("openme.yaml"),
    run: (bytes) => void parseOspa(textOf(bytes), "client.ospa"),
  },
];
