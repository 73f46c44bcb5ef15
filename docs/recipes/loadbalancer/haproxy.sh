#!/bin/sh
# Brings the servers of a HAProxy backend in line with a pool: haproxy.sh /run/haproxy/admin.sock BACKEND
# The pool comes as lines "id address port weight", as pool.sh, pool.mjs and pool.go give it. Needs curl, HAProxy 2.5 or later, a
# stats socket with "level admin", and a backend with a dynamic "balance", such as roundrobin or leastconn.
socket=$1 backend=$2
LC_ALL=C
export LC_ALL
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT

ask() {
  printf '%s\n' "$1" | curl -s --max-time 5 --unix-socket "$socket" telnet://localhost
}

# HAProxy takes weights up to 256, and none but these characters in a name.
awk '{ all[NR] = $0; if ($4 + 0 > most) most = $4 + 0 }
  END {
    for (n = 1; n <= NR; n++) {
      split(all[n], f, " ")
      if (f[1] !~ /^[A-Za-z0-9._:-]+$/) { print f[1] " is no name for HAProxy: left out" > "/dev/stderr"; continue }
      w = most > 256 ? int(f[4] * 256 / most) : f[4] + 0
      if (w == 0 && f[4] + 0 > 0) w = 1
      print f[1], f[2], f[3], w
    }
  }' >"$dir/want"

# Of each server: name, address, port, weight, and whether it is in maintenance.
ask "show servers state $backend" | awk '$1 ~ /^[0-9]+$/ && NF > 18 { print $4, $5, $19, $8, ($7 % 2 == 1) }' >"$dir/have" || exit 1
[ -s "$dir/have" ] || ask "show servers state $backend" | grep -q '^# be_id' || { echo "HAProxy has no backend $backend, or does not answer at $socket" >&2 && exit 1; }

while read -r name address port weight maintenance; do
  if ! awk -v n="$name" '$1 "" == n "" { found = 1 } END { exit !found }' "$dir/want"; then
    ask "set server $backend/$name state maint" >/dev/null
    # A server with connections cannot be deleted: it gets no new ones, and is deleted at a later change.
    ask "del server $backend/$name" >/dev/null
  elif [ "$maintenance" = 1 ]; then
    ask "set server $backend/$name state ready" >/dev/null
  fi
done <"$dir/have"

while read -r name address port weight; do
  have=$(awk -v n="$name" '$1 "" == n "" { print $2, $3, $4 }' "$dir/have")
  case $have in
    "$address $port $weight") ;;
    "")
      case $address in *:*) at="[$address]:$port" ;; *) at="$address:$port" ;; esac
      ask "add server $backend/$name $at weight $weight" >/dev/null
      ask "enable server $backend/$name" >/dev/null
      ;;
    *)
      ask "set server $backend/$name addr $address port $port" >/dev/null
      ask "set server $backend/$name weight $weight" >/dev/null
      ;;
  esac
done <"$dir/want"
exit 0
