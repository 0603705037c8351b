/**
 * Configurations of knockd, and what knockd 0.8 makes of each: tried with the
 * real one (tests/netns/knockd_test.ts does so again).
 * @module
 */

/** One file. */
export interface KnockdProbe {
  readonly name: string;
  readonly text: Uint8Array;
  /** The line that our message names; null where knockd takes the file. */
  readonly refused: number | null;
}

const latin1 = (text: string) =>
  Uint8Array.from(text, (letter) => letter.charCodeAt(0));

const probe = (name: string, text: string, refused: number | null = null) => ({
  name,
  text: latin1(text),
  refused,
});

const many = (letter: string, count: number) => letter.repeat(count);

export const KNOCKD_PROBES: readonly KnockdProbe[] = [
  probe("bare", "[d]\nsequence = 1,2\nhello\n", 3),
  probe("bom", "\xef\xbb\xbf[d]\nsequence=1\n", 1),
  probe("brackets", "[[x]]\nsequence=1\n"),
  probe(
    "cmd6",
    "[d]\nsequence = 1,2\nstart_command_6 = x\nstop_command_6 =\ncommand_6=y\n",
  ),
  probe("cmdempty", "[d]\nsequence = 1,2\ncommand =\n"),
  probe("cmdhash", "[d]\nsequence = 1,2\ncommand = x # y\n"),
  probe("comment", "# x\n\n   # y\n"),
  probe("cr", "[d]\rsequence=1\r", 1),
  probe("doorkeyinopts", "[options]\nsequence=1\n", 2),
  probe("dup", "[d]\nsequence=1\n[d]\nsequence=2\n"),
  probe("empty", ""),
  probe("emptysec", "[]\n", 1),
  probe("eqfirst", "[d]\nsequence = 1,2\n= x\n", 3),
  probe("flagbad", "[d]\nsequence = 1,2\ntcpflags = foo\n", 3),
  probe("flagbangspace", "[d]\nsequence = 1,2\ntcpflags = ! syn\n", 3),
  probe("flagempty", "[d]\nsequence = 1,2\ntcpflags =\n", 3),
  probe("flagpipe", "[d]\nsequence = 1,2\ntcpflags = syn|ack\n", 3),
  probe("flags", "[d]\nsequence = 1,2\ntcpflags = syn,!ack\ntcpflags=FIN\n"),
  probe("flagspace", "[d]\nsequence = 1,2\ntcpflags = syn, ack\n", 3),
  probe("flagtrail", "[d]\nsequence = 1,2\ntcpflags = syn,\n", 3),
  probe("keycase", "[d]\nSeQuEnCe=1\nTiMeOuT = 3\n"),
  probe("keyspace", "[d]\nseq uence=1\n", 2),
  probe("latin", "[d\xe9]\nsequence=1\ncommand=\xff\n"),
  probe("longhash", "[d]\nsequence=1\n#" + many("x", 4094) + "#zzz\n"),
  probe("longline", "[d]\nsequence=1\n#" + many("x", 5000) + "\n", 4),
  probe("longok", "[d]\nsequence=1\ncommand = " + many("x", 4000) + "\n"),
  probe("longsec", "[" + many("n", 300) + "]\nsequence=1\n"),
  probe("nbsp", "[d]\nsequence=1\n\xc2\xa0\n", 3),
  probe("nonl", "[d]\nsequence=1"),
  probe("nosection", "sequence = 1\n", 1),
  probe("nosection2", "usesyslog\n", 1),
  probe("noseq", "[d]\ncommand = x\n", 1),
  probe("onetimemissing", "[d]\none_time_sequences = /nonexistent\n", 2),
  probe("optbad", "[options]\nfoo = 1\n", 2),
  probe("optcase", "[Options]\nlogfile=/dev/null\n", 2),
  probe(
    "opts",
    "[options]\nUseSyslog\nlogfile=/dev/null\npidfile=/dev/null\ninterface=lo\n",
  ),
  probe("optsagain", "[d]\nsequence = 1,2\n[options]\nusesyslog\n"),
  probe("proto", "[d]\nsequence = 1:udp, 2:TCP ,3: Udp\n"),
  probe("protobad", "[d]\nsequence = 1:sctp\n", 2),
  probe("protoempty", "[d]\nsequence = 1:\n", 2),
  probe("protohash", "[d]\nsequence = 1:tcp # x\n", 2),
  probe("protojunk", "[d]\nsequence = 1:udp:x\n"),
  probe("repeat", "[d]\nsequence=70000x\n", 2),
  probe("repeat2", "[d]\nsequence = 1,2\nsequence = 3\n"),
  probe("sec255", "[" + many("n", 254) + "]\nsequence=1\n"),
  probe("secblank", "  [d]  \r\nsequence=1\r\n"),
  probe("secinner", "[ ]\nsequence=1\n"),
  probe("secjunk", "[d] # x\nsequence=1\n", 1),
  probe("section_eq", "[a=b]\nsequence=1\n"),
  probe("semicolon", "; x\n", 1),
  probe(
    "seq32",
    "[d]\nsequence = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32\n",
  ),
  probe(
    "seq33",
    "[d]\nsequence = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33\n",
    2,
  ),
  probe("seq65535", "[d]\nsequence = 65535\n"),
  probe("seq65536", "[d]\nsequence = 65536\n", 2),
  probe("seqbig", "[d]\nsequence = 70000\n", 2),
  probe("seqempty", "[d]\nsequence =\n"),
  probe("seqhash", "[d]\nsequence = 1,2 # x\n"),
  probe("seqhuge", "[d]\nsequence = 99999999999\n", 2),
  probe("seqhuge2", "[d]\nsequence = 99999999999999999999999\n"),
  probe("seqjunk", "[d]\nsequence = 1x,2\n"),
  probe("seqname", "[d]\nsequence = ssh,http\n"),
  probe("seqneg", "[d]\nsequence = -1\n"),
  probe("seqneg2", "[d]\nsequence=-70000\n"),
  probe("seqplus", "[d]\nsequence = +1,2\n"),
  probe("seqport0", "[d]\nsequence=0\n"),
  probe("seqtrail", "[d]\nsequence = 1,2,\n"),
  probe("syslogeq", "[options]\nusesyslog = yes\n", 2),
  probe("syslogindoor", "[d]\nsequence = 1,2\nusesyslog\n"),
  probe("tabs", "\t[d]\t\n\t sequence\t=\t1 , 2 \t\n"),
  probe("target6", "[d]\nsequence = 1,2\ntarget = fd77::1\n"),
  probe("targetempty", "[d]\nsequence = 1,2\ntarget =\n", 3),
  probe("targethost", "[d]\nsequence = 1,2\ntarget = host.invalid\n", 3),
  probe("targetip", "[d]\nsequence = 1,2\ntarget = 10.77.0.1\n"),
  probe(
    "timeouts",
    "[d]\nsequence = 1,2\nseq_timeout = 5s\ntimeout=abc\ncmd_timeout=-3\n",
  ),
  probe("twoeq", '[d]\nsequence = 1,2\ncommand = a=b=c "q" # z\n'),
  probe("unknown", "[d]\nsequence = 1,2\ncolor = red\n", 3),
  probe("vt", "\v[d]\f\nsequence=1\v\n"),
];
