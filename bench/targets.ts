/** The targets of the measurements. */

type Figures = Readonly<Record<string, number | null>>;

/** Target of a figure. */
export interface Target {
  readonly what: string;
  readonly measure: string;
  /** The target in words. */
  readonly text: string;
  readonly atMost: boolean;
  /** The target in the figure's unit; null when what it depends on is not there. */
  limit(figures: Figures): number | null;
  /** The peers' figures that belong beside it. */
  readonly peers: readonly string[];
}

const target = (
  what: string,
  measure: string,
  [sign, value, unit]: readonly ["≤" | "≥", number, string],
  peers: readonly string[] = [],
): Target => ({
  what,
  measure,
  text: `${sign} ${value.toLocaleString("en")}${unit}`,
  atMost: sign === "≤",
  limit: () => value,
  peers,
});

/** Within so many times what a server without grants took in the same minute. */
const growth = (
  what: string,
  grants: "5k" | "100k",
  peers: string[] = [],
): Target => ({
  what,
  measure: `spa_open_ms_median_${grants}`,
  text: "≤ 1.5 × without, beside it",
  atMost: true,
  limit(figures) {
    const beside = figures[`spa_open_ms_median_beside_${grants}`];
    return beside == null ? null : 1.5 * beside;
  },
  peers,
});

// deno-fmt-ignore
export const TARGETS: readonly Target[] = [
  target("SPA packet → connect, ms", "spa_open_ms_median", ["≤", 2, " ms"], [
    "fwknopd_udp_open_ms_median", "fwknopd_pcap_open_ms_median",
  ]),
  target("tap in a browser → \"open\" in the page, ms", "browser_open_ms_median", ["≤", 60, " ms"]),
  target("taps that open in a junk flood, of 20", "browser_flood_junk_opened_of_20", ["≥", 20, ""]),
  target("… under the right tag and random bytes at 50,000/s", "browser_flood_tag_opened_of_20", ["≥", 20, ""]),
  target("… under the right tag and mac at 5,000/s", "browser_flood_mac_opened_of_20", ["≥", 20, ""]),
  growth("… with 5,000 open grants, ms", "5k", ["fwknopd_udp_open_ms_median_5k"]),
  growth("… with 100,000 open grants, ms", "100k"),
  target("last knock of a kernel sequence → connect, ms", "sequence_open_ms_median", ["≤", 0.5, " ms"], ["knockd_open_ms_median"]),
  target("interleaved sequences, of 1,000 open", "sequences_interleaved_open", ["≥", 1000, ""], ["knockd_interleaved_open"]),
  target("junk flood, packets/s", "flood_pps", ["≥", 300_000, "/s"]),
  target("valid knocks that open in it, of 20", "flood_opened_of_20", ["≥", 20, ""], [
    "fwknopd_udp_flood_opened_of_20_at_10k", "fwknopd_pcap_flood_opened_of_20_at_2k",
  ]),
  target("… without the kernel gate, 3 tries, at 50,000/s, of 20", "flood_ungated_opened_of_20", ["≥", 20, ""]),
  target("junk frame dropped by nft at the interface, net of the frame, ns", "prefilter_ns_ingress", ["≤", 520, " ns"]),
  target("… by XDP in the driver", "prefilter_ns_xdp_native", ["≤", 80, " ns"]),
  target("valid knocks under 5,000/s of openme's and OpenSPA's worst junk each, 3 tries, of 20", "dialect_junk_opened_of_20", ["≥", 19, ""]),
  target("… under fwknop's form at 50,000/s from the client's own address, 3 tries, of 20", "forged_form_opened_of_20", ["≥", 20, ""], ["fwknopd_forged_form_opened_of_20"]),
  target("… under the right tag and random bytes, the same", "forged_tag_opened_of_20", ["≥", 20, ""], ["fwknopd_forged_tag_opened_of_20"]),
  target("… under copies of a knock, the same", "forged_copy_opened_of_20", ["≥", 20, ""], ["fwknopd_forged_copy_opened_of_20"]),
  target("… under the right tag and mac at 5,000/s", "forged_mac_opened_of_20", ["≥", 20, ""], ["fwknopd_forged_mac_opened_of_20"]),
  target("valid knock/1 judged, Deno, one core", "judge_valid_per_s", ["≥", 5000, "/s"]),
  target("valid knock/1 judged, Bun, one core", "judge_valid_per_s_bun", ["≥", 10_000, "/s"]),
  target("replays refused", "judge_replay_per_s", ["≥", 80_000, "/s"]),
  target("wrong macs refused", "judge_bad_mac_per_s", ["≥", 80_000, "/s"]),
  target("wrong tags refused", "judge_bad_tag_per_s", ["≥", 1_000_000, "/s"]),
  target("one-shot client, compiled by Bun, ms", "oneshot_ms_bun", ["≤", 15, " ms"], ["fwknop_oneshot_ms", "knock_oneshot_ms"]),
  target("one-shot client, deno run, ms", "oneshot_ms_deno", ["≤", 60, " ms"]),
  target("openness after another program flushed the rules, of 60 times the longest, ms", "flush_open_ms_max", ["≤", 100, " ms"]),
  target("… iptables", "flush_open_ms_max_iptables", ["≤", 1000, " ms"]),
  target("fleet of three on etcd: packet → connect at the gateway that got it, ms", "fleet_open_ms_median", ["≤", 6, " ms"]),
  target("… at the others, ms", "fleet_others_open_ms_median", ["≤", 8, " ms"]),
  target("a gateway with 1,000,000 clients of a fleet, MB", "clients_1m_rss_mb", ["≤", 250, " MB"]),
  target("… its start, s", "clients_1m_start_s", ["≤", 5, " s"]),
  target("… valid packets opened", "clients_1m_opened_per_s", ["≥", 2000, "/s"]),
  target("server memory, MB", "server_rss_mb", ["≤", 90, " MB"], ["fwknopd_rss_mb"]),
  target("server memory after a flood, MB", "server_rss_mb_flood", ["≤", 90, " MB"]),
  target("server memory after 100,000 grants, MB", "server_rss_mb_100k", ["≤", 90, " MB"]),
];
