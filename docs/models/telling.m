-- What two gateways of a fleet tell each other of one grant, as a finite model
-- for rumur (a checker of Murphi models). The first gives the grant and tells
-- it along with its claim; the second opens it by its watch, and may close it.
-- What was closed must stay closed, and when nothing is on its way, the engine
-- and both gateways must be of one mind.
--
-- The lines of the program that it stands for:
--   a knock comes     lib/server/fleet/outbox.ts  along
--   carried out       lib/fleet/etcd/engine.ts    claim: behind a heartbeat, else alone
--   answered          lib/server/fleet/outbox.ts  answered, then add
--   heartbeat         lib/server/fleet/outbox.ts  fenced, heard
--   written           lib/server/fleet/outbox.ts  #write
--   news              lib/server/fleet/outbox.ts  isAhead, then readers.ts
--   closes            lib/server/fleet/outbox.ts  remove
--
-- Assumed: a put or a drop is answered; news come in the order of the engine's
-- writes. What is closed while a claim for the same ports waits for its answer,
-- or before its grant could be told, may be opened by that claim.
--
-- A test changes the constants below, one at a time, and expects the checker to
-- find what breaks (tests/house/model_test.ts).

const
  KNOCKS: 2;
  BEATS: 2;
  QUEUE: 4;              -- news that are on their way to a gateway
  FENCED: 1;             -- 1: a grant is set along with a claim behind the last heartbeat alone
  SETTLES_HEARD: 1;      -- 1: a doubt ends when the heartbeat is heard, not when it is answered
  BACK_IF_THERE: 1;      -- 1: what the ledger holds is put back only where the engine has it
  KEEPS_DOUBT: 1;        -- 1: a doubt outlives the next knock
  HEARS_DROPS: 1;        -- 1: a grant in doubt that is dropped elsewhere is closed here
  NOTHING: 0;
  KEPT: 1;
  GONE: 2;

type
  knock: 1..KNOCKS;
  beat: 0..BEATS;
  news: 0..GONE + BEATS; -- none, set, dropped, a heartbeat and which
  place: 0..QUEUE-1;
  telling: enum { none, asked, dropped, doubtful };
  wish: enum { as_is, to_put, to_put_back, to_drop };

var
  -- The engine.
  held: boolean;         -- it has the grant
  there: beat;           -- the heartbeat that it has
  -- The gateway that gives the grant.
  ledger: boolean;
  along: telling;
  due: beat;             -- the heartbeat that ends the doubt when it is heard; 0: none yet
  wanted: wish;
  fence: beat;           -- the last heartbeat that was answered
  beating: boolean;      -- one is there, and not answered yet
  heard: beat;
  begun: 0..KNOCKS;
  waits: boolean;        -- for the answer to the last claim
  flies: array [knock] of boolean;  -- the claim
  bears: array [knock] of boolean;  -- the grant
  behind: array [knock] of beat;
  ours: array [knock] of boolean;   -- the answer
  set: array [knock] of boolean;    -- and the grant was set
  own: array [place] of news;
  -- The other gateway.
  open: boolean;
  closing: boolean;
  others: array [place] of news;
  -- It was closed, and no knock came since.
  closed: boolean;

function room(): boolean;
begin
  return own[QUEUE-1] = NOTHING & others[QUEUE-1] = NOTHING;
end;

procedure tell(n: news);
var done: boolean;
begin
  done := false;
  for p: place do
    if !done & own[p] = NOTHING then own[p] := n; done := true; end;
  end;
  done := n > GONE;
  for p: place do
    if !done & others[p] = NOTHING then others[p] := n; done := true; end;
  end;
end;

procedure drop();
begin
  if held then tell(GONE); end;
  held := false;
end;

procedure settle();
begin
  along := none;
  due := 0;
  if !ledger then
    wanted := to_drop;
  elsif wanted != to_put then
    wanted := to_put_back;
  end;
end;

startstate begin
  held := false;
  there := 0;
  ledger := false;
  along := none;
  due := 0;
  wanted := as_is;
  fence := 0;
  beating := false;
  heard := 0;
  begun := 0;
  waits := false;
  for k: knock do
    flies[k] := false;
    bears[k] := false;
    behind[k] := 0;
    ours[k] := false;
    set[k] := false;
  end;
  for p: place do own[p] := NOTHING; others[p] := NOTHING; end;
  open := false;
  closing := false;
  closed := false;
end;

rule "a knock comes" !waits & begun < KNOCKS ==>
begin
  begun := begun + 1;
  waits := true;
  flies[begun] := true;
  closed := false;
  if along = none & wanted = as_is then
    along := asked;
    bears[begun] := fence > 0;
    behind[begun] := fence;
  end;
end;

ruleset k: knock; arrives: boolean do

  -- The answer may be lost, or come when nobody waits for it.
  rule "a claim is carried out" flies[k] & room() ==>
  begin
    if bears[k] & FENCED = 1 & behind[k] != there then
      -- Nothing was done: it is claimed alone, by whoever waits still.
      bears[k] := false;
      flies[k] := arrives & waits & begun = k;
    else
      flies[k] := false;
      if bears[k] then held := true; tell(KEPT); end;
      if arrives & waits & begun = k then
        ours[k] := true;
        set[k] := bears[k];
      end;
    end;
  end;

end;

ruleset k: knock do

  rule "an answer is received" waits & begun = k & ours[k] ==>
  begin
    waits := false;
    ours[k] := false;
    ledger := true;
    if !(set[k] & along = asked) then wanted := to_put; end;
    if KEEPS_DOUBT = 0 | along != doubtful then along := none; end;
    set[k] := false;
  end;

  rule "a claim is given up" waits & begun = k & !ours[k] ==>
  begin
    waits := false;
    if along = asked | along = dropped then along := doubtful; end;
  end;

end;

rule "a heartbeat is carried out" there < BEATS & !beating & room() ==>
begin
  there := there + 1;
  beating := true;
  tell(GONE + there);
end;

rule "a heartbeat is answered" beating ==>
begin
  beating := false;
  fence := there;
  if along = doubtful & due = 0 then
    due := fence;
    if SETTLES_HEARD = 0 | heard >= due then settle(); end;
  end;
end;

rule "what is wanted is written" wanted != as_is & room() ==>
begin
  if wanted = to_put | wanted = to_put_back & (held | BACK_IF_THERE = 0) then
    held := true;
    tell(KEPT);
  elsif wanted = to_drop then
    drop();
  end;
  wanted := as_is;
end;

rule "news comes" own[0] != NOTHING ==>
var n: news;
begin
  n := own[0];
  for p: place do
    if p < QUEUE-1 then own[p] := own[p+1]; else own[p] := NOTHING; end;
  end;
  if n > GONE then
    heard := n - GONE;
    if along = doubtful & due > 0 & heard >= due then settle(); end;
  elsif wanted = as_is | wanted = to_put_back & n = GONE then
    wanted := as_is;
    if n = KEPT & along = none then
      ledger := true;
    elsif n = GONE & (along != doubtful | HEARS_DROPS = 1) then
      ledger := false;
      if along = asked then along := dropped; end;
    end;
  end;
end;

rule "news comes to the other" others[0] != NOTHING ==>
begin
  if !closing then open := others[0] = KEPT; end;
  for p: place do
    if p < QUEUE-1 then others[p] := others[p+1]; else others[p] := NOTHING; end;
  end;
end;

rule "a client closes at the other" open & !closing ==>
begin
  open := false;
  closing := true;
end;

rule "the other's close is carried out" closing & room() ==>
begin
  closing := false;
  drop();
  closed := !waits & wanted != to_put;
end;

rule "a client closes here" ledger & !waits ==>
begin
  ledger := false;
  wanted := to_drop;
  if along != doubtful then along := none; end;
end;

-- A claim that was given up may still be carried out, until the next heartbeat
-- is there: it opens for so long.
invariant "what was closed stays closed"
  closed & held -> along = doubtful | wanted = to_drop;

invariant "when nothing is on its way, all are of one mind"
  !waits & along = none & wanted = as_is & !closing &
  own[0] = NOTHING & others[0] = NOTHING &
  (forall k: knock do
    !flies[k] | (FENCED = 1 & (!bears[k] | behind[k] != there)) end)
  -> ledger = held & open = held;
