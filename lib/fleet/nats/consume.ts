/** Messages of a bucket in order, by a consumer that ends when any may be missing. */

import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import type { Runtime } from "../../runtime/runtime.ts";
import type { KeyValue } from "../fleet.ts";
import type { NatsCalls } from "./calls.ts";
import { keyOfName, NatsError, natsError, placeOf } from "./wire.ts";

/** Interval of the heartbeats of an idle consumer, milliseconds. */
const BEAT_MS = 1000;
/** Silence after which a consumer is given up, milliseconds. */
const SILENCE_MS = 4000;
/** A consumer that nobody listens to is removed after so long, milliseconds. */
const REST_MS = 60_000;
/** Largest value that is read, bytes; a larger one stands as {@linkcode TOO_BIG}. */
const MAX_VALUE = 1024 * 1024;
const TOO_BIG = "";

/** A change of a key, and its revision. */
export interface Revised extends KeyValue {
  readonly revision: number;
}

/** Where a consumer begins: with the last message of each subject, or at a revision. */
type Beginning =
  | { readonly deliver_policy: "last_per_subject" }
  | {
    readonly deliver_policy: "by_start_sequence";
    readonly opt_start_seq: number;
  };

/** Nanoseconds, as JetStream counts. */
const nanos = (ms: number) => ms * 1e6;

/**
 * Reads what is there and what comes under some subjects, in batches and in
 * order of the revisions, until aborted. Throws NatsError when a message may
 * be missing.
 */
export async function* consume(
  calls: NatsCalls,
  runtime: Runtime,
  connection: NatsConnection,
  filter_subjects: readonly string[],
  beginning: Beginning,
  signal: AbortSignal,
): AsyncIterable<readonly Revised[]> {
  const { stream, subjects } = calls;
  const inbox = createInbox();
  const name = `knock_${runtime.random(12).toHex()}`;
  let batch: Revised[] = [];
  /** Where the server wants to hear that what it sent is read. */
  let flow: string | null = null;
  let failure: NatsError | null = null;
  let delivered = 0;
  let heardMs = runtime.monotonicMs();
  let wake = () => {};
  const fail = (why: string) => {
    failure ??= new NatsError("elsewhere", why);
    wake();
  };
  const subscription = connection.subscribe(inbox, {
    callback: (error, { headers, data, reply = "", subject }) => {
      if (error) return fail(error.message);
      heardMs = runtime.monotonicMs();
      const code = headers?.code ?? 0;
      if (code === 100) {
        const last = headers?.get("Nats-Last-Consumer") ?? "";
        if (last !== "" && Number(last) > delivered) fail("messages are lost");
        const stalled = headers?.get("Nats-Consumer-Stalled") ?? "";
        flow = reply !== "" ? reply : stalled !== "" ? stalled : flow;
        return wake();
      }
      if (code >= 400) return fail(headers!.description || `status ${code}`);
      const place = placeOf(reply);
      if (place?.delivery !== ++delivered) return fail("messages are lost");
      const key = keyOfName(subject.slice(subjects.length));
      const operation = headers?.get("KV-Operation") ?? "";
      // A key that died of its age is a marker, where the bucket makes them.
      const isGone = operation !== "" ||
        (headers?.get("Nats-Marker-Reason") ?? "") !== "";
      if (key === null) return;
      batch.push({
        key,
        revision: place.sequence,
        value: isGone
          ? null
          : data.length > MAX_VALUE
          ? TOO_BIG
          : new TextDecoder().decode(data),
      });
      wake();
    },
  });
  subscription.closed.then(() => fail("the connection was closed"));
  const watchman = runtime.every(BEAT_MS, () => {
    if (runtime.monotonicMs() - heardMs > SILENCE_MS) {
      fail("no heartbeat comes");
    }
  });
  const stop = () => wake();
  signal.addEventListener("abort", stop);
  try {
    await calls.ask(connection, `CONSUMER.CREATE.${stream}.${name}`, {
      stream_name: stream,
      action: "create",
      config: {
        ...{ name, deliver_subject: inbox, filter_subjects, ...beginning },
        ...{ ack_policy: "none", max_deliver: 1, replay_policy: "instant" },
        ...{ flow_control: true, idle_heartbeat: nanos(BEAT_MS) },
        ...{ mem_storage: true, num_replicas: 1 },
        inactive_threshold: nanos(REST_MS),
      },
    }, SILENCE_MS);
    while (!signal.aborted) {
      const ready = new Promise<void>((resolve) => wake = resolve);
      if (batch.length > 0) {
        const whole = batch;
        batch = [];
        yield whole;
        continue;
      }
      if (failure) throw failure;
      if (flow !== null) {
        connection.publish(flow);
        flow = null;
      }
      await ready;
    }
  } catch (error) {
    throw natsError(error);
  } finally {
    watchman.stop();
    signal.removeEventListener("abort", stop);
    subscription.unsubscribe();
    if (!connection.isClosed()) {
      calls.ask(connection, `CONSUMER.DELETE.${stream}.${name}`, {}, BEAT_MS)
        .catch(() => {});
    }
  }
}
