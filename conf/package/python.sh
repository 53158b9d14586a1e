#!/bin/sh
# Runs the Python @python@ of the machine that this folder lies on, with the packages that lie in it.
# A Python that MEDIAN_SPARK_PYTHON names is taken first, then one of the PATH, then one in a usual place.

wanted=@python@
machine=@machine@

self=$(readlink -f -- "$0" 2>/dev/null || printf %s "$0")
bin=$(CDPATH='' cd -- "$(dirname -- "$self")" && pwd -P) || exit 127

refuse() {
  echo "median_spark's environment ($(dirname -- "$bin")): $1" >&2
  exit 127
}

# Another unpacked copy of this script, met on the PATH while a Python is looked for.
[ -z "$MEDIAN_SPARK_LOOKING" ] || exit 127

found=$(uname -m)
[ "$found" = "$machine" ] || refuse "it is made for machines of type $machine and this one is $found: \
run 'make package' on a machine like the workers"

fits() {
  [ -x "$1" ] && [ ! -d "$1" ] && ! [ "$1" -ef "$self" ] &&
    [ "$(MEDIAN_SPARK_LOOKING=1 "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$wanted" ]
}

look() {
  if [ -n "$MEDIAN_SPARK_PYTHON" ]; then
    fits "$MEDIAN_SPARK_PYTHON" || refuse "MEDIAN_SPARK_PYTHON is $MEDIAN_SPARK_PYTHON, which is no Python $wanted"
    python=$MEDIAN_SPARK_PYTHON
    return
  fi
  kept=$IFS
  IFS=:
  for folder in $PATH /usr/local/bin /usr/bin /opt/conda/bin "/opt/python/$wanted/bin"; do
    for name in "python$wanted" python3 python; do
      if fits "$folder/$name"; then
        IFS=$kept
        python=$folder/$name
        return
      fi
    done
  done
  IFS=$kept
  refuse "this machine has no Python $wanted on its PATH ($PATH) nor in a usual place: install it, \
name one with MEDIAN_SPARK_PYTHON, or run 'make package PYTHON=...' with the Python that there is"
}

look
PYTHONPATH="$(dirname -- "$bin")/lib/python$wanted/site-packages${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
# Spark starts its workers with -m: they must not import modules that lie in the current folder.
if [ "$1" = -m ]; then
  PYTHONSAFEPATH=1
  export PYTHONSAFEPATH
fi
exec "$python" "$@"
