#!/bin/sh
# Writes a report on each service of a namespace into a folder: Markdown for people, CSV for a spreadsheet.
#   sh report.sh NAMESPACE FOLDER FROM [TO]        such as: sh report.sh prod reports '7d ago'
set -eu
namespace=$1 folder=$2 from=$3 to=${4:-now}

mkdir -p "$folder"
rollcall services --ns "$namespace" -o name | while IFS= read -r service; do
  rollcall report service "$service" --ns "$namespace" --from "$from" --to "$to" -o markdown >"$folder/$service.md"
  rollcall report service "$service" --ns "$namespace" --from "$from" --to "$to" -o csv >"$folder/$service.csv"
done
rollcall report namespace "$namespace" --from "$from" --to "$to" -o markdown >"$folder/namespace.md"
