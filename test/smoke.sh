#!/bin/sh
# The reproducible smoke test: holds a running node, or a cluster, to its promises with curl and jq alone.
#
#   test/smoke.sh [BASE] [TOKEN]                           a node that runs: http://localhost:1109 and dev
#   START='./ayder --port 1109 --data d' test/smoke.sh     starts one, kills it with SIGKILL in the middle of writes, stops it
#   RESTART='docker restart -s KILL ayder' test/smoke.sh   kills and starts a node in your way
#
# ROUNDS kills (3), RECORDS of the longest list (200), WAIT_S for what takes its time (60), CALL_S for one call (30).
# Topics and keys have names of this run, so it runs as often as you like; what it made goes away at the end.
set -u
BASE=${1:-${BASE:-http://localhost:1109}} TOKEN=${2:-${TOKEN:-dev}}
START=${START:-} RESTART=${RESTART:-}
ROUNDS=${ROUNDS:-3} RECORDS=${RECORDS:-200} WAIT_S=${WAIT_S:-60} CALL_S=${CALL_S:-30}
umask 077
for tool in curl jq; do
  command -v "$tool" >/dev/null || { echo "Cannot run without $tool" >&2; exit 2; }
done

run=smoke.$(date +%s).$$
work=${TMPDIR:-/tmp}/ayder-$run
mkdir "$work" || exit 2
printf 'Authorization: Bearer %s\n' "$TOKEN" >"$work/token"
slot=main node='' checks=0 failures=0

start() { sh -c "exec env $START" >>"$work/node.log" 2>&1 & node=$!; }
finish() {
  [ -z "$node" ] || { kill "$node" 2>/dev/null; wait "$node" 2>/dev/null; }
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# One call: sets $status and $body. What runs beside the others has a $slot of its own.
ask() {
  method=$1 path=$2
  shift 2
  : >"$work/$slot"
  status=$(curl -sS --location-trusted --max-time "$CALL_S" -o "$work/$slot" -w '%{http_code}' -X "$method" \
    -H "@$work/token" "$@" "$BASE$path" 2>"$work/$slot.error") || status=000
  body=$(cat "$work/$slot")
}
post() { path=$1 data=$2; shift 2; ask POST "$path" -d "$data" "$@"; }

result() { # NAME PASSED DETAIL
  checks=$((checks + 1))
  if [ "$2" = yes ]; then echo "ok    $1"; else
    failures=$((failures + 1))
    echo "FAIL  $1: $(printf '%.400s' "$3")"
  fi
}
# Holds the last reply to a status and a condition.
expect() { # NAME STATUS CONDITION [jq arguments]
  name=$1 wanted=$2 condition=$3
  shift 3
  passed=no
  if [ "$status" = "$wanted" ] && [ -n "$body" ] && printf '%s' "$body" | jq -e "$@" "$condition" >/dev/null 2>&1; then passed=yes; fi
  result "$name" $passed "wanted $wanted and $condition, got $status $body"
}
same() { # NAME WANTED GOT
  if [ "$2" = "$3" ]; then result "$1" yes; else result "$1" no "wanted $2, got $3"; fi
}
refused() { # NAME STATUS CODE [CONDITION]
  expect "$1" "$2" ".ok == false and .error == \"$3\" and (.message | type) == \"string\" and (.docs | test(\"^https?://\")) and (${4:-true})"
}
# Asks until the condition holds, $WAIT_S at most.
until_holds() { # CONDITION METHOD PATH...
  condition=$1
  shift
  tries=$((WAIT_S * 5))
  while [ $tries -gt 0 ]; do
    ask "$@"
    if [ -n "$body" ] && printf '%s' "$body" | jq -e "$condition" >/dev/null 2>&1; then return 0; fi
    tries=$((tries - 1))
    sleep 0.2
  done
  return 1
}
until_grep() { # PATTERN FILE
  tries=$((WAIT_S * 5))
  while [ $tries -gt 0 ] && ! grep -q "$1" "$2" 2>/dev/null; do tries=$((tries - 1)); sleep 0.2; done
  [ $tries -gt 0 ]
}
ready() {
  if until_holds '.ready == true' GET /ready; then result "$1" yes; else
    result "$1" no "$status $body $(tail -n 3 "$work/node.log" 2>/dev/null)"
    exit 1
  fi
}
topic() { ask POST /broker/topics -d "{\"name\":\"$run.$1\",\"partitions\":${2:-1}${3:-}}"; topics="${topics:-} $run.$1"; }
read_from() { # TOPIC OFFSET [MORE]
  ask GET "/broker/consume/$run.$1/reader/0?offset=$2&limit=1000&consistency=linearizable${3:-}"
}
# All values of a partition in order, one JSON text a line, whatever the number of pages; offsets beside them.
read_all() { # TOPIC FILE
  : >"$2" && : >"$2.offsets"
  next=0
  while :; do
    read_from "$1" "$next"
    [ "$status" = 200 ] || return 1
    printf '%s' "$body" | jq -r '.messages[].value' >>"$2"
    printf '%s' "$body" | jq -r '.messages[].offset' >>"$2.offsets"
    next=$(printf '%s' "$body" | jq -r .next_offset)
    [ "$(printf '%s' "$body" | jq -r .truncated)" = true ] || return 0
  done
}
numbers() { jq -rn --argjson from "$1" --argjson to "$2" 'range($from; $to)'; }

[ -z "$START" ] || start
ready 'the node is ready'
ask GET /health
expect 'health says so' 200 '.ok == true'

# Errors have one shape.
status=$(curl -sS -o "$work/main" -w '%{http_code}' "$BASE/broker/topics" 2>/dev/null) || status=000
body=$(cat "$work/main")
refused 'no token is unauthorized' 401 unauthorized
ask GET "/broker/topics/$run.none"; refused 'an unknown topic is not found' 404 topic_not_found
ask GET /no/such/route; refused 'an unknown route is not found' 404 route_not_found
ask PATCH /broker/topics; refused 'a wrong method is refused' 405 method_not_allowed
post /broker/topics '{"name":'; refused 'bad JSON is refused' 400 invalid_json
post /broker/topics '{}'; refused 'a missing name is refused' 400 missing_topic

# Topics.
topic order; expect 'a topic is made' 200 ".topic == \"$run.order\" and .partitions == 1"
topic order; expect 'making it again is the same' 200 '.ok == true'
topic order 2; refused 'another shape is a conflict' 409 topic_exists
ask GET "/broker/consume/$run.order/reader/0?limit=0"; refused 'a limit out of range is refused' 400 invalid_parameter
ask GET "/broker/consume/$run.order/reader/7"; refused 'a partition that is not there is not found' 404 partition_not_found

# Order: records one by one, and a batch.
half=$((RECORDS / 2)) i=0
: >"$work/replies"
while [ $i -lt $half ]; do
  post "/broker/topics/$run.order/produce?partition=0" "record $i"
  printf '%s\n' "$body" >>"$work/replies"
  i=$((i + 1))
done
same 'offsets are dense, from 0' "$(numbers 0 $half)" "$(jq -r .offset "$work/replies")"
same 'every write is sealed, durable and synced' true \
  "$(jq -s 'all(.[]; .ok and .sealed and .durable and .mode == "sealed" and .synced == true)' "$work/replies")"
same 'batch_id is not zero and never goes back' true \
  "$(jq -s 'map(.batch_id) | . == sort and .[0] > 0' "$work/replies")"
last=$(jq -s '.[-1].batch_id' "$work/replies")
if until_holds ".last_synced_batch_id >= $last" GET /admin/sealed/status; then passed=yes; else passed=no; fi
result 'last_synced_batch_id has come to it' $passed "$body"
numbers $half "$RECORDS" | sed 's/^/record /' >"$work/batch"
ask POST "/broker/topics/$run.order/produce-ndjson?partition=0" --data-binary "@$work/batch"
expect 'a batch has consecutive offsets' 200 ".first_offset == $half and .count == $((RECORDS - half)) and .synced == true"
read_all order "$work/read"
same 'what is read is what was written, in order' "$(numbers 0 "$RECORDS" | sed 's/^/record /')" "$(cat "$work/read")"
same 'its offsets have no gap' "$(numbers 0 "$RECORDS")" "$(cat "$work/read.offsets")"
ask POST "/broker/topics/$run.order/produce-ndjson" -d ''; refused 'an empty batch is refused' 400 no_valid_messages
post "/broker/topics/$run.order/produce?partition=0&expected_offset=0" x
refused 'an expected offset that is not next is a conflict' 409 offset_mismatch ".next_offset == $RECORDS"

# Bytes are kept: a value with every kind of byte, unwrapped lines, text as it is.
topic bytes
printf '\000\001\r\n\377\376"\\' >"$work/binary"
ask POST "/broker/topics/$run.bytes/produce?partition=0&key=k%2F1" --data-binary "@$work/binary"
printf '"alpha"\r\n\n{"n": 1}\n' >"$work/lines"
ask POST "/broker/topics/$run.bytes/produce-ndjson?partition=0" --data-binary "@$work/lines"
read_from bytes 0 '&encoding=b64'
expect 'bytes, keys and lines are kept' 200 \
  '[.messages[].value_b64] == ["AAENCv/+Ilw=", "YWxwaGE=", "eyJuIjogMX0="] and .messages[0].key_b64 == "ay8x"'

# No duplicates with a key, also when it is sent many times at once.
topic keyed
post "/broker/topics/$run.keyed/produce?partition=0&idempotency_key=one" first
expect 'a first write with a key is none' 200 '.offset == 0 and .duplicate == false'
post "/broker/topics/$run.keyed/produce?partition=0&idempotency_key=one" first
expect 'the same key is a duplicate with the same offset' 200 '.offset == 0 and .duplicate == true'
post "/broker/topics/$run.keyed/produce?partition=0&idempotency_key=one" other
refused 'the same key for other bytes is refused' 422 idempotency_key_reused
for i in 1 2 3 4 5 6 7 8; do
  (slot=same.$i; post "/broker/topics/$run.keyed/produce?partition=0&idempotency_key=two" second) &
  sent="${sent:-} $!"
done
wait $sent
same 'one of eight at once writes, the others are duplicates' '1 7 1' \
  "$(cat "$work"/same.[0-8] | jq -rs '"\(map(select(.duplicate == false)) | length) \(map(select(.duplicate)) | length) \(map(.offset) | unique | length)"')"
read_from keyed 0; expect 'each key has one record' 200 '[.messages[].value] == ["first", "second"]'

# Many writers: every record once, dense.
topic many 1; sent=
for writer in 1 2 3 4; do
  (
    slot=many.$writer i=0
    while [ $i -lt 25 ]; do
      post "/broker/topics/$run.many/produce?partition=0" "$writer-$i"; cat "$work/$slot" >>"$work/many.replies.$writer"; i=$((i + 1))
    done
  ) & sent="$sent $!"
done
wait $sent
read_all many "$work/read"
same 'four writers: each record once' 100 "$(sort -u "$work/read" | wc -l | tr -d ' ')"
same 'four writers: no gap' "$(numbers 0 100)" "$(cat "$work/read.offsets")"
same 'four writers: each finds its own where it was told' "$(for writer in 1 2 3 4; do jq -r .offset "$work/many.replies.$writer"; done | sort -n)" "$(numbers 0 100)"
for writer in 1 2 3 4; do grep "^$writer-" "$work/read"; done >"$work/by-writer"
same 'four writers: each in its order' "$(for writer in 1 2 3 4; do numbers 0 25 | sed "s/^/$writer-/"; done)" "$(cat "$work/by-writer")"
topic spread 4; sent=
for i in 1 2 3 4 5 6 7 8; do post "/broker/topics/$run.spread/produce" x; printf '%s\n' "$body"; done >"$work/spread"
same 'without a key records are spread' 4 "$(jq -s 'map(.partition) | unique | length' "$work/spread")"
for i in 1 2 3 4; do post "/broker/topics/$run.spread/produce?key=same" x; printf '%s\n' "$body"; done >"$work/spread"
same 'a key always goes to one partition' 1 "$(jq -s 'map(.partition) | unique | length' "$work/spread")"

# Commits.
commit() { post /broker/commit "{\"topic\":\"$run.order\",\"group\":\"$1\",\"partition\":0,\"offset\":$2}"; }
place() { ask GET "/broker/consume/$run.order/$1/0?limit=1&consistency=linearizable"; }
place g; expect 'a new group begins at the first record' 200 '.committed_offset == null and .messages[0].offset == 0'
commit g 9; expect 'a commit is taken' 200 '.ok == true'
place g; expect 'the group goes on behind it' 200 '.committed_offset == 9 and .messages[0].offset == 10'
commit g 3; place g; expect 'a commit never goes back' 200 '.committed_offset == 9'
commit g "$RECORDS"; refused 'a commit past the end is refused' 400 invalid_parameter
place other; expect 'another group has its own place' 200 '.committed_offset == null'

# Long poll and tail.
topic live
(slot=poll; ask GET "/broker/consume/$run.live/reader/0?offset=0&wait_ms=20000&consistency=linearizable") &
poll=$!
curl -sSN --location-trusted -H "@$work/token" "$BASE/broker/tail/$run.live/0?offset=0" >"$work/tail" 2>/dev/null &
tail=$!
sleep 0.5
for value in one two three; do post "/broker/topics/$run.live/produce?partition=0" "$value"; done
wait $poll
same 'a long poll ends when a record comes' one "$(jq -r '.messages[0].value' "$work/poll")"
until_grep '^id: *2' "$work/tail"; sleep 0.2
same 'a tail follows, in order' '0 1 2' "$(sed -n 's/^id: *//p' "$work/tail" | tr '\n' ' ' | sed 's/ $//')"
kill $tail 2>/dev/null; wait $tail 2>/dev/null

# Retention.
post /broker/delete-before "{\"topic\":\"$run.order\",\"partition\":0,\"before_offset\":20}"
expect 'delete-before counts what it removes' 200 '.deleted_count == 20 and .freed_bytes > 0'
read_from order 0; expect 'and it is gone at once' 200 '.messages[0].offset == 20 and .messages[0].value == "record 20"'
topic aged
for value in old new; do post "/broker/topics/$run.aged/produce?partition=0" $value; done
post /broker/retention "{\"topic\":\"$run.aged\",\"ttl_ms\":1000}"; expect 'a rule of age is taken' 200 '.ttl_applied == true'
if until_holds '.messages[0].offset == 1' GET "/broker/consume/$run.aged/reader/0?offset=0"; then passed=yes; else passed=no; fi
result 'old records go, all but the newest' $passed "$body"
post "/broker/topics/$run.aged/produce?partition=0" newer; expect 'and offsets go on' 200 '.offset == 2'
topic sized
numbers 0 3000 | sed 's/$/ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/' >"$work/batch"
for i in 1 2 3; do ask POST "/broker/topics/$run.sized/produce-ndjson?partition=0" --data-binary "@$work/batch"; done
post /broker/retention "{\"topic\":\"$run.sized\",\"partition\":0,\"max_bytes\":400000}"; expect 'a rule of size is taken' 200 '.size_applied == true'
if until_holds '.messages[0].offset >= 3000' GET "/broker/consume/$run.sized/reader/0?offset=0&limit=1"; then passed=yes; else passed=no; fi
result 'the oldest records go' $passed "$body"

# Keys and values.
kv=/kv/$run
post "$kv/a/b?cas=0" one; expect 'a new key has cas 1' 200 '.cas == 1 and .synced == true'
post "$kv/a/b?cas=0" two; refused 'cas=0 is for a key without a value' 409 cas_mismatch '.expected == 0 and .current == 1'
post "$kv/a/b?cas=1" two; expect 'the right cas is taken' 200 '.cas == 2'
ask GET "$kv/a/b"; expect 'the value is there, in base64' 200 '.value == "dHdv" and .cas == 2'
for i in 1 2 3 4 5 6 7 8; do (slot=cas.$i; post "$kv/a/b?cas=2" "$i") & sent="$sent $!"; done
wait $sent
same 'of eight with one cas one wins' '1 7' \
  "$(cat "$work"/cas.[0-8] | jq -rs '"\(map(select(.ok)) | length) \(map(select(.error == "cas_mismatch")) | length)"')"
post "$kv/short?ttl_ms=1500" x
ask GET "$kv/short/meta"; expect 'a key that ends says when' 200 '.cas == 1 and .ttl_ms > 0 and .ttl_ms <= 1500'
if until_holds '.error == "not_found"' GET "$kv/short"; then passed=yes; else passed=no; fi
result 'and is gone then' $passed "$body"
from=$(curl -sS -H "@$work/token" "$BASE/admin/sealed/status" | jq '.last_synced_batch_id + 1')
curl -sSN --location-trusted -H "@$work/token" "$BASE$kv?watch=1&prefix=w&from=$from" >"$work/watch" 2>/dev/null &
watch=$!
post "$kv/w" 1; post "$kv/w" 2; ask DELETE "$kv/w"; expect 'a key is deleted' 200 '.deleted == true'
ask GET "$kv/w"; refused 'and not found' 404 not_found
until_grep 'event: *deleted' "$work/watch"
same 'a watch sees each change, in order' 'put put deleted' "$(sed -n 's/^event: *//p' "$work/watch" | tr '\n' ' ' | sed 's/ $//')"
kill $watch 2>/dev/null; wait $watch 2>/dev/null
post "$kv/w" 3; expect 'a cas is never used twice' 200 '.cas == 4'

# Transactions: all or nothing, once.
topic in; topic out
for i in 0 1 2; do post "/broker/topics/$run.in/produce?partition=0" "in $i"; done
transaction="{\"idempotency_key\":\"$run\",\"expect\":[{\"topic\":\"$run.in\",\"group\":\"g\",\"partition\":0,\"committed_offset\":null},{\"kv\":\"$run/job\",\"cas\":0}],
  \"produce\":[{\"topic\":\"$run.out\",\"partition\":0,\"value\":\"made\"}],\"commit\":[{\"topic\":\"$run.in\",\"group\":\"g\",\"partition\":0,\"offset\":2}],
  \"kv\":[{\"op\":\"put\",\"key\":\"$run/job\",\"value\":\"done\"}]}"
post /broker/txn "$transaction"; expect 'a transaction does all its parts' 200 '.produced[0].offset == 0 and .kv[0].cas == 1 and .duplicate == false'
post /broker/txn "$transaction"; expect 'its repetition does nothing' 200 '.produced[0].offset == 0 and .duplicate == true'
post /broker/txn "$(printf '%s' "$transaction" | sed "s/\"idempotency_key\":\"[^\"]*\",//")"
expect 'one whose expectation fails is refused' 409 '.failed.expect == 0'
read_from out 0; expect 'and leaves nothing behind' 200 '.count == 1 and .messages[0].value == "made"'
ask GET "/broker/consume/$run.in/g/0?consistency=linearizable"; expect 'the group stands where it was put' 200 '.committed_offset == 2 and .count == 0'

# Query and join, across formats.
topic left; topic right
printf '{"uid":1,"name":"Ann","score":95}\n{"uid":2,"name":"Bob","score":"40"}\n{"uid":3,"name":"Cid","score":90}\nno json\n' >"$work/batch"
ask POST "/broker/topics/$run.left/produce-ndjson?partition=0" --data-binary "@$work/batch"
printf '{"userId":"1","item":"pen"}\n{"userId":"3","item":"cup"}\n' >"$work/batch"
ask POST "/broker/topics/$run.right/produce-ndjson?partition=0" --data-binary "@$work/batch"
post '/broker/query?consistency=linearizable' "{\"source\":{\"topic\":\"$run.left\",\"offset\":0},\"filter\":[{\"field\":\"score\",\"op\":\"ge\",\"value\":90}],
  \"aggregate\":{\"measures\":[{\"op\":\"count\"},{\"op\":\"sum\",\"field\":\"score\"}]},\"transform\":{\"left_fields\":[\"name\"],\"emit_rows\":10}}"
expect 'a query filters, projects and adds up' 200 \
  '.rows == [{"name":"Ann"},{"name":"Cid"}] and .aggregates[0].count == 2 and .aggregates[0].sum_score == 185 and .stats.skipped == 1'
avro='{"type":"record","name":"User","fields":[{"name":"uid","type":"long"},{"name":"name","type":"string"}]}'
proto='syntax = "proto3"; message Item { int64 user_id = 1; string item = 2; }'
jq -n --arg left "$run.left" --arg right "$run.right" --arg avro "$avro" --arg proto "$proto" '{
  left: {topic: $left, offset: 0, decode: {type: "avro", encoding: "json", schema_text: $avro}},
  right: {topic: $right, offset: 0, decode: {type: "proto", encoding: "json", schema_text: $proto}},
  on: {left_key: "uid", right_key: "user_id"}, join: {type: "left"}, window: {size_ms: 3600000},
  emit: {left_fields: ["name"], right_fields: ["item"]}}' >"$work/join"
ask POST '/broker/join?consistency=linearizable' --data-binary "@$work/join"
expect 'a join pairs Avro with Protobuf' 200 \
  '[.rows[] | [.left.name, .right.item]] | sort == [["Ann","pen"],["Bob",null],["Cid","cup"]]'
post /broker/query '{}'; refused 'a query without a source is refused' 400 missing_source

# Rocket topics.
topic rocket 1 ',"mode":"rocket"'
post "/broker/topics/$run.rocket/produce?partition=0" quick
expect 'a rocket record is nowhere but in memory, and says so' 200 \
  '.batch_id == 0 and .durable == false and .sealed == false and .synced == null and .mode == "rocket"'
rocket=$(printf '%s' "$body" | jq -r .offset)
read_from rocket 0; expect 'and can be read' 200 '.messages[0].value == "quick"'

# The node tells of itself.
ask GET /openapi.json; expect 'the OpenAPI document is served' 200 '.paths["/broker/commit"].post'
ask GET /metrics; result 'metrics are served' "$(grep -q '^# TYPE ' "$work/main" && echo yes)" "$status"
ask GET /ha/membership; expect 'the membership is told' 200 '.membership.node_count >= 1'

# SIGKILL in the middle of writes. Writers with a key repeat until they are answered: each record exactly once, in order.
# One without keys never repeats: what was acknowledged is there once, what was not may be there once.
keep_writing() { # WRITER
  i=0
  while [ ! -e "$work/stop" ]; do
    query="partition=0" && [ "$1" = plain ] || query="partition=0&idempotency_key=$1-$i"
    post "/broker/topics/$run.kills/produce?$query" "$1-$i"
    if [ "$status" = 200 ]; then
      printf '%s %s\n' "$(printf '%s' "$body" | jq -r .offset)" "$1-$i" >>"$work/acked.$1"
      i=$((i + 1))
    elif [ "$1" = plain ]; then
      i=$((i + 1)); sleep 0.1
    else
      sleep 0.1
    fi
  done
}
keep_committing() {
  while [ ! -e "$work/stop" ]; do
    ask GET "/broker/consume/$run.kills/g/0?limit=5"
    offset=$(printf '%s' "$body" | jq -r '.messages[-1].offset // empty' 2>/dev/null)
    [ -n "$offset" ] || { sleep 0.1; continue; }
    post /broker/commit "{\"topic\":\"$run.kills\",\"group\":\"g\",\"partition\":0,\"offset\":$offset}"
    [ "$status" != 200 ] || echo "$offset" >>"$work/committed"
  done
}
keep_counting() {
  while [ ! -e "$work/stop" ]; do
    ask PUT "$kv/counter" -d x
    if [ "$status" = 200 ]; then printf '%s' "$body" | jq -r .cas >>"$work/counted"; else sleep 0.1; fi
  done
}
kill_and_start() {
  if [ -n "$RESTART" ]; then sh -c "$RESTART" >>"$work/node.log" 2>&1; return; fi
  kill -9 "$node"; wait "$node" 2>/dev/null
  start
}
lines() { cat "$@" 2>/dev/null | wc -l | tr -d ' '; }
if [ -n "$START$RESTART" ]; then
  topic kills; touch "$work/committed" "$work/counted"
  for writer in a b plain; do (slot=kill.$writer; keep_writing $writer) & writers="${writers:-} $!"; done
  (slot=kill.commit; keep_committing) & writers="$writers $!"
  (slot=kill.count; keep_counting) & writers="$writers $!"
  round=1
  while [ $round -le "$ROUNDS" ]; do
    before=$(lines "$work/acked.a")
    tries=$((WAIT_S * 5))
    while [ "$(lines "$work/acked.a")" -lt $((before + 20)) ] && [ $tries -gt 0 ]; do tries=$((tries - 1)); sleep 0.2; done
    kill_and_start
    ready "round $round: ready after SIGKILL"
    # In a cluster the node may be ready and the others still elect.
    until_holds '.ok == true' POST "/broker/topics/$run.keyed/produce?partition=0&idempotency_key=one" -d first
    expect "round $round: an old key is still a duplicate" 200 '.offset == 0 and .duplicate == true'
    round=$((round + 1))
  done
  before=$(lines "$work/acked.a")
  tries=$((WAIT_S * 5))
  while [ "$(lines "$work/acked.a")" -lt $((before + 5)) ] && [ $tries -gt 0 ]; do tries=$((tries - 1)); sleep 0.2; done
  touch "$work/stop"
  wait $writers
  read_all kills "$work/read"
  paste -d ' ' "$work/read.offsets" "$work/read" | sort >"$work/present"
  sort "$work"/acked.* >"$work/acked"
  same "kills: none of $(lines "$work/acked") acknowledged records is lost or moved" '' "$(comm -23 "$work/acked" "$work/present")"
  same 'kills: no record is there twice' '' "$(sort "$work/read" | uniq -d)"
  same 'kills: offsets have no gap' "$(numbers 0 "$(lines "$work/read")")" "$(cat "$work/read.offsets")"
  for writer in a b; do
    grep "^$writer-" "$work/read" >"$work/one"
    same "kills: writer $writer is in order, without a gap" "$(numbers 0 "$(lines "$work/one")" | sed "s/^/$writer-/")" "$(cat "$work/one")"
  done
  committed=$(tail -n 1 "$work/committed")
  ask GET "/broker/consume/$run.kills/g/0?limit=1&consistency=linearizable"
  expect "kills: the commit of ${committed:-nothing} has not gone back" 200 "(.committed_offset // -1) >= ${committed:--1}"
  same 'kills: commits only went forward' "$(sort -n "$work/committed")" "$(cat "$work/committed")"
  same 'kills: cas only went forward, each once' "$(sort -nu "$work/counted")" "$(cat "$work/counted")"
  read_from order 20; expect 'kills: older records and the floor are there' 200 ".messages[0].value == \"record 20\" and .next_offset == $RECORDS"
  read_from order 0; expect 'kills: what was deleted stays so' 200 '.messages[0].offset == 20'
  place g; expect 'kills: older commits are there' 200 '.committed_offset == 9'
  ask GET "$kv/a/b"; expect 'kills: older keys are there' 200 '.cas == 3'
  ask GET "$kv/short"; refused 'kills: keys that ended stay so' 404 not_found
  post /broker/txn "$transaction"; expect 'kills: an old transaction is still a duplicate' 200 '.duplicate == true'
  post "/broker/topics/$run.aged/produce?partition=0" newest
  if until_holds '.messages[0].offset == 3' GET "/broker/consume/$run.aged/reader/0?offset=0"; then passed=yes; else passed=no; fi
  result 'kills: rules of age hold on' $passed "$body"
  post "/broker/topics/$run.rocket/produce?partition=0" again; expect 'kills: rocket offsets never go back' 200 ".offset > $rocket"
fi

for name in $topics; do ask DELETE "/broker/topics/$name"; done
for key in a/b w job counter; do ask DELETE "$kv/$key"; done
if [ $failures -gt 0 ]; then
  echo "BROKER SMOKE TEST: $failures OF $checks CHECKS FAILED"
  exit 1
fi
echo "$checks checks"
echo 'BROKER SMOKE TEST: ALL GREEN'
