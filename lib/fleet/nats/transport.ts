/**
 * The way to a server of NATS. That of its library, but for TLS: there the
 * name to check is given for addresses, too, which Deno asks for, and an error
 * that comes with the end of the handshake, as when the server wants another
 * certificate, ends the connection and not the program.
 * @module
 */

import { connect as connectTls, type TLSSocket } from "node:tls";
import {
  type ConnectionOptions,
  type NatsConnection,
  NatsConnectionImpl,
  setTransportFactory,
} from "@nats-io/transport-node";
import {
  nodeResolveHost,
  NodeTransport,
} from "@nats-io/transport-node/lib/node_transport.js";
import { parseAddress } from "../../values/address.ts";

/** Connects to one server. Throws what the library throws. */
export function connectNats(
  options: ConnectionOptions,
): Promise<NatsConnection> {
  setTransportFactory({
    factory: () => new SafeTransport(),
    dnsResolveFn: nodeResolveHost,
  });
  return NatsConnectionImpl.connect(options);
}

/** A connection of the library, by TLS of our own. */
class SafeTransport extends NodeTransport {
  #host = "";
  /** The first error, which is the reason of those after it. */
  #failure: Error | null = null;

  override connect(
    ...[server, options]: Parameters<NodeTransport["connect"]>
  ): Promise<void> {
    this.#host = server.tlsName || server.hostname;
    return super.connect(server, options);
  }

  override startTLS(): Promise<TLSSocket> {
    const { ca, cert, key } = this.options.tls ?? {};
    return new Promise((resolve, reject) => {
      const socket: TLSSocket = connectTls({
        socket: this.socket,
        host: this.#host,
        ...(parseAddress(this.#host) === null && { servername: this.#host }),
        ...(ca !== undefined && { ca }),
        ...(cert !== undefined && { cert, key }),
      }, () => resolve(socket));
      socket.on("error", (error: Error) => {
        this.#failure ??= error;
        reject(error);
      });
      socket.on("close", () => reject(new Error("the connection was closed")));
    });
  }

  override async closed(): Promise<void | Error> {
    const error = await super.closed();
    if (this.#failure) this.closeError = this.#failure;
    return error;
  }
}
