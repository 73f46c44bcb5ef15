#!/bin/sh
# Writes an upstream of nginx, and has nginx read it: nginx.sh /etc/nginx/conf.d/checkout.conf checkout nginx -s reload
# The pool comes as lines "id address port weight", as pool.sh, pool.mjs and pool.go give it. The command runs when the file has
# changed. Needs nothing but a shell.
file=$1 upstream=$2
shift 2
new=$file.new
awk -v name="$upstream" '
  { all[NR] = $0; if ($4 + 0 > 0) weighted++ }
  END {
    print "# Written by nginx.sh of Rollcall."
    print "upstream " name " {"
    for (n = 1; n <= NR; n++) {
      split(all[n], f, " ")
      if (weighted && f[4] + 0 == 0) continue
      if (f[2] ~ /:/) f[2] = "[" f[2] "]"
      print "    server " f[2] ":" f[3] (f[4] + 0 > 0 ? " weight=" f[4] : "") "; # " f[1]
    }
    if (NR == 0) print "    server 127.0.0.1:9 down; # nginx takes no upstream without a server"
    print "}"
  }' >"$new" || exit 1
if cmp -s "$new" "$file"; then
  rm -f "$new"
  exit 0
fi
mv "$new" "$file"
exec "$@"
