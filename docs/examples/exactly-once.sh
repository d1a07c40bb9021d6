#!/bin/bash
# Takes every record of one topic, makes one of it in another, and does so exactly once: kill this script or the node at any
# moment, start them again, and each input has one output. Needs curl and jq.
# Usage: exactly-once.sh INPUT OUTPUT GROUP; AYDER_URL and AYDER_TOKEN say where and as whom.
set -u
input=$1 output=$2 group=$3
url=${AYDER_URL:-http://localhost:1109}
ask() { curl -sS --location-trusted --max-time 10 -H "Authorization: Bearer ${AYDER_TOKEN:-dev}" "$@"; }

# Records behind the group's place become one transaction: the outputs, and the group's next place. It happens whole or not
# at all, and only if the group still stands where it was read. There is nothing to remember here, and nothing to clean up.
transaction='
  select(.count > 0) | {
    expect:  [{ topic: $input, group: $group, partition: 0, committed_offset: .committed_offset }],
    produce: [.messages[] | { topic: $output, partition: 0, value: (.value | ascii_upcase) }],
    commit:  [{ topic: $input, group: $group, partition: 0, offset: .messages[-1].offset }]
  }'

while :; do
  # The records after the last one that the group has committed; waits for a second when there are none.
  page=$(ask "$url/broker/consume/$input/$group/0?limit=10&wait_ms=1000&consistency=linearizable") || { sleep 0.1; continue; }
  body=$(jq -ec --arg input "$input" --arg output "$output" --arg group "$group" "$transaction" <<<"$page") || continue
  # Whatever the answer is, or if none comes: the next look at the group's place tells whether it happened.
  ask -o /dev/null -X POST "$url/broker/txn" -d "$body" || sleep 0.1
done
