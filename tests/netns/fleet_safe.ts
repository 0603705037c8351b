/**
 * A fleet on an etcd with TLS, users and roles, set up by the commands and
 * files of docs/fleet.md, with the addresses of this stage.
 * @module
 */

import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { addressOf, FleetStage, type NodeId, NODES } from "./fleet.ts";
import { blocksOf } from "./fleet_document.ts";

/** Three machines with an etcd that asks for certificates and passwords. */
export class SafeStage extends FleetStage {
  readonly #files = join(this.folder, "files");
  readonly #certificates: string;
  readonly #environment: string;
  readonly #users: string;
  readonly #section: string;

  constructor() {
    super("etcd");
    const [certificates, environment, users, section] = blocksOf("On etcd")
      .map((block) => block.replaceAll("/etc/etcd", this.#files));
    this.#certificates = certificates!;
    this.#environment = environment!;
    this.#users = users!;
    this.#section = section!;
  }

  override async make(): Promise<void> {
    await super.make();
    mkdirSync(this.#files);
    await this.script(this.#certificates);
  }

  /** Runs commands on the client, beside the certificates. */
  async script(commands: string): Promise<string> {
    const argv = ["env", "-C", this.#files, "sh", "-eu"];
    const { code, stdout, stderr } = await this.onClient(argv, commands);
    if (code !== 0) throw new Error(`${commands}: ${stderr}`);
    return stdout;
  }

  /** Makes the users, and has etcd ask for them. */
  async makeUsers(): Promise<void> {
    await this.script(this.#users);
  }

  override get servers(): string[] {
    return NODES.map((one) => `https://${addressOf(one)}:2379`);
  }

  protected override etcdCommand(
    node: NodeId,
    options: readonly string[],
  ): string[] {
    const variables = this.#environment.trim().split("\n").map((line) =>
      line.startsWith("ETCD_INITIAL_CLUSTER=") ? line : line
        .replaceAll("gw1", `gw${node}`)
        .replaceAll(addressOf(1), addressOf(node))
    );
    // deno-fmt-ignore
    return [
      "env", "-C", this.#files, ...variables, "etcd", "--data-dir", this.dataOf(node),
      "--log-level", "error", ...options,
    ];
  }

  protected override get etcdctlEnvironment(): readonly string[] {
    const file = (name: string) => join(this.#files, name);
    // deno-fmt-ignore
    return [
      ...super.etcdctlEnvironment, `ETCDCTL_CACERT=${file("ca.pem")}`,
      `ETCDCTL_CERT=${file("gw1.pem")}`, `ETCDCTL_KEY=${file("gw1.key")}`,
    ];
  }

  /** Runs etcdctl as root. */
  async asRoot(...args: string[]): Promise<void> {
    const user = `root:${this.#read("root.password")}`;
    const { code, stderr } = await this.etcdctl("--user", user, ...args);
    if (code !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
  }

  /** Makes a user with the password that the gateways have, and a role. */
  async addUser(name: string, role: string): Promise<void> {
    const password = this.#read("etcd.password");
    await this.asRoot("user", "add", `${name}:${password}`);
    await this.asRoot("user", "grant-role", name, role);
  }

  /** Configures a gateway as the document says, or with another user or password. */
  configureSafely(
    node: NodeId,
    { user = "knock", password = this.#read("etcd.password") } = {},
  ): void {
    const lines = this.#section.replaceAll("gw1.", `gw${node}.`)
      .replace("user: knock", `user: ${user}`);
    this.configure(node, {
      clients: [this.clientLine()],
      fleet: lines.trim().split("\n"),
    });
    for (const name of ["ca.pem", `gw${node}.pem`, `gw${node}.key`]) {
      this.write(node, name, this.#read(name));
    }
    this.write(node, "etcd.password", password);
  }

  #read(name: string): string {
    return readFileSync(join(this.#files, name), "utf8").trim();
  }
}
