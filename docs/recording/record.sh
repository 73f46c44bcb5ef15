#!/usr/bin/env bash
# Runs the quick start of README.md with the real binary on a temporary folder, and prints what each command answers:
#
#     docs/recording/record.sh [BINARY [PORT]] > docs/recording/quickstart.txt
#
# A test holds quickstart.txt to what the binary says today.
set -euo pipefail
binary=$(realpath "${1:-bin/rollcall}")
port=${2:-7700}
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$folder"' EXIT
export ROLLCALL_URL=http://127.0.0.1:$port XDG_CONFIG_HOME=$folder NO_COLOR=1
rollcall() { "$binary" "$@"; }

"$binary" serve --listen "127.0.0.1:$port" --data "$folder/data" --log-level error &
until rollcall status >/dev/null 2>&1; do sleep 0.1; done

show() {
	echo "\$ $1"
	eval "$1"
	echo
}

show "rollcall register checkout/a-1 --address 10.0.0.5 --port http=8080 --version 1.4.0 --ttl 5m"
show "rollcall register checkout/a-2 --address 10.0.0.6 --port http=8080 --version 1.4.0 --ttl 3s"
show "rollcall instances checkout"
"$binary" watch checkout >"$folder/watched" &
until [ -s "$folder/watched" ]; do sleep 0.1; done
show "rollcall heartbeat checkout/a-1"
show "rollcall drain checkout/a-1 --reason 'deploy of 1.5.0'"
show "rollcall register checkout/a-1 --address 10.0.0.7 --port http=8080 --version 1.5.0 --ttl 5m"
show "rollcall undrain checkout/a-1"
show "rollcall deregister checkout/a-1 --reason 'clean-up: this is the old checkout'"
until grep -q expired "$folder/watched"; do sleep 0.1; done
show "rollcall why checkout/a-1"
show "rollcall why checkout/a-2"
show "rollcall history checkout"
show "rollcall catalog --at 2"
show "rollcall diff --from 2"
echo "\$ rollcall watch checkout"
cat "$folder/watched"
