#!/bin/sh
# The command line of median_spark, for what needs no Spark; jobs/ has what spark-submit runs.
self=$(readlink -f -- "$0" 2>/dev/null || printf %s "$0")
exec "$(dirname -- "$self")/python" -P -m median_spark "$@"
