import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  conntrackProblem,
  endConnections,
} from "../../lib/firewall/conntrack.ts";
import { FirewallError } from "../../lib/firewall/firewall.ts";
import {
  formatPortRange,
  parsePortRange,
  type PortRange,
} from "../../lib/values/ports.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const LISTED =
  `tcp      6 431999 ESTABLISHED src=192.0.2.9 dst=203.0.113.1 sport=40000 dport=22 src=203.0.113.1 dst=192.0.2.9 sport=22 dport=40000 [ASSURED] mark=0 use=1
tcp      6 299 ESTABLISHED src=192.0.2.10 dst=203.0.113.1 sport=50000 dport=22 src=172.17.0.2 dst=192.0.2.10 sport=2222 dport=50000 [ASSURED] mark=0 use=1
tcp      6 299 ESTABLISHED src=192.0.2.9 dst=203.0.113.1 sport=40001 dport=80 src=203.0.113.1 dst=192.0.2.9 sport=80 dport=40001 [ASSURED] mark=0 use=1
icmp     1 29 src=192.0.2.9 dst=203.0.113.1 type=8 code=0 id=7 src=203.0.113.1 dst=192.0.2.9 type=0 code=0 id=7 mark=0 use=1
flow entries
src=x dst=y sport=1 dport=22 \ntcp src=x dst=y sport=1 dport=22 \n`;

/** Has the connections of LISTED ended by openings; the runs of conntrack. */
async function end(
  ports: string,
  isAllowed: (source: string, port: PortRange) => boolean,
): Promise<string[]> {
  const runtime = new FakeRuntime();
  const ran: string[] = [];
  runtime.programs.set("conntrack", (argv: readonly string[]) => {
    ran.push(argv.slice(1).join(" "));
    return argv.includes("-L") ? { stdout: LISTED } : {};
  });
  await endConnections(
    runtime,
    [{ address: "192.0.2.0/24", ports: parsePortRange(ports)! }],
    isAllowed,
  );
  return ran;
}

test("endConnections() reads the first packet's side of each connection", async () => {
  const asked: string[] = [];
  const ran = await end("tcp/1-100", (source, port) => {
    asked.push(`${source} ${formatPortRange(port)}`);
    return true;
  });
  assertEquals(asked, [
    "192.0.2.9 tcp/22",
    "192.0.2.10 tcp/22",
    "192.0.2.9 tcp/80",
  ]);
  assertEquals(ran.length, 1);
});

test("endConnections() ends what was granted, and not what still is", async () => {
  const ran = await end("tcp/20-30", (source) => source === "192.0.2.10");
  assertEquals(ran, [
    "-L -f ipv4 -p tcp -s 192.0.2.0/24",
    "-D -f ipv4 -p tcp -s 192.0.2.9 -d 203.0.113.1 --orig-port-src 40000 --orig-port-dst 22",
  ]);
});

test("conntrackProblem() is null where no service asks for it", async () => {
  const runtime = new FakeRuntime();
  const service = { name: "ssh", cut: false, kill: false };
  assertEquals(await conntrackProblem(runtime, [service]), null);
  const said = await conntrackProblem(runtime, [{ ...service, cut: true }]);
  assertEquals(
    said?.message,
    "services.ssh.cut needs the program conntrack, which is not installed",
  );
});

test("conntrackProblem() finds the program where the PATH does not name its folder", async () => {
  const runtime = new FakeRuntime();
  runtime.programs.set("/usr/sbin/conntrack", () => ({ code: 0 }));
  const service = { name: "ssh", cut: false, kill: true };
  assertEquals(await conntrackProblem(runtime, [service]), null);
});

test("endConnections() names a program that is nowhere as it was asked for", async () => {
  const ports = parsePortRange("tcp/22")!;
  await assertRejects(
    () =>
      endConnections(
        new FakeRuntime(),
        [{ address: "::1", ports }],
        () => true,
      ),
    FirewallError,
    'cannot end connections: no program "conntrack"',
  );
});
