#!/bin/bash
# Bootstrap action of an EMR cluster: sees to it that the node has the Python for which the environment was packed.
# Its one argument is the version, such as 3.11. EMR 7 runs on Amazon Linux 2023, whose own package is installed if the
# release has not brought that Python already; it stands beside the node's own Python and changes nothing else.
set -euo pipefail

version=${1:?"name the version of Python for which the environment was packed, such as 3.11"}

if ! command -v "python$version" >/dev/null; then
  sudo dnf install --assumeyes --quiet "python$version"
fi
"python$version" --version
