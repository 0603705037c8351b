/** The way through for ssh's ProxyCommand: a connection, after a knock if need be. */

import type { Runtime, Stream } from "../../runtime/runtime.ts";
import { parseAddress } from "../../values/address.ts";
import { orNull, UsageError } from "../../values/errors.ts";
import type { KnockOptions, UnaddressedRequest } from "../knock/knock.ts";
import type { Profile } from "../profile/profile.ts";
import { type AttemptTarget, connectOnce, knockAndConnect } from "./opening.ts";
import { forgetGrant, once, recallGrant, rememberGrant } from "./remembered.ts";

/** Longest wait for a port that should be open already, milliseconds. */
const REMEMBERED_WAIT_MS = 1000;

/**
 * Connects to a TCP port of a profile's server. Where a grant is remembered it
 * connects at once, and knocks if that fails; several at a time knock once.
 */
export async function connectThrough(
  runtime: Runtime,
  profile: Profile,
  request: UnaddressedRequest,
  options: KnockOptions,
  target: AttemptTarget,
): Promise<Stream> {
  const { port } = target;
  const startMs = runtime.nowMs();
  let tried = -Infinity;
  const remembered = async () => {
    const grant = recallGrant(runtime, profile, port);
    // What did not let this connection in is not tried twice.
    if (!grant || grant.atMs <= tried) return null;
    tried = grant.atMs;
    const addresses = await addressesOf(runtime, profile, target);
    if (addresses.length === 0) return null;
    const wanted = { addresses, port };
    const connected = await connectOnce(runtime, wanted, REMEMBERED_WAIT_MS);
    return connected.ok ? connected.stream : null;
  };
  const open = async () => {
    // Not one that another process got in the meantime.
    if (tried < startMs) forgetGrant(runtime, profile, port);
    const opening = await knockAndConnect(
      runtime,
      profile,
      request,
      options,
      target,
    );
    const { outcome } = opening.knocked;
    rememberGrant(runtime, profile, port, outcome, request.seconds);
    return opening.stream;
  };
  return await remembered() ??
    await once(runtime, profile, port, open, remembered);
}

/**
 * The address that a proxy's HOST means: null where it is the profile's server
 * itself. Throws UsageError when it is another host.
 */
export async function targetAddress(
  runtime: Runtime,
  profile: Profile,
  host: string,
): Promise<string | null> {
  const own = profile.server.host;
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const address = parseAddress(bare);
  if (bare.toLowerCase() === own.toLowerCase()) return null;
  if (address !== null && address === parseAddress(own)) return null;
  if (address !== null) {
    const known = await orNull(() => runtime.resolve(own));
    if (known?.includes(address)) return address;
  }
  throw new UsageError(
    `HOST must be the server of profile "${profile.name}", "${own}" or an ` +
      `address of it, got "${host}"`,
    `in ~/.ssh/config write: HostName ${own}`,
  );
}

async function addressesOf(
  runtime: Runtime,
  { server: { host } }: Profile,
  { address }: AttemptTarget,
): Promise<readonly string[]> {
  if (address !== null) return [address];
  // The knock reports a name that does not resolve.
  return await orNull(() => runtime.resolve(host)) ?? [];
}
