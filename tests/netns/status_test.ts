/** `status` and `doctor` show this moment: a knock, and the question at once. */

import { assert, assertEquals } from "@std/assert";
import { CLIENTS } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE] = CLIENTS[4];

for (const backend of ["nft", "gate"]) {
  programTest(
    `status and doctor know at once what came in, and that a grant was used (${backend})`,
    async (program, pair) => {
      const service = backend === "nft"
        ? "tcp/22"
        : "{ listen: tcp/22, to: '10.77.0.1:8022' }";
      program.configure(
        `firewall: { backend: ${backend} }\nservices: { ssh: ${service} }`,
        [{ name: "alice", policy: ["open: [ssh]", "once: true"] }],
      );
      await pair.serve("tcp", backend === "nft" ? 22 : 8022);
      await program.serve();
      await program.enrol("alice");
      const status = async () =>
        JSON.parse((await program.admin("status", "--json")).stdout);
      const received = await findings(program, "packets_received");
      assertEquals(received.map(({ level }) => level), ["warn"]);

      for (let count = 0; count < 3; count++) {
        await program.client(["alice", "--open", "tcp/23", "--for", "60"]);
      }
      const { counters } = await status();
      assertEquals([counters.received, counters.refused_ports], [3, 3]);
      assertEquals(await findings(program, "packets_received"), []);

      assertEquals((await program.client(["alice", "--for", "60"])).code, 0);
      const [grant] = (await status()).grants;
      assertEquals([grant.once, grant.ports], [true, ["tcp/22"]]);
      assert(await pair.canReach(HERE, 22));
      assertEquals((await status()).grants, []);
      const log = await program.admin("log", "-n", "1", "--json");
      const last = JSON.parse(log.stdout);
      assertEquals([last.event, last.reason], ["end", "it was used"]);
      // The gate accepts all, and closes those without a grant.
      if (backend === "nft") assert(!await pair.canReach(HERE, 22));
    },
  );
}

async function findings(program: Program, id: string) {
  const { stdout } = await program.admin("doctor", "--json");
  const { findings } = JSON.parse(stdout) as {
    findings: { id: string; level: string }[];
  };
  return findings.filter((one) => one.id === id);
}
