#!/bin/sh
# Keeps a pool of the instances that may get traffic: pool.sh http://127.0.0.1:7700 checkout
# Needs curl and jq. Prints the pool whenever it changes.
url=$1 service=$2
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
: >"$dir/last" && : >"$dir/pool"

follow() {
  last=$(cat "$dir/last")
  curl -sN -w '\nstatus: %{http_code}\n' ${last:+-H "Last-Event-ID: $last"} "$url/v1/streams/services/$service?ready=true" |
    while IFS= read -r line; do
      case $line in
        "id: "*) id=${line#id: } ;;
        "event: "*) event=${line#event: } ;;
        "data: "*) take "$event" "${line#data: }" && echo "$id" >"$dir/last" ;;
        # The registry does not know the position, after a restore: begin anew.
        "status: 410" | "status: 422") : >"$dir/last" ;;
      esac
    done
}

take() {
  if [ "$1" = change ]; then
    gone=$(echo "$2" | jq -r .id)
    grep -v "^$gone " "$dir/pool" >"$dir/new"
    echo "$2" | jq -r 'select(.op == "put") | "\(.id) \(.instance.address)"' >>"$dir/new"
  elif [ "$1" = cut ]; then
    return # the stream ends; it is resumed
  else # snapshot or reset: all of it
    echo "$2" | jq -r '.instances[] | "\(.id) \(.address)"' >"$dir/new"
  fi
  sort "$dir/new" >"$dir/pool"
  echo "pool: $(tr '\n' ',' <"$dir/pool")"
}

while :; do
  follow
  sleep 0.2 # the server is away: go on where we were
done
