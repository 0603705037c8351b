/** The program of XDP in the kernel, run on frames by BPF_PROG_TEST_RUN. */

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { assemble, exit, load } from "../../lib/firewall/xdp/assembler.ts";
import { Bpf, BpfError } from "../../lib/firewall/xdp/bpf.ts";
import { Filter } from "../../lib/firewall/xdp/xdp.ts";
import { REASONS, VERDICTS } from "../../lib/firewall/xdp/program.ts";
import { frameBytes, runOn } from "../fakes/frames.ts";
import { runtime } from "../fakes/runtime.ts";
import {
  begin,
  FRAMES,
  NEXT,
  OWN,
  PORTS,
  TAG,
  type Verdict,
  WEB_TAG,
} from "../fakes/xdp_frames.ts";
import { whyNot } from "./netns.ts";

const reason = whyNot();
const skip = reason !== null && process.env["CI"] !== "true" ? reason : false;

const KNOCK = 62201;
async function withFilter(
  body: (bpf: Bpf, filter: Filter) => void,
): Promise<void> {
  if (reason !== null) throw new Error(`cannot run: ${reason}`);
  const bpf = await Bpf.open(runtime);
  const filter = new Filter(bpf);
  try {
    body(bpf, filter);
  } finally {
    filter.close();
  }
}

/** Verdict of a filter on a frame, by its verdict and its counters. */
function judge(bpf: Bpf, filter: Filter, frame: Uint8Array): Verdict {
  const counts = () => REASONS.map((reason) => filter.counts()[reason]);
  const before = counts();
  const { verdict } = runOn(bpf, filter.program, frame);
  const after = counts();
  const counted = REASONS.filter((_, at) => after[at] !== before[at]);
  if (verdict === VERDICTS.pass && counted.length === 0) return "pass";
  assertEquals([verdict, counted.length], [VERDICTS.drop, 1]);
  return counted[0]!;
}

test(
  "XDP's program drops what cannot be a knock, alone",
  { skip, timeout: 60_000 },
  async () => {
    await withFilter((bpf, filter) => {
      filter.set(
        { ports: PORTS, tags: [TAG, NEXT], webTags: [WEB_TAG] },
        OWN,
      );
      for (const [name, frame, want] of FRAMES) {
        assertEquals(judge(bpf, filter, frame), want, name);
      }
    });
  },
);

test(
  "XDP's program looks up tags and addresses as they are now",
  { skip, timeout: 60_000 },
  async () => {
    await withFilter((bpf, filter) => {
      const verdicts = (tag: Uint8Array) =>
        OWN.map((to) =>
          judge(bpf, filter, frameBytes({ to, payload: begin(tag) }))
        );
      const ports = [KNOCK];
      assertEquals(filter.set({ ports, tags: [TAG] }, OWN), true);
      assertEquals(verdicts(NEXT), Array(4).fill("wrong_tag"));
      assertEquals(filter.set({ ports, tags: [TAG, NEXT] }, OWN), false);
      assertEquals(verdicts(NEXT), Array(4).fill("pass"));
      assertEquals(filter.set({ ports, tags: [NEXT] }, OWN.slice(1)), false);
      const rest = Array(3).fill("wrong_tag");
      assertEquals(verdicts(TAG), ["pass", ...rest]);
      assertEquals(filter.set({ ports, tags: [] }, OWN), false);
      assertEquals(verdicts(NEXT), Array(4).fill("wrong_tag"));
      // A browser's tag that becomes a knock's.
      filter.set({ ports, tags: [], webTags: [TAG] }, OWN);
      assertEquals(verdicts(TAG), Array(4).fill("wrong_tag"));
      filter.set({ ports, tags: [TAG] }, OWN);
      assertEquals(verdicts(TAG), Array(4).fill("pass"));
      // Other ports are another program.
      assertEquals(filter.set({ ports: [1], tags: [TAG] }, OWN), true);
      assertEquals(verdicts(NEXT), Array(4).fill("pass"));
      filter.closeOld();
      assertEquals(filter.counts().wrong_tag, 15);
    });
  },
);

test(
  "a program that the verifier refuses is an error with its log",
  { skip, timeout: 60_000 },
  async () => {
    await withFilter((bpf) => {
      // It reads a register that nothing has set.
      const program = assemble([load(4, 0, 5, 0), exit]);
      const error = assertThrows(() => bpf.load(program), BpfError);
      assertEquals(error.lacksRight, false);
      assertMatch(
        error.message,
        /^cannot load the program: permission denied: .*R5 !read_ok/,
      );
    });
  },
);
