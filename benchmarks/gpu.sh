#!/usr/bin/env bash
# What only a GPU can tell, in under three minutes: first whether results are right, then how fast.
#
#   benchmarks/gpu.sh [FOLDER]      numbers as Markdown, also into FOLDER if one is named
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
out=${1:-$(mktemp -d)}
if ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
  echo "gpu.sh: there is no GPU here" >&2
  exit 2
fi
mkdir -p "$out"
began=$SECONDS
step() {  # NAME SECONDS COMMAND...: what it printed goes into the folder; too slow is a failure
  local name=$1 limit=$2
  shift 2
  echo "## $name"
  timeout "$limit" "$@" 2>&1 | tee "$out/$name.txt"
}

# Right: bytes of the compositors, the stream on the device, values and gradients of the kernels.
step bytes 60 "$python" -m pytest -q -k "cuda or gpu or triton" tests/gui tests/training/test_stream.py
step attention 40 "$python" benchmarks/attention.py --presets small base

# Fast.
step compositor 30 "$python" benchmarks/device_compositor.py --rounds 2
step presets 60 "$python" benchmarks/presets.py --device cuda --presets small base --rows 16 \
  --row-length 64 --steps 12
step training 60 "$python" benchmarks/training.py --device cuda --experiment nine-small --rounds 1 \
  --workers "$(($(nproc) - 1))"
echo "took $((SECONDS - began)) s; all of it lies in $out"
