#!/bin/sh
# Guards the services of a namespace from mistakes. Run again, it changes nothing.
#   sh guard.sh NAMESPACE
set -eu
namespace=$1

# Half of each service stays ready, whoever drains or deregisters.
rollcall policy set "$namespace-half" --ns "$namespace" --min-ready 50% --description 'half of each service stays ready'
# A script gone wild is stopped after 20 instances.
rollcall policy set "$namespace-calm" --ns "$namespace" --max-removals 20/10m --description 'one actor takes out 20 in 10 minutes at most'
# The last instance of a service becomes critical when its lease lapses; it does not vanish.
rollcall policy set "$namespace-last" --ns "$namespace" --keep-last 1 --description 'the last instance does not vanish'
# Where fewer than 30% are ready, who asks for ready instances gets all.
rollcall policy set "$namespace-panic" --ns "$namespace" --panic-threshold 30% --description 'few are not left alone with the traffic of all'
rollcall policy list
