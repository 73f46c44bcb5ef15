#!/bin/sh
# Takes back what happened to a service since a moment, after you have looked at the plan. What changes between the look and the
# answer is skipped and listed.
#   sh undo.sh NAMESPACE SERVICE MOMENT REASON
set -eu
namespace=$1 service=$2 moment=$3 reason=$4

rollcall revert --ns "$namespace" --service "$service" --to "$moment" --dry-run
plan=$(rollcall revert --ns "$namespace" --service "$service" --to "$moment" --dry-run -o json | jq -r .position)
printf 'Take this back? [y/N] '
read -r answer
[ "$answer" = y ] || exit 1
rollcall revert --ns "$namespace" --service "$service" --to "$moment" --plan "$plan" --reason "$reason"
