-- The acceptance of one packet, as a finite model for rumur (a checker of
-- Murphi models): one gateway alone, and two in a fleet. Whoever has recorded
-- the packet may send copies of it to any gateway at any time. It must open at
-- most once, and only what the engine has granted; what was answered as done
-- must outlive the death of the server.
--
-- The lines of the program that it stands for:
--   deliver   lib/server/packet/decide.ts  isTimely, isForgotten, note, record
--   process   lib/fleet/etcd/engine.ts     claim: create if absent, else read
--   receive   lib/server/fleet/settle.ts   settle: ours, taken, unknown
--   give up   lib/server/fleet/settle.ts   unknown is silence
--   prune     lib/server/state/replay.ts   prune, by clock.surelyMs
--   reboot    lib/server/state/replay.ts   begin: the floor after a start
--   lease     lib/server/fleet/member.ts   #claimLiveMs
--   done      lib/server/grants/change.ts  apply, after records.ts record
--
-- Left out: what the others are told along with a claim, which is in telling.m.
--
-- Assumed: a server starts with a clock that is right; a gateway that stands
-- alone has no clock that is set back behind the true time; after a power cut
-- the record of a packet whose stamp lies ahead of the clock is on the disk.
--
-- Times are in units. A test changes the constants below, one at a time, and
-- expects the checker to find what breaks (tests/house/model_test.ts).

const
  GATEWAYS: 2;
  FLEET: 1;             -- 0: each gateway alone; then with one gateway
  SKEW: 1;              -- max_skew
  MARGIN: 1;            -- by which clocks of gateways and engine may differ
  STAMP: 3;             -- of the packet
  LAST: 7;
  WAIT: 1;              -- longest wait for an answer
  LEASE: 5;             -- 2 * SKEW + 2 * MARGIN + WAIT
  KEPT: 1;            -- a record is kept so long behind the stamp: SKEW
  UNKNOWN_OPENS: 0;     -- 1: an answer that does not come is taken for ours
  READS_BACK: 1;        -- 1: a key with our own nonce is ours
  ANY_HOLDER_IS_OURS: 0; -- 1: a key with this gateway's name is ours
  CHECKS_ENGINE_CLOCK: 1; -- 1: the stamp must be timely by the engine's clock
  PRUNES_SURELY: 1;     -- 1: by a time that has surely been reached
  NOTICES_LOSS: 1;      -- 1: other data than before is noticed
  FLOOR: 1;             -- 1: after a power cut, stamps of before are refused
  RECORDS_FIRST: 1;     -- 1: recorded before it is claimed or opened
  LEDGER_FIRST: 1;      -- 1: the ledger has a grant before it is answered

type
  gateway: scalarset(GATEWAYS);
  nonce: 0..2;
  offset: -2..2;
  waiting: enum { idle, claiming };
  answer: enum { none, ours, taken };

var
  t: 0..LAST;            -- the engine's clock, which is the true time
  off: array [gateway] of offset; -- a gateway's clock is t + off
  up: array [gateway] of boolean;
  recorded: array [gateway] of boolean;
  forgotten: array [gateway] of boolean; -- the floor is past the stamp
  state: array [gateway] of waiting;
  current: array [gateway] of nonce;
  waits: array [gateway] of 0..WAIT+1; -- how long a claim waits already
  flight: array [gateway] of array [nonce] of boolean; -- claims on their way
  told: array [gateway] of answer;
  held: boolean;        -- the key exists
  holder: gateway;
  held_nonce: nonce;
  expires: 0..LAST+LEASE;
  opened: 0..3;
  ledger: array [gateway] of boolean;
  acked: array [gateway] of boolean;
  kernel: array [gateway] of boolean;

function abs(n: -20..20): 0..20;
begin
  if n < 0 then return -n; else return n; end;
end;

function timely(g: gateway): boolean;
begin
  return abs(STAMP - (t + off[g])) <= SKEW &
    (FLEET = 0 | CHECKS_ENGINE_CLOCK = 0 | abs(STAMP - t) <= SKEW + MARGIN);
end;

-- The key is gone.
procedure lose();
begin
  held := false;
  undefine holder;
  undefine held_nonce;
  undefine expires;
end;

-- Nobody waits for an answer any more.
procedure rest(g: gateway);
begin
  state[g] := idle;
  told[g] := none;
  waits[g] := 0;
end;

-- The record, the firewall, the answer.
procedure open(g: gateway);
begin
  opened := opened + 1;
  if LEDGER_FIRST = 1 then ledger[g] := true; end;
  kernel[g] := true;
  acked[g] := true;
end;

startstate begin
  t := 0;
  for g: gateway do
    off[g] := 0;
    up[g] := true;
    recorded[g] := false;
    forgotten[g] := false;
    state[g] := idle;
    current[g] := 0;
    waits[g] := 0;
    for n: nonce do flight[g][n] := false; end;
    told[g] := none;
    ledger[g] := false;
    acked[g] := false;
    kernel[g] := false;
  end;
  held := false;
  opened := 0;
end;

rule "time passes" t < LAST ==>
begin
  t := t + 1;
  for g: gateway do
    if state[g] = claiming & waits[g] <= WAIT then waits[g] := waits[g] + 1; end;
  end;
  if held & t > expires then
    lose();
  end;
end;

ruleset g: gateway; o: offset do
  rule "a clock is set"
    up[g] & off[g] != o & (o = 0 | o = 2 | o = -2 & FLEET = 1)
  ==>
  begin
    off[g] := o;
  end;
end;

ruleset g: gateway do

  rule "a copy is delivered"
    up[g] & state[g] = idle & timely(g) & !recorded[g] & !forgotten[g] &
    (FLEET = 0 | current[g] < 2) & opened < 3
  ==>
  begin
    if RECORDS_FIRST = 1 then recorded[g] := true; end;
    if FLEET = 1 then
      current[g] := current[g] + 1;
      state[g] := claiming;
      told[g] := none;
      flight[g][current[g]] := true;
    else
      open(g);
      recorded[g] := true;
    end;
  end;

  rule "a claim is sent again" up[g] & state[g] = claiming & told[g] = none ==>
  begin
    flight[g][current[g]] := true;
  end;

  rule "a claim is given up" up[g] & state[g] = claiming & told[g] = none & opened < 3 ==>
  begin
    rest(g);
    if UNKNOWN_OPENS = 1 then open(g); end;
  end;

  rule "an answer is received"
    up[g] & state[g] = claiming & told[g] != none & opened < 3
  ==>
  begin
    if told[g] = ours & !forgotten[g] & waits[g] <= WAIT then
      recorded[g] := true;
      open(g);
    end;
    rest(g);
  end;

  rule "records are pruned"
    up[g] & recorded[g] &
    t + off[g] > STAMP + KEPT & (PRUNES_SURELY = 0 | t > STAMP + KEPT)
  ==>
  begin
    recorded[g] := false;
  end;

  rule "the server dies" up[g] ==>
  begin
    up[g] := false;
    rest(g);
    off[g] := 0;
  end;

  -- What the kernel holds is put right by the ledger.
  rule "the server starts" !up[g] ==>
  begin
    up[g] := true;
    kernel[g] := ledger[g];
  end;

  -- The last records may not have reached the disk.
  rule "the power is cut" up[g] & STAMP <= t ==>
  begin
    recorded[g] := false;
    if FLOOR = 1 then forgotten[g] := true; end;
    rest(g);
    off[g] := 0;
    acked[g] := false;
    ledger[g] := false;
    kernel[g] := false;
  end;

end;

ruleset g: gateway; n: nonce; arrives: boolean do

  -- Linear: of all that create a key, one finds it absent. The answer may be
  -- lost, or come when nobody waits for it.
  rule "the engine takes a claim" n > 0 & flight[g][n] ==>
  var said: answer;
  begin
    flight[g][n] := false;
    if !held then
      held := true;
      holder := g;
      held_nonce := n;
      expires := t + LEASE;
      said := ours;
    elsif READS_BACK = 1 & holder = g & (held_nonce = n | ANY_HOLDER_IS_OURS = 1) then
      said := ours;
    else
      said := taken;
    end;
    if arrives & up[g] & state[g] = claiming & current[g] = n then
      told[g] := said;
    end;
  end;

end;

-- Emptied, or put back from a copy: stamps of before are refused by all.
rule "the engine loses its data" FLEET = 1 & held & STAMP <= t ==>
begin
  lose();
  if NOTICES_LOSS = 1 then
    for g: gateway do forgotten[g] := true; end;
  end;
end;

invariant "no packet is accepted twice" opened <= 1;

invariant "no acknowledged grant is lost"
  forall g: gateway do acked[g] & up[g] -> kernel[g] end;
