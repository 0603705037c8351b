/** The demo in two network namespaces of its own, with real nftables. */

import type { Runtime } from "../../runtime/runtime.ts";
import { FailureError, orNull } from "../../values/errors.ts";
import { setStage, type Stage } from "./stage.ts";

const PORT = 62201;
const SERVICE_PORT = 8022;
const SERVER = "10.77.0.1";
const CLIENT = "10.77.0.2";
/** The client's second address, used for the server's second one. */
const NEIGHBOUR = "10.77.0.3";
const SERVER_FOR_NEIGHBOUR = "10.77.1.1";

/** Makes the namespaces and starts everything in them; throws an OperatorError where that cannot be. */
export function stageNamespaces(runtime: Runtime): Promise<Stage> {
  const server = `knock-demo-${runtime.pid}-server`;
  const client = `knock-demo-${runtime.pid}-client`;
  const inServer = ["ip", "netns", "exec", server];
  const inClient = ["ip", "netns", "exec", client];
  return setStage(runtime, async (processes) => {
    await connect(runtime, server, client);
    const service = ["demo", "--serve", `0.0.0.0:${SERVICE_PORT}`];
    await processes.start(inServer, service, "ready");
    return {
      words: `a server with tcp/${SERVICE_PORT} at ${SERVER} and a client at ` +
        `${CLIENT},\nin two network namespaces, with nftables:`,
      hasNeighbour: true,
      reach: async (fromNeighbour) => {
        const host = fromNeighbour ? SERVER_FOR_NEIGHBOUR : SERVER;
        const greet = ["demo", "--greet", `${host}:${SERVICE_PORT}`];
        const { code, stdout } = await processes.run(inClient, greet);
        return code === 0 ? stdout : null;
      },
      backend: "nft",
      servicePort: SERVICE_PORT,
      to: null,
      host: SERVER,
      port: PORT,
      inServer,
      inClient,
    };
  }, async () => {
    for (const name of [server, client]) {
      await runtime.run(["ip", "netns", "delete", name]).catch(() => {});
    }
  });
}

async function connect(
  runtime: Runtime,
  server: string,
  client: string,
): Promise<void> {
  for (
    const words of [
      `netns add ${server}`,
      `netns add ${client}`,
      `link add veth0 netns ${server} type veth peer name veth0 netns ${client}`,
      `-n ${server} address add ${SERVER}/24 dev veth0`,
      `-n ${server} address add ${SERVER_FOR_NEIGHBOUR}/32 dev veth0`,
      `-n ${client} address add ${CLIENT}/24 dev veth0`,
      `-n ${client} address add ${NEIGHBOUR}/24 dev veth0`,
      `-n ${server} link set lo up`,
      `-n ${server} link set veth0 up`,
      `-n ${client} link set lo up`,
      `-n ${client} link set veth0 up`,
      `-n ${client} route add ${SERVER_FOR_NEIGHBOUR} dev veth0 src ${NEIGHBOUR}`,
    ]
  ) {
    const ran = await orNull(() => runtime.run(["ip", ...words.split(" ")]));
    if (!ran) throw new FailureError("the program ip is missing");
    if (ran.code === 0) continue;
    throw new FailureError(`ip ${words}: ${ran.stderr.trim()}`);
  }
}
