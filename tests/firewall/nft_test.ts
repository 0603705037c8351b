import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { FirewallError, type Grant } from "../../lib/firewall/firewall.ts";
import { nftError, openNft } from "../../lib/firewall/nft/library.ts";
import { nftFirewall } from "../../lib/firewall/nft/nft.ts";
import { parsePortRange, type PortRange } from "../../lib/values/ports.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const NOW = 1_000_000;

function ports(text: string): PortRange {
  return parsePortRange(text)!;
}

function grant(address: string, text: string, untilMs = NOW + 30_000): Grant {
  return {
    address,
    ports: ports(text),
    untilMs,
    once: false,
    to: null,
    client: "alice",
  };
}

const errors: [string, string][] = [
  [
    "internal:0:0-0: Error: Could not process rule: Operation not permitted\n",
    "nft: operation not permitted",
  ],
  [
    "netlink: Error: cache initialization failed: Operation not permitted\n",
    "nft: operation not permitted",
  ],
  [
    "netlink: Error: cache initialization failed: Protocol not supported\n",
    "nft: this kernel has no nf_tables",
  ],
  [
    "/dev/stdin:2:61-75: Error: value too large\nadd element …\n    ^^^\n",
    "nft: value too large",
  ],
  [
    "/dev/stdin:1:1-9: Error: Could not process rule: File exists\n",
    "nft: file exists",
  ],
  ["", "nft: failed without a word"],
];

for (const [said, want] of errors) {
  test(`nftError() says "${want}" for "${said.split("\n")[0]}"`, () => {
    assertEquals(nftError(said).message, want);
  });
}

test("openNft() says how to install nftables where there is none", async () => {
  const error = await assertRejects(
    () => openNft(new FakeRuntime()),
    FirewallError,
    "nftables is not installed",
  );
  assert(error.hint?.startsWith("apt install nftables"));
});

/** A backend over a program that answers with `answer`, and its scripts. */
async function faked(answer: (script: string) => string | Error) {
  const fake = new FakeRuntime({ files: { "/usr/sbin/nft": "" } });
  const scripts: string[] = [];
  fake.programs.set("/usr/sbin/nft", (_argv, options) => {
    const script = String(options.stdin);
    scripts.push(script);
    const said = answer(script);
    return said instanceof Error
      ? { code: 1, stderr: `Error: ${said.message}` }
      : { stdout: said };
  });
  const firewall = await nftFirewall(fake);
  scripts.length = 0;
  return { firewall, scripts };
}

test("nftFirewall() names the program that it forks", async () => {
  const { firewall } = await faked(() => "");
  assertEquals(firewall.name, "nft (/usr/sbin/nft, forked)");
});

test("apply() is one transaction beside its looks", async () => {
  const { firewall, scripts } = await faked(() => "");
  const ssh = {
    name: "ssh",
    ports: [ports("tcp/22")],
    to: null,
    masquerade: false,
  };
  const given = [grant("192.0.2.1", "tcp/22"), grant("::1", "tcp/1-9")];
  await firewall.apply([ssh], given, NOW);
  const changes = scripts.filter((script) => !script.startsWith("list"));
  assertEquals(changes.length, 1);
  assert(changes[0]!.includes("flush set inet knock allow4\n"));
  assert(changes[0]!.includes("{ 192.0.2.1 . tcp . 22 timeout 30s }"));
  assert(changes[0]!.includes("range6 { ::1 . tcp . 1-9 timeout 30s }"));
});

test("change() never says done when the kernel says no", async () => {
  const { firewall } = await faked((script) =>
    script.includes("192.0.2.66") ? new Error("no") : ""
  );
  await firewall.apply([], [], NOW);
  const bad = [grant("192.0.2.66", "tcp/22")];
  await assertRejects(() => firewall.change(bad, bad, NOW), FirewallError);
  const good = [grant("192.0.2.1", "tcp/22")];
  await firewall.change(good, good, NOW);
});

test("change() fails before apply(), and for a range of a single use", async () => {
  const { firewall } = await faked(() => "");
  const one = [grant("192.0.2.1", "tcp/22")];
  await assertRejects(() => firewall.change(one, one, NOW), FirewallError);
  await firewall.apply([], [], NOW);
  const range = [{ ...grant("192.0.2.1", "tcp/1-2"), once: true }];
  await assertRejects(
    () => firewall.change(range, range, NOW),
    FirewallError,
    'got "tcp/1-2"',
  );
});
