#!/bin/sh
# Keeps a pool of the instances that may get traffic: pool.sh http://127.0.0.1:7700 checkout [COMMAND ...]
# Needs curl and jq. Prints the pool whenever it changes, and runs the command with the pool at its input, a line
# "id address port weight" for each instance with a port named http, or with only one port.
url=$1 service=$2
shift 2
LC_ALL=C
export LC_ALL
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && trap 'exit 1' INT TERM
: >"$dir/last" && : >"$dir/pool"
line='[.id, .address] + ((.ports // {}) | to_entries | sort_by(.key) | map("\(.key)=\(.value)")) + ["weight=\(.weight)"] | join(" ")'

follow() {
  last=$(cat "$dir/last")
  rm -f "$dir/stream" && mkfifo "$dir/stream"
  curl -sN -w '\nstatus: %{http_code}\n' ${last:+-H "Last-Event-ID: $last"} "$url/v1/streams/services/$service?ready=true" >"$dir/stream" &
  stream=$!
  watch "$stream" &
  watchdog=$!
  while IFS= read -r said; do
    : >"$dir/heard"
    case $said in
      "id: "*) id=${said#id: } ;;
      "event: "*) event=${said#event: } ;;
      "data: "*) take "$event" "${said#data: }" "$@" && echo "$id" >"$dir/last" ;;
      # The registry does not know the position, after a restore: begin anew.
      "status: 410" | "status: 422") : >"$dir/last" ;;
    esac
  done <"$dir/stream"
  kill "$watchdog" "$stream" 2>/dev/null
  wait "$watchdog" "$stream" 2>/dev/null
}

# The registry sends something every 15 s. A stream that is silent for 30 s is dead, though nothing says so.
watch() {
  silent=0
  while [ $silent -lt 30 ]; do
    sleep 5
    silent=$((silent + 5))
    if [ -e "$dir/heard" ]; then
      rm -f "$dir/heard"
      silent=0
    fi
  done
  kill "$1"
}

take() {
  kind=$1 data=$2
  shift 2
  if [ "$kind" = change ]; then
    gone=$(echo "$data" | jq -r .id)
    awk -v gone="$gone" '$1 "" != gone ""' "$dir/pool" >"$dir/new" # a text, whatever it looks like
    echo "$data" | jq -r "select(.op == \"put\") | .instance | $line" >>"$dir/new"
  elif [ "$kind" != snapshot ] && [ "$kind" != reset ]; then
    return # cut: the stream ends, and is resumed; panic: a reset follows
  else # all of it
    echo "$data" | jq -r ".instances[] | $line" >"$dir/new"
  fi
  sort "$dir/new" >"$dir/pool"
  echo "pool: $(tr '\n' ',' <"$dir/pool")"
  [ $# -eq 0 ] || members <"$dir/pool" | "$@" || echo "$1 failed" >&2
}

# Turns "id address name=port ... weight=W" into "id address port weight".
members() {
  awk '{
    port = NF == 4 ? $3 : ""
    for (i = 3; i < NF; i++) if ($i ~ /^http=/) port = $i
    if (port != "") { sub(/^.*=/, "", port); sub(/^weight=/, "", $NF); print $1, $2, port, $NF }
  }'
}

while :; do
  follow "$@"
  sleep 0.2 # the server is away: go on where we were
done
